"""What a job still needs: compares what was asked for with what its executions have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    live: dict[int, None] = {}
    completed: dict[int, None] = {}
    attempts: dict[int, int] = {}
    ended: dict[ExecutionState, Execution] = {}  # the first execution that ended so, without results
    accepted = False
    for execution in executions:
        index, state = execution.partition_index, execution.state
        if state is ExecutionState.ASK_FOR_BID_REJECTED:
            continue  # it has used up no attempt
        attempts[index] = max(attempts.get(index, 0), execution.attempt)
        if state is ExecutionState.COMPLETED:
            completed[index] = None
        elif state.terminal:
            ended.setdefault(state, execution)
        else:
            live[index] = None
            accepted = accepted or state not in (ExecutionState.NEW, ExecutionState.ASK_FOR_BID)
    if job.ending is not None:
        ending: Ending | None = Ending(job.ending, job.reason, job.failure, job.refusals)
    else:
        ending = _ending(job, ended, len(completed))
    wanted = () if ending is not None else range(job.spec.count)
    return Needs(
        ending=ending,
        missing=tuple(
            (index, attempts.get(index, 0) + 1)
            for index in wanted
            if index not in live and index not in completed
        ),
        running=accepted or bool(completed),
    )


def _ending(job: JobRecord, ended: Mapping[ExecutionState, Execution], completed: int) -> Ending | None:
    if ExecutionState.FAILED in ended:
        return _failed(ended[ExecutionState.FAILED])
    if ExecutionState.CANCELLED in ended:
        return _stopped(ended[ExecutionState.CANCELLED])
    if ExecutionState.TIMED_OUT in ended:
        late = ended[ExecutionState.TIMED_OUT]
        reason = f"partition {late.partition_index} took too long on node {late.node}"
        return Ending(JobState.TIMED_OUT, reason)
    return Ending(JobState.COMPLETED) if completed >= job.spec.count else None


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
