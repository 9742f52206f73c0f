"""What a job still needs: compares what was asked for with what its executions have come to."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..model.execution import Execution, ExecutionState, Failure, FailureKind
from ..model.job import JobState
from ..model.node import Refusal
from ..model.record import JobRecord

__all__ = ["Ending", "Needs", "reconcile"]


@frozen
class Ending:
    """How a job is to end.

    Attributes:
        state: The terminal state.
        reason: For people.
        failure: The root failure, when it fails.
        refusals: Why no known node could ever run it, when that is the failure.
    """

    state: JobState
    reason: str = ""
    failure: Failure | None = None
    refusals: tuple[Refusal, ...] = ()


@frozen
class Needs:
    """What is missing between a job and its executions.

    Attributes:
        ending: How the job is to end, or None while it is wanted.
        missing: The partitions that need an execution, each with the number of the attempt.
        running: Whether an execution has been accepted by a node.
    """

    ending: Ending | None
    missing: tuple[tuple[int, int], ...]
    running: bool


def reconcile(job: JobRecord, executions: Sequence[Execution]) -> Needs:
    """Say what a batch job needs, from its records alone."""
    ending = (
        Ending(job.ending, job.reason, job.failure, job.refusals) if job.ending else _ending(job, executions)
    )
    live = [execution for execution in executions if not execution.state.terminal]
    completed = {e.partition_index for e in executions if e.state is ExecutionState.COMPLETED}
    offered = (ExecutionState.NEW, ExecutionState.ASK_FOR_BID)
    return Needs(
        ending=ending,
        missing=() if ending else _missing(job, executions, completed | {e.partition_index for e in live}),
        running=bool(completed) or any(execution.state not in offered for execution in live),
    )


def _ending(job: JobRecord, executions: Sequence[Execution]) -> Ending | None:
    failed = next((e for e in executions if e.state is ExecutionState.FAILED), None)
    if failed is not None:
        return _failed(failed)
    stopped = next((e for e in executions if e.state is ExecutionState.CANCELLED), None)
    if stopped is not None:
        return _stopped(stopped)
    late = next((e for e in executions if e.state is ExecutionState.TIMED_OUT), None)
    if late is not None:
        return Ending(
            JobState.TIMED_OUT, f"partition {late.partition_index} took too long on node {late.node}"
        )
    done = {e.partition_index for e in executions if e.state is ExecutionState.COMPLETED}
    return Ending(JobState.COMPLETED) if len(done) >= job.spec.count else None


def _failed(execution: Execution) -> Ending:
    failure = execution.outcome.failure if execution.outcome else None
    if failure is None:
        failure = Failure(FailureKind.INFRASTRUCTURE, "execution.failed", "the node gave no reason")
    where = f"partition {execution.partition_index} failed on node {execution.node}"
    return Ending(JobState.FAILED, f"{failure.message} ({where})", failure)


def _stopped(execution: Execution) -> Ending:
    """Return the end of a job of which an execution was stopped although the job was wanted."""
    if execution.stop_requested:
        code, what = "node.lost_execution", "no longer had the execution"
    else:
        code, what = "node.stopped", "ended the execution without being asked"
    failure = Failure(FailureKind.INFRASTRUCTURE, code, f"node {execution.node} {what}")
    return Ending(JobState.FAILED, failure.message, failure)


def _missing(job: JobRecord, executions: Sequence[Execution], taken: set[int]) -> tuple[tuple[int, int], ...]:
    """Return the partitions without an execution; a refused offer has used up no attempt."""
    attempts: dict[int, int] = {}
    for execution in executions:
        if execution.state is not ExecutionState.ASK_FOR_BID_REJECTED:
            attempts[execution.partition_index] = max(
                attempts.get(execution.partition_index, 0), execution.attempt
            )
    return tuple((index, attempts.get(index, 0) + 1) for index in range(job.spec.count) if index not in taken)
