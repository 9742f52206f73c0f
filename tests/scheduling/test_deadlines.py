"""What time does to a job: limits that pass, nodes that fall silent, and when to look again."""

from __future__ import annotations

import math

import pytest

from bacalhau_sdk.model.execution import Execution, ExecutionState, Failure, FailureKind
from bacalhau_sdk.model.job import JobState, RetryPolicy, Timeouts
from bacalhau_sdk.model.message import BidResult, CancelExecution, ExecutionUpdate
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.scheduling.deadlines import GRACE, NODE_LOST_AFTER, Reach, next_deadline, overtaken
from bacalhau_sdk.scheduling.events import Tick
from tests.scheduling.desk import BIG, CANCEL, DISCARD, KEEP, LIVE, Desk, at, restarted, to
from tests.scheduling.makers import DONE, FAILED, FAULT, execution, job, node, refusal, wasm

E = ExecutionState
LIMIT = wasm(timeouts=Timeouts(execution=30))
LIMIT_TWICE = wasm(timeouts=Timeouts(execution=30), retry=RetryPolicy(2))
LOST = Reach({"n1": 100.0})
DYING = execution(ending=E.CANCELLED, stop_requested_at=50.0)
LATE = execution(ending=E.TIMED_OUT, stop_requested_at=50.0)


@pytest.mark.parametrize(
    ("record", "found", "reach", "now", "expected"),
    [
        # The limit of an execution: started at 1, 30 s.
        pytest.param(job(LIMIT), execution(), Reach(), 30.9, None, id="within the limit"),
        pytest.param(job(LIMIT), execution(), Reach(), 31, "told TIMED_OUT", id="past the limit"),
        pytest.param(job(), execution(), Reach(), 9e9, None, id="no limit"),
        pytest.param(job(LIMIT), execution(0, E.ASK_FOR_BID), Reach(), 99, None, id="offered"),
        pytest.param(job(LIMIT), execution(0, E.BID_ACCEPTED), Reach(), 99, None, id="preparing"),
        pytest.param(job(LIMIT), execution(0, E.PUBLISHING), Reach(), 99, None, id="publishing"),
        pytest.param(job(LIMIT), execution(0, E.COMPLETED), Reach(), 99, None, id="ended"),
        pytest.param(job(LIMIT), execution(), Reach({}, 60.0), 59, None, id="not settled"),
        pytest.param(job(LIMIT), execution(), Reach({}, 60.0), 60, "told TIMED_OUT", id="settled"),
        # One that was told to stop at 50.
        pytest.param(job(), DYING, Reach(), 79.9, None, id="dying"),
        pytest.param(job(), DYING, Reach(), 80, "fenced CANCELLED", id="does not die"),
        pytest.param(job(LIMIT), LATE, Reach(), 79.9, None, id="dying of its limit"),
        pytest.param(job(LIMIT), LATE, Reach(), 80, "fenced TIMED_OUT", id="does not die of its limit"),
        pytest.param(job(), DYING, Reach({}, 90.0), 89, None, id="dying, not settled"),
        pytest.param(job(), DYING, LOST, 51, "fenced CANCELLED", id="dying on a lost node"),
        pytest.param(job(LIMIT), LATE, LOST, 51, "fenced TIMED_OUT", id="dying of its limit on a lost node"),
        # On a lost node.
        pytest.param(job(), execution(), LOST, 101, "fenced FAILED", id="lost, no further try"),
        pytest.param(job(LIMIT), execution(), LOST, 101, "fenced FAILED", id="lost and late"),
        pytest.param(job(LIMIT_TWICE), execution(), LOST, 101, None, id="lost, a further try"),
        pytest.param(
            job(LIMIT_TWICE), execution(attempt=2), LOST, 101, "fenced FAILED", id="lost, tries used up"
        ),
        pytest.param(job(), execution(0, E.ASK_FOR_BID), LOST, 101, None, id="offer on a lost node"),
        pytest.param(job(), execution(node="n2"), LOST, 101, None, id="another node is lost"),
    ],
)
def test_what_time_alone_changes(
    record: JobRecord, found: Execution, reach: Reach, now: float, expected: str | None
) -> None:
    changed = overtaken(record, [found], reach, now)
    texts = [
        f"fenced {each.state.value}" if each.fenced else f"told {each.ending.value if each.ending else None}"
        for each in changed
    ]
    assert texts == ([expected] if expected else [])
    for each in changed:
        assert each.modified_at == now
        assert (each.ended_at if each.fenced else each.stop_requested_at) == now
        if each.state is E.FAILED:
            assert each.outcome is not None
            assert each.outcome.failure == Failure(
                FailureKind.INFRASTRUCTURE,
                "node.lost",
                "node n1 could not be reached",
                "a RetryPolicy with more attempts gives it another try",
            )


