"""What a job still needs: a function of its records."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import Execution, ExecutionState, Failure, FailureKind
from bacalhau_sdk.model.job import JobState, RetryPolicy, Timeouts
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.scheduling.deadlines import Reach
from bacalhau_sdk.scheduling.reconcile import Ending, Missing, Needs, after_failure, reconcile
from bacalhau_sdk.scheduling.retry import retry_delay
from tests.scheduling.makers import FAILED, FAULT, execution, job, refusal, refused, wasm

E = ExecutionState
LIVE = [E.NEW, E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING]


def needs(count: int, *executions: Execution) -> Needs:
    return reconcile(job(wasm(count=count)), executions, Reach(), 10.0)


@pytest.mark.parametrize(
    ("count", "executions", "missing"),
    [
        (1, [], [(0, 1)]),
        (3, [], [(0, 1), (1, 1), (2, 1)]),
        (3, [execution(0, E.COMPLETED, 1)], [(0, 1), (2, 1)]),
        (2, [execution(0, E.RUNNING, 0), execution(1, E.COMPLETED, 1)], []),
        # A refused offer has used up no attempt, however often that happens.
        (1, [refused(0, "n1")], [(0, 1)]),
        (2, [refused(0, "n1"), refused(1, "n2"), execution(2, E.ASK_FOR_BID, 1)], [(0, 1)]),
        (1, [refused(0, "n1"), execution(1, E.ASK_FOR_BID)], []),
    ],
)
def test_missing_partitions(count: int, executions: list[Execution], missing: list[tuple[int, int]]) -> None:
    found = needs(count, *executions)
    assert [(each.partition_index, each.attempt) for each in found.missing] == missing
    assert found.ending is None


@pytest.mark.parametrize("state", LIVE)
def test_a_partition_with_a_live_execution_is_not_missing(state: E) -> None:
    found = needs(2, execution(0, state, 1))
    assert found.missing == (Missing(0),)
    assert found.running == (state not in (E.NEW, E.ASK_FOR_BID))


def test_a_job_of_which_a_part_is_done_is_running() -> None:
    assert needs(2, execution(0, E.COMPLETED, 0)).running
    assert not needs(2, refused(0, "n1")).running


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_job_is_complete_when_all_its_partitions_are(count: int) -> None:
    done = [execution(index, E.COMPLETED, index) for index in range(count)]
    assert needs(count, *done) == Needs(Ending(JobState.COMPLETED), running=count > 0)
    if done:
        assert needs(count, *done[1:]).ending is None


def test_two_results_of_one_partition_are_not_two_partitions() -> None:
    assert needs(2, execution(0, E.COMPLETED, 0), execution(1, E.COMPLETED, 0)).missing == (Missing(1),)


def test_the_failure_of_one_partition_is_the_end_of_the_job() -> None:
    found = needs(
        3, execution(0, E.RUNNING, 0), execution(1, E.FAILED, 1, outcome=FAILED), execution(2, E.RUNNING, 2)
    )
    assert FAILED.failure is not None
    assert found.ending == Ending(JobState.FAILED, "no module (partition 1 on node n1)", FAILED.failure)
    assert found.missing == ()


@pytest.mark.parametrize(
    ("first", "second", "state", "partition"),
    [
        pytest.param(E.FAILED, E.FAILED, JobState.FAILED, 0, id="the first partition of equals"),
        pytest.param(E.TIMED_OUT, E.FAILED, JobState.FAILED, 1, id="a failure before a time-out"),
        pytest.param(E.CANCELLED, E.FAILED, JobState.FAILED, 1, id="a failure before a stop"),
        pytest.param(E.TIMED_OUT, E.CANCELLED, JobState.FAILED, 1, id="a stop before a time-out"),
        pytest.param(E.TIMED_OUT, E.COMPLETED, JobState.TIMED_OUT, 0, id="a time-out before a success"),
    ],
)
def test_the_worst_end_of_a_partition_is_the_reason(
    first: E, second: E, state: JobState, partition: int
) -> None:
    found = needs(
        2,
        execution(0, second, 1, outcome=FAILED if second is E.FAILED else None),
        execution(1, first, 0, outcome=FAILED if first is E.FAILED else None),
    )
    assert found.ending is not None
    assert found.ending.state is state
    assert f"partition {partition} " in found.ending.reason


def test_a_failure_without_a_reason_is_one_of_the_infrastructure() -> None:
    found = needs(1, execution(0, E.FAILED))
    assert found.ending is not None
    assert found.ending.failure == Failure(
        FailureKind.INFRASTRUCTURE, "execution.failed", "the node gave no reason"
    )


def test_an_execution_that_ends_although_the_job_is_wanted_is_a_fault_of_its_node() -> None:
    found = needs(2, execution(0, E.CANCELLED))
    assert found.ending is not None
    assert found.ending.state is JobState.FAILED
    assert found.ending.failure == Failure(
        FailureKind.INFRASTRUCTURE, "node.stopped", "node n1 ended the execution without being asked"
    )


def test_an_execution_that_took_too_long_is_not_tried_for_ever() -> None:
    found = needs(1, execution(0, E.TIMED_OUT))
    assert found.ending == Ending(JobState.TIMED_OUT, "partition 0 ran for too long on node n1")


def test_a_job_that_is_ending_needs_nothing_more() -> None:
    ending = job(
        wasm(count=2),
        ending=JobState.CANCELLED,
        reason="enough",
        failure=FAILED.failure,
        refusals=(refusal(),),
    )
    found = reconcile(ending, [execution(0, E.FAILED, 0, outcome=FAILED)], Reach(), 10.0)
    assert found.ending == Ending(JobState.CANCELLED, "enough", FAILED.failure, (refusal(),))
    assert found.missing == ()


# ---- Tries, lost nodes, limits ----

TWICE = wasm(retry=RetryPolicy(2, backoff=8))
ENDED = execution(0, E.FAILED, outcome=FAULT, ended_at=5.0)
ON_LOST, OFFERED = execution(), execution(0, E.ASK_FOR_BID)
LOST = Reach({"n1": 40.0})


def again(before: Execution, since: float) -> float:
    """Return when the next try after an execution may begin."""
    return since + retry_delay(TWICE.retry, before)


@pytest.mark.parametrize(
    ("executions", "reach", "missing"),
    [
        pytest.param([ENDED], Reach(), Missing(0, 2, again(ENDED, 5.0), None, ENDED), id="failed"),
        pytest.param(
            [ON_LOST], LOST, Missing(0, 2, again(ON_LOST, 40.0), ON_LOST, ON_LOST), id="on a lost node"
        ),
        pytest.param([OFFERED], LOST, Missing(0, 1, replaces=OFFERED), id="offered to a lost node"),
        pytest.param(
            [evolve(OFFERED, state=E.CANCELLED, fenced=True)],
            Reach(),
            Missing(0),
            id="an offer that was fenced",
        ),
        pytest.param(
            [ENDED, refused(1, "n2"), refused(2, "n1")],
            Reach(),
            Missing(0, 2, again(ENDED, 5.0), None, ENDED),
            id="refused after a failure",
        ),
    ],
)
def test_what_a_partition_needs_next(executions: list[Execution], reach: Reach, missing: Missing) -> None:
    early = reconcile(job(TWICE), executions, reach, missing.not_before - 0.1)
    on_time = reconcile(job(TWICE), executions, reach, missing.not_before)
    if missing.not_before > -math.inf:
        assert (early.missing, early.later) == ((), (missing,))
    assert (on_time.missing, on_time.later, on_time.ending) == ((missing,), (), None)


def test_one_that_is_told_to_stop_on_a_lost_node_is_not_placed_elsewhere() -> None:
    found = reconcile(job(TWICE), [evolve(ON_LOST, ending=E.TIMED_OUT)], LOST, 99.0)
    assert (found.missing, found.later, found.ending) == ((), (), None)


LIMITS = wasm(timeouts=Timeouts(queue=10, total=30))


@pytest.mark.parametrize(
    ("executions", "settled_at", "now", "reason"),
    [
        pytest.param([], 0, 10.9, None, id="within both"),
        pytest.param([], 0, 11, "queue limit of 10 s", id="queue"),
        pytest.param([OFFERED], 0, 11, "queue limit of 10 s", id="queue, offered"),
        pytest.param([refused(0, "n1")], 0, 11, "queue limit of 10 s", id="queue, refused"),
        pytest.param([execution(0, E.BID_ACCEPTED)], 0, 11, None, id="queue, accepted"),
        pytest.param([ENDED], 0, 11, "disk full", id="queue, accepted once"),
        pytest.param([execution()], 0, 30.9, None, id="within the total"),
        pytest.param([execution()], 0, 31, "total limit of 30 s", id="total"),
        pytest.param([], 0, 31, "total limit of 30 s", id="the total goes before the queue"),
        pytest.param([], 50, 49, None, id="not settled"),
        pytest.param([execution()], 50, 50, "total limit of 30 s", id="settled"),
    ],
)
def test_the_limits_of_a_job(
    executions: list[Execution], settled_at: float, now: float, reason: str | None
) -> None:
    found = reconcile(job(LIMITS), executions, Reach({}, settled_at), now)
    assert (found.ending is None) == (reason is None)
    if found.ending is not None and reason is not None:
        assert found.ending.state is (JobState.FAILED if "disk" in reason else JobState.TIMED_OUT)
        assert reason in found.ending.reason


OPS = job(wasm(type="ops"), targets=("n1", "n2"))
BAD = execution(0, E.FAILED, 0, outcome=FAILED)


@pytest.mark.parametrize(
    ("record", "executions", "missing", "state"),
    [
        pytest.param(evolve(OPS, targets=()), [], [], None, id="not placed"),
        pytest.param(OPS, [], [0, 1], None, id="placed"),
        pytest.param(OPS, [BAD], [1], None, id="one failed, one missing"),
        pytest.param(OPS, [BAD, execution(1, E.RUNNING, 1, "n2")], [], None, id="one failed, one runs"),
        pytest.param(
            OPS,
            [BAD, execution(1, E.COMPLETED, 1, "n2")],
            [],
            JobState.FAILED,
            id="one failed, one completed",
        ),
        pytest.param(
            OPS,
            [refused(0, "n1"), execution(1, E.COMPLETED, 1, "n2")],
            [],
            JobState.COMPLETED,
            id="one dropped, one completed",
        ),
        pytest.param(
            OPS, [refused(0, "n1"), refused(1, "n2", partition_index=1)], [], None, id="all dropped"
        ),
        pytest.param(
            OPS, [refused(0, "n1", lasting=False)], [0, 1], None, id="refused for want of room: not dropped"
        ),
    ],
)
def test_what_an_ops_job_needs(
    record: JobRecord, executions: list[Execution], missing: list[int], state: JobState | None
) -> None:
    found = reconcile(record, executions, Reach(), 10.0)
    assert [each.partition_index for each in found.missing] == missing
    assert (found.ending.state if found.ending else None) is state


def test_what_failed_first_is_the_root_of_what_fits_nowhere_then() -> None:
    nowhere = Ending(JobState.FAILED, "no node", FAILED.failure)
    ending = after_failure(Missing(0, 2, after=ENDED), nowhere)
    assert (ending.failure, ending.reason) == (FAULT.failure, "disk full; then no node")
    assert after_failure(Missing(0), nowhere) == nowhere
