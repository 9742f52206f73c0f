"""Another life of the orchestrator: what it knows from the records, and what it has to hear first."""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import (
    ExecutionState,
    Outcome,
)
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.model.message import (
    AskForBid,
    ExecutionUpdate,
)
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.record import Snapshot
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.events import Deliver
from tests.scheduling.desk import (
    BIG,
    CANCEL,
    KEEP,
    LIVE,
    REPORTS,
    Desk,
    ask,
    at,
    restarted,
    to,
)
from tests.scheduling.makers import DONE, heartbeat, node, wasm

E = ExecutionState


@pytest.mark.parametrize("state", [*LIVE, E.COMPLETED])
def test_after_a_restart_the_job_goes_on(state: E) -> None:
    desk = restarted(at(state))
    assert desk.states() == at(state).states()
    assert desk.beat(node(), None, j_0=state) == (to("n1", KEEP) if state is E.COMPLETED else [])
    assert desk.free() == (node().capacity if state.terminal else desk.free())
    desk.hear("n1", *REPORTS.values())
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"
    assert desk.free() == node().capacity


def test_after_a_restart_what_runs_is_counted_before_and_after_its_node_is_heard_of() -> None:
    desk = restarted(at(E.RUNNING, spec=BIG), node("n2", cpu=1))
    assert desk.submit("k", BIG) == []
    assert desk.beat(node(), None, j_0=E.RUNNING) == []
    assert desk.free("n1").cpu == 0
    assert desk.report(E.COMPLETED, DONE)[1:] == to("n1", ask(0, "k", BIG))


def waiting() -> Desk:
    """Return a desk where job k waits for the room that j has."""
    desk = at(E.RUNNING, spec=BIG)
    desk.submit("k", BIG)
    return desk


def test_after_a_restart_no_job_fails_because_its_nodes_are_still_to_be_heard_of() -> None:
    desk = restarted(waiting(), node("other", cpu=1))
    assert "k QUEUED" in desk.states()
    desk.beat(node(), None, j_0=E.RUNNING)
    assert desk.report(E.COMPLETED, DONE)[1:] == to("n1", ask(0, "k", BIG))


def test_nor_does_one_that_is_submitted_then() -> None:
    desk = restarted(at(E.COMPLETED), node("other", cpu=1))
    desk.submit("k", BIG)
    assert desk.jobs["k"].state is JobState.QUEUED
    assert desk.beat(node()) == to("n1", ask(0, "k", BIG))


def test_after_a_restart_a_job_fails_when_its_nodes_have_had_their_time() -> None:
    small = node("other", cpu=1)
    desk = restarted(waiting(), small)
    settled = desk.now + NODE_LOST_AFTER
    desk.until(settled - 0.1, small)
    assert "j RUNNING, k QUEUED" in desk.states()
    desk.until(settled, small)
    assert "j FAILED, k FAILED, j-0 FAILED" in desk.states()
    assert [(each.node, each.check) for each in desk.jobs["k"].refusals] == [("other", Check.TOTAL_CAPACITY)]
    assert (desk.failure_code("j"), desk.executions["j-0"].fenced) == ("node.lost", True)


def test_after_a_restart_a_heartbeat_from_before_the_last_report_makes_no_execution_lost() -> None:
    """It was on its way when the node had not yet accepted."""
    desk = restarted(at(E.RUNNING))
    known = desk.executions["j-0"].sequence
    desk.handle(Deliver(evolve(heartbeat(node()), sequence=known)))
    assert desk.states() == "j RUNNING, j-0 RUNNING"
    desk.handle(Deliver(evolve(heartbeat(node()), sequence=known + 1)))
    assert desk.states() == "j FAILED, j-0 FAILED"


def test_after_a_restart_priority_and_age_are_as_before() -> None:
    desk = at(E.RUNNING, spec=BIG)
    for job_id, priority in (("old", 0), ("young", 0), ("urgent", 1)):
        desk.submit(job_id, wasm(resources=BIG.resources, priority=priority))
    desk = restarted(desk)
    desk.beat(node(), None, j_0=E.RUNNING)
    for expected in ("urgent", "old", "young"):
        (running,) = [each for each in desk.executions.values() if not each.state.terminal]
        sent = desk.hear("n1", ExecutionUpdate(running.id, E.COMPLETED, DONE))
        assert [message.job_id for _, message in sent if isinstance(message, AskForBid)] == [expected]


def test_after_a_restart_a_cancel_is_told_again() -> None:
    desk = at(E.RUNNING)
    desk.cancel()
    desk = restarted(desk)
    assert desk.beat(node(), None, j_0=E.RUNNING) == to("n1", CANCEL)
    desk.report(E.CANCELLED, Outcome())
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"


def test_an_empty_store_changes_nothing() -> None:
    desk = Desk(snapshot=Snapshot())
    desk.submit()
    assert desk.states() == "j FAILED", "no node is known, and none was before"
