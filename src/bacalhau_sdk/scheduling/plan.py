"""A plan of the scheduler, and what follows from a change of records: messages, and the history."""

from __future__ import annotations

import math

from attrs import frozen

from ..model.execution import Execution, ExecutionState
from ..model.job import JobState
from ..model.message import AcknowledgeExecution, AskForBid, CancelExecution, Message
from ..model.record import JobEvent, JobRecord
from .matching import Demand

__all__ = ["Plan", "Want", "events_between", "job_events_between", "messages_between"]


@frozen(cache_hash=True)
class Want:
    """What a blocked job waits for. Jobs of equal wants find room, or find none, together.

    Attributes:
        demand: What the job asks of a node.
        without: The nodes that have refused it for good, each with the revision for which that holds.
        only: The nodes of which one is needed; empty when any will do.
        priority: Of the job: those of a group differ in age only.
    """

    demand: Demand
    without: tuple[tuple[str, int], ...] = ()
    only: tuple[str, ...] = ()
    priority: int = 0


@frozen
class Plan:
    """What the scheduler wants of one job, all of it to be committed together.

    Attributes:
        job: The job as it is to be.
        executions: New and changed ones.
        blocked: What room is needed for, when partitions are left that fit a node but find none now; else None.
        wake_at: When time alone will make another look necessary, in seconds of the clock; infinity if it will not.
    """

    job: JobRecord
    executions: tuple[Execution, ...] = ()
    blocked: Want | None = None
    wake_at: float = math.inf


def messages_between(job: JobRecord, before: Execution | None, after: Execution) -> tuple[Message, ...]:
    """Return what the node of an execution must be told of a change; ``before=None`` returns all that it must know.

    The messages follow from the records alone, so that a lost one is sent again after a look at them.
    """
    if after.state.terminal:
        if before is not None and before.state.terminal:
            return ()
        if after.state is ExecutionState.ASK_FOR_BID_REJECTED:
            return ()
        if after.fenced:
            return (CancelExecution(after.id),)
        return (AcknowledgeExecution(after.id, discard=after.state is not ExecutionState.COMPLETED),)
    if after.stop_requested:
        return () if before is not None and before.stop_requested else (CancelExecution(after.id),)
    offered = before is not None and before.state is not ExecutionState.NEW
    if after.state is ExecutionState.ASK_FOR_BID and not offered:
        return (_offer(job, after),)
    return ()


def _offer(job: JobRecord, execution: Execution) -> AskForBid:
    return AskForBid(
        execution_id=execution.id,
        job_id=job.id,
        partition_index=execution.partition_index,
        partition_count=job.partition_count,
        attempt=execution.attempt,
        node_revision=execution.node_revision,
        spec=job.spec,
    )


_EXECUTION_TEXTS = {
    ExecutionState.ASK_FOR_BID: "offered to node {node}",
    ExecutionState.ASK_FOR_BID_REJECTED: "refused by node {node}: {why}",
    ExecutionState.BID_ACCEPTED: "accepted by node {node}, which prepares it",
    ExecutionState.RUNNING: "runs on node {node}",
    ExecutionState.PUBLISHING: "ended on node {node}, its results are published",
    ExecutionState.COMPLETED: "completed with exit code {exit_code}",
    ExecutionState.FAILED: "failed on node {node}: {why}",
    ExecutionState.CANCELLED: "stopped on node {node}",
    ExecutionState.TIMED_OUT: "timed out on node {node}",
}


_ENDINGS = {
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.TIMED_OUT: "timed out",
}


def events_between(
    job: JobRecord, before: Execution | None, after: Execution, now: float
) -> tuple[JobEvent, ...]:
    """Return what a change of an execution adds to the history of its job."""

    def event(message: str) -> JobEvent:
        return JobEvent(
            job_id=job.id,
            time=now,
            message=message,
            job_state=job.state,
            execution_id=after.id,
            execution_state=after.state,
            node=after.node,
            partition_index=after.partition_index,
            attempt=after.attempt,
        )

    which = f"partition {after.partition_index}, attempt {after.attempt}: "
    found: list[JobEvent] = []
    if after.stop_requested and not after.state.terminal and not (before and before.stop_requested):
        late = " because it runs for too long" if after.ending is ExecutionState.TIMED_OUT else ""
        found.append(event(f"{which}node {after.node} is told to stop it{late}"))
    if before is None or before.state is not after.state:
        outcome = after.outcome
        why = "; ".join(map(str, after.refusals)) or (
            outcome.failure.message if outcome and outcome.failure else ""
        )
        exit_code = outcome.exit_code if outcome else None
        text = _EXECUTION_TEXTS[after.state].format(node=after.node, why=why, exit_code=exit_code)
        fenced = " without the node's word: what it reports is not recorded any more" if after.fenced else ""
        found.append(event(which + text + fenced))
    return tuple(found)


def job_events_between(before: JobRecord | None, after: JobRecord, now: float) -> tuple[JobEvent, ...]:
    """Return what a change of a job adds to its history."""
    if before is None:
        return (JobEvent(after.id, now, "job submitted", after.state),)
    reason = f": {after.reason}" if after.reason else ""
    if before.state is not after.state:
        return (JobEvent(after.id, now, f"job is {after.state.value}{reason}", after.state),)
    if before.ending is not after.ending and after.ending is not None:
        verb = _ENDINGS[after.ending]
        return (JobEvent(after.id, now, f"job is being {verb}{reason}", after.state),)
    return ()
