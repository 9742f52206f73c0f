"""What a job still needs: compares what was asked for with what its executions have come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from ..model.execution import Execution, ExecutionState, Failure, FailureKind
from ..model.job import JobState, JobType
from ..model.node import Refusal
from ..model.record import JobRecord
from .deadlines import Reach, queue_deadline, total_deadline, unreachable
from .retry import has_further_try, may_retry, retry_delay

__all__ = ["Ending", "Missing", "Needs", "after_failure", "reconcile"]


@frozen
class Ending:
    """How a job is to end.

    Attributes:
        state: The terminal state.
        reason: For people.
        failure: The root failure, when it fails.
        refusals: Why no known node could ever run it, or none has, when that is the reason.
        unplaced: Whether the reason is that no node has taken it, so that `refusals` says why.
    """

    state: JobState
    reason: str = ""
    failure: Failure | None = None
    refusals: tuple[Refusal, ...] = ()
    unplaced: bool = False


@frozen
class Missing:
    """A partition that needs an execution.

    Attributes:
        partition_index: Which one.
        attempt: The number of the try.
        not_before: When it may have it, in seconds of the clock.
        replaces: The execution on a lost node that is fenced once the new one is placed: until then it may still come back.
        after: The execution that ended without success before, or None at the first try.
    """

    partition_index: int
    attempt: int = 1
    not_before: float = -math.inf
    replaces: Execution | None = None
    after: Execution | None = None


@frozen
class Needs:
    """What is missing between a job and its executions.

    Attributes:
        ending: How the job is to end, or None while it is wanted.
        missing: The partitions that need an execution now.
        later: Those that need one after their back-off.
        running: Whether an execution has been accepted by a node.
    """

    ending: Ending | None
    missing: tuple[Missing, ...] = ()
    later: tuple[Missing, ...] = ()
    running: bool = False


def reconcile(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    """Say what a batch or ops job needs, from its records and the silence of its nodes."""
    running = any(execution.accepted_at is not None for execution in executions)
    if job.ending is not None:
        return Needs(Ending(job.ending, job.reason, job.failure, job.refusals), running=running)
    late = _too_late(job, executions, reach, now, accepted=running)
    if late is not None:
        return Needs(late, running=running)
    latest, dropped = _latest(job, executions)
    missing: list[Missing] = []
    ended: list[Execution] = []  # without success, and without another try
    live = 0
    for index in range(job.partition_count):
        execution = latest.get(index)
        if index in dropped:
            if execution is not None and execution.state is not ExecutionState.COMPLETED:
                ended.append(execution)
        elif execution is None:
            missing.append(Missing(index))
        elif not execution.state.terminal:
            live += 1
            if execution.node in reach.lost and not execution.stop_requested:
                missing += _elsewhere(job, execution, reach)
        elif may_retry(job.spec.retry, execution):
            ended_at = now if execution.ended_at is None else execution.ended_at
            due = ended_at + retry_delay(job.spec.retry, execution)
            missing.append(Missing(index, execution.attempt + 1, due, after=execution))
        elif execution.state is not ExecutionState.COMPLETED:
            ended.append(execution)
    everywhere = job.spec.type is JobType.OPS
    ending = None
    if ended and not (everywhere and (live or missing)):
        ending = _failed(job, ended)
    elif not ended and not live and not missing and (latest or not everywhere):
        ending = Ending(JobState.COMPLETED)
    return Needs(
        ending=ending,
        missing=() if ending else tuple(each for each in missing if each.not_before <= now),
        later=() if ending else tuple(each for each in missing if each.not_before > now),
        running=running,
    )


def _latest(job: JobRecord, executions: Iterable[Execution]) -> tuple[dict[int, Execution], frozenset[int]]:
    """Return the last execution of each partition that counts as a try, and the partitions that are settled by a refusal.

    An offer that was refused, or that a lost node never answered, counts as no try. An ``ops`` job has nothing to do on a node
    that refuses for good; refusals of nodes that it was for before do not count.
    """
    latest: dict[int, Execution] = {}
    dropped: dict[int, None] = {}
    for number, execution in enumerate(executions):
        index = execution.partition_index
        if execution.state is ExecutionState.ASK_FOR_BID_REJECTED:
            everywhere = job.spec.type is JobType.OPS and number >= job.chosen_after
            if everywhere and any(refusal.lasting for refusal in execution.refusals):
                dropped[index] = None
        elif not (execution.fenced and execution.accepted_at is None):
            latest[index] = execution
    return latest, frozenset(dropped)


def _elsewhere(job: JobRecord, execution: Execution, reach: Reach) -> list[Missing]:
    """Return what a partition needs whose execution is on a lost node."""
    index, retry = execution.partition_index, job.spec.retry
    if not has_further_try(retry, execution):
        return []
    if execution.accepted_at is None:
        return [Missing(index, execution.attempt, replaces=execution)]
    due = reach.lost[execution.node] + retry_delay(retry, execution)
    return [Missing(index, execution.attempt + 1, due, replaces=execution, after=execution)]


def _too_late(
    job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float, *, accepted: bool
) -> Ending | None:
    timeouts = job.spec.timeouts
    unplaced = all(execution.state.terminal for execution in executions) and not accepted
    if now >= total_deadline(job, reach):
        reason = f"it took longer than its total limit of {timeouts.total:g} s"
        failed = [each.outcome.failure for each in executions if each.outcome and each.outcome.failure]
        if failed:
            reason += f"; what failed last: {failed[-1].message}"
        return Ending(JobState.TIMED_OUT, reason, unplaced=unplaced)
    if not accepted and now >= queue_deadline(job, reach):
        reason = f"no node accepted it within its queue limit of {timeouts.queue:g} s"
        return Ending(JobState.TIMED_OUT, reason, unplaced=unplaced)
    return None


def _failed(job: JobRecord, ended: Sequence[Execution]) -> Ending:
    """Return the end of a job of which partitions did not come to success: the worst of them is the reason."""
    execution = min(ended, key=_badness)
    where = f"partition {execution.partition_index}"
    tried = f", attempt {execution.attempt}" if execution.attempt > 1 else ""
    if execution.state is ExecutionState.TIMED_OUT:
        limit = job.spec.timeouts.execution
        late = "too long" if limit is None else f"more than its limit of {limit:g} s"
        return Ending(JobState.TIMED_OUT, f"{where}{tried} ran for {late} on node {execution.node}")
    failure = execution.outcome.failure if execution.outcome else None
    if failure is None:
        code, what = "execution.failed", "the node gave no reason"
        if execution.state is ExecutionState.CANCELLED:
            code, what = "node.stopped", f"node {execution.node} ended the execution without being asked"
        failure = Failure(FailureKind.INFRASTRUCTURE, code, what)
    reason = f"{failure.message} ({where}{tried} on node {execution.node})"
    return Ending(JobState.FAILED, reason, failure)


def _badness(execution: Execution) -> int:
    """Rank what went wrong: what no other try would have mended comes first."""
    failure = execution.outcome.failure if execution.outcome else None
    if failure is not None and failure.kind is FailureKind.PERMANENT:
        return 0
    return [ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.TIMED_OUT].index(
        execution.state
    ) + 1


def after_failure(missing: Missing, ending: Ending) -> Ending:
    """Return how a job ends whose partition failed, or was lost, and now fits nowhere: what came first is the root of it."""
    before = missing.after
    failure = before.outcome.failure if before is not None and before.outcome is not None else None
    if missing.replaces is not None:
        failure = evolve(unreachable(missing.replaces), hint="")
    if failure is None:
        return ending
    return evolve(ending, reason=f"{failure.message}; then {ending.reason}", failure=failure)
