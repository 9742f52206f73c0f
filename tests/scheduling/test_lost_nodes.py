"""Nodes that fall silent, and come back: what is placed elsewhere, and when; what is fenced, and what becomes of that."""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import JobState, RetryPolicy
from bacalhau_sdk.model.message import AcknowledgeExecution, AskForBid, BidResult, CancelExecution, Heartbeat
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.events import Deliver
from bacalhau_sdk.scheduling.retry import JITTER
from tests.scheduling.desk import (
    ACCEPT,
    BIG,
    CANCEL,
    DISCARD,
    KEEP,
    REPORTS,
    Desk,
    Sent,
    ask,
    at,
    restarted,
    to,
)
from tests.scheduling.makers import DONE, FAULT, from_node, heartbeat, node, refusal, wasm

E = ExecutionState
ACCEPTED = [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING]
N2 = node("n2")
AGAIN = RetryPolicy(2, backoff=10)


def offers(sent: Sent) -> list[tuple[str, str, int]]:
    """Return what is offered: the node, the execution, the attempt."""
    return [(name, each.execution_id, each.attempt) for name, each in sent if isinstance(each, AskForBid)]


def lost(state: E, policy: RetryPolicy | None = None) -> Desk:
    """Return a desk where j-0 is in a state on n1, of which nothing was heard for just too long; n2 is well."""
    desk = at(state, N2, spec=wasm(retry=policy or RetryPolicy(), resources=Resources(cpu=3)))
    desk.until(NODE_LOST_AFTER, N2)
    return desk


# ---- Silence ----


def test_a_node_counts_as_lost_when_it_was_silent_for_too_long_and_gets_nothing_new() -> None:
    desk = Desk(node(), N2)
    desk.until(NODE_LOST_AFTER - 0.1, N2)
    assert all(each.lost_at is None for each in desk.core.membership.nodes)
    desk.until(NODE_LOST_AFTER, N2)
    assert [each.lost_at for each in desk.core.membership.nodes] == [NODE_LOST_AFTER, None]
    assert desk.submit(spec=wasm(count=3)) == [("n2", each) for _, each in desk_asks(3)]
    (reason,) = desk.core.explain_spec(wasm()).refusals
    assert (reason.node, reason.check, reason.lasting) == ("n1", Check.REACHABLE, False)


def desk_asks(count: int) -> Sent:
    spec = wasm(count=count)
    return [("n2", ask(serial, spec=spec, partition=serial)) for serial in range(count)]


def test_any_message_of_a_node_is_a_sign_of_life() -> None:
    desk = at(E.ASK_FOR_BID)
    desk.until(15)
    desk.hear("n1", ACCEPT)
    desk.until(15 + NODE_LOST_AFTER - 0.1)
    assert desk.states() == "j RUNNING, j-0 BID_ACCEPTED"
    desk.until(15 + NODE_LOST_AFTER)
    assert desk.states() == "j FAILED, j-0 FAILED"


def test_a_job_that_only_a_lost_node_could_run_waits_for_it() -> None:
    desk = Desk(node())
    desk.until(30)
    assert desk.submit() == []
    assert desk.states() == "j QUEUED"
    assert offers(desk.beat(node())) == [("n1", "j-0", 1)]


def test_but_not_for_one_that_has_been_lost_for_an_hour() -> None:
    desk = Desk(node())
    desk.until(30)
    desk.submit()
    desk.until(3600)
    assert desk.states() == "j QUEUED"
    desk.until(3700)
    assert (desk.states(), desk.failure_code()) == ("j FAILED", "job.no_matching_node")


# ---- An offer that was never accepted ----


def test_an_offer_that_a_lost_node_never_answered_is_made_elsewhere_at_once_and_is_no_attempt() -> None:
    desk = at(E.ASK_FOR_BID, N2)
    sent = desk.until(NODE_LOST_AFTER, N2)
    assert sent == [("n1", CANCEL), ("n2", ask(1))]
    assert desk.states() == "j PENDING, j-0 CANCELLED, j-1 ASK_FOR_BID"
    assert (desk.executions["j-0"].fenced, desk.executions["j-1"].attempt) == (True, 1)
    desk.hear("n2", BidResult("j-1"))
    assert desk.report(E.FAILED, FAULT, 1, "n2") != []
    assert desk.jobs["j"].state is JobState.FAILED


def test_without_room_elsewhere_the_offer_stays_and_the_node_may_still_accept_it() -> None:
    desk = at(E.ASK_FOR_BID)
    desk.until(40)
    assert desk.states() == "j QUEUED, j-0 ASK_FOR_BID"
    desk.hear("n1", ACCEPT)
    assert desk.states() == "j RUNNING, j-0 BID_ACCEPTED"


