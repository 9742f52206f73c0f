"""The same cluster without ``await``: for scripts, notebooks and applications that are not asynchronous.

Each cluster has its event loop in a thread of its own; a call hands over what is to be done and waits for the answer. It sets no
signal handler: an interrupt (Ctrl-C) is raised in the thread that waits, and everything that thread shares with the event loop is
handed over by single operations of the interpreter, which an interrupt cannot cut in half: no lock of ours can stay locked.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Literal, Self, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from .abc.store import JobStore
from .abc.transport import Transport
from .cluster import cluster as asynchronous
from .cluster import job as asynchronous_job
from .cluster.job import jobs_html
from .cluster.node import Node
from .cluster.orchestrator import failure_hint, failure_text
from .cluster.result import Result
from .cluster.timeline import Timeline
from .errors import BacalhauError, BlockingCallError, ClusterClosedError, ClusterFailedError
from .host.threads import use_no_threads
from .model.data import LogEntry, PathLike
from .model.evaluation import Explanation
from .model.execution import Execution
from .model.job import SECONDS_MAX, JobSpec, JobState, JobType
from .model.node import Nodes
from .model.problems import first_failure, invalid, is_number, shown
from .model.record import JobEvent

__all__ = ["Cluster", "Job"]

T = TypeVar("T")

_EXIT_WAIT = 0.75
"""Seconds for which the exit of the interpreter waits for what was left open; what is stubborn dies with the process."""
_BATCH = 256
"""How many items of a stream are handed over at a time."""

_Perform: TypeAlias = Callable[[Exception | None], Coroutine[None, None, None]]
_Interrupt: TypeAlias = Literal["drop", "own", "keep", "await"]
"""What an interrupt of the wait does to a call: cancels it, or that and waits for its end; lets it go on, or that and waits."""


class Cluster:
    """Takes jobs and has its nodes run them; `bacalhau_sdk.Cluster` without ``await``.

    It opens at the first call, or by ``with``, and closes by `close`, at the end of the ``with`` block, when nobody has it or one
    of its jobs any more, or when the interpreter exits; that cancels the jobs that have not ended. May be used from several
    threads, also from one with a running event loop, which stands still meanwhile. Functions of a `FunctionExecutor` run in the
    cluster's own thread.

    An interrupt of a call raises `KeyboardInterrupt`. A job that is waited for goes on; what is owned (by `run`, ``with job:``,
    ``with Cluster():``) is cancelled and its end waited for, unless a second interrupt comes.

    Args:
        nodes: Where executions run; None is one node, this machine, with the engines that are found on it.
        transport: Carries messages; None is a `MemoryTransport`.
        store: Keeps records; None is a `MemoryStore`.
        data_dir: Where results stay; None is a private temporary folder that goes with the cluster.

    Raises:
        InvalidSpecError: Two nodes share a name, or an argument is none.
    """

    def __init__(
        self,
        nodes: Iterable[Node] | None = None,
        *,
        transport: Transport | None = None,
        store: JobStore | None = None,
        data_dir: str | PathLike | None = None,
    ) -> None:
        self._cluster = asynchronous.Cluster(nodes, transport=transport, store=store, data_dir=data_dir)
        self._engine = _Engine(self._cluster)

    def submit(self, spec: JobSpec, job_id: str | None = None) -> Job:
        """Hand in a job; it exists once this has returned. See `bacalhau_sdk.Cluster.submit`."""
        return Job(self._engine, self._engine.call(partial(self._cluster.submit, spec, job_id)))

    def run(self, spec: JobSpec, check: bool = True) -> Result:
        """Hand in a job of one partition, own it, and return its result. See `bacalhau_sdk.Cluster.run`.

        An interrupt cancels the job, and is raised when nothing of it runs any more; a second one at once.
        """
        return self._engine.call(partial(self._cluster.run, spec, check), "own")

    def jobs(self) -> Jobs:
        """Return all jobs, in the order in which they were submitted. See `bacalhau_sdk.Cluster.jobs`."""
        return Jobs(Job(self._engine, job) for job in self._engine.call(self._cluster.jobs))

    def job(self, job_id: str) -> Job:
        """Return a job by its id, or by the beginning of its id. See `bacalhau_sdk.Cluster.job`."""
        return Job(self._engine, self._engine.call(partial(self._cluster.job, job_id)))

    def nodes(self) -> Nodes:
        """Return the nodes that are known, with what they offer. See `bacalhau_sdk.Cluster.nodes`."""
        return self._engine.call(self._cluster.nodes)

    def drain(self, node: str) -> None:
        """Have a node take nothing new, and wait until it is empty; an interrupt of the wait leaves it so.

        See `bacalhau_sdk.Cluster.drain`.
        """
        self._engine.call(partial(self._cluster.drain, node))

    def resume(self, node: str) -> None:
        """Have a node that was drained take executions again. See `bacalhau_sdk.Cluster.resume`."""
        self._engine.call(partial(self._cluster.resume, node))

    def explain(self, spec: JobSpec) -> Explanation:
        """Say where a spec would run now, and why not elsewhere. See `bacalhau_sdk.Cluster.explain`."""
        return self._engine.call(partial(self._cluster.explain, spec))

    def events(self) -> Iterator[JobEvent]:
        """Return what has happened to all jobs: from the start, then live. See `bacalhau_sdk.Cluster.events`."""
        return _Stream(self._engine, self._cluster.events)

    def timeline(self) -> Timeline:
        """Return a picture of what has happened on the nodes until now. See `bacalhau_sdk.Cluster.timeline`."""
        return self._engine.call(self._cluster.timeline)

    def close(self) -> None:
        """Cancel the jobs that have not ended, and return when nothing of the cluster runs any more; idempotent.

        An interrupt is raised then; a second one at once, and what goes on ends by itself or with the process.

        Raises:
            BlockingCallError: It is called in the cluster's own thread.
        """
        self._engine.close()

    def __enter__(self) -> Self:
        """Open the cluster.

        Raises:
            EngineError: And what else entering a `bacalhau_sdk.Cluster` raises.
        """
        try:
            self._engine.call(anyio.lowlevel.checkpoint)
        except BaseException as error:
            self._engine.close(interrupted=isinstance(error, KeyboardInterrupt))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the cluster; what the block raises leaves it as itself.

        In a process that was forked inside the block nothing is done: the cluster is not there.

        Raises:
            ClusterFailedError: The machinery has failed, and the block has raised nothing.
        """
        if not self._engine.here:
            return
        self._engine.close(interrupted=isinstance(error, KeyboardInterrupt))
        if error is None and self._engine.failure is not None:
            raise self._engine.failure

    def __repr__(self) -> str:
        """Return the nodes and the number of jobs."""
        return f"<blocking {repr(self._cluster)[1:]}"


