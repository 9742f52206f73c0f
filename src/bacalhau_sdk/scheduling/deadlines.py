"""What time does to a job: limits that pass, nodes that fall silent, and when to look again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, field, frozen

from ..model.execution import Execution, ExecutionState, Failure, FailureKind, Outcome
from ..model.record import JobRecord
from .lifecycle import advance
from .retry import has_further_try

__all__ = [
    "GRACE",
    "NODE_LOST_AFTER",
    "Reach",
    "fence",
    "next_deadline",
    "overtaken",
    "queue_deadline",
    "stop",
    "total_deadline",
    "unreachable",
]

NODE_LOST_AFTER = 20.0
"""Seconds without a heartbeat after which a node counts as lost; it sends one each 5 seconds."""
GRACE = 10.0
"""Seconds that a node has to stop an execution before its silence about that counts; the original's grace period, too."""


@frozen
class Reach:
    """Which nodes cannot be reached.

    Attributes:
        lost: The nodes that count as lost, and since when.
        settled_at: No limit and no silence counts before this time: an orchestrator that was away hears its nodes first.
    """

    lost: Mapping[str, float] = field(factory=dict[str, float])
    settled_at: float = -math.inf


def overtaken(
    job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float
) -> tuple[Execution, ...]:
    """Return those executions, as they are to be, that time alone has changed.

    One that runs for too long is told to stop. One that was told to stop and does not, or that was on a node that is lost and
    has no further try, is fenced: it ends here, whatever becomes of it there.
    """
    if now < reach.settled_at:
        return ()
    changed: list[Execution] = []
    for execution in executions:
        if execution.state.terminal:
            continue
        late = now >= _limit(job, execution, reach)
        lost = execution.node in reach.lost
        if execution.ending is not None:
            if late or lost:
                changed.append(fence(execution, execution.ending, now))
        elif late and not lost:
            changed.append(stop(execution, ExecutionState.TIMED_OUT, now))
        elif lost and not has_further_try(job.spec.retry, execution):
            changed.append(fence(execution, ExecutionState.FAILED, now))
    return tuple(changed)


def stop(execution: Execution, ending: ExecutionState, now: float) -> Execution:
    """Return the execution told to stop, to end in a terminal state once its node says that nothing of it runs."""
    return evolve(execution, ending=ending, stop_requested_at=now, modified_at=now)


def fence(execution: Execution, state: ExecutionState, now: float) -> Execution:
    """Return the execution ended without the word of its node."""
    outcome = Outcome(failure=unreachable(execution) if state is ExecutionState.FAILED else None)
    return advance(execution, state, now, outcome=outcome, fenced=True)


def unreachable(execution: Execution) -> Failure:
    """Return what has gone wrong with an execution whose node is lost."""
    return Failure(
        FailureKind.INFRASTRUCTURE,
        "node.lost",
        f"node {execution.node} could not be reached",
        "a RetryPolicy with more attempts gives it another try",
    )


def next_deadline(
    job: JobRecord, executions: Iterable[Execution], later: Iterable[float], reach: Reach, now: float
) -> float:
    """Return when time alone will make another look at a job necessary; infinity if it will not.

    Args:
        job: The job.
        executions: Its executions.
        later: When partitions that wait for their next try may have it.
        reach: Which nodes cannot be reached.
        now: Seconds of the clock.
    """
    if job.state.terminal:
        return math.inf
    times = [*later]
    accepted = False
    for execution in executions:
        accepted = accepted or execution.accepted_at is not None
        if not execution.state.terminal:
            times.append(_limit(job, execution, reach))
    if job.ending is None:
        times.append(total_deadline(job, reach))
        if not accepted:
            times.append(queue_deadline(job, reach))
    if now < reach.settled_at:
        times.append(reach.settled_at)
    return min((time for time in times if time > now), default=math.inf)


def total_deadline(job: JobRecord, reach: Reach) -> float:
    """Return when the job has taken too long."""
    return _after(job.created_at, job.spec.timeouts.total, reach)


def queue_deadline(job: JobRecord, reach: Reach) -> float:
    """Return when the job has waited too long for a node that accepts it."""
    return _after(job.created_at, job.spec.timeouts.queue, reach)


def _limit(job: JobRecord, execution: Execution, reach: Reach) -> float:
    """Return when a live execution has run, or has been dying, for too long."""
    if execution.stop_requested_at is not None:
        return _after(execution.stop_requested_at, GRACE + NODE_LOST_AFTER, reach)
    if execution.state is ExecutionState.RUNNING and execution.started_at is not None:
        # What has come to its end, and is only being published, is not thrown away.
        return _after(execution.started_at, job.spec.timeouts.execution, reach)
    return math.inf


def _after(start: float, seconds: float | None, reach: Reach) -> float:
    return math.inf if seconds is None else max(start + seconds, reach.settled_at)
