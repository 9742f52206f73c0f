"""The composition root: nodes, transport, store and clock become one cluster that takes jobs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self, cast
from weakref import WeakValueDictionary

import anyio
from anyio import AsyncContextManagerMixin, lowlevel
from anyio.abc import TaskGroup, TaskStatus

from ..abc.clock import Clock
from ..abc.store import JobStore
from ..abc.transport import Transport
from ..clocks.system import SystemClock
from ..errors import (
    AmbiguousJobIdError,
    ClusterClosedError,
    ClusterFailedError,
    JobConflictError,
    JobNotFoundError,
    MultipleResultsError,
    NodeNotFoundError,
    VirtualTimeError,
)
from ..host.cancellation import persist
from ..host.threads import run_blocking, run_stoppable, threads_are_forbidden
from ..model.data import BytesSource, PathLike, local_path
from ..model.display import counted
from ..model.evaluation import Explanation
from ..model.job import JobSpec, JobType
from ..model.node import Nodes
from ..model.paths import check_job_id
from ..model.problems import Problems, first_failure, shown
from ..model.record import JobEvent
from ..scheduling.events import CancelJob, SubmitJob
from ..scheduling.orchestrator import OrchestratorCore
from ..storage.local import LocalStorage
from ..storage.results import LocalPublisher
from ..storage.workspace import Workspace
from ..stores.memory import MemoryStore
from ..transports.memory import MemoryTransport
from .compute import ComputeNode
from .job import Job, Jobs
from .node import Node
from .orchestrator import Orchestrator, failure_hint, failure_text, not_open
from .result import Result
from .streams import ListStream
from .submission import prepare, refuse_unsupported
from .timeline import Timeline, timeline_of

__all__ = ["Cluster"]

_log = logging.getLogger("bacalhau_sdk")


class Cluster(AsyncContextManagerMixin):
    """Takes jobs and has its nodes run them, inside ``async with``; one object is entered once.

    What the block raises leaves it as itself, never in a group. Every exit, a normal one too, cancels the jobs that have not
    ended; one WARNING names them. A fault of the library's own machinery cancels the block and is raised as
    `ClusterFailedError` with the fault as ``__cause__``; if the block raises an exception of its own as well, that one is
    raised, with a note. When the block has been left, nothing of the cluster runs any more, and its private files are gone.

    Args:
        nodes: Where executions run; None is one node, this machine, with the engines that are found on it.
        transport: Carries messages; None is a `MemoryTransport`.
        store: Keeps records; None is a `MemoryStore`.
        data_dir: Where results stay; None is a private temporary folder that goes with the cluster.
        clock: Tells the time; None is this machine's.

    Raises:
        InvalidSpecError: From the constructor: two nodes share a name. On entering: the ``data_dir`` cannot be used.
        EngineError: On entering: an executor cannot be used.
        StoreError: On entering: the store cannot be read.
        OSError: On entering: the private folder cannot be made.
        VirtualTimeError: On entering: the time of the event loop is virtual, and the clock is not.
    """

    def __init__(
        self,
        nodes: Iterable[Node] | None = None,
        *,
        transport: Transport | None = None,
        store: JobStore | None = None,
        data_dir: str | PathLike | None = None,
        clock: Clock | None = None,
    ) -> None:
        given = (nodes, transport, store, data_dir, clock)
        self._nodes = _checked(*given)
        self._transport = transport if transport is not None else MemoryTransport()
        self._clock = clock if clock is not None else SystemClock()
        self._store = store if store is not None else MemoryStore()
        self._workspace = Workspace(Path(local_path(data_dir, "data_dir")) if data_dir is not None else None)
        self._engines = frozenset(executor.engine for node in self._nodes for executor in node.executors)
        self._orchestrator: Orchestrator | None = None
        self._compute: list[ComputeNode] = []
        self._block: anyio.CancelScope | None = None
        self._starting: list[_Starting] = []
        self._failure: BaseException | None = None
        self._submitted: dict[str, JobSpec] = {}
        self._modules: WeakValueDictionary[bytes, BytesSource] = WeakValueDictionary()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        """Open the cluster for the block, and close it afterwards.

        The exception of the user's block is kept out of the task group, which would wrap it, until everything has been closed.
        """
        if self._orchestrator is not None:
            raise ClusterClosedError("this cluster was entered before", hint="make a new Cluster object")
        if threads_are_forbidden() and isinstance(self._clock, SystemClock):
            raise VirtualTimeError(
                "the time of this event loop is virtual, and the cluster's clock is a real one",
                hint="use testing.VirtualCluster",
            )
        raised: BaseException | None = None
        self._block = anyio.CancelScope()
        try:
            async with self._private_files(), anyio.create_task_group() as tasks:
                try:
                    await self._open(tasks)
                    with self._block:
                        yield self
                except BaseException as error:  # noqa: BLE001 - raised again below, as itself
                    raised = error
                await persist(self._close)
        except BaseException as error:  # noqa: BLE001 - raised again below
            # What closing raises matters less than what the block has raised; but an interrupt is not lost with a cancellation.
            if raised is None or isinstance(raised, anyio.get_cancelled_exc_class()):
                raised = _interrupt(error) or raised or error
        failure, told = self._failure, isinstance(raised, ClusterFailedError)
        interrupted = failure is not None and not isinstance(failure, Exception)
        if raised is not None and not (told and interrupted):
            if failure is not None and not told:
                raised.add_note(f"The cluster had failed as well: {failure!r}")
            raise raised
        if isinstance(failure, Exception):
            raise ClusterFailedError(failure_text(failure), hint=failure_hint(failure)) from failure
        if failure is not None:
            # An interrupt that hit a task of the machinery instead of the block.
            raise failure

    async def submit(self, spec: JobSpec, job_id: str | None = None) -> Job:
        """Hand in a job; it exists once this has returned.

        A cancellation before the job is recorded leaves no job. Submitting an equal spec under the id of a job that exists finds
        that job.

        Args:
            spec: What to run.
            job_id: 1 to 63 lower-case letters, digits and ``-``; None makes one.

        Raises:
            InvalidSpecError: The spec or the id is none.
            UnsupportedSpecError: The spec asks for what this version does not do yet.
            InputError: A path of the spec does not exist or cannot be used.
            JobConflictError: A job of that id exists with another spec, or results of one lie in the ``data_dir``.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        await lowlevel.checkpoint_if_cancelled()
        orchestrator = self._opened()
        refuse_unsupported(spec, self._engines)
        problems = Problems()
        with problems.at("job_id"):
            job_id = check_job_id(job_id) if job_id is not None else self._new_id()
        problems.check()
        if job_id not in orchestrator.views or self._submitted.get(job_id) != spec:
            prepared = await prepare(spec, self._modules)
            taken = self._results_of_another_life(job_id)
            if taken is not None and await run_blocking(taken.exists) and job_id not in orchestrator.views:
                raise JobConflictError(
                    f"{taken} has results of an earlier job of that id",
                    field="job_id",
                    hint="use another id or data_dir, or move them away",
                )
            await orchestrator.request(SubmitJob(job_id, prepared))
            self._submitted.setdefault(job_id, spec)
        return self._job(job_id)

    async def run(self, spec: JobSpec, check: bool = True) -> Result:
        """Hand in a job of one partition, own it, and return its result; cancelled with the scope of the call.

        Args:
            spec: What to run.
            check: Whether a non-zero exit code raises.

        Raises:
            MultipleResultsError: The spec has not exactly one partition; nothing was submitted.
            NonZeroExitError: With ``check``: the exit code is not 0.
            JobFailedError: And what else `submit` and `Job.result` raise.
        """
        self._opened()
        refuse_unsupported(spec, self._engines)
        if spec.count != 1 or spec.type is JobType.OPS:
            raise MultipleResultsError(
                f"run() takes a batch job of one partition, this is {spec.type.value} with {spec.count}",
                field="count" if spec.type is not JobType.OPS else "type",
                hint="submit() it, and take its results()",
            )
        job_id = self._new_id()
        try:
            job = await self.submit(spec, job_id)
        except BaseException:
            await self._disown(job_id)
            raise
        async with job:
            result = await job.result()
        if check:
            result.check()
        return result

    async def jobs(self) -> Jobs:
        """Return all jobs, a tuple in the order in which they were submitted; a table in a notebook.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        return Jobs(self._job(job_id) for job_id in self._opened().views)

    async def job(self, job_id: str) -> Job:
        """Return a job by its id, or by the beginning of its id if no other one begins so.

        Raises:
            JobNotFoundError: There is none.
            AmbiguousJobIdError: There are several.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        views = self._opened().views
        if not isinstance(job_id, str) or not job_id:
            raise JobNotFoundError(
                f"{shown(job_id)} is no id of a job",
                field="job_id",
                hint="jobs() returns all, each with its id",
            )
        if job_id in views:
            return self._job(job_id)
        found = [known for known in views if known.startswith(job_id)]
        if not found:
            raise JobNotFoundError(
                f"no job has the id {shown(job_id)}",
                field="job_id",
                hint="jobs() returns all, each with its id",
            )
        if len(found) > 1:
            raise AmbiguousJobIdError(
                f"{len(found)} jobs have ids that begin with {shown(job_id)}",
                field="job_id",
                hint="give more of it",
            )
        return self._job(found[0])

    async def nodes(self) -> Nodes:
        """Return the nodes that are known, a tuple, with what they offer and what of it is free; a table in a notebook.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        return Nodes(self._opened().nodes())

    async def drain(self, node: str) -> None:
        """Have a node of this cluster take nothing new, and wait until what it has is over, or somebody resumes it.

        Cancelling the wait leaves it drained.

        Jobs that only this node could run are queued until `resume`.

        Args:
            node: Its name.

        Raises:
            NodeNotFoundError: The cluster has no such node of its own.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        await self._own_node(node).drain()
        self._opened()  # it may have ended by an end of the cluster

    async def resume(self, node: str) -> None:
        """Have a node that was drained take executions again.

        Args:
            node: Its name.

        Raises:
            NodeNotFoundError: The cluster has no such node of its own.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        self._own_node(node).resume()
        await lowlevel.checkpoint()

    async def explain(self, spec: JobSpec) -> Explanation:
        """Say where a spec would run now, and why not on the other nodes, without running it.

        What an engine itself says of the task (whether it has the function, or the image) shows only when its node bids.

        Raises:
            InvalidSpecError: It is no spec.
            UnsupportedSpecError: It asks for what this version does not do yet.
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        orchestrator = self._opened()
        refuse_unsupported(spec, self._engines)
        return orchestrator.explain_spec(spec)

    async def timeline(self) -> Timeline:
        """Return a picture of what ran where and when: of all jobs and nodes, up to now.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        orchestrator = self._opened()
        nodes = [node.name for node in orchestrator.nodes()]
        title = f"{counted(len(nodes), 'node')}, {counted(len(orchestrator.views), 'job')}"
        return timeline_of(title, orchestrator.views.values(), nodes, orchestrator.now())

    def events(self) -> AsyncIterator[JobEvent]:
        """Return what has happened to all jobs: from the start, then live, until the cluster closes.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        orchestrator = self._opened()
        return ListStream(orchestrator.history, orchestrator.watch, orchestrator.ended)

    def __repr__(self) -> str:
        """Return the nodes and the number of jobs."""
        jobs = counted(len(self._orchestrator.views) if self._orchestrator is not None else 0, "job")
        return f"<Cluster: {', '.join(node.name for node in self._nodes) or 'no node'}; {jobs}>"

    # Opening and closing

    @asynccontextmanager
    async def _private_files(self) -> AsyncGenerator[None, None]:
        """Have the folders of the cluster, and remove the private ones whatever is being cancelled."""
        try:
            # Half-open must not be closed: an interruption waits for the end of the opening.
            await run_stoppable(self._workspace.open, lambda: None)
            yield
        finally:
            await persist(lambda: run_stoppable(self._workspace.close, lambda: None))

    async def _open(self, tasks: TaskGroup) -> None:
        """Make everything ready; the block begins when every node has been heard of."""
        publisher = LocalPublisher(self._workspace.results)
        for node in self._nodes:
            folder = self._workspace.staging / node.name
            await run_blocking(folder.mkdir)
            compute = ComputeNode(
                node,
                transport=self._transport,
                clock=self._clock,
                folder=folder,
                storages=[*node.storages, LocalStorage()],
                publisher=publisher,
            )
            self._compute.append(compute)
        core = OrchestratorCore(incarnation=self._new_incarnation())
        self._orchestrator = Orchestrator(core, self._store, self._transport, self._clock)
        await self._orchestrator.load()
        parts: tuple[Orchestrator | ComputeNode, ...] = (self._orchestrator, *self._compute)
        for part in parts:
            starting = _Starting()
            self._starting.append(starting)
            tasks.start_soon(self._guard, part, starting)
            await starting.settled.wait()
            if starting.error is not None:
                raise starting.error
        await self._orchestrator.heard_of(len(self._nodes))

    async def _guard(self, part: Orchestrator | ComputeNode, starting: _Starting) -> None:
        """Run a part of the machinery; a fault of it ends the cluster.

        Once it works, a cancellation from outside reaches the block only: the machinery is still needed to cancel what the block
        has left.
        """
        with starting.scope:
            try:
                await part.run(task_status=starting)
            except anyio.get_cancelled_exc_class():
                if starting.done and not starting.scope.cancel_called:
                    # Not by a scope: a loop that ends cancels all of its tasks.
                    self._fail(ClusterClosedError("the tasks of the cluster were cancelled from outside"))
                raise
            except BaseException as error:  # noqa: BLE001 - raised where the cluster is entered, or left
                if starting.done:
                    self._fail(error)
                else:
                    starting.error = first_failure(error)
            finally:
                starting.settled.set()

    def _fail(self, error: BaseException) -> None:
        cause = first_failure(error)
        if self._failure is None:
            self._failure = cause
            if isinstance(error, Exception):
                _log.error("the cluster has failed", exc_info=error)
        if self._orchestrator is not None:
            self._orchestrator.close(cause)
        if self._block is not None:
            self._block.cancel()

    async def _close(self) -> None:
        """Cancel what has not ended, wait until it is dead, and stop the machinery."""
        orchestrator = self._orchestrator
        if orchestrator is not None and not orchestrator.closed:
            await self._cancel_unfinished(orchestrator)
            orchestrator.close()
        for compute in self._compute:
            await compute.stop()
        for starting in self._starting:
            if not starting.done:
                starting.scope.cancel()

    async def _cancel_unfinished(self, orchestrator: Orchestrator) -> None:
        """Cancel what has not ended, and say so once."""
        unfinished = orchestrator.stop_submitting()
        if unfinished:
            count = counted(len(unfinished), "job")
            _log.warning("the cluster closes and cancels %s: %s", count, ", ".join(unfinished))
        with suppress(ClusterFailedError, ClusterClosedError):
            await orchestrator.cancel_all("the cluster was closed")

    async def _disown(self, job_id: str) -> None:
        """Cancel a job that may have been recorded while the call that was to own it was being cancelled."""
        orchestrator = self._orchestrator
        assert orchestrator is not None, "the call began while it was open"

        async def cancel() -> None:
            await orchestrator.request(CancelJob(job_id, "its owner was cancelled"))
            await self._job(job_id).wait()

        with suppress(JobNotFoundError, ClusterClosedError, ClusterFailedError):
            await persist(cancel)

    def _new_id(self) -> str:
        return f"j-{uuid.uuid4()}"

    def _new_incarnation(self) -> str:
        return uuid.uuid4().hex[:6]

    def _results_of_another_life(self, job_id: str) -> Path | None:
        """Return where results of a job of that id could lie that this cluster knows nothing of."""
        made_here = job_id.startswith("j-") and len(job_id) == len(self._new_id())
        known = self._orchestrator is not None and job_id in self._orchestrator.views
        return None if self._workspace.private or made_here or known else self._workspace.results / job_id

    def _own_node(self, name: str) -> ComputeNode:
        self._opened()
        for compute in self._compute:
            if compute.node.name == name:
                return compute
        known = ", ".join(compute.node.name for compute in self._compute)
        raise NodeNotFoundError(
            f"the cluster has no node {shown(name)} of its own",
            field="node",
            hint=f"it has {known or 'none'}",
        )

    def _opened(self) -> Orchestrator:
        if self._orchestrator is None:
            raise not_open()
        self._orchestrator.check_open()
        return self._orchestrator

    def _job(self, job_id: str) -> Job:
        orchestrator = self._orchestrator
        assert orchestrator is not None, "it is open"
        return Job(orchestrator.views[job_id], orchestrator, self._results_kept)

    def _results_kept(self) -> bool:
        orchestrator = self._orchestrator
        return not self._workspace.private or (orchestrator is not None and not orchestrator.closed)


