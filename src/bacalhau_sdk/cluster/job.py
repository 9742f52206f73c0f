"""A live job: wait for it, read its log, take its results, cancel it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, contextmanager, suppress
from types import TracebackType
from typing import Never, Protocol, Self
from xml.etree.ElementTree import Element

import anyio
from anyio import lowlevel

from ..errors import (
    BacalhauError,
    ClusterClosedError,
    ClusterFailedError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobTimeoutError,
    MultipleResultsError,
    NoMatchingNodeError,
    ResultsGoneError,
    TransportError,
)
from ..host.cancellation import persist
from ..host.channel import Channel, ChannelClosedError
from ..host.threads import run_blocking
from ..model.data import LogEntry
from ..model.display import ROWS_MAX, card, counted, duration, element, state_badge, table, visible
from ..model.evaluation import REASON_MAX, Explanation
from ..model.execution import Execution, ExecutionState
from ..model.job import DockerSpec, FunctionSpec, JobSpec, JobState, JobType, WasmSpec
from ..model.problems import invalid, is_text, printable_lines, shown
from ..model.record import JobEvent
from ..model.timeline import outcome_of
from ..scheduling.events import CancelJob
from ..storage.log import decode_frames
from .orchestrator import JobView, Orchestrator
from .result import Result, last_lines, read_result
from .streams import ChannelStream, ListStream
from .timeline import Timeline, timeline_of

__all__ = ["Job", "Jobs", "distinct", "elapsed", "jobs_html", "program"]

_LOG_BUFFER = 64
_LAST_WORDS = 1.0
"""Seconds without a line after which the log of what may still run somewhere counts as read, once its job has ended."""
_WITHOUT_LOG = (ExecutionState.NEW, ExecutionState.ASK_FOR_BID, ExecutionState.ASK_FOR_BID_REJECTED)


class Job:
    """A job of a cluster; `Cluster.submit` makes it.

    Waiting is not owning: cancelling `wait`, `result`, `results`, `logs` or `events` leaves the job running. ``async with job:``
    owns it: a normal exit waits for the job's end and raises nothing for how it ended; an exception or a cancellation cancels the
    job, and the block is left once nothing of it runs any more.
    """

    def __init__(self, view: JobView, orchestrator: Orchestrator, kept: Callable[[], bool]) -> None:
        self._view = view
        self._orchestrator = orchestrator
        self._kept = kept

    @property
    def id(self) -> str:
        """The id, unique in the cluster."""
        return self._view.record.id

    @property
    def spec(self) -> JobSpec:
        """What was submitted, its paths absolute and its module read."""
        return self._view.record.spec

    @property
    def state(self) -> JobState:
        """Where the job stands, as last known."""
        return self._view.record.state

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The executions, offers that were refused included, in the order in which they were made; as last known."""
        # Copied in one go: others may look from their own threads.
        return tuple(self._view.executions.copy().values())

    async def wait(self) -> JobState:
        """Wait for the end of the job; cancelling the wait leaves it running.

        Returns:
            The terminal state.

        Raises:
            ClusterFailedError: The machinery failed meanwhile.
        """
        while not self.state.terminal:
            self._orchestrator.check_open()
            await self._view.watch.changed()
        return self.state

    async def result(self) -> Result:
        """Wait for the end, and return the result of the only partition; a non-zero exit code is a result.

        Raises:
            JobFailedError: The job failed; the message begins with the root cause and ends with the last lines of stderr.
            NoMatchingNodeError: No known node could ever run it; the message says why, node by node.
            JobCancelledError: The job was cancelled.
            JobTimeoutError: The job took longer than its spec allows.
            MultipleResultsError: The job has not exactly one partition; at once for a batch job.
            ClusterFailedError: The machinery failed meanwhile.
            ResultsGoneError: The cluster has closed, and took them along.
        """
        if self.spec.type is JobType.OPS:
            await self.wait()  # how many partitions it has is known then
        count = self._view.record.partition_count
        if count != 1 and not (self.spec.type is JobType.OPS and count == 0):
            raise MultipleResultsError(
                f"job {self.id} has {count} partitions",
                field="count",
                hint="results() returns the results of all",
            )
        return (await self.results())[0]

    async def results(self) -> tuple[Result, ...]:
        """Wait for the end, and return the result of every partition, by its index.

        Raises:
            JobFailedError: As `result`; ``results`` of the error has what did finish.
            JobCancelledError: As `result`.
            JobTimeoutError: As `result`.
            ClusterFailedError: As `result`.
            ResultsGoneError: As `result`.
        """
        if await self.wait() is JobState.COMPLETED:
            return await self._read_results()
        raise await self._error()

    def logs(self) -> AsyncIterator[LogEntry]:
        """Return the output of all executions: from the start, then live, until the job has ended.

        Each stream keeps its order; the two pipes of a WASM guest are merged in the order in which they were read. Works before
        the job has started and after it has ended, for any number of readers at once. A slow reader never holds up the job, and
        leaving the iteration leaves the job running.

        Raises:
            ClusterClosedError: The cluster is not open; the logs went with it. Also while iterating.
            ClusterFailedError: The machinery has failed.
        """
        channel: Channel[LogEntry] = Channel(_LOG_BUFFER)
        self._orchestrator.task_group.start_soon(self._pump_logs, channel)
        return ChannelStream(channel)

    def events(self) -> AsyncIterator[JobEvent]:
        """Return what has happened to the job: from the start, then live, until the job has ended."""
        view = self._view
        return ListStream(view.events, view.watch, self._ended_or_closed)

    async def timeline(self) -> Timeline:
        """Return a picture of what ran where and when, from the submit to the end of the job, or up to now."""
        await lowlevel.checkpoint()
        title = f"job {self.id}: {self.state.value}, {program(self.spec)}"
        return timeline_of(title, [self._view], (), self._orchestrator.now())

    async def explain(self) -> Explanation:
        """Say why the job is where it is, why not elsewhere, or why not at all.

        Raises:
            ClusterClosedError: The cluster is not open.
            ClusterFailedError: The machinery has failed.
        """
        self._orchestrator.check_open()
        return self._orchestrator.explain(self.id)

    async def cancel(self, reason: str | None = None) -> JobState:
        """Cancel the job; returns when it has ended and nothing of it runs any more.

        A job that has ended already stays as it is. Cancelling the call leaves the cancellation of the job in force. It returns
        within 30 seconds (a grace period of 10 and the 20 after which a silent node is lost): what is on a node that cannot be
        reached, or that does not manage to stop it, is fenced then. `explain` names it, nothing that it reports is recorded, and
        it is killed when the node is back. After a standstill of this process it may take 20 seconds longer.

        Args:
            reason: For people.

        Returns:
            The terminal state: ``CANCELLED``, or what it was already.

        Raises:
            InvalidSpecError: The reason is no text.
            ClusterFailedError: The machinery failed meanwhile.
        """
        if reason is not None and not is_text(reason):
            raise invalid(f"{shown(reason)} is not a text that says why: give one, or leave it out", "reason")
        if not self.state.terminal:
            await self._orchestrator.request(
                CancelJob(self.id, printable_lines(reason or "cancelled by the user"))
            )
        return await self.wait()

    async def __aenter__(self) -> Self:
        """Own the job until the block is left."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the job's end; after an exception or a cancellation, cancel it first."""
        try:
            if error is None:
                await self.wait()
                return
        except BaseException:
            await self._abandon()
            raise
        await self._abandon()

    def __repr__(self) -> str:
        """Return the id and the state."""
        return f"<Job {self.id}: {self.state.value}>"

    def __reduce__(self) -> Never:
        """Refuse to be pickled or copied: what makes a job live is in this process.

        Raises:
            TypeError: Always; it says what to keep instead.
        """
        raise TypeError(
            f"job {self.id} is live and belongs to its cluster in this process, so it cannot be pickled or copied: "
            "keep its id, with which Cluster.job finds it, and what Output.copy_to has copied"
        )

    def _repr_html_(self) -> str:
        record = self._view.record
        now = self._orchestrator.now()
        parts = [element("div", program(self.spec), class_="bac-note")]
        if record.reason:
            parts.append(element("div", visible(record.reason, REASON_MAX), class_="bac-note"))
        executions = self.executions[-ROWS_MAX:]
        left = len(self.executions) - len(executions)
        if left:
            note = f"the last {ROWS_MAX} of {counted(len(self.executions), 'execution')}"
            parts.append(element("div", note, class_="bac-note"))
        if executions:
            columns = ("partition", "attempt", "node", "state", "began after", "took", "")
            rows = [_cells(execution, record.created_at, now) for execution in executions]
            parts.append(table(columns, rows, numbers=("partition", "attempt", "began after", "took")))
        head = [element("strong", f"job {visible(self.id)} "), state_badge(self.state.value)]
        return card(head, *parts)

    async def _abandon(self) -> None:
        """Cancel the job on behalf of an owner that is being left, whatever else goes on."""
        with suppress(ClusterFailedError, ClusterClosedError):
            await persist(lambda: self.cancel("its owner was left"))

    async def _read_results(self) -> tuple[Result, ...]:
        # By partition, the last one: an exit code may have been a reason to try again.
        latest = {e.partition_index: e for e in self.executions if e.state is ExecutionState.COMPLETED}
        completed = [latest[index] for index in sorted(latest)]
        return await run_blocking(self._read, completed) if completed else ()

    def _read(self, completed: list[Execution]) -> tuple[Result, ...]:
        names = tuple(self.spec.outputs)
        return tuple(
            read_result(execution, execution.outcome, names, self._kept)
            for execution in completed
            if execution.outcome is not None
        )

    async def _error(self) -> JobError:
        """Make the error for a job that did not complete."""
        record = self._view.record
        results: tuple[Result, ...] = ()
        with suppress(ResultsGoneError):
            results = await self._read_results()
        reason = record.reason or record.state.value
        if record.state is JobState.CANCELLED:
            message = f"job {self.id} was cancelled: {reason}"
            return JobCancelledError(
                message,
                job_id=self.id,
                executions=self.executions,
                results=results,
                hint="if that was not meant, submit it again and keep its owner and its cluster open",
            )
        if record.state is JobState.TIMED_OUT:
            message = f"job {self.id} timed out: {reason}"
            return JobTimeoutError(
                message,
                job_id=self.id,
                executions=self.executions,
                results=results,
                field="timeouts",
                hint="raise that limit in timeouts=Timeouts(...), or see explain() and logs() for what held it up",
            )
        failure = record.failure
        kind = NoMatchingNodeError if failure and failure.code == NoMatchingNodeError.code else JobFailedError
        return kind(
            f"job {self.id} failed: {reason}{last_lines(await self._failed_stderr())}",
            job_id=self.id,
            failure_code=failure.code if failure else "",
            executions=self.executions,
            results=results,
            field=failure.field if failure else "",
            hint=failure.hint if failure else "",
        )

    async def _failed_stderr(self) -> str:
        """Return the end of what the last failed execution wrote to stderr, or nothing if that cannot be had."""
        failed = next((e for e in reversed(self.executions) if e.state is ExecutionState.FAILED), None)
        if failed is None or not self._kept():
            return ""
        lines: list[str] = []
        # What is fenced may still write, and its log goes on: what is there will do.
        with anyio.move_on_after(_LAST_WORDS if failed.fenced else math.inf), suppress(TransportError):
            async for entry in self._read_log(failed):
                if entry.stream == "stderr":
                    lines = [*lines[-20:], entry.text]
        return "\n".join(lines)

    def _ended_or_closed(self) -> bool:
        if not self.state.terminal:
            self._orchestrator.check_open()
        return self.state.terminal

    async def _read_log(self, execution: Execution) -> AsyncGenerator[LogEntry, None]:
        buffer, index, attempt = bytearray(), execution.partition_index, execution.attempt
        async with aclosing(
            self._orchestrator.transport.open(execution.node, f"logs/{execution.id}")
        ) as chunks:
            async for chunk in chunks:
                buffer += chunk
                for frame in decode_frames(buffer):
                    yield LogEntry(index, attempt, frame.stream, frame.time, frame.data)

    async def _pump_logs(self, channel: Channel[LogEntry]) -> None:
        """Put the log of every execution into a channel, for as long as somebody reads it."""
        pumps: dict[str, _Pump] = {}
        error: BacalhauError | None = ClusterClosedError(
            "the cluster closed before the log was read to its end"
        )
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    ended = self.state.terminal
                    before: dict[int, _Pump] = {}
                    for execution in self._with_log():
                        pump = pumps.get(execution.id)
                        if pump is None:
                            pump = pumps[execution.id] = _Pump()
                            earlier = before.get(execution.partition_index)
                            tasks.start_soon(self._pump_log, execution, channel, pump, earlier)
                        if execution.fenced:
                            pump.hurry()
                        before[execution.partition_index] = pump
                    if ended:
                        break
                    await self._view.watch.changed()
            error = None
        finally:
            channel.close(error)

    def _with_log(self) -> list[Execution]:
        return [execution for execution in self.executions if execution.state not in _WITHOUT_LOG]

    async def _pump_log(
        self, execution: Execution, channel: Channel[LogEntry], pump: _Pump, earlier: _Pump | None
    ) -> None:
        """Put the log of an execution into the channel, after that of the attempt before it."""
        try:
            if earlier is not None:
                await earlier.done.wait()
            # A transport error: the execution ended before its node had made a log, by a cancel that came first.
            with pump.scope, suppress(ChannelClosedError, TransportError):
                async with aclosing(self._read_log(execution)) as entries:
                    async for entry in entries:
                        known = self._view.executions[execution.id]
                        if known.fenced and known.ended_at is not None and entry.time > known.ended_at:
                            break  # that is not the job's any more
                        with pump.patient():
                            await channel.put(entry)
        finally:
            pump.done.set()


