"""A small job may pass a large one that does not fit yet, but not for ever."""

from __future__ import annotations

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.message import AskForBid, ExecutionUpdate
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.orchestrator import STARVING_AFTER
from bacalhau_sdk.scheduling.schedule import Reservation
from tests.scheduling.desk import BIG, Desk, Sent
from tests.scheduling.makers import DONE, index, job, node, planned, wasm

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
    kept = Reservation("other", 0b01)
    assert {each.node for each in planned(job(wasm(count=3)), nodes=known, withheld=kept).executions} == {
        "n2"
    }
    all_kept = planned(job(), nodes=known, withheld=Reservation("other", 0b11))
    assert (all_kept.executions, all_kept.blocked is not None) == ((), True)