ALL = wasm(timeouts=Timeouts(queue=50, execution=30, total=100))


@pytest.mark.parametrize(
    ("record", "executions", "later", "reach", "now", "expected"),
    [
        pytest.param(job(), [], [], Reach(), 2, math.inf, id="nothing"),
        pytest.param(job(), [execution()], [], Reach(), 2, math.inf, id="no limit"),
        pytest.param(job(ALL), [], [], Reach(), 2, 51, id="queue"),
        pytest.param(job(ALL), [execution(0, E.ASK_FOR_BID)], [], Reach(), 2, 51, id="queue, offered"),
        pytest.param(job(ALL), [execution(0, E.BID_ACCEPTED)], [], Reach(), 2, 101, id="total, accepted"),
        pytest.param(job(ALL), [execution()], [], Reach(), 2, 31, id="execution"),
        pytest.param(job(ALL), [execution(0, E.PUBLISHING)], [], Reach(), 2, 101, id="publishing"),
        pytest.param(job(ALL), [execution()], [12.0, 9.0], Reach(), 2, 9, id="a next try"),
        pytest.param(job(ALL), [execution()], [12.0, 9.0], Reach(), 9, 12, id="what is now is not next"),
        pytest.param(job(ALL), [DYING], [], Reach(), 51, 80, id="dying"),
        pytest.param(job(ALL, ending=JobState.FAILED), [], [], Reach(), 2, math.inf, id="ending: no limit"),
        pytest.param(job(ending=JobState.FAILED), [DYING], [], Reach(), 51, 80, id="ending, dying"),
        pytest.param(job(ALL, state=JobState.FAILED), [DYING], [3.0], Reach(), 2, math.inf, id="ended"),
        pytest.param(job(), [execution()], [], Reach({}, 40.0), 2, 40, id="not settled"),
        pytest.param(job(ALL), [execution()], [], Reach({}, 40.0), 2, 40, id="no limit before it is settled"),
        pytest.param(job(), [execution()], [], Reach({}, 40.0), 40, math.inf, id="settled"),
    ],
)
def test_when_to_look_again(
    record: JobRecord,
    executions: list[Execution],
    later: list[float],
    reach: Reach,
    now: float,
    expected: float,
) -> None:
    assert next_deadline(record, executions, later, reach, now) == expected


# ---- In the orchestrator: limits ----


def limited(state: E, **limits: float) -> Desk:
    """Return a desk with job j, its execution on n1 in a state since 0 s; n1 may be kept alive."""
    return at(state, spec=wasm(timeouts=Timeouts(**limits)))


def test_an_execution_that_runs_for_too_long_is_told_to_stop_and_has_timed_out_when_it_is_dead() -> None:
    desk = limited(E.RUNNING, execution=12)
    assert desk.until(11.9, node(), j_0=E.RUNNING) == []
    assert desk.until(12, node(), j_0=E.RUNNING) == to("n1", CANCEL)
    assert desk.history[-1] == (
        "partition 0, attempt 1: node n1 is told to stop it because it runs for too long"
    )
    assert desk.states() == "j RUNNING, j-0 RUNNING", "nothing is given away while it may still run"
    assert desk.report(E.CANCELLED) == to("n1", DISCARD)
    assert desk.states() == "j TIMED_OUT, j-0 TIMED_OUT"
    assert desk.jobs["j"].reason == "partition 0 ran for more than its limit of 12 s on node n1"


def test_one_that_ran_for_too_long_and_yet_came_to_its_end_is_kept() -> None:
    desk = limited(E.RUNNING, execution=12)
    desk.until(12, node(), j_0=E.RUNNING)
    assert desk.report(E.COMPLETED, DONE) == to("n1", KEEP)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


def test_one_that_ran_for_too_long_and_failed_meanwhile_has_failed() -> None:
    desk = limited(E.RUNNING, execution=12)
    desk.until(12, node(), j_0=E.RUNNING)
    desk.report(E.FAILED, FAILED)
    assert desk.states() == "j FAILED, j-0 FAILED"


def test_the_limit_counts_from_when_the_workload_runs_and_not_while_results_are_published() -> None:
    desk = limited(E.BID_ACCEPTED, execution=12)
    assert desk.until(100, node(), j_0=E.BID_ACCEPTED) == []
    desk.report(E.RUNNING)
    assert desk.until(111.9, node(), j_0=E.RUNNING) == []
    desk.report(E.PUBLISHING)
    assert desk.until(300, node(), j_0=E.PUBLISHING) == []
    desk.report(E.COMPLETED, DONE)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


