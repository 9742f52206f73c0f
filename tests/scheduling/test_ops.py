"""Jobs of the type ``ops``: once on every node that matches when the job is first placed."""

from __future__ import annotations

import pytest

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import JobSpec, JobState, RetryPolicy
from bacalhau_sdk.model.message import AskForBid, BidResult, CancelExecution, ExecutionUpdate
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from tests.scheduling.desk import Desk, Sent, restarted
from tests.scheduling.makers import DONE, FAILED, FAULT, node, refusal, wasm

E = ExecutionState
NODES = [node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "a"}), node("n3", labels={"zone": "b"})]
ZONE = wasm(type="ops", selector="zone = a")
BIG_OPS = wasm(type="ops", resources=Resources(cpu=4))


def placed(spec: JobSpec = ZONE) -> Desk:
    """Return a desk with three nodes and job j, placed."""
    desk = Desk(*NODES)
    desk.now = 1.0
    desk.submit(spec=spec)
    return desk


def on(desk: Desk) -> dict[str, str]:
    """Return the state of the last execution on each node."""
    return {each.node: each.state.value for each in desk.executions.values()}


def asked(sent: Sent) -> list[tuple[str, int]]:
    """Return what is offered: the node, and the partition."""
    return [(name, each.partition_index) for name, each in sent if isinstance(each, AskForBid)]


def test_every_matching_node_gets_one_partition() -> None:
    desk = Desk(*NODES)
    assert asked(desk.submit(spec=ZONE)) == [("n1", 0), ("n2", 1)]
    assert (desk.jobs["j"].targets, desk.jobs["j"].partition_count) == (("n1", "n2"), 2)


def test_a_node_that_joins_later_gets_none() -> None:
    desk = placed()
    assert asked(desk.beat(node("n4", labels={"zone": "a"}))) == []
    for serial, name in enumerate(("n1", "n2")):
        desk.report(E.COMPLETED, DONE, serial, name)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED, j-1 COMPLETED"


def test_no_partition_is_given_to_another_node_when_its_own_has_no_room() -> None:
    desk = Desk(*NODES)
    desk.submit("k", wasm(resources=Resources(cpu=1), selector="name = n2"))
    sent = desk.submit(spec=BIG_OPS)
    assert asked(sent) == [("n1", 0), ("n3", 2)]
    assert desk.jobs["j"].state is JobState.QUEUED
    desk.report(E.COMPLETED, DONE, 0, "n1")
    assert asked(desk.cancel("k") + desk.hear("n2", BidResult("k-0", (refusal("n2"),)))) == [("n2", 1)]


def test_none_matching_is_a_failure() -> None:
    desk = placed(wasm(type="ops", selector="zone = c"))
    assert (desk.states(), desk.failure_code()) == ("j FAILED", "job.no_matching_node")
    assert len(desk.jobs["j"].refusals) == 3


@pytest.mark.parametrize("first", [True, False])
def test_the_failure_of_one_lets_the_others_end_and_then_the_job_has_failed(first: bool) -> None:
    desk = placed()
    assert desk.report(E.FAILED, FAILED, 0, "n1")[1:] == [], "nothing is stopped"
    desk.report(E.RUNNING, None, 1, "n2")
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 RUNNING"
    desk.report(E.COMPLETED if first else E.FAILED, DONE if first else FAULT, 1, "n2")
    assert desk.jobs["j"].state is JobState.FAILED
    assert desk.failure_code() == "wasm.invalid_module"


def test_a_failure_waits_for_the_partitions_that_have_found_no_room_yet() -> None:
    desk = Desk(*NODES)
    desk.submit("k", wasm(resources=Resources(cpu=1), selector="name = n2"))
    desk.hear("n2", BidResult("k-0"))
    desk.submit(spec=BIG_OPS)
    desk.report(E.FAILED, FAILED, 0, "n1")
    desk.report(E.COMPLETED, DONE, 1, "n3")
    assert not desk.jobs["j"].state.terminal
    assert asked(desk.beat(NODES[1])) == [("n2", 1)]
    desk.report(E.COMPLETED, DONE, 2, "n2")
    assert desk.jobs["j"].state is JobState.FAILED


