"""Which nodes are known, and what they hold by the records."""

from __future__ import annotations

import math

import pytest

from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.membership import NODE_FORGOTTEN_AFTER, Membership, standing_refusal
from tests.scheduling.makers import entry, execution, node, refusal

ONE_CPU = Resources(cpu=1)
LOST = NODE_LOST_AFTER


def test_a_new_node_and_a_changed_one_are_news() -> None:
    members = Membership()
    assert members.heard_of(node("n1"), 1, 1.0)
    assert not members.heard_of(node("n1"), 2, 2.0)
    assert members.heard_of(node("n1", cpu=8, revision=1), 3, 3.0)
    found = entry(members.nodes, "n1")
    assert (found.info.capacity.cpu, found.account.capacity.cpu, found.last_seen) == (8, 8, 3.0)


def test_a_live_execution_is_counted_until_it_ends() -> None:
    members = Membership()
    members.heard_of(node("n1", cpu=2), 1, 1.0)
    for serial in range(2):
        members.hold(execution(serial), ONE_CPU)
    members.hold(execution(1), ONE_CPU)
    assert members.held_by("n1") == ("j-0", "j-1")
    assert entry(members.nodes, "n1").account.free.cpu == 0
    assert members.release(execution(0))
    assert not members.release(execution(0))
    assert entry(members.nodes, "n1").account.free.cpu == 1
    assert members.held_by("n1") == ("j-1",)


def test_the_index_knows_of_it() -> None:
    members = Membership()
    members.heard_of(node("n1", max_executions=1), 1, 1.0)
    free = members.nodes._with_slot
    members.hold(execution(0), ONE_CPU)
    assert members.nodes._with_slot == 0
    members.release(execution(0))
    assert members.nodes._with_slot == free == 1


def test_what_a_node_holds_is_known_before_it_is_heard_of_and_stays_when_it_changes() -> None:
    """After a restart the records are there before the nodes are."""
    members = Membership()
    members.hold(execution(0), ONE_CPU)
    assert members.nodes.get("n1") is None
    members.heard_of(node("n1", cpu=2), 1, 1.0)
    assert entry(members.nodes, "n1").account.free.cpu == 1
    members.heard_of(node("n1", cpu=4, revision=1), 2, 2.0)
    assert entry(members.nodes, "n1").account.free.cpu == 3
    members.heard_of(node("n1", cpu=0.5, revision=2), 3, 3.0)
    assert entry(members.nodes, "n1").account.free.cpu == 0
    members.release(execution(0))
    assert entry(members.nodes, "n1").account.free.cpu == 0.5


def test_an_execution_of_a_node_that_is_not_known_ends_as_well() -> None:
    members = Membership()
    assert not members.release(execution(0))
    members.hold(execution(0), ONE_CPU)
    assert members.release(execution(0))
    assert members.held_by("n1") == ()


def test_a_node_that_has_no_room_by_its_own_account_gets_nothing_until_it_is_heard_of() -> None:
    members = Membership()
    members.saturate("unknown", refusal("unknown", lasting=False))
    members.heard_of(node("n1"), 1, 1.0)
    members.saturate("n1", refusal(lasting=False))
    assert members.nodes._with_slot == 0
    assert members.heard_of(node("n1"), 2, 2.0), "a job may fit now"
    assert members.nodes._with_slot == 1
    assert not members.heard_of(node("n1"), 3, 3.0)


def test_a_node_that_has_no_room_gets_something_when_one_of_its_executions_ends() -> None:
    members = Membership()
    members.heard_of(node("n1"), 1, 1.0)
    members.hold(execution(0), ONE_CPU)
    members.hold(execution(1), ONE_CPU)
    members.saturate("n1", refusal(lasting=False))
    members.release(execution(0))
    assert members.nodes._with_slot == 1
    members.saturate("n1", refusal(lasting=False, check=Check.DRAINING))
    members.release(execution(1))
    assert members.nodes._with_slot == 0, "it was not room that it lacked"


# ---- Silence ----