def test_an_offer_that_was_refused_after_all_is_made_elsewhere() -> None:
    desk = at(E.ASK_FOR_BID)
    desk.until(40)
    assert desk.hear("n1", BidResult("j-0", (refusal(),))) == []
    assert desk.jobs["j"].state is JobState.FAILED


# ---- Accepted, without a further try ----


@pytest.mark.parametrize("state", ACCEPTED)
def test_an_execution_without_a_further_try_has_failed_with_its_node(state: E) -> None:
    desk = lost(state)
    assert desk.states() == "j FAILED, j-0 FAILED"
    assert (desk.failure_code(), desk.executions["j-0"].fenced) == ("node.lost", True)
    assert desk.history[-2] == (
        "partition 0, attempt 1: failed on node n1: node n1 could not be reached without the node's word: "
        "what it reports is not recorded any more"
    )


# ---- Accepted, with a further try ----


@pytest.mark.parametrize("state", ACCEPTED)
def test_the_replacement_is_placed_after_the_back_off_and_only_then_the_old_one_is_fenced(state: E) -> None:
    desk = lost(state, AGAIN)
    assert desk.states() == f"j RUNNING, j-0 {state.value}"
    assert "node n1 cannot be reached, it may come back" in str(desk.core.explain("j", desk.now))
    assert desk.until(NODE_LOST_AFTER + 10 - 0.1, N2) == []
    sent = desk.until(NODE_LOST_AFTER + 10 * (1 + JITTER), N2)
    assert (sent[0], offers(sent)) == (("n1", CANCEL), [("n2", "j-1", 2)])
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 ASK_FOR_BID"
    old, new = desk.executions["j-0"], desk.executions["j-1"]
    assert (old.fenced, old.ended_at) == (True, new.created_at)


@pytest.mark.parametrize("state", ACCEPTED)
def test_until_then_it_may_come_back_and_complete(state: E) -> None:
    desk = lost(state, AGAIN)
    desk.until(NODE_LOST_AFTER + 9, N2)
    assert desk.beat(node(), None, j_0=state) == []
    desk.until(60, node(), N2, j_0=state)
    assert desk.states() == f"j RUNNING, j-0 {state.value}"
    assert desk.report(E.COMPLETED, DONE) == to("n1", KEEP)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


def test_without_room_for_the_replacement_nothing_is_fenced() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=AGAIN))
    desk.until(100)
    assert desk.states() == "j RUNNING, j-0 RUNNING"
    desk.beat(node(), None, j_0=E.RUNNING)
    desk.report(E.COMPLETED, DONE)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


def test_a_node_that_joins_gets_the_replacement() -> None:
    desk = at(E.RUNNING, spec=wasm(retry=AGAIN))
    desk.until(100)
    sent = desk.beat(N2)
    assert (sent[0], offers(sent)) == (("n1", CANCEL), [("n2", "j-1", 2)])


def test_the_last_try_on_a_lost_node_ends_the_job() -> None:
    desk = lost(E.RUNNING, AGAIN)
    desk.until(40, N2)
    desk.hear("n2", BidResult("j-1"))
    desk.until(70, node())
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 FAILED"
    assert desk.failure_code() == "node.lost"


# ---- What is fenced ----


def fenced() -> Desk:
    """Return a desk where j-0 was fenced on n1, and j-1 runs on n2."""
    desk = lost(E.RUNNING, AGAIN)
    desk.until(40, N2)
    desk.hear("n2", BidResult("j-1"))
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 BID_ACCEPTED"
    return desk


def test_what_is_fenced_counts_against_its_node_until_the_node_does_not_list_it() -> None:
    desk = fenced()
    assert desk.core.membership.held_by("n1") == ("j-0",)
    assert desk.free("n1").cpu == 1
    desk.beat(node(), None, j_0=E.RUNNING)
    assert desk.free("n1").cpu == 1
    desk.beat(node())
    assert desk.free("n1") == node().capacity
    assert desk.core.membership.held_by("n1") == ()
    assert "it is gone from there by now" in str(desk.core.explain("j", desk.now))


@pytest.mark.parametrize("state", [E.COMPLETED, E.FAILED, E.CANCELLED])
def test_or_until_the_node_reports_its_end(state: E) -> None:
    desk = fenced()
    desk.submit("k", BIG)
    assert "k QUEUED" in desk.states()
    desk.beat(node(), None, j_0=E.RUNNING)
    sent = desk.report(state, DONE if state is E.COMPLETED else FAULT)
    assert sent == [("n1", DISCARD), ("n1", ask(0, "k", BIG))], "what waits gets the room"
    assert desk.free("n1").cpu == 0