def test_the_limit_of_a_heartbeats_report_counts_too() -> None:
    desk = limited(E.BID_ACCEPTED, execution=12)
    desk.beat(node(), 5, j_0=E.RUNNING)
    assert desk.until(17, node(), j_0=E.RUNNING) == to("n1", CANCEL)


@pytest.mark.parametrize("again", [False, True])
def test_a_time_out_is_tried_again_if_the_policy_says_so(again: bool) -> None:
    spec = wasm(timeouts=Timeouts(execution=12), retry=RetryPolicy(2, 0, retry_timeouts=again))
    desk = at(E.RUNNING, spec=spec)
    desk.until(12, node(), j_0=E.RUNNING)
    desk.report(E.CANCELLED)
    assert desk.jobs["j"].state is (JobState.RUNNING if again else JobState.TIMED_OUT)
    assert ("j-1" in desk.executions) is again


def test_a_job_that_no_node_accepts_within_its_queue_limit_has_timed_out() -> None:
    desk = at(E.RUNNING, spec=BIG)
    desk.submit("k", wasm(resources=BIG.resources, timeouts=Timeouts(queue=40)))
    desk.until(39.9, node(), j_0=E.RUNNING)
    assert "k QUEUED" in desk.states()
    desk.until(40, node(), j_0=E.RUNNING)
    assert desk.jobs["k"].state is JobState.TIMED_OUT
    assert desk.jobs["k"].reason.splitlines() == [
        "no node accepted it within its queue limit of 40 s; 1 of 1 nodes match, none takes it now",
        f"  {desk.jobs['k'].refusals[0]}",
    ]
    assert desk.jobs["j"].state is JobState.RUNNING


def test_an_offer_that_is_not_answered_within_the_queue_limit_is_taken_back() -> None:
    desk = limited(E.ASK_FOR_BID, queue=12)
    assert desk.until(12, node(), j_0=E.ASK_FOR_BID) == to("n1", CANCEL)
    desk.report(E.CANCELLED)
    assert desk.states() == "j TIMED_OUT, j-0 CANCELLED"


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_a_job_that_was_accepted_is_past_its_queue_limit(state: E) -> None:
    desk = limited(state, queue=12)
    assert desk.until(60, node(), j_0=state) == []
    assert desk.jobs["j"].state is JobState.RUNNING


def test_with_a_queue_limit_a_job_that_fits_no_known_node_waits_for_one() -> None:
    desk = Desk(node())
    far = wasm(selector="zone = far", timeouts=Timeouts(queue=40))
    desk.submit(spec=far)
    desk.submit("k", far)
    assert desk.states() == "j QUEUED, k QUEUED"
    desk.until(20, node())
    sent = desk.beat(node("n2", labels={"zone": "far"}))
    assert [name for name, _ in sent] == ["n2", "n2"]
    desk.hear("n2", BidResult("j-0"), BidResult("k-0", (refusal("n2"),)))
    desk.until(40, node(), node("n2", labels={"zone": "far"}), j_0=E.BID_ACCEPTED)
    assert desk.states() == "j RUNNING, k TIMED_OUT, j-0 BID_ACCEPTED, k-0 ASK_FOR_BID_REJECTED"


@pytest.mark.parametrize("state", LIVE)
def test_a_job_that_takes_too_long_in_all_is_stopped_whatever_it_does(state: E) -> None:
    desk = limited(state, total=12)
    assert desk.until(12, node(), j_0=state) == to("n1", CANCEL)
    assert desk.report(E.COMPLETED, DONE) == to("n1", DISCARD)
    assert desk.states() == "j TIMED_OUT, j-0 CANCELLED"
    assert desk.jobs["j"].reason == "it took longer than its total limit of 12 s"


def test_the_total_limit_ends_a_job_that_waits_for_its_next_try() -> None:
    desk = at(E.RUNNING, spec=wasm(timeouts=Timeouts(total=12), retry=RetryPolicy(2, 100)))
    desk.now = 1.0
    desk.report(E.FAILED, FAULT)
    desk.until(12, node())
    assert desk.states() == "j TIMED_OUT, j-0 FAILED"


# ---- Bounded ends ----


def test_what_does_not_end_when_told_to_is_fenced_after_the_grace_and_the_lost_window() -> None:
    desk = at(E.RUNNING)
    desk.now = 1.0
    desk.cancel()
    bound = 1.0 + GRACE + NODE_LOST_AFTER
    desk.until(bound - 0.1, node(), j_0=E.RUNNING)
    assert desk.states() == "j RUNNING, j-0 RUNNING"
    desk.until(bound, node(), j_0=E.RUNNING)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
    assert desk.executions["j-0"].fenced
    assert "j-0" in desk.core.membership.held_by("n1"), "it may still run there"
    assert "fenced: it may still run there" in str(desk.core.explain("j", desk.now))


