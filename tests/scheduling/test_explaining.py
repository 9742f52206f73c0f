"""What an explanation says of a job's nodes: those that matter to it now, and why."""

from __future__ import annotations

import pytest

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import JobSpec, JobState, RetryPolicy, Timeouts
from bacalhau_sdk.model.message import BidResult
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.membership import NODE_FORGOTTEN_AFTER
from bacalhau_sdk.scheduling.orchestrator import STARVING_AFTER
from tests.scheduling.desk import BIG, Desk, E, at
from tests.scheduling.makers import FAULT, node, refusal, wasm

NODES = [node(name, labels={"zone": "a" if name < "n3" else "b"}) for name in ("n1", "n2", "n3")]


@pytest.mark.parametrize("state", [E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_a_job_that_needs_no_node_is_explained_without_any(state: ExecutionState) -> None:
    desk = at(state, node("n2"))
    explained = desk.core.explain("j", desk.now)
    assert (explained.candidates, explained.refusals) == ((), ())
    unanswered = " (it has not answered yet)" if state is E.ASK_FOR_BID else ""
    assert explained.placed == (f"partition 0, attempt 1: {state.value} on node n1{unanswered}",)


def test_a_job_that_waits_for_its_next_try_is_told_where_it_may_go() -> None:
    desk = at(E.RUNNING, node("n2"), spec=wasm(retry=RetryPolicy(2, backoff=10)))
    desk.report(E.FAILED, FAULT)
    assert desk.core.explain("j", desk.now).candidates == ("n1", "n2")


def test_a_partition_that_is_for_one_node_is_told_of_that_node_only() -> None:
    desk = Desk(*NODES)
    desk.submit("k", wasm(resources=Resources(cpu=1), selector="name = n2"))
    desk.hear("n2", BidResult("k-0"))
    desk.submit("j", wasm(type="ops", resources=Resources(cpu=4), selector="zone = a"))
    explained = desk.core.explain("j", desk.now)
    assert [(each.node, each.check) for each in explained.refusals] == [("n2", Check.CAPACITY)]
    assert explained.candidates == ()


def test_the_node_that_it_was_lost_with_is_the_root_of_a_job_that_fits_nowhere_else() -> None:
    desk = at(E.RUNNING, node("n2"), spec=wasm(selector="name = n1", retry=RetryPolicy(2, backoff=1)))
    desk.until(NODE_LOST_AFTER + NODE_FORGOTTEN_AFTER + 10, node("n2"))
    job = desk.jobs["j"]
    assert (job.state, desk.failure_code()) == (JobState.FAILED, "node.lost")
    assert job.reason.startswith(
        "node n1 could not be reached; then no known node could ever run the job (1 known)"
    )


def test_why_it_is_queued_is_what_is_true_now() -> None:
    desk = Desk(node("n1", draining=True), node("n2", labels={"zone": "b"}))
    desk.submit("j", wasm(type="ops", selector="name = n1", timeouts=Timeouts(queue=30)))
    assert desk.core.explain("j", desk.now).reason == "every node that matches is being drained"
    desk.until(NODE_LOST_AFTER + 10, node("n2", labels={"zone": "b"}))
    explained = desk.core.explain("j", desk.now)
    assert explained.reason.startswith(
        "no node accepted it within its queue limit of 30 s; 1 of 2 nodes match"
    )
    assert [(each.node, each.check) for each in explained.refusals] == [
        ("n1", Check.REACHABLE),
        ("n2", Check.SELECTOR),
    ]


def test_a_spec_is_told_of_nodes_that_are_kept_for_others() -> None:
    desk = Desk(node("n1"))
    desk.submit("k", wasm(resources=Resources(cpu=1)))
    desk.hear("n1", BidResult("k-0"))
    desk.submit("j", BIG)
    desk.until(STARVING_AFTER + 10, node("n1"), k_0=E.RUNNING)
    explained = desk.core.explain_spec(wasm(resources=Resources(cpu=1)))
    assert (explained.outlook, explained.candidates) == ("queued", ())
    assert explained.refusals[0].offered == "it is kept for a job that has waited for too long"


def test_what_an_ops_job_has_nothing_to_do_on_is_told() -> None:
    desk = Desk(*NODES)
    desk.submit("j", wasm(type="ops", selector="zone = a"))
    desk.hear("n1", BidResult("j-0", (refusal("n1"),)))
    assert desk.core.explain("j", desk.now).placed == (
        "partition 1, attempt 1: ASK_FOR_BID on node n2 (it has not answered yet)",
        f"partition 0: has nothing to do: {refusal('n1')}",
    )


def test_partitions_that_wait_are_counted() -> None:
    desk = at(E.RUNNING, spec=wasm(count=3, resources=Resources(cpu=4)))
    assert "2 partitions wait for a node" in desk.core.explain("j", desk.now).placed


@pytest.mark.parametrize(
    ("spec", "fate"),
    [
        (wasm(), "placed: 1 of 1 nodes could take it now"),
        (BIG, "queued: 1 of 1 nodes match, none takes it now"),
        (
            wasm(selector="zone = c", timeouts=Timeouts(queue=60)),
            "queued: no known node could ever run the job (1 known)",
        ),
        (wasm(selector="zone = c"), "refused: no known node could ever run the job (1 known)"),
    ],
    ids=["placed", "queued", "patient", "refused"],
)
def test_a_spec_is_told_what_would_become_of_it(spec: JobSpec, fate: str) -> None:
    desk = Desk(node("n1"))
    desk.submit("k", wasm(resources=Resources(cpu=1)))
    assert str(desk.core.explain_spec(spec)).splitlines()[0] == f"this job would be {fate}"