def elapsed(job: Job) -> float:
    """Return the seconds from the submit of a job to its end, or to now, as last known."""
    view, orchestrator = job._view, job._orchestrator  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of this module
    end = orchestrator.now() if view.record.ended_at is None else view.record.ended_at
    return max(0.0, end - view.record.created_at)


def distinct(jobs: Iterable[Job]) -> list[Job]:
    """Return jobs without those that are there already; two clusters may each have one of the same id."""
    return list({id(job._view): job for job in jobs}.values())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above


class Jobs(tuple[Job, ...]):
    """Jobs; a tuple, which a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return jobs_html(self)


class _Shown(Protocol):
    """What a table shows of a job."""

    @property
    def id(self) -> str: ...
    @property
    def spec(self) -> JobSpec: ...
    @property
    def state(self) -> JobState: ...
    @property
    def executions(self) -> tuple[Execution, ...]: ...


def jobs_html(jobs: Sequence[_Shown]) -> str:
    """Return a table of jobs, for a notebook."""
    counts = Counter(job.state for job in jobs)
    states = ", ".join(f"{counts[state]:,} {state.value}" for state in JobState if counts[state])
    head: list[Element | str] = [
        element("strong", counted(len(jobs), "job")),
        f": {states}" if states else "",
    ]
    rows = [
        (job.id, state_badge(job.state.value), program(job.spec), f"{len(job.executions):,}")
        for job in jobs[-ROWS_MAX:]
    ]
    parts = [table(("job", "state", "program", "executions"), rows, numbers=("executions",))] if rows else []
    if len(jobs) > ROWS_MAX:
        parts.append(element("div", f"the last {ROWS_MAX} are shown", class_="bac-note"))
    return card(head, *parts)


def program(spec: JobSpec) -> str:
    """Say in one line what a job runs, and how many times."""
    match spec.engine:
        case (
            DockerSpec(image=name, args=args)
            | WasmSpec(name=name, args=args)
            | FunctionSpec(name=name, args=args)
        ):
            words = [name, *args]
        case _:
            words = []
    count = f" ({counted(spec.count, 'partition')})" if spec.count > 1 else ""
    return visible(f"{spec.engine.engine}: {' '.join(words)}") + count


def _cells(execution: Execution, submitted: float, now: float) -> tuple[Element | str, ...]:
    """Return the cells of an execution in the table of its job."""
    begin = execution.started_at
    end = execution.ended_at if execution.ended_at is not None else now
    return (
        str(execution.partition_index),
        str(execution.attempt),
        execution.node,
        state_badge(execution.state.value),
        duration(begin - submitted) if begin is not None else "",
        duration(end - begin) if begin is not None else "",
        outcome_of(execution),
    )


class _Pump:
    """One log on its way to a reader."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self._hurried = False

    def hurry(self) -> None:
        """End once nothing has come for a while: what writes may still be alive somewhere, and never end."""
        if not self._hurried:
            self._hurried = True
            self.scope.deadline = anyio.current_time() + _LAST_WORDS

    @contextmanager
    def patient(self) -> Generator[None]:
        """Give the reader the time that it takes."""
        self.scope.deadline = math.inf
        yield
        if self._hurried:
            self.scope.deadline = anyio.current_time() + _LAST_WORDS
