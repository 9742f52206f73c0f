"""What a job still needs: a function of its records."""

from __future__ import annotations

import pytest

from bacalhau_sdk.model.execution import Execution, ExecutionState, Failure, FailureKind, Outcome
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.scheduling.reconcile import Ending, Needs, reconcile
from tests.scheduling.makers import FAILED, execution, job, refusal, refused, wasm

E = ExecutionState
LIVE = [E.NEW, E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING]


def needs(count: int, *executions: Execution) -> Needs:
    return reconcile(job(wasm(count=count)), executions)


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
    assert found.missing == tuple(missing)
    assert found.ending is None


@pytest.mark.parametrize("state", LIVE)
def test_a_partition_with_a_live_execution_is_not_missing(state: E) -> None:
    found = needs(2, execution(0, state, 1))
    assert found.missing == ((0, 1),)
    assert found.running == (state not in (E.NEW, E.ASK_FOR_BID))


def test_a_job_of_which_a_part_is_done_is_running() -> None:
    assert needs(2, execution(0, E.COMPLETED, 0)).running
    assert not needs(2, refused(0, "n1")).running


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_job_is_complete_when_all_its_partitions_are(count: int) -> None:
    done = [execution(index, E.COMPLETED, index) for index in range(count)]
    assert needs(count, *done) == Needs(Ending(JobState.COMPLETED), (), running=count > 0)
    if done:
        assert needs(count, *done[1:]).ending is None


def test_two_results_of_one_partition_are_not_two_partitions() -> None:
    assert needs(2, execution(0, E.COMPLETED, 0), execution(1, E.COMPLETED, 0)).missing == ((1, 1),)


def test_the_failure_of_one_partition_is_the_end_of_the_job() -> None:
    found = needs(
        3, execution(0, E.RUNNING, 0), execution(1, E.FAILED, 1, outcome=FAILED), execution(2, E.RUNNING, 2)
    )
    assert FAILED.failure is not None
    assert found.ending == Ending(
        JobState.FAILED, "no module (partition 1 failed on node n1)", FAILED.failure
    )
    assert found.missing == ()


def test_the_first_failure_is_the_reason() -> None:
    later = Outcome(failure=Failure(FailureKind.INFRASTRUCTURE, "node.io", "disk full"))
    found = needs(2, execution(0, E.FAILED, 1, outcome=FAILED), execution(1, E.FAILED, 0, outcome=later))
    assert found.ending is not None
    assert found.ending.failure is FAILED.failure


def test_a_failure_without_a_reason_is_one_of_the_infrastructure() -> None:
    found = needs(1, execution(0, E.FAILED))
    assert found.ending is not None
    assert found.ending.failure == Failure(
        FailureKind.INFRASTRUCTURE, "execution.failed", "the node gave no reason"
    )


@pytest.mark.parametrize(("stop_requested", "code"), [(False, "node.stopped"), (True, "node.lost_execution")])
def test_an_execution_that_ends_although_the_job_is_wanted_is_a_fault_of_its_node(
    stop_requested: bool, code: str
) -> None:
    found = needs(2, execution(0, E.CANCELLED, stop_requested=stop_requested))
    assert found.ending is not None
    assert found.ending.state is JobState.FAILED
    assert found.ending.failure is not None
    assert (found.ending.failure.kind, found.ending.failure.code) == (FailureKind.INFRASTRUCTURE, code)


def test_an_execution_that_took_too_long_is_not_tried_for_ever() -> None:
    found = needs(1, execution(0, E.TIMED_OUT))
    assert found.ending == Ending(JobState.TIMED_OUT, "partition 0 took too long on node n1")


def test_a_job_that_is_ending_needs_nothing_more() -> None:
    ending = job(
        wasm(count=2),
        ending=JobState.CANCELLED,
        reason="enough",
        failure=FAILED.failure,
        refusals=(refusal(),),
    )
    found = reconcile(ending, [execution(0, E.FAILED, 0, outcome=FAILED)])
    assert found.ending == Ending(JobState.CANCELLED, "enough", FAILED.failure, (refusal(),))
    assert found.missing == ()