class Job:
    """A job of a cluster; `bacalhau_sdk.Job` without ``await``. `Cluster.submit` makes it.

    Waiting is not owning: an interrupt of `wait`, `result`, `results`, `logs` or `events` leaves the job running. ``with job:``
    owns it: a normal exit waits for its end, an exception or an interrupt cancels it first.
    """

    def __init__(self, engine: _Engine, job: asynchronous_job.Job) -> None:
        self._engine = engine
        self._job = job

    @property
    def id(self) -> str:
        """The id, unique in the cluster."""
        return self._job.id

    @property
    def spec(self) -> JobSpec:
        """What was submitted, its paths absolute and its module read."""
        return self._job.spec

    @property
    def state(self) -> JobState:
        """Where the job stands, as last known."""
        return self._job.state

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The executions, in the order in which they were made; as last known."""
        return self._job.executions

    def wait(self, timeout: float | None = None) -> JobState:
        """Wait for the end of the job, and return its terminal state. See `bacalhau_sdk.Job.wait`.

        Args:
            timeout: Seconds after which the wait ends; the job goes on. None waits for ever.

        Raises:
            TimeoutError: The job has not ended by then.
            InvalidSpecError: ``timeout`` is no number.
            ClusterFailedError: The machinery failed meanwhile.
        """
        return self._engine.call(partial(self._ended, timeout, self._job.wait))

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end, and return the result of the only partition. See `bacalhau_sdk.Job.result`.

        Args:
            timeout: Seconds after which the wait ends; the job goes on. None waits for ever.

        Raises:
            TimeoutError: The job has not ended by then; a `JobTimeoutError`, which is one too, says that the job took too long.
            InvalidSpecError: ``timeout`` is no number.
            MultipleResultsError: The job has not exactly one partition; at once for a batch job.
            JobFailedError: And what else `bacalhau_sdk.Job.result` raises.
        """
        return self._engine.call(partial(self._result, timeout))

    def results(self, timeout: float | None = None) -> tuple[Result, ...]:
        """Wait for the end, and return the result of every partition. See `bacalhau_sdk.Job.results`.

        Args:
            timeout: Seconds after which the wait ends; the job goes on. None waits for ever.

        Raises:
            TimeoutError: As `result`.
            InvalidSpecError: As `result`.
            JobFailedError: As `result`.
        """
        return self._engine.call(partial(self._ended, timeout, self._job.results))

    def logs(self) -> Iterator[LogEntry]:
        """Return the output of all executions: from the start, then live. See `bacalhau_sdk.Job.logs`."""
        return _Stream(self._engine, self._job.logs)

    def events(self) -> Iterator[JobEvent]:
        """Return what has happened to the job: from the start, then live. See `bacalhau_sdk.Job.events`."""
        return _Stream(self._engine, self._job.events)

    def explain(self) -> Explanation:
        """Say why the job is where it is, why not elsewhere, or why not at all. See `bacalhau_sdk.Job.explain`."""
        return self._engine.call(self._job.explain)

    def timeline(self) -> Timeline:
        """Return a picture of the job's executions until now. See `bacalhau_sdk.Job.timeline`."""
        return self._engine.call(self._job.timeline)

    def cancel(self, reason: str | None = None) -> JobState:
        """Cancel the job; returns when nothing of it runs any more. See `bacalhau_sdk.Job.cancel`.

        An interrupt of the call leaves the cancellation of the job in force.
        """
        return self._engine.call(partial(self._job.cancel, reason), "keep")

    async def _result(self, seconds: float | None) -> Result:
        if self.spec.type is not JobType.OPS and self.spec.count != 1:
            return await self._job.result()  # which refuses at once, and not at the end of the job
        return await self._ended(seconds, self._job.result)

    async def _ended(self, seconds: float | None, then: Callable[[], Awaitable[T]]) -> T:
        if seconds is not None and not is_number(seconds):
            raise invalid(f"{shown(seconds)} is not a number of seconds; None waits for ever", "timeout")
        with anyio.move_on_after(math.inf if seconds is None else min(seconds, SECONDS_MAX)) as wait:
            await self._job.wait()
        if wait.cancelled_caught:
            raise TimeoutError(f"job {self.id} has not ended after {seconds:g} s; it goes on")
        return await then()

    def __enter__(self) -> Self:
        """Own the job until the block is left."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the job's end; after an exception or an interrupt, cancel it first.

        In a process that was forked inside the block nothing is done: the cluster is not there.
        """
        if not self._engine.here:
            return
        leave = partial(self._job.__aexit__, kind, error, traceback)
        second: _Interrupt = "keep" if isinstance(error, KeyboardInterrupt) else "await"
        self._engine.call(leave, "own" if error is None else second)

    def __repr__(self) -> str:
        """Return the id and the state."""
        return repr(self._job)

    def _repr_html_(self) -> str:
        return self._job._repr_html_()  # pyright: ignore[reportPrivateUsage]


