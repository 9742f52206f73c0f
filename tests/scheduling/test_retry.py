"""Whether a partition is tried again, when, and where."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import ExecutionState, Outcome
from bacalhau_sdk.model.job import JobState, RetryPolicy
from bacalhau_sdk.model.message import AskForBid, BidResult, ExecutionUpdate
from bacalhau_sdk.scheduling.retry import BACKOFF_MAX, JITTER, may_retry, retry_delay
from tests.scheduling.desk import DISCARD, KEEP, Desk, Sent, ask, at, restarted, to
from tests.scheduling.makers import DONE, FAILED, FAULT, execution, node, refusal, wasm

E = ExecutionState
ONCE, TWICE = RetryPolicy(), RetryPolicy(2)
TIMEOUTS, EXITS = RetryPolicy(2, retry_timeouts=True), RetryPolicy(2, retry_nonzero_exit=True)
EXIT_1 = evolve(DONE, exit_code=1)


@pytest.mark.parametrize(
    ("policy", "state", "outcome", "attempt", "again"),
    [
        pytest.param(TWICE, E.FAILED, FAULT, 1, True, id="infrastructure"),
        pytest.param(TWICE, E.FAILED, FAULT, 2, False, id="attempts used up"),
        pytest.param(TWICE, E.FAILED, FAULT, 3, False, id="more attempts than the policy has"),
        pytest.param(ONCE, E.FAILED, FAULT, 1, False, id="no policy"),
        pytest.param(TWICE, E.FAILED, FAILED, 1, False, id="permanent"),
        pytest.param(TWICE, E.FAILED, None, 1, False, id="no outcome"),
        pytest.param(TWICE, E.FAILED, Outcome(), 1, False, id="no reason"),
        pytest.param(TWICE, E.CANCELLED, Outcome(), 1, True, id="stopped unasked"),
        pytest.param(ONCE, E.CANCELLED, Outcome(), 1, False, id="stopped unasked, no policy"),
        pytest.param(TWICE, E.TIMED_OUT, Outcome(), 1, False, id="time-out"),
        pytest.param(TIMEOUTS, E.TIMED_OUT, Outcome(), 1, True, id="time-out, by the policy"),
        pytest.param(TIMEOUTS, E.TIMED_OUT, Outcome(), 2, False, id="time-out, used up"),
        pytest.param(TWICE, E.COMPLETED, EXIT_1, 1, False, id="exit 1"),
        pytest.param(EXITS, E.COMPLETED, EXIT_1, 1, True, id="exit 1, by the policy"),
        pytest.param(EXITS, E.COMPLETED, DONE, 1, False, id="exit 0, by the policy"),
        pytest.param(EXITS, E.TIMED_OUT, Outcome(), 1, False, id="one flag is not the other"),
        pytest.param(EXITS, E.FAILED, FAILED, 1, False, id="permanent, whatever the flags"),
        pytest.param(TWICE, E.RUNNING, None, 1, False, id="live"),
    ],
)
def test_what_is_worth_another_try(
    policy: RetryPolicy, state: E, outcome: Outcome | None, attempt: int, again: bool
) -> None:
    assert may_retry(policy, execution(0, state, outcome=outcome, attempt=attempt)) is again


@pytest.mark.parametrize(
    ("backoff", "attempt", "seconds"),
    [
        (1, 1, 1),
        (1, 2, 2),
        (1, 5, 16),
        (3, 3, 12),
        (0, 9, 0),
        (1, 13, BACKOFF_MAX),
        (1, 10_000, BACKOFF_MAX),
        (7200, 1, 7200),
        (7200, 2, 7200),
    ],
)
def test_the_back_off_doubles_up_to_an_hour(backoff: float, attempt: int, seconds: float) -> None:
    found = retry_delay(RetryPolicy(2, backoff), execution(attempt=attempt))
    assert seconds <= found <= seconds * (1 + JITTER)


def test_what_failed_together_does_not_come_back_together() -> None:
    policy = RetryPolicy(9, 10)
    delays = [retry_delay(policy, execution(partition_index=index)) for index in range(100)]
    assert len({round(delay, 3) for delay in delays}) > 90
    assert max(delays) - min(delays) > 0.9 * 10 * JITTER
    assert delays == [retry_delay(policy, execution(partition_index=index)) for index in range(100)]


# ---- In the orchestrator ----


def desk_of(policy: RetryPolicy, state: E = E.RUNNING, count: int = 1) -> Desk:
    """Return a desk with job j, its execution j-0 on n1 in a state, and another node n2."""
    desk = at(state, node("n2"), spec=wasm(retry=policy, count=count))
    desk.now = 1.0
    return desk


def due(desk: Desk, serial: int = 0) -> float:
    """Return when the try after an execution may begin."""
    before = desk.executions[f"j-{serial}"]
    assert before.ended_at is not None
    return before.ended_at + retry_delay(desk.jobs["j"].spec.retry, before)


def offers(sent: Sent) -> list[tuple[str, str, int]]:
    """Return what is offered: the node, the execution, the attempt."""
    return [(name, each.execution_id, each.attempt) for name, each in sent if isinstance(each, AskForBid)]


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_after_its_back_off_a_partition_is_tried_again_elsewhere(state: E) -> None:
    desk = desk_of(RetryPolicy(2, backoff=10), state)
    assert desk.report(E.FAILED, FAULT) == to("n1", DISCARD)
    assert desk.states() == "j RUNNING, j-0 FAILED"
    assert 10 <= due(desk) - desk.now <= 11
    nodes = (node(), node("n2"))
    assert offers(desk.until(due(desk) - 0.01, *nodes)) == []
    assert offers(desk.until(due(desk), *nodes)) == [("n2", "j-1", 2)]
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 ASK_FOR_BID"
    desk.hear("n2", BidResult("j-1"), ExecutionUpdate("j-1", E.COMPLETED, DONE))
    assert desk.states() == "j COMPLETED, j-0 FAILED, j-1 COMPLETED"


def test_without_another_node_the_same_one_tries_again() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(2, backoff=0)))
    assert offers(desk.report(E.FAILED, FAULT)) == [("n1", "j-1", 2)]


@pytest.mark.parametrize(
    ("policy", "state", "outcome", "end"),
    [
        pytest.param(RetryPolicy(9, 0), E.FAILED, FAILED, JobState.FAILED, id="permanent"),
        pytest.param(ONCE, E.FAILED, FAULT, JobState.FAILED, id="no policy"),
        pytest.param(RetryPolicy(9, 0), E.TIMED_OUT, Outcome(), JobState.TIMED_OUT, id="time-out"),
        pytest.param(RetryPolicy(9, 0), E.COMPLETED, EXIT_1, JobState.COMPLETED, id="exit 1"),
    ],
)
def test_what_is_not_worth_another_try_ends_the_job(
    policy: RetryPolicy, state: E, outcome: Outcome, end: JobState
) -> None:
    desk = desk_of(policy)
    assert offers(desk.report(state, outcome)) == []
    assert desk.jobs["j"].state is end


def test_the_attempts_are_bounded_and_the_last_failure_is_the_reason() -> None:
    desk = desk_of(RetryPolicy(3, backoff=0))
    nodes: list[str] = []
    for serial in range(3):
        assert not desk.jobs["j"].state.terminal
        desk.report(E.FAILED, FAULT, serial, desk.executions[f"j-{serial}"].node)
        nodes.append(desk.executions[f"j-{serial}"].node)
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 FAILED, j-2 FAILED"
    assert [each.attempt for each in desk.executions.values()] == [1, 2, 3]
    assert desk.jobs["j"].reason == f"disk full (partition 0, attempt 3 on node {nodes[2]})"
    assert nodes[:2] == ["n1", "n2"], "a fresh node goes first"


def test_the_waits_between_the_attempts_double() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(4, backoff=2)))
    desk.now = 1.0
    begins = [desk.now]
    for serial in range(3):
        desk.report(E.FAILED, FAULT, serial)
        desk.until(due(desk, serial), node())
        desk.report(E.RUNNING, serial=serial + 1)
        begins.append(desk.now)
    waits = [later - earlier for earlier, later in pairwise(begins)]
    for wait, seconds in zip(waits, [2, 4, 8], strict=True):
        assert seconds <= wait <= seconds * (1 + JITTER)


def test_an_offer_that_is_refused_uses_up_no_attempt() -> None:
    desk = desk_of(RetryPolicy(2, backoff=0))
    assert offers(desk.report(E.FAILED, FAULT)) == [("n2", "j-1", 2)]
    assert offers(desk.hear("n2", BidResult("j-1", (refusal("n2"),)))) == [("n1", "j-2", 2)]
    assert offers(desk.report(E.FAILED, FAULT, 2)) == []
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 ASK_FOR_BID_REJECTED, j-2 FAILED"


def test_only_the_partition_that_failed_is_tried_again() -> None:
    desk = desk_of(RetryPolicy(2, backoff=0), count=2)
    desk.report(E.RUNNING, serial=1, sender=desk.executions["j-1"].node)
    desk.report(E.FAILED, FAULT)
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 RUNNING, j-2 ASK_FOR_BID"
    assert (desk.executions["j-2"].partition_index, desk.executions["j-2"].attempt) == (0, 2)
    desk.report(E.COMPLETED, DONE, 1, desk.executions["j-1"].node)
    assert not desk.jobs["j"].state.terminal
    desk.report(E.COMPLETED, DONE, 2, desk.executions["j-2"].node)
    assert desk.jobs["j"].state is JobState.COMPLETED


def test_a_permanent_failure_ends_the_job_while_another_partition_waits_for_its_next_try() -> None:
    desk = desk_of(RetryPolicy(2, backoff=10), count=2)
    desk.report(E.FAILED, FAULT)
    desk.report(E.FAILED, FAILED, 1, desk.executions["j-1"].node)
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 FAILED"
    assert desk.failure_code() == "wasm.invalid_module"


def test_of_a_partition_that_is_tried_again_for_its_exit_code_the_last_result_counts() -> None:
    desk = desk_of(RetryPolicy(3, backoff=0, retry_nonzero_exit=True), E.PUBLISHING)
    assert desk.report(E.COMPLETED, EXIT_1)[0] == ("n1", KEEP), "it may be the only result"
    assert desk.states() == "j RUNNING, j-0 COMPLETED, j-1 ASK_FOR_BID"
    desk.report(E.COMPLETED, DONE, 1, desk.executions["j-1"].node)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED, j-1 COMPLETED"


def test_an_exit_code_that_stays_bad_is_a_result_in_the_end() -> None:
    desk = desk_of(RetryPolicy(2, backoff=0, retry_nonzero_exit=True), E.PUBLISHING)
    desk.report(E.COMPLETED, EXIT_1)
    desk.report(E.COMPLETED, EXIT_1, 1, desk.executions["j-1"].node)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED, j-1 COMPLETED"


def test_a_job_that_waits_for_its_next_try_can_be_cancelled() -> None:
    desk = desk_of(RetryPolicy(2, backoff=100))
    desk.report(E.FAILED, FAULT)
    assert desk.cancel() == []
    assert desk.states() == "j CANCELLED, j-0 FAILED"
    assert offers(desk.until(300, node(), node("n2"))) == []


def test_the_next_try_is_not_forgotten_by_a_restart_and_its_number_goes_on() -> None:
    desk = desk_of(RetryPolicy(2, backoff=1000))
    desk.report(E.FAILED, FAULT)
    when = due(desk)
    desk = restarted(desk, node(), node("n2"))
    assert offers(desk.until(when - 0.01, node(), node("n2"))) == []
    assert offers(desk.until(when, node(), node("n2"))) == [("n2", "j-1", 2)]
    desk.report(E.FAILED, FAULT, 1, "n2")
    assert desk.jobs["j"].state is JobState.FAILED


def test_a_failure_is_the_root_when_the_next_try_fits_nowhere() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(2, backoff=0)))
    desk.report(E.FAILED, FAULT)
    desk.hear("n1", BidResult("j-1", (refusal("n1"),)))
    assert (desk.jobs["j"].state, desk.failure_code()) == (JobState.FAILED, "node.io")
    assert desk.jobs["j"].reason.startswith("disk full; then no known node could ever run the job")


def test_the_wait_is_explained() -> None:
    desk = desk_of(RetryPolicy(2, backoff=10))
    desk.report(E.FAILED, FAULT)
    explained = str(desk.core.explain("j", desk.now + 1))
    assert "partition 0, attempt 1: FAILED on node n1: disk full" in explained
    assert f"partition 0: attempt 2 follows in {due(desk) - 2:.1f} s" in explained


def test_an_offer_of_a_further_try_says_which_it_is() -> None:
    desk = at(E.BID_ACCEPTED, spec=wasm(retry=RetryPolicy(2, backoff=0)))
    (_, again) = desk.report(E.FAILED, FAULT)
    assert again == ("n1", evolve(ask(1, spec=desk.jobs["j"].spec), attempt=2))