def test_a_cancelled_job_on_a_lost_node_ends_at_once() -> None:
    desk = at(E.RUNNING)
    desk.until(NODE_LOST_AFTER - 1)
    assert desk.cancel() == to("n1", CANCEL)
    assert desk.until(NODE_LOST_AFTER) == to("n1", CANCEL)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
    assert desk.jobs["j"].ended_at == NODE_LOST_AFTER


def test_a_job_that_is_cancelled_when_its_node_is_lost_already_ends_in_the_same_step() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(2, 100)))
    desk.until(30)
    assert desk.cancel() == to("n1", CANCEL)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"


def test_one_that_ran_for_too_long_and_does_not_die_has_timed_out() -> None:
    desk = limited(E.RUNNING, execution=12)
    desk.until(12 + GRACE + NODE_LOST_AFTER, node(), j_0=E.RUNNING)
    assert desk.states() == "j TIMED_OUT, j-0 TIMED_OUT"
    assert desk.executions["j-0"].fenced


# ---- Standstill and restart ----


@pytest.mark.parametrize("limits", [{"execution": 12.0}, {"total": 12.0}], ids=str)
def test_after_a_restart_no_limit_counts_before_the_nodes_have_had_their_time(
    limits: dict[str, float],
) -> None:
    desk = restarted(limited(E.RUNNING, **limits))
    settled = desk.now + NODE_LOST_AFTER
    assert desk.until(settled - 0.1, node(), j_0=E.RUNNING) == []
    assert desk.until(settled, node(), j_0=E.RUNNING) == to("n1", CANCEL)


def test_nor_the_queue_limit() -> None:
    desk = Desk(node())
    desk.submit(spec=wasm(selector="zone = far", timeouts=Timeouts(queue=40)))
    desk = restarted(desk, node("n2", labels={"zone": "far"}))
    assert desk.executions["j-0"].node == "n2", "what the orchestrator was away for is not the job's fault"


def test_what_completed_while_the_orchestrator_was_away_is_kept() -> None:
    desk = restarted(limited(E.RUNNING, total=12))
    desk.report(E.COMPLETED, DONE)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


@pytest.mark.parametrize(
    ("late", "states"),
    [
        pytest.param(1.9, "j FAILED, j-0 FAILED", id="a wake that is a little late"),
        pytest.param(2.1, "j RUNNING, j-0 RUNNING", id="a standstill"),
    ],
)
def test_after_a_standstill_no_silence_counts_before_the_nodes_have_had_their_time(
    late: float, states: str
) -> None:
    desk = at(E.RUNNING)
    desk.until(NODE_LOST_AFTER - 1e-6)
    desk.now = desk.wake_at + late
    stood = desk.now
    desk.handle(Tick())
    assert desk.states() == states
    desk.until(stood + NODE_LOST_AFTER)
    assert desk.states() == "j FAILED, j-0 FAILED"


def test_after_a_standstill_the_silence_is_forgiven_when_the_node_is_heard_of() -> None:
    desk = at(E.RUNNING)
    desk.now = 500.0
    desk.handle(Tick())
    desk.beat(node(), None, j_0=E.RUNNING)
    desk.until(600, node(), j_0=E.RUNNING)
    assert desk.states() == "j RUNNING, j-0 RUNNING"


def test_a_report_that_ends_a_standstill_shows_it_too() -> None:
    desk = limited(E.RUNNING, total=12)
    desk.now = 500.0
    assert desk.hear("n1", ExecutionUpdate("j-0", E.PUBLISHING)) == []
    assert desk.states() == "j RUNNING, j-0 PUBLISHING"
    assert "limits and silent nodes count in 20.0 s" in str(desk.core.explain("j", desk.now))


def test_a_clock_that_was_put_back_counts_on_from_the_records() -> None:
    before = limited(E.RUNNING, execution=12)
    before.until(10, node(), j_0=E.RUNNING)
    before.submit("k", wasm(count=0))
    desk = Desk(snapshot=before.snapshot(), now=-1000.0)
    assert desk.until(-1000 + NODE_LOST_AFTER - 0.1, node(), j_0=E.RUNNING) == []
    assert desk.until(-1000 + NODE_LOST_AFTER + 5, node(), j_0=E.RUNNING)[0] == ("n1", CancelExecution("j-0"))
    stop = desk.executions["j-0"].stop_requested_at
    assert stop is not None
    assert stop >= 10 + NODE_LOST_AFTER, "no time lies before what is recorded"
