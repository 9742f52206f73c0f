"""A small job may pass a large one that does not fit yet, but not for ever."""

from __future__ import annotations

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import Timeouts
from bacalhau_sdk.model.message import AskForBid, BidResult, ExecutionUpdate
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.orchestrator import STARVING_AFTER
from tests.scheduling.desk import BIG, Desk, Sent
from tests.scheduling.makers import DONE, index, job, node, planned, refusal, wasm

E = ExecutionState
SMALL = wasm(resources=Resources(cpu=2))


def offered(sent: Sent) -> list[str]:
    """Return the jobs of which something is offered."""
    return [each.job_id for _, each in sent if isinstance(each, AskForBid)]


def starving(*infos: str) -> Desk:
    """Return a desk with nodes of 4 CPUs, on each of which 2 are in use, and a job of 4 that waits for too long."""
    nodes = [node(name) for name in (infos or ("n1",))]
    desk = Desk(*nodes)
    for number, _ in enumerate(nodes):
        desk.submit(f"half{number}", SMALL)
    desk.submit("large", BIG)
    running = {f"half{number}_0": E.RUNNING for number, _ in enumerate(nodes)}
    desk.until(STARVING_AFTER - 0.1, *nodes, **running)
    return desk


def test_before_it_starves_it_is_passed() -> None:
    desk = starving()
    assert offered(desk.submit("small", SMALL)) == ["small"]


def test_from_then_on_it_is_not_passed_and_gets_the_room() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    assert offered(desk.submit("small", SMALL)) == []
    assert offered(desk.hear("n1", ExecutionUpdate("half0-0", E.COMPLETED, DONE))) == ["large"]
    assert offered(desk.hear("n1", ExecutionUpdate("large-0", E.COMPLETED, DONE))) == ["small"]


def test_a_job_of_higher_priority_passes_it_all_the_same() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    assert offered(desk.submit("urgent", wasm(resources=Resources(cpu=2), priority=1))) == ["urgent"]


def test_nodes_that_do_not_match_it_are_not_kept() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    desk.beat(node("little", cpu=2))
    assert offered(desk.submit("small", SMALL)) == ["small"]


def test_when_it_is_cancelled_what_was_held_up_goes_on() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    assert offered(desk.submit("small", SMALL)) == []
    assert offered(desk.cancel("large")) == ["small"]


def test_when_it_finds_room_elsewhere_what_was_held_up_goes_on() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    desk.submit("small", SMALL)
    assert offered(desk.beat(node("n2"))) == ["large", "small"]
    assert {desk.executions["large-0"].node, desk.executions["small-0"].node} == {"n1", "n2"}


def test_a_plan_has_nothing_on_nodes_that_are_withheld() -> None:
    known = index(node("n1"), node("n2"))
    assert {each.node for each in planned(job(wasm(count=3)), nodes=known, withheld=0b01).executions} == {
        "n2"
    }
    all_kept = planned(job(), nodes=known, withheld=0b11)
    assert (all_kept.executions, all_kept.blocked is not None) == ((), True)


def test_nodes_that_have_refused_it_for_good_are_not_kept() -> None:
    desk = Desk(node("n1"), node("n2"))
    desk.submit("busy", wasm(resources=Resources(cpu=2), selector="name = n2"))
    desk.submit("half", wasm(resources=Resources(cpu=2), selector="name = n1"))
    desk.submit("large", BIG)
    desk.hear("n1", ExecutionUpdate("half-0", E.COMPLETED, DONE))
    desk.hear("n1", BidResult("large-0", (refusal("n1"),)))
    desk.until(STARVING_AFTER, node("n1"), node("n2"), busy_0=E.RUNNING)
    assert offered(desk.submit("small", SMALL)) == ["small"]
    assert desk.executions["small-0"].node == "n1"


def test_one_that_waits_for_a_node_that_is_not_there_protects_nobody_and_hides_nobody() -> None:
    desk = starving()
    patient = wasm(selector="zone = nowhere", priority=9, timeouts=Timeouts(queue=10_000))
    desk.submit("patient", patient)
    desk.now = STARVING_AFTER
    assert offered(desk.submit("small", SMALL)) == []


def test_an_urgent_one_that_does_not_fit_either_takes_no_protection_away() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    desk.submit("urgent", wasm(resources=Resources(cpu=3), priority=5))
    assert offered(desk.submit("small", SMALL)) == []


def test_the_explanation_names_the_nodes_that_are_kept() -> None:
    desk = starving()
    desk.now = STARVING_AFTER
    desk.submit("small", SMALL)
    explained = desk.core.explain("small", desk.now)
    (refused,) = explained.refusals
    assert (explained.candidates, refused.node) == ((), "n1")
    assert refused.offered == "it is kept for a job that has waited for too long"