class Jobs(tuple[Job, ...]):
    """Jobs; a tuple, which a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return jobs_html(self)


class _Stream(Iterator[T]):
    """An asynchronous iterator, item by item; an interrupt of the wait for one loses none."""

    def __init__(self, engine: _Engine, make: Callable[[], AsyncIterator[T]]) -> None:
        self._engine = engine
        self._ready: deque[T] = deque()
        self._items, self._filling = engine.call(partial(_made, make))

    def __next__(self) -> T:
        """Wait for the next item.

        Raises:
            StopIteration: There will be no more.
        """
        while True:
            with suppress(IndexError):  # none is there, or another thread was faster
                return self._ready.popleft()
            if not self._engine.call(self._fill):
                raise StopIteration

    async def _fill(self) -> bool:
        """Wait for an item, take those that are there with it, and say whether there was any."""
        async with self._filling:  # one at a time: an interrupted one may still be at it
            if self._ready:
                return True
            async for item in self._items:
                self._ready.append(item)
                break
            else:
                return False
            with anyio.CancelScope(deadline=-1), suppress(BacalhauError):  # it is raised again next time
                async for item in self._items:
                    self._ready.append(item)
                    if len(self._ready) >= _BATCH:
                        break
            return True


class _Request(Generic[T]):
    """A call on its way: what is to be done, and the queue that takes its answer."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self.answer: SimpleQueue[tuple[list[T], Exception | None]] = SimpleQueue()
        self.answered = False
        self.dropped = False
        self._make = make
        self._unbegun = deque([True])
        self._scope: anyio.CancelScope | None = None

    async def perform(self, refusal: Exception | None) -> None:
        """Do it, once, and answer whatever becomes of it; with a refusal, answer that."""
        try:
            self._unbegun.pop()
        except IndexError:
            return
        values: list[T] = []
        error = refusal
        try:
            with anyio.CancelScope() as self._scope:
                if self.dropped:
                    self._scope.cancel()  # it is begun nevertheless: an owner cancels what it owns
                if refusal is None:
                    values.append(await self._make())
        except Exception as raised:  # noqa: BLE001 - raised where the call was made
            error = raised
        finally:
            # Before the answer, which an interrupt may take away from whoever has just got it.
            self.answered = True
            self.answer.put((values, error))

    def cancel(self) -> None:
        """Cancel it, if it has begun; for the thread of the event loop."""
        if self._scope is not None:
            self._scope.cancel()


