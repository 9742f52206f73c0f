"""Bugs of the decisions: what a job needs, where it goes, what time does to it, and whether it is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from attrs import evolve

from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.job import JobState, RetryPolicy
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.scheduling import deadlines, reconcile, schedule
from bacalhau_sdk.scheduling.answers import Answers, answers_of
from bacalhau_sdk.scheduling.deadlines import GRACE, NODE_LOST_AFTER, Reach, fence
from bacalhau_sdk.scheduling.lifecycle import advance
from bacalhau_sdk.scheduling.node_index import NodeIndex
from bacalhau_sdk.scheduling.reconcile import Ending, Missing, Needs
from bacalhau_sdk.scheduling.retry import may_retry
from tests.simulation.mutant import Mutant, Patch

# As they are, also while a mutant is on.
_right = reconcile.reconcile
_elsewhere: Callable[[JobRecord, Execution, Reach], list[Missing]] = vars(reconcile)["_elsewhere"]


# Retries


def _no_delay(policy: RetryPolicy, execution: Execution) -> float:
    return 0.0


def _permanent_too(policy: RetryPolicy, execution: Execution) -> bool:
    if execution.state is ExecutionState.FAILED:
        return execution.attempt < policy.max_attempts
    return may_retry(policy, execution)


def _for_ever(policy: RetryPolicy, execution: Execution) -> bool:
    return may_retry(evolve(policy, max_attempts=execution.attempt + 1), execution)


def _timeouts_never(policy: RetryPolicy, execution: Execution) -> bool:
    return execution.state is not ExecutionState.TIMED_OUT and may_retry(policy, execution)


def _timeouts_always(policy: RetryPolicy, execution: Execution) -> bool:
    return may_retry(evolve(policy, retry_timeouts=True), execution)


def _exits_never(policy: RetryPolicy, execution: Execution) -> bool:
    return may_retry(evolve(policy, retry_nonzero_exit=False), execution)


def _exits_always(policy: RetryPolicy, execution: Execution) -> bool:
    return may_retry(evolve(policy, retry_nonzero_exit=True), execution)


def _offers_use_up_attempts(job: JobRecord, execution: Execution, reach: Reach) -> list[Missing]:
    return [evolve(missing, attempt=execution.attempt + 1) for missing in _elsewhere(job, execution, reach)]


def _lost_is_over(policy: RetryPolicy, execution: Execution) -> bool:
    return execution.accepted_at is None


# Limits


def _never(job: JobRecord, reach: Reach) -> float:
    return math.inf


def _since_stopped(execution: Execution, reach: Reach) -> float:
    if execution.stop_requested_at is None:
        return math.inf
    return max(execution.stop_requested_at + GRACE + NODE_LOST_AFTER, reach.settled_at)


def _from_submit(job: JobRecord, execution: Execution, reach: Reach) -> float:
    limit = job.spec.timeouts.execution
    if execution.stop_requested or execution.state is not ExecutionState.RUNNING or limit is None:
        return _since_stopped(execution, reach)
    return max(job.created_at + limit, reach.settled_at)


def _no_limit(job: JobRecord, execution: Execution, reach: Reach) -> float:
    return _since_stopped(execution, reach)


def _publishing_too(job: JobRecord, execution: Execution, reach: Reach) -> float:
    limit = job.spec.timeouts.execution
    if execution.stop_requested or execution.started_at is None or limit is None:
        return _since_stopped(execution, reach)
    return max(execution.started_at + limit, reach.settled_at)


def _no_grace(job: JobRecord, execution: Execution, reach: Reach) -> float:
    if execution.stop_requested_at is not None:
        return max(execution.stop_requested_at + 1.0, reach.settled_at)
    return _from_start(job, execution, reach)


def _from_start(job: JobRecord, execution: Execution, reach: Reach) -> float:
    limit = job.spec.timeouts.execution
    if execution.state is not ExecutionState.RUNNING or execution.started_at is None or limit is None:
        return math.inf
    return max(execution.started_at + limit, reach.settled_at)


def _settling_unknown(
    job: JobRecord, executions: Iterable[Execution], later: Iterable[float], reach: Reach, now: float
) -> float:
    return deadlines.next_deadline(job, executions, later, Reach(reach.lost), now)


# What is needed


def _live_ones_missing(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    offered = [e for e in executions if e.state is not ExecutionState.BID_ACCEPTED]
    return _right(job, offered, reach, now)


def _nothing_replaced(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    needs = _right(job, executions, reach, now)
    return evolve(needs, missing=tuple(evolve(missing, replaces=None) for missing in needs.missing))


def _one_is_enough(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    needs = _right(job, executions, reach, now)
    done = any(execution.state is ExecutionState.COMPLETED for execution in executions)
    live = any(not execution.state.terminal for execution in executions)
    if done and not live and needs.ending is None:
        return evolve(needs, ending=Ending(JobState.COMPLETED), missing=(), later=())
    return needs


def _no_end(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    needs = _right(job, executions, reach, now)
    if needs.ending is not None and needs.ending.state is JobState.COMPLETED and job.partition_count > 2:
        return evolve(needs, ending=None)
    return needs


def _first_failure_kept(job: JobRecord, executions: Sequence[Execution], reach: Reach, now: float) -> Needs:
    needs = _right(job, executions, reach, now)
    again: list[Missing] = [missing for missing in needs.missing if missing.replaces is None]
    return evolve(needs, missing=tuple(again))


# What is done


def _half(instance: Any, /, **changes: Any) -> Any:
    if "targets" in changes:
        changes["targets"] = changes["targets"][: (len(changes["targets"]) + 1) // 2]
    return attrs.evolve(instance, **changes)


def _none_for_good(nodes: NodeIndex, executions: Iterable[Execution], now: float) -> Answers:
    return evolve(answers_of(nodes, executions, now), for_good={})


def _none_for_now(nodes: NodeIndex, executions: Iterable[Execution], now: float) -> Answers:
    return evolve(answers_of(nodes, executions, now), for_now={})


def _ended_at_once(execution: Execution, ending: ExecutionState, now: float) -> Execution:
    return advance(execution, ending, now)


def _fenced_at_once(execution: Execution, ending: ExecutionState, now: float) -> Execution:
    return fence(execution, ending, now)


def _retry(name: str, wrong: str, value: object, row: str = "") -> Mutant:
    return Mutant(name, wrong, row, patches=(Patch(reconcile, "may_retry", value),))


def _reconcile(name: str, wrong: str, value: object, row: str = "") -> Mutant:
    return Mutant(name, wrong, row, patches=(Patch(schedule, "reconcile", value),))


def _limit(name: str, wrong: str, value: object, row: str = "") -> Mutant:
    return Mutant(name, wrong, row, patches=(Patch(deadlines, "_limit", value),))


MUTANTS = (
    Mutant(
        "no_backoff",
        "A partition that failed is tried again at once.",
        "B9",
        patches=(Patch(reconcile, "retry_delay", _no_delay),),
    ),
    _retry(
        "retries_permanent_faults", "A fault that another try cannot mend is tried again.", _permanent_too
    ),
    _retry("attempts_unbounded", "What fails is tried again for ever.", _for_ever, "B9"),
    _retry("timeouts_never_retried", "The policy's word on time-outs is not asked: never.", _timeouts_never),
    _retry(
        "timeouts_always_retried", "The policy's word on time-outs is not asked: always.", _timeouts_always
    ),
    _retry("exits_never_retried", "The policy's word on exit codes is not asked: never.", _exits_never),
    _retry("exits_always_retried", "The policy's word on exit codes is not asked: always.", _exits_always),
    Mutant(
        "offers_use_up_attempts",
        "An offer that a lost node never answered counts as a try.",
        "B8",
        patches=(Patch(reconcile, "_elsewhere", _offers_use_up_attempts),),
    ),
    Mutant(
        "lost_is_over",
        "A job whose node is lost fails, although its policy allows another try.",
        "B15",
        patches=(
            Patch(reconcile, "has_further_try", _lost_is_over),
            Patch(deadlines, "has_further_try", _lost_is_over),
        ),
    ),
    Mutant(
        "total_limit_ignored",
        "The limit on the whole job has no effect.",
        "B14",
        patches=(Patch(reconcile, "total_deadline", _never),),
    ),
    Mutant(
        "queue_limit_ignored",
        "The limit on waiting for a node has no effect.",
        "B14",
        patches=(Patch(reconcile, "queue_deadline", _never),),
    ),
    _limit("execution_limit_ignored", "The limit on running has no effect.", _no_limit, "B14"),
    _limit(
        "execution_limit_counts_from_submit",
        "The time in the queue counts against the limit on running.",
        _from_submit,
        "B18",
    ),
    _limit(
        "publishing_counts_as_running",
        "What has come to its end is stopped by the limit on running while it is published.",
        _publishing_too,
        "B18, §5.5.1",
    ),
    _limit("no_grace", "A node has a second to stop an execution before it is given up.", _no_grace),
    _reconcile(
        "two_live_executions", "A live execution is not seen, and made again.", _live_ones_missing, "F25"
    ),
    _reconcile(
        "replaces_without_fencing",
        "The execution on a lost node is replaced, and stays current.",
        _nothing_replaced,
        "F25",
    ),
    _reconcile(
        "never_replaced", "What is on a lost node is never given to another one.", _first_failure_kept, "B15"
    ),
    _reconcile(
        "completes_without_all_partitions",
        "A job completes with its first partition that does.",
        _one_is_enough,
        "B1",
    ),
    _reconcile("never_completes", "A job of many partitions stays when all have completed.", _no_end, "B1"),
    Mutant(
        "ops_on_half_of_the_nodes",
        "A job for all nodes goes to half of them.",
        patches=(Patch(schedule, "evolve", _half),),
    ),
    Mutant(
        "lasting_refusals_forgotten",
        "A node that has refused a job for good is asked again.",
        "B9",
        patches=(Patch(schedule, "answers_of", _none_for_good),),
    ),
    Mutant(
        "refusals_for_now_forgotten",
        "A node that has refused a job for now is asked again at its next heartbeat, and at each.",
        "B9",
        patches=(Patch(schedule, "answers_of", _none_for_now),),
    ),
    Mutant(
        "closes_before_kill",
        "What is to be stopped counts as over at once.",
        "B4, B5",
        patches=(Patch(schedule, "stop", _ended_at_once),),
    ),
    Mutant(
        "fences_instead_of_stopping",
        "What is to be stopped is given up at once, though its node answers.",
        "B5",
        patches=(Patch(schedule, "stop", _fenced_at_once),),
    ),
)

# Alone it changes nothing that anybody sees: something else does the same.
HIDDEN = (
    Mutant(
        "settling_sets_no_time",
        "The end of the time in which no limit counts is no reason to look at a job again.",
        "B10",
        patches=(Patch(schedule, "next_deadline", _settling_unknown),),
    ),
)