def test_a_fault_is_tried_again_on_the_same_node_only() -> None:
    desk = placed(evolve_retry(ZONE, RetryPolicy(2, 0)))
    assert asked(desk.report(E.FAILED, FAULT, 0, "n1")) == [("n1", 0)]
    desk.report(E.COMPLETED, DONE, 2, "n1")
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert desk.states() == "j COMPLETED, j-0 FAILED, j-1 COMPLETED, j-2 COMPLETED"


def evolve_retry(spec: JobSpec, retry: RetryPolicy) -> JobSpec:
    return wasm(type="ops", selector=spec.selector, retry=retry)


def test_a_lasting_refusal_drops_the_partition() -> None:
    desk = placed()
    assert desk.hear("n1", BidResult("j-0", (refusal("n1"),))) == []
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert desk.states() == "j COMPLETED, j-0 ASK_FOR_BID_REJECTED, j-1 COMPLETED"


def test_a_refusal_for_want_of_room_does_not() -> None:
    desk = placed()
    desk.hear("n1", BidResult("j-0", (refusal("n1", lasting=False),)))
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert not desk.jobs["j"].state.terminal
    assert asked(desk.beat(NODES[0])) == [("n1", 0)]


def test_when_all_have_refused_for_good_no_node_matches() -> None:
    desk = placed()
    for serial, name in enumerate(("n1", "n2")):
        desk.hear(name, BidResult(f"j-{serial}", (refusal(name),)))
    assert (desk.jobs["j"].state, desk.failure_code()) == (JobState.FAILED, "job.no_matching_node")
    assert [(each.node, each.check) for each in desk.jobs["j"].refusals] == [
        ("n1", Check.ENGINE),
        ("n2", Check.ENGINE),
        ("n3", Check.SELECTOR),
    ]


def test_when_all_have_refused_for_good_it_goes_to_those_that_match_by_now() -> None:
    desk = placed()
    later = node("n4", labels={"zone": "a"})
    desk.beat(later)
    desk.hear("n1", BidResult("j-0", (refusal("n1"),)))
    assert asked(desk.hear("n2", BidResult("j-1", (refusal("n2"),)))) == [("n4", 0)]
    assert desk.jobs["j"].targets == ("n4",)
    desk.report(E.COMPLETED, DONE, 2, "n4")
    assert desk.jobs["j"].state is JobState.COMPLETED


def test_a_node_that_has_changed_since_it_refused_may_be_one_of_them() -> None:
    desk = placed()
    desk.hear("n1", BidResult("j-0", (refusal("n1"),)))
    desk.beat(node("n1", labels={"zone": "a"}, revision=1))
    assert asked(desk.hear("n2", BidResult("j-1", (refusal("n2"),)))) == [("n1", 0)]
    desk.report(E.RUNNING, None, 2, "n1")
    assert desk.jobs["j"].state is JobState.RUNNING
    desk.report(E.COMPLETED, DONE, 2, "n1")
    assert desk.states() == "j COMPLETED, j-0 ASK_FOR_BID_REJECTED, j-1 ASK_FOR_BID_REJECTED, j-2 COMPLETED"


def test_one_that_refused_before_and_is_full_now_is_still_waited_for() -> None:
    desk = placed(wasm(type="ops", resources=Resources(cpu=4), selector="zone = a"))
    desk.hear("n1", BidResult("j-0", (refusal("n1"),)))
    changed, other = node("n1", labels={"zone": "a"}, revision=1), node("n4", labels={"zone": "a"})
    desk.beat(changed)
    desk.beat(other)
    desk.submit("k", wasm(resources=Resources(cpu=1), selector="zone = a, name = n1"))
    desk.hear("n1", BidResult("k-0"))
    assert asked(desk.hear("n2", BidResult("j-1", (refusal("n2"),)))) == [("n4", 1)]
    assert desk.jobs["j"].targets == ("n1", "n4")
    assert "has nothing to do" not in str(desk.core.explain("j", desk.now))
    desk.report(E.COMPLETED, DONE, 2, "n4")
    assert not desk.jobs["j"].state.terminal
    assert asked(desk.hear("n1", ExecutionUpdate("k-0", E.COMPLETED, DONE))) == [("n1", 0)]


