"""Which nodes are known, and what they hold by the records."""

from __future__ import annotations

from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.membership import Membership
from tests.scheduling.makers import entry, execution, node, refusal

ONE_CPU = Resources(cpu=1)


def test_a_new_node_and_a_changed_one_are_news() -> None:
    members = Membership()
    assert members.heard_of(node("n1"), 1.0)
    assert not members.heard_of(node("n1"), 2.0)
    assert members.heard_of(node("n1", cpu=8, revision=1), 3.0)
    found = entry(members.nodes, "n1")
    assert (found.info.capacity.cpu, found.account.capacity.cpu, found.last_seen) == (8, 8, 3.0)


def test_a_live_execution_is_counted_until_it_ends() -> None:
    members = Membership()
    members.heard_of(node("n1", cpu=2), 1.0)
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
    members.heard_of(node("n1", max_executions=1), 1.0)
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
    members.heard_of(node("n1", cpu=2), 1.0)
    assert entry(members.nodes, "n1").account.free.cpu == 1
    members.heard_of(node("n1", cpu=4, revision=1), 2.0)
    assert entry(members.nodes, "n1").account.free.cpu == 3
    members.heard_of(node("n1", cpu=0.5, revision=2), 3.0)
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
    members.heard_of(node("n1"), 1.0)
    members.saturate("n1", refusal(lasting=False))
    assert members.nodes._with_slot == 0
    assert members.heard_of(node("n1"), 2.0), "a job may fit now"
    assert members.nodes._with_slot == 1
    assert not members.heard_of(node("n1"), 3.0)


def test_a_node_that_has_no_room_gets_something_when_one_of_its_executions_ends() -> None:
    members = Membership()
    members.heard_of(node("n1"), 1.0)
    members.hold(execution(0), ONE_CPU)
    members.saturate("n1", refusal(lasting=False))
    members.release(execution(0))
    assert members.nodes._with_slot == 1
