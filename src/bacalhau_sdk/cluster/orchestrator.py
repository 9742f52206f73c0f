"""Runs the orchestrator: hands events to its core, performs the effects, and tells those who wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup, TaskStatus
from attrs import define, field

from ..abc.clock import Clock
from ..abc.store import JobStore
from ..abc.transport import Transport
from ..errors import BacalhauError, ClusterClosedError, ClusterFailedError, TransportError
from ..host.channel import Channel, Watch
from ..model.evaluation import Explanation
from ..model.execution import Execution
from ..model.job import JobSpec
from ..model.message import ORCHESTRATOR, Message
from ..model.node import NodeState
from ..model.record import Batch, JobEvent, JobRecord
from ..scheduling.effects import Commit, Effect, Send, WakeAt
from ..scheduling.events import CancelAll, CancelJob, Deliver, OrchestratorEvent, Restore, SubmitJob, Tick
from ..scheduling.orchestrator import OrchestratorCore
from .alarm import Alarm

__all__ = ["JobView", "Orchestrator"]

_log = logging.getLogger("bacalhau_sdk")


@define(eq=False)
class JobView:
    """A job as it was last committed.

    Attributes:
        record: Its record.
        executions: Its executions by id, in the order in which they were made.
        events: Its history.
        watch: Signals every change.
    """

    record: JobRecord
    executions: dict[str, Execution] = field(factory=dict[str, Execution])
    events: list[JobEvent] = field(factory=list[JobEvent])
    watch: Watch = field(factory=Watch)


@define(eq=False)
class _Request:
    """An event that somebody waits to see committed."""

    event: OrchestratorEvent
    done: anyio.Event = field(factory=anyio.Event)
    withdrawn: bool = False
    begun: bool = False
    handled: bool = False
    error: BacalhauError | None = None


class Orchestrator:
    """The one place where records change; a fault of the store ends it.

    Args:
        core: Decides.
        store: Keeps.
        transport: Carries.
        clock: Tells the time.
    """

    def __init__(self, core: OrchestratorCore, store: JobStore, transport: Transport, clock: Clock) -> None:
        self.views: dict[str, JobView] = {}
        self.history: list[JobEvent] = []
        self.watch: Watch = Watch()
        self._nodes_watch = Watch()
        self.transport = transport
        self._core = core
        self._store = store
        self._clock = clock
        self._handling = anyio.Lock(fast_acquire=True)
        self._requests: Channel[_Request] = Channel()
        self._ticks: Channel[Tick] = Channel()
        self._alarm = Alarm(clock, lambda: self._ticks.put_nowait(Tick()))
        self._waiting: set[_Request] = set()
        self._task_group: TaskGroup | None = None
        self._failure: BaseException | None = None
        self._closing = False

    # What the face asks

    @property
    def task_group(self) -> TaskGroup:
        """Where tasks live that must outlast their caller, such as the pumps of logs.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        self.check_open()
        assert self._task_group is not None, "it is open"
        return self._task_group

    @property
    def closed(self) -> bool:
        """Whether it takes no requests: not yet, or not any more."""
        return self._task_group is None

    def check_open(self) -> None:
        """See that the cluster works.

        Raises:
            ClusterClosedError: It is not open.
            ClusterFailedError: Its machinery has failed.
        """
        if self._failure is not None:
            raise ClusterFailedError(
                failure_text(self._failure), hint=failure_hint(self._failure)
            ) from self._failure
        if self._task_group is None:
            raise not_open()

    async def request(self, event: OrchestratorEvent) -> None:
        """Have an event handled and its effects performed.

        A cancellation before the handling has begun withdraws the event; later it only ends the waiting.

        Raises:
            BacalhauError: The core refused the event; nothing has changed.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        self.check_open()
        if self._closing and isinstance(event, SubmitJob):
            raise ClusterClosedError("the cluster is closing", hint="submit inside its 'async with' block")
        request = _Request(event)
        self._waiting.add(request)
        self._requests.put_nowait(request)
        try:
            await request.done.wait()
        except BaseException:
            # A cancel stays in force, whatever becomes of who asked for it.
            request.withdrawn = not request.begun and not isinstance(event, CancelJob | CancelAll)
            raise
        finally:
            self._waiting.discard(request)
        if request.error is not None:
            raise request.error
        if not request.handled:
            self.check_open()

    def now(self) -> float:
        """Return the time by which records are made, in seconds."""
        return self._clock.now()

    def explain(self, job_id: str) -> Explanation:
        """Say why a job is where it is."""
        return self._core.explain(job_id, self._clock.now())

    def explain_spec(self, spec: JobSpec) -> Explanation:
        """Say where a spec would run."""
        return self._core.explain_spec(spec)

    def nodes(self) -> tuple[NodeState, ...]:
        """Return the nodes that are known."""
        return tuple(
            NodeState(entry.info, entry.account.free, len(entry.account), entry.last_seen, entry.lost_at)
            for entry in self._core.membership.nodes
        )

    def live(self) -> Iterator[JobView]:
        """Iterate over the jobs that have not ended."""
        return (view for view in list(self.views.values()) if not view.record.state.terminal)

    # What it does

    async def load(self) -> None:
        """Take over what the store holds; before `run`.

        Raises:
            StoreError: The store cannot be read.
        """
        snapshot = await self._store.load()
        self._show(Batch(snapshot.jobs, snapshot.executions, snapshot.events))
        await self._handle(Restore(snapshot))

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Take requests and messages until `close`."""
        async with anyio.create_task_group() as tasks:
            self._task_group = tasks
            tasks.start_soon(self._serve_requests)
            tasks.start_soon(self._alarm.run)
            tasks.start_soon(self._serve_ticks)
            task_status.started()
            async with aclosing(self.transport.receive(ORCHESTRATOR)) as envelopes:
                async for envelope in envelopes:
                    await self._handle(Deliver(envelope))

    async def heard_of(self, count: int) -> None:
        """Wait until as many nodes are known.

        Raises:
            ClusterFailedError: The machinery failed meanwhile.
        """
        while len(self._core.membership.nodes) < count:
            self.check_open()
            await self._nodes_watch.changed()

    def close(self, failure: BaseException | None = None) -> None:
        """Take no more requests, wake everybody who waits, and let `run` come to its end.

        Args:
            failure: The fault of the machinery that is the reason, or None.
        """
        self._failure = self._failure or failure
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()
            self._task_group = None
        for request in self._waiting:
            request.done.set()
        for view in self.views.values():
            view.watch.notify()
        self.watch.notify()
        self._nodes_watch.notify()

    def stop_submitting(self) -> list[str]:
        """Take no more jobs, and return the ids of those that have not ended."""
        self._closing = True
        return [view.record.id for view in self.live()]

    async def cancel_all(self, reason: str) -> None:
        """Cancel every job that has not ended, and wait until they all have.

        Raises:
            ClusterFailedError: The machinery failed meanwhile.
        """
        while live := list(self.live()):
            # All at once: what one of them frees must not go to the next.
            await self.request(CancelAll(reason))
            for view in live:
                while not view.record.state.terminal:
                    self.check_open()
                    await view.watch.changed()

    def ended(self) -> bool:
        """Say whether the cluster has closed.

        Raises:
            ClusterFailedError: It has failed.
        """
        if self._failure is not None:
            self.check_open()
        return self.closed

    async def _serve_requests(self) -> None:
        while True:
            request = await self._requests.get()
            try:
                await self._handle(request.event, request)
            except _RefusedError as refused:
                request.error = refused.error
            request.handled = True
            request.done.set()

    async def _serve_ticks(self) -> None:
        while True:
            await self._handle(await self._ticks.get())

    async def _handle(self, event: OrchestratorEvent, request: _Request | None = None) -> None:
        """Let the core decide, then perform what it wants; one event at a time."""
        async with self._handling:
            if request is not None:
                if request.withdrawn:
                    return
                request.begun = True
            try:
                effects = self._core.handle(event, self._clock.now())
            except BacalhauError as error:
                if request is not None:
                    raise _RefusedError(error) from error
                raise
            for effect in effects:
                await self._perform(effect)
        if isinstance(event, Deliver):
            self._nodes_watch.notify()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Commit(batch):
                await self._store.commit(batch)
                self._show(batch)
            case Send(envelope):
                _log.debug("send %s to %s", _named(envelope.message), envelope.recipient)
                try:
                    await self.transport.send(envelope)
                except TransportError as error:
                    # Every message can be derived again, so a lost one is only a delay.
                    _log.debug("not sent: %s", error)
            case WakeAt(time):
                self._alarm.set(time)
            case _:
                raise AssertionError(f"an orchestrator has no use for {effect}")

    def _show(self, batch: Batch) -> None:
        """Let everybody see what was committed."""
        touched: dict[str, JobView] = {}
        for job in batch.jobs:
            view = self.views.setdefault(job.id, JobView(job))
            view.record = job
            touched[job.id] = view
            _log.debug("commit job %s: %s", job.id, job.state.value)
        for execution in batch.executions:
            view = self.views[execution.job_id]
            view.executions[execution.id] = execution
            touched[execution.job_id] = view
            _log.debug(
                "commit job %s execution %s: %s", execution.job_id, execution.id, execution.state.value
            )
        for event in batch.events:
            self.views[event.job_id].events.append(event)
        self.history += batch.events
        for view in touched.values():
            view.watch.notify()
        self.watch.notify()


class _RefusedError(Exception):
    """The core refused an event, and nothing has changed."""

    def __init__(self, error: BacalhauError) -> None:
        super().__init__(str(error))
        self.error = error


def _named(message: Message) -> str:
    """Name a message for the log, by its type and its execution: what is in it may be secret."""
    execution_id = getattr(message, "execution_id", "")
    return f"{type(message).__name__} {execution_id}".rstrip()


def not_open() -> ClusterClosedError:
    """Return the error of a cluster that has not been entered yet, or has been left."""
    return ClusterClosedError(
        "the cluster is not open",
        hint="use it inside its block; one that has closed stays closed: make a new one",
    )


def failure_text(failure: BaseException) -> str:
    """Say that a cluster has failed, and of what."""
    what = failure.message if isinstance(failure, BacalhauError) else f"{type(failure).__name__}: {failure}"
    return f"the cluster has failed: {what}"


def failure_hint(failure: BaseException) -> str:
    """Say what can be done about a cluster that has failed."""
    hint = failure.hint if isinstance(failure, BacalhauError) else ""
    return hint or "enter a new cluster; its log has the cause"