def test_it_does_not_when_one_of_them_has_taken_it() -> None:
    desk = placed()
    desk.beat(node("n4", labels={"zone": "a"}))
    desk.hear("n1", BidResult("j-0", (refusal("n1"),)))
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert (desk.jobs["j"].state, desk.jobs["j"].targets) == (JobState.COMPLETED, ("n1", "n2"))


def test_a_cancel_reaches_every_node() -> None:
    desk = placed()
    assert desk.cancel() == [("n1", CancelExecution("j-0")), ("n2", CancelExecution("j-1"))]
    for serial, name in enumerate(("n1", "n2")):
        desk.report(E.CANCELLED, None, serial, name)
    assert desk.jobs["j"].state is JobState.CANCELLED


def test_a_lost_target_without_a_further_try_fails_the_job_when_the_others_have_ended() -> None:
    desk = placed()
    desk.hear("n1", BidResult("j-0"))
    desk.hear("n2", BidResult("j-1"))
    desk.until(1 + NODE_LOST_AFTER + 1, *NODES[1:], j_1=E.BID_ACCEPTED)
    assert on(desk) == {"n1": "FAILED", "n2": "BID_ACCEPTED"}
    assert not desk.jobs["j"].state.terminal
    desk.report(E.COMPLETED, DONE, 1, "n2")
    assert (desk.jobs["j"].state, desk.failure_code()) == (JobState.FAILED, "node.lost")


def test_the_partition_of_a_lost_target_waits_for_it() -> None:
    desk = placed()
    desk.hear("n2", BidResult("j-1"))
    assert asked(desk.until(60, *NODES[1:], j_1=E.BID_ACCEPTED)) == [], "no other node will do"
    desk.hear("n1", BidResult("j-0"))
    assert on(desk) == {"n1": "BID_ACCEPTED", "n2": "BID_ACCEPTED"}


def test_a_target_that_does_not_match_any_more_after_a_failure_ends_the_job() -> None:
    desk = placed(evolve_retry(ZONE, RetryPolicy(2, 5)))
    desk.report(E.FAILED, FAULT, 0, "n1")
    desk.beat(node("n1", labels={"zone": "b"}, revision=1))
    assert desk.until(7, *NODES[1:], j_1=E.ASK_FOR_BID) == [("n2", CancelExecution("j-1"))]
    desk.report(E.CANCELLED, None, 1, "n2")
    assert (desk.jobs["j"].state, desk.failure_code()) == (JobState.FAILED, "node.io")
    assert "n1, which partition 0 is for, does not match any more" in desk.jobs["j"].reason


def test_after_a_restart_the_targets_are_those_that_were_found_first() -> None:
    desk = restarted(placed(), node("n0", labels={"zone": "a"}))
    for info in NODES:
        desk.beat(info)
    assert desk.jobs["j"].targets == ("n1", "n2")
    for serial, name in enumerate(("n1", "n2")):
        desk.report(E.COMPLETED, DONE, serial, name)
    assert desk.jobs["j"].state is JobState.COMPLETED


def test_after_a_restart_a_new_one_waits_until_every_node_has_made_itself_known() -> None:
    desk = restarted(placed(wasm(count=0)), NODES[0])
    assert desk.submit("k", ZONE) == []
    assert (desk.jobs["k"].state, desk.jobs["k"].targets) == (JobState.QUEUED, ())
    sent = desk.until(desk.now + NODE_LOST_AFTER, *NODES)
    assert asked(sent) == [("n1", 0), ("n2", 1)]