def test_a_fenced_execution_is_killed_whenever_its_node_lists_it_as_live() -> None:
    desk = fenced()
    for _ in range(3):
        assert desk.beat(node(), None, j_0=E.RUNNING) == to("n1", CANCEL)
    assert desk.beat(node(), None, j_0=E.CANCELLED) == to("n1", DISCARD)


@pytest.mark.parametrize("message", [*REPORTS.values(), BidResult("j-0", (refusal(),))], ids=str)
def test_nothing_that_a_fenced_execution_reports_is_recorded(message: object) -> None:
    desk = fenced()
    before = desk.snapshot()
    desk.hear("n1", message)  # type: ignore[arg-type]  # one of the messages of a node
    assert desk.snapshot() == before


def test_the_results_of_a_fenced_execution_are_dropped() -> None:
    desk = fenced()
    assert desk.report(E.COMPLETED, DONE) == to("n1", AcknowledgeExecution("j-0", discard=True))
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert desk.states() == "j COMPLETED, j-0 FAILED, j-1 COMPLETED"


def test_what_is_fenced_is_not_forgotten_by_a_restart() -> None:
    desk = restarted(fenced())
    assert desk.core.membership.held_by("n1") == ("j-0",)
    assert desk.beat(node(), None, j_0=E.RUNNING) == to("n1", CANCEL)
    assert desk.free("n1").cpu == 1


def test_what_was_not_decided_before_a_restart_is_fenced_after_it() -> None:
    """Its node is not heard of in the new life: that is silence, too."""
    desk = restarted(at(E.RUNNING, spec=wasm(retry=AGAIN)), N2)
    settled = desk.now + NODE_LOST_AFTER
    desk.until(settled + 9.9, N2)
    assert desk.states() == "j RUNNING, j-0 RUNNING"
    desk.until(settled + 11.1, N2)
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 ASK_FOR_BID"


# ---- Envelopes that are overtaken ----


def test_an_old_heartbeat_tells_nothing() -> None:
    info = node()
    desk = at(E.RUNNING)
    number = desk.sequence
    desk.beat(evolve(info, revision=2), None, j_0=E.RUNNING)
    old = from_node("n1", Heartbeat(info), number + 1)
    assert desk.handle(Deliver(old)) == []
    assert [each.info.revision for each in desk.core.membership.nodes] == [2]
    assert desk.states() == "j RUNNING, j-0 RUNNING"


def test_an_old_message_is_no_sign_of_life() -> None:
    desk = at(E.RUNNING)
    number = desk.sequence
    desk.until(15)
    desk.handle(Deliver(evolve(heartbeat(node(), j_0=E.RUNNING), sequence=number)))
    desk.handle(Deliver(from_node("n1", ACCEPT, number)))
    desk.until(NODE_LOST_AFTER)
    assert desk.states() == "j FAILED, j-0 FAILED"


def test_a_node_that_was_restarted_and_lists_nothing_has_lost_what_it_had() -> None:
    desk = at(E.RUNNING, N2, spec=wasm(retry=RetryPolicy(2, 0)))
    sent = desk.beat(node(revision=7))
    assert (sent[0], offers(sent)) == (("n1", DISCARD), [("n2", "j-1", 2)])
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 ASK_FOR_BID"
    assert not desk.executions["j-0"].fenced


def test_an_offer_to_the_earlier_life_of_a_node_is_refused_and_made_again() -> None:
    desk = at(E.ASK_FOR_BID)
    desk.beat(node(revision=7))
    stale = evolve(refusal(lasting=False), check=Check.BROADCAST)
    sent = desk.hear("n1", BidResult("j-0", (stale,)))
    assert sent == to("n1", evolve(ask(1), node_revision=7)), "it is asked at once: it has room"


def test_a_draining_node_keeps_what_it_has_and_gets_nothing_new() -> None:
    desk = at(E.RUNNING)
    drained = node(draining=True, revision=1)
    assert desk.beat(drained, None, j_0=E.RUNNING) == []
    assert desk.submit("k") == []
    assert desk.states() == "j RUNNING, k QUEUED, j-0 RUNNING"
    assert [each.check for each in desk.core.explain("k", 0.0).refusals] == [Check.DRAINING]
    assert desk.report(E.COMPLETED, DONE) == to("n1", KEEP)
    assert offers(desk.beat(node(revision=2))) == [("n1", "k-0", 1)]


def test_a_cancel_is_told_to_a_lost_node_when_it_is_back() -> None:
    desk = lost(E.RUNNING, AGAIN)
    assert desk.cancel() == to("n1", CANCEL)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
    assert desk.beat(node(), None, j_0=E.RUNNING) == to("n1", CancelExecution("j-0"))
    assert desk.report(E.COMPLETED, DONE) == to("n1", DISCARD)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