class _Engine:
    """What the objects of the user share: while one of them is there, the cluster stays open."""

    def __init__(self, cluster: asynchronous.Cluster) -> None:
        self._thread = _Thread(cluster)
        weakref.finalize(self, self._thread.stop).atexit = False

    @property
    def here(self) -> bool:
        """Whether the cluster is in this process, and not in the one that this was forked from."""
        return self._thread.here

    @property
    def failure(self) -> Exception | None:
        """The error that the cluster has ended with, or could not be opened with."""
        return self._thread.failure

    def call(self, make: Callable[[], Awaitable[T]], interrupt: _Interrupt = "drop") -> T:
        """Have something done in the event loop, and return what comes of it.

        Raises:
            BlockingCallError: It is called in the thread of the event loop, or in a fork of its process.
            BaseException: What it raises.
        """
        self._thread.check()
        request = _Request(make)
        try:
            self._thread.hand_over(request.perform)
            values, error = request.answer.get()
        except BaseException:
            # Handed over again: the interrupt may have come before it was.
            if interrupt in ("drop", "own"):
                request.dropped = True
                self._thread.hand_over(request.perform, first=request.cancel)
            else:
                self._thread.hand_over(request.perform)
            if interrupt in ("own", "await") and not request.answered:
                request.answer.get()
            raise
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame, which has the engine
        if not values:
            raise ClusterClosedError("the cluster was closed meanwhile")
        return values[0]

    def close(self, *, interrupted: bool = False) -> None:
        """End the cluster, and wait for that.

        Args:
            interrupted: Whether an interrupt is what it is closed for, so that the next one is the second.
        """
        self._thread.check()
        ended = self._thread.when_ended()
        try:
            self._thread.stop()
            self._thread.start()
            ended.get()
        except BaseException:
            if interrupted:
                self._thread.hurried = True
            else:
                self.close(interrupted=True)
            raise