class _Starting(TaskStatus[None]):
    """How far a part of the machinery has come; once it works, no cancellation from outside reaches it."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.settled = anyio.Event()
        self.done = False
        self.error: BaseException | None = None

    def started(self, value: None = None) -> None:
        self.done = True
        self.scope.shield = True
        self.settled.set()


def _interrupt(error: BaseException) -> BaseException | None:
    """Return the interrupt that an exception is, or that a task group has wrapped."""
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next(filter(None, map(_interrupt, inner)), None)
    return error if isinstance(error, KeyboardInterrupt | SystemExit) else None


def _local_node() -> Node:
    """Make the node that stands for this machine, with the engines that are installed on it."""
    from ..executors.wasm.executor import WasmExecutor

    return Node("local", [WasmExecutor(isolation="thread")])


def _checked(
    nodes: object, transport: object, store: object, data_dir: object, clock: object
) -> tuple[Node, ...]:
    """Return the nodes, once everything that a cluster is composed of is what it should be."""
    problems = Problems()
    for name, value, kind in (
        ("transport", transport, Transport),
        ("store", store, JobStore),
        ("clock", clock, Clock),
    ):
        if value is not None and not isinstance(value, kind):
            problems.add(
                name, f"{shown(value)} is not a {kind.__name__}: give an instance of one, or leave it out"
            )
    if data_dir is not None:
        problems.convert("", lambda: local_path(data_dir, "data_dir"), "")
    if nodes is not None and (isinstance(nodes, str) or not isinstance(nodes, Iterable)):
        problems.add("nodes", f"{shown(nodes)} is not a list of Node objects: write [Node(...)]")
        nodes = ()
    composed = (_local_node(),) if nodes is None else tuple(cast("Iterable[Node]", nodes))
    for index, node in enumerate(composed):
        if not isinstance(node, Node):
            problems.add(f"nodes[{index}]", f"{shown(node)} is not a Node: write Node('name', [...])")
    problems.check()
    for index, node in enumerate(composed):
        _check_against(composed[:index], node, f"nodes[{index}]", problems)
    problems.check()
    return composed


def _check_against(earlier: tuple[Node, ...], node: Node, path: str, problems: Problems) -> None:
    if any(node.name == other.name for other in earlier):
        problems.add(f"{path}.name", f"{node.name!r} is the name of an earlier node: give it another")
    for executor in node.executors:
        if any(executor is known for other in earlier for known in other.executors):
            problems.add(
                f"{path}.executors", f"{shown(executor)} is an earlier node's: each node needs its own"
            )