@pytest.mark.parametrize(
    ("last", "settled_at", "now", "lost"),
    [
        pytest.param(1, -math.inf, 1 + LOST - 0.1, False, id="heard of lately"),
        pytest.param(1, -math.inf, 1 + LOST, True, id="silent"),
        pytest.param(1, 50, 49.9, False, id="silence that does not count yet"),
        pytest.param(1, 50, 50, True, id="silence that counts now"),
        pytest.param(40, 50, 50, False, id="heard of before it counts"),
    ],
)
def test_a_node_is_lost_after_a_silence(last: float, settled_at: float, now: float, lost: bool) -> None:
    members = Membership()
    members.heard_of(node("n1"), 1, last)
    assert members.overdue(now, settled_at) == (["n1"] if lost else [])
    assert entry(members.nodes, "n1").lost_at == (now if lost else None)
    assert members.nodes._with_slot == (0 if lost else 1)
    assert members.check_at == (now + NODE_FORGOTTEN_AFTER if lost else max(last + LOST, settled_at))


def test_a_lost_node_is_told_of_once_and_forgotten_after_an_hour() -> None:
    members = Membership()
    members.heard_of(node("n1"), 1, 0.0)
    members.hold(execution(0), ONE_CPU)
    assert members.overdue(LOST, -math.inf) == ["n1"]
    assert members.overdue(LOST + NODE_FORGOTTEN_AFTER - 1, -math.inf) == []
    assert len(members.nodes) == 1
    assert members.overdue(LOST + NODE_FORGOTTEN_AFTER, -math.inf) == []
    assert (len(members.nodes), members.check_at) == (0, math.inf)
    assert members.held_by("n1") == ("j-0",), "it may come back with it"
    members.heard_of(node("n1"), 2, 9000.0)
    assert entry(members.nodes, "n1").account.free.cpu == 3


@pytest.mark.parametrize("heartbeat", [True, False])
def test_a_lost_node_that_is_heard_of_takes_executions_again(heartbeat: bool) -> None:
    members = Membership()
    members.heard_of(node("n1"), 1, 0.0)
    members.overdue(LOST, -math.inf)
    if heartbeat:
        assert members.heard_of(node("n1"), 2, LOST + 5), "a job may fit now"
    else:
        assert members.sign_of_life("n1", 2, LOST + 5), "a job may fit now"
    found = entry(members.nodes, "n1")
    assert (found.lost_at, found.last_seen, members.nodes._with_slot) == (None, LOST + 5, 1)
    assert members.check_at == 2 * LOST + 5
    assert not members.sign_of_life("n1", 3, LOST + 6), "it was not lost"


def test_what_was_overtaken_tells_nothing() -> None:
    members = Membership()
    members.heard_of(node("n1"), 5, 1.0)
    assert members.heard_of(node("n1", cpu=8, revision=1), 5, 2.0) is None
    assert members.heard_of(node("n1", cpu=8, revision=1), 4, 2.0) is None
    assert not members.sign_of_life("n1", 5, 2.0)
    found = entry(members.nodes, "n1")
    assert (found.info, found.last_seen, found.sequence) == (node("n1"), 1.0, 5)
    members.sign_of_life("n1", 7, 3.0)
    assert members.heard_of(node("n1"), 6, 4.0) is None, "a heartbeat that a report has overtaken"


def test_of_a_node_that_is_not_known_no_message_is_a_sign_of_life() -> None:
    members = Membership()
    assert not members.sign_of_life("n1", 1, 1.0)
    assert len(members.nodes) == 0


def test_why_a_node_gets_nothing_new_at_all() -> None:
    members = Membership()
    members.heard_of(node("n1"), 1, 0.0)
    found = entry(members.nodes, "n1")
    assert standing_refusal(found) is None
    members.heard_of(node("n1", draining=True, revision=1), 2, 0.0)
    refused = standing_refusal(found)
    assert refused is not None
    assert (refused.check, refused.lasting, members.nodes._with_slot) == (Check.DRAINING, False, 0)
    members.overdue(LOST, -math.inf)
    refused = standing_refusal(found)
    assert refused is not None
    assert (refused.check, refused.lasting) == (Check.REACHABLE, False)


def test_what_may_be_on_a_node_is_what_is_counted() -> None:
    members = Membership()
    assert not members.may_hold(execution(0))
    members.hold(execution(0), ONE_CPU)
    assert members.may_hold(execution(0))
    assert not members.may_hold(execution(0, node="n2"))
    members.release(execution(0))
    assert not members.may_hold(execution(0))