class _Thread:
    """The thread with the event loop and the cluster in it; it lives until the cluster has ended.

    What one side puts into a queue both look for afterwards, so that nothing stays in it: neither a request that comes just as
    the event loop ends, nor one whose handing over an interrupt has cut short.
    """

    def __init__(self, cluster: asynchronous.Cluster) -> None:
        self.failure: Exception | None = None
        self.hurried = False
        self._cluster = cluster
        self._process = os.getpid()
        self._ident: int | None = None
        self._unstarted = deque([True])
        self._inbox: deque[_Perform] = deque()
        self._waiting: deque[SimpleQueue[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._called: anyio.Event | None = None
        self._opening: anyio.CancelScope | None = None
        self._opened = False
        self._stopping = False
        self._exiting = False
        self._ended = False

    # For the threads of the user

    @property
    def here(self) -> bool:
        """Whether it is a thread of this process, and not of the one that this was forked from."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Hold that a call may wait for this thread."""
        if threading.get_ident() == self._ident and not self._ended:
            raise BlockingCallError(
                "a blocking call in the cluster's own event loop would wait for itself for ever",
                hint="call it in another thread, or use bacalhau_sdk.Cluster",
            )
        if not self.here:
            raise BlockingCallError(
                "the cluster is in the process that this one was forked from",
                hint="make a Cluster in each process",
            )

    def hand_over(self, perform: _Perform, *, first: Callable[[], object] | None = None) -> None:
        """Have something performed in the thread, which starts with the first request.

        Args:
            perform: What; it may be handed over more than once.
            first: What to call there before, at once.
        """
        self._inbox.append(perform)
        self.start()
        if first is not None:
            self._wake(first)
        self._wake(self._look_up)
        self._end()

    def start(self) -> None:
        """Start the thread, if nobody has; one that is to stop already ends at once."""
        if self._unstarted:
            # Of several, one serves: an interrupt of the start may leave a thread that waits for a lock for ever.
            threading.Thread(target=self._serve, name="bacalhau-blocking", daemon=True).start()

    def stop(self, *, exiting: bool = False) -> None:
        """Have the cluster closed; it does not wait for that.

        Args:
            exiting: Whether the interpreter exits, and so no thread can be started any more.
        """
        self._exiting = self._exiting or exiting
        self._stopping = True
        self._wake(self._look_up)
        self._end()

    def when_ended(self) -> SimpleQueue[None]:
        """Return a queue that gets something when the thread has ended."""
        ended: SimpleQueue[None] = SimpleQueue()
        self._waiting.append(ended)
        return ended

    def _wake(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(call)

    def _end(self) -> None:
        """When it has ended, deal with what is left: what needs no open cluster works still, and the rest says why not.

        Each is dealt with before it is taken out, so that an interrupt between the two loses none; twice does no harm.
        """
        if not self._ended:
            return
        self._tell_ended()
        for perform in tuple(self._inbox):
            refusal = None if self._opened or self.failure is None else self.failure.with_traceback(None)
            late = (perform, refusal)
            threading.Thread(target=anyio.run, args=late, name="bacalhau-late", daemon=True).start()
            with suppress(ValueError, IndexError):
                self._inbox.remove(perform)

    def _tell_ended(self) -> None:
        for ended in tuple(self._waiting):
            ended.put(None)
            with suppress(ValueError, IndexError):
                self._waiting.remove(ended)

    # For the thread itself

    def _serve(self) -> None:
        try:
            self._unstarted.pop()
        except IndexError:
            return
        self._ident = threading.get_ident()
        _living.add(self)
        try:
            if not self._stopping:
                anyio.run(self._run)
        except BaseException as error:  # noqa: BLE001 - raised where the block ends; here nobody would see it
            cause = first_failure(error)
            self.failure = ClusterFailedError(failure_text(cause), hint=failure_hint(cause))
            self.failure.__cause__ = cause
        finally:
            _living.discard(self)
            self._ended = True
            if self._exiting:
                self._tell_ended()  # whoever waits for an answer still is a daemon thread, which ends with the process
            else:
                self._end()

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._loop = asyncio.get_running_loop()
            try:
                with anyio.CancelScope() as self._opening:
                    self._look_up()
                    async with self._cluster:
                        self._opened = True
                        await self._take(tasks)
            except Exception as error:  # noqa: BLE001 - raised where the cluster is entered, or left
                self.failure = error
            tasks.cancel_scope.cancel()

    async def _take(self, tasks: TaskGroup) -> None:
        """Begin with what is handed over, until the cluster is to be closed."""
        while not self._stopping:
            self._called = anyio.Event()
            while self._inbox:
                tasks.start_soon(self._inbox.popleft(), None)
            if not self._stopping:
                await self._called.wait()
        if self._exiting:
            use_no_threads()

    def _look_up(self) -> None:
        """See what there is to do, in the thread."""
        if self._called is not None:
            self._called.set()
        elif self._stopping and self._opening is not None:
            self._opening.cancel()


_living: set[_Thread] = set()


@atexit.register
def _close_living() -> None:
    """Close what is still open when the interpreter exits."""
    until = time.monotonic() + _EXIT_WAIT
    waiting: list[SimpleQueue[None]] = []
    for thread in list(_living):
        if thread.here and not thread.hurried:
            waiting.append(thread.when_ended())
            thread.stop(exiting=True)
    with suppress(Empty, KeyboardInterrupt):
        for ended in waiting:
            ended.get(timeout=max(0.0, until - time.monotonic()))


async def _made(make: Callable[[], AsyncIterator[T]]) -> tuple[AsyncIterator[T], anyio.Lock]:
    return make(), anyio.Lock()
