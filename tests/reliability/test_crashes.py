"""Faults of the fault model, row by row: either party dies (F1 to F21, F46; docs/explanation/differences.md has all rows)."""

from __future__ import annotations

from collections import Counter

import pytest
from attrs import evolve

import bacalhau_sdk as bac
from bacalhau_sdk.abc import ExecutionState
from bacalhau_sdk.errors import JobConflictError
from bacalhau_sdk.model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
    AskForBid,
    BidResult,
    CancelExecution,
    ExecutionUpdate,
)
from bacalhau_sdk.scheduling.effects import CheckBid, Publish, StartExecution
from tests.reliability.cores import (
    Cores,
    Holds,
    assert_recorded_once_after_restart,
    commits,
    is_a,
    nth,
    sends,
)
from tests.scheduling.desk import at
from tests.scheduling.makers import DONE, node, wasm

E = ExecutionState
ONE = wasm(resources=bac.Resources(cpu=1))
PATIENT = wasm(resources=bac.Resources(cpu=1), retry=bac.RetryPolicy(3, backoff=1))
COMPLETED = {"j": "COMPLETED"}


# ---- The orchestrator dies ----


def test_f1_the_orchestrator_dies_before_the_commit_of_a_submit() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, commits())
    assert not cores.submit("j", ONE), "the caller hears nothing of it"
    cores.start_orchestrator()
    cores.until(60)
    assert cores.jobs == {}, "what was not committed never was"
    assert cores.submit("j", ONE)
    cores.until(120)
    assert cores.ends() == COMPLETED
    assert cores.at_rest()


def test_f2_the_orchestrator_dies_after_the_commit_of_a_submit() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, commits(), after=True)
    assert not cores.submit("j", ONE), "the caller hears nothing of it"
    cores.start_orchestrator()
    assert cores.submit("j", ONE), "the same id and an equal spec find the job"
    with pytest.raises(JobConflictError):
        cores.submit("j", PATIENT)
    cores.until(60)
    assert cores.attempts() == [(1, "COMPLETED")]
    assert cores.at_rest()


def test_f3_the_orchestrator_dies_before_it_has_sent_an_offer_that_it_committed() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, sends(AskForBid))
    cores.submit("j", ONE)
    assert (cores.attempts(), cores.said(AskForBid)) == ([(1, "ASK_FOR_BID")], [])
    cores.start_orchestrator()
    cores.until(60)
    assert cores.attempts() == [(1, "COMPLETED")], "the very offer is sent again, from the records"


def test_f4_the_orchestrator_dies_of_an_acceptance_before_its_commit() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, commits(E.BID_ACCEPTED))
    cores.submit("j", ONE)
    assert cores.attempts() == [(1, "ASK_FOR_BID")]
    assert cores.machines["n1"].running(), "the node has accepted"
    cores.start_orchestrator()
    cores.until(5)
    assert cores.attempts() == [(1, "RUNNING")], "the node says it again with its next heartbeat"
    cores.until(60)
    assert cores.attempts() == [(1, "COMPLETED")]


def test_f5_the_orchestrator_dies_after_it_has_committed_an_acceptance() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, commits(E.BID_ACCEPTED), after=True)
    cores.submit("j", ONE)
    assert cores.attempts() == [(1, "BID_ACCEPTED")]
    cores.start_orchestrator()
    cores.until(60)
    assert cores.attempts() == [(1, "COMPLETED")]
    assert cores.at_rest(), "what was reserved for it is free again"


@pytest.mark.parametrize("full", [False, True], ids=["killed", "disk full"])
def test_f6_the_orchestrator_dies_of_a_result_before_its_commit(full: bool) -> None:
    cores = Cores(node())
    cores.submit("j", ONE)
    cores.until(9)
    if full:
        cores.disk_full = True
    else:
        cores.dies(ORCHESTRATOR, commits(E.COMPLETED))
    cores.until(12)
    assert (cores.ends(), cores.said(AcknowledgeExecution)) == ({"j": "RUNNING"}, []), (
        "nothing is acknowledged"
    )
    assert_recorded_once_after_restart(cores)


def test_f7_the_orchestrator_dies_before_it_has_acknowledged_a_result_that_it_committed() -> None:
    cores = Cores(node())
    cores.dies(ORCHESTRATOR, sends(AcknowledgeExecution))
    cores.submit("j", ONE)
    cores.until(12)
    assert (cores.ends(), cores.said(AcknowledgeExecution)) == (COMPLETED, [])
    assert not cores.machines["n1"].core or cores.machines["n1"].core.held == 1
    before = cores.snapshot()
    cores.start_orchestrator()
    cores.until(30)
    assert AcknowledgeExecution("j-0-1") in cores.said(AcknowledgeExecution), "it is told again"
    assert cores.snapshot() == before, "and recorded once"
    assert cores.at_rest()


def test_f8_the_orchestrator_dies_before_it_has_told_a_node_of_a_cancel_that_it_committed() -> None:
    cores = Cores(node(), seconds=1e6)
    cores.submit("j", ONE)
    cores.dies(ORCHESTRATOR, sends(CancelExecution))
    assert not cores.cancel("j")
    cancels = Counter[str]()

    def lost(envelope: object) -> bool:
        kind = type(getattr(envelope, "message", None)).__name__
        cancels[kind] += 1
        return kind == "CancelExecution" and cancels[kind] <= 3

    cores.lost = lost
    cores.start_orchestrator()
    cores.until(19)
    assert cancels["CancelExecution"] >= 3, "it is told with every heartbeat that lists it"
    assert cores.ends() == {"j": "RUNNING"}, "not before the node confirms it"
    cores.until(25)
    assert (cores.ends(), cores.attempts()) == ({"j": "CANCELLED"}, [(1, "CANCELLED")])
    assert cores.at_rest()


def test_f9_the_orchestrator_is_down_for_an_hour_while_jobs_run_into_their_limits() -> None:
    timeouts = bac.Timeouts(total=600, execution=550)
    cores = Cores(node(cpu=20), seconds=500)
    for number in range(20):
        cores.submit(f"j{number}", wasm(resources=bac.Resources(cpu=1), timeouts=timeouts))
    cores.until(60)
    assert set(cores.ends().values()) == {"RUNNING"}
    cores.crash(ORCHESTRATOR)
    cores.until(3660)
    cores.start_orchestrator()
    cores.until(3660 + 6)
    assert Counter(cores.ends().values()) == {"COMPLETED": 20}, "nothing that was finished is thrown away"
    assert cores.said(CancelExecution) == []


# ---- A node dies ----


@pytest.mark.parametrize("reboot", [False, True], ids=["its engine lives on", "its engine too"])
@pytest.mark.parametrize(
    "when",
    [
        pytest.param(sends(BidResult), id="F10 before the acceptance is sent"),
        pytest.param(is_a(StartExecution), id="F11 before the workload is started"),
        pytest.param(is_a(CheckBid), id="before the check"),
    ],
)
def test_f10_f11_a_node_dies_between_its_acceptance_and_the_workload(when: Holds, reboot: bool) -> None:
    cores = Cores(node())
    cores.dies("n1", when)
    cores.submit("j", ONE)
    assert cores.machines["n1"].core is None
    cores.start_node("n1", reboot=reboot)
    cores.until(60)
    assert cores.ends() == COMPLETED, "without a further try: nothing has failed"
    assert [attempt for attempt, _ in cores.attempts()] == [1] * len(cores.attempts())
    assert cores.at_rest()


def test_f12_a_node_dies_when_the_workload_is_started_before_it_knows_of_it() -> None:
    cores = Cores(node())
    cores.dies("n1", is_a(StartExecution), after=True)
    cores.submit("j", ONE)
    cores.start_node("n1")
    cores.until(60)
    assert cores.attempts() == [(1, "COMPLETED")]
    assert cores.started == {"j-0-1": 1}, "it is gone on with, not started again"


def test_f13_a_node_dies_while_it_fetches_the_inputs() -> None:
    cores = Cores(node(), staging=30)
    cores.submit("j", PATIENT)
    cores.until(10)
    cores.crash("n1")
    cores.start_node("n1")
    cores.until(120)
    assert cores.attempts() == [(1, "FAILED"), (2, "COMPLETED")]
    assert cores.at_rest()


@pytest.mark.parametrize("reboot", [False, True], ids=["its engine lives on", "its engine too"])
def test_f14_a_node_dies_while_the_workload_runs(reboot: bool) -> None:
    cores = Cores(node())
    cores.submit("j", PATIENT)
    cores.until(3)
    cores.crash("n1")
    cores.until(5)
    cores.start_node("n1", reboot=reboot)
    cores.until(60)
    once, twice = [(1, "COMPLETED")], [(1, "FAILED"), (2, "COMPLETED")]
    assert cores.attempts() == (twice if reboot else once)
    assert cores.at_rest(), "nothing is forgotten, and nothing runs on"


def test_f15_a_workload_ends_while_its_node_is_down() -> None:
    cores = Cores(node())
    cores.submit("j", ONE)
    cores.until(3)
    cores.crash("n1")
    cores.until(15)
    cores.start_node("n1")
    cores.until(30)
    assert cores.attempts() == [(1, "COMPLETED")]
    assert "j-0-1" in cores.machines["n1"].results


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_f17_a_node_dies_before_or_after_the_results_are_published(after: bool) -> None:
    cores = Cores(node())
    cores.dies("n1", is_a(Publish), after=after)
    cores.submit("j", ONE)
    cores.until(12)
    assert cores.machines["n1"].core is None
    cores.start_node("n1")
    cores.until(30)
    assert (cores.attempts(), cores.started) == ([(1, "COMPLETED")], {"j-0-1": 1})


def test_f17_a_node_does_not_say_where_the_results_are() -> None:
    desk = at(E.PUBLISHING)
    desk.report(E.COMPLETED, evolve(DONE, location=None))
    assert (desk.states(), desk.failure_code()) == ("j FAILED, j-0 FAILED", "node.no_results")


def test_f18_a_node_dies_before_it_has_reported_what_it_has_published() -> None:
    cores = Cores(node())
    cores.dies("n1", sends(ExecutionUpdate, E.COMPLETED))
    cores.submit("j", ONE)
    cores.until(12)
    assert cores.ends() == {"j": "RUNNING"}
    cores.start_node("n1")
    cores.run()
    assert cores.attempts() == [(1, "COMPLETED")], "its next life reports it at once"
    assert cores.at_rest()


def test_f20_a_node_is_lost_for_ever_and_comes_back_with_what_it_had() -> None:
    cores = Cores(node("n1"), node("n2", labels={"slow": ""}), seconds=200)
    cores.submit("j", PATIENT)
    (first,) = [name for name, machine in cores.machines.items() if machine.running()]
    cores.crash(first)
    cores.until(300)
    assert cores.attempts() == [(1, "FAILED"), (2, "COMPLETED")]
    old = cores.executions["j-0-1"]
    assert (old.fenced, old.node) == (True, first)
    before = cores.snapshot()
    cores.start_node(first)
    cores.until(320)
    assert cores.snapshot() == before, "its late result changes nothing"
    assert cores.machines[first].results == {}, "and is not kept"
    assert cores.at_rest()


def test_f21_a_node_comes_back_with_an_older_disk() -> None:
    cores = Cores(node())
    cores.submit("j", ONE)
    cores.until(3)
    machine = cores.machines["n1"]
    disk = dict(machine.offers), dict(machine.engine)
    cores.until(30)
    assert cores.ends() == COMPLETED
    before = cores.snapshot()
    cores.crash("n1")
    machine.offers, machine.engine = disk
    cores.start_node("n1")
    cores.until(60)
    assert cores.snapshot() == before
    assert cores.said(AcknowledgeExecution)[-1] == AcknowledgeExecution("j-0-1", discard=False)
    assert cores.at_rest()


def test_f46_everything_dies_before_any_effect_and_starts_again_with_the_same_store() -> None:
    """Orchestrator, node and engine are one process here, as they are in a cluster that is embedded."""
    deaths = 0
    for party in (ORCHESTRATOR, "n1"):
        for number in range(1000):
            cores = Cores(node())
            cores.dies(party, nth(number))
            returned = cores.submit("j", PATIENT)
            cores.until(30)
            if cores.deaths:
                break
            deaths += 1
            for other in (ORCHESTRATOR, "n1"):
                cores.crash(other)
            cores.start_orchestrator()
            cores.start_node("n1", reboot=True)
            cores.until(60)
            assert returned <= ("j" in cores.jobs), "a submit that returned is not lost"
            cores.submit("j", PATIENT)
            cores.until(120)
            assert cores.ends() == COMPLETED
            assert Counter(state for _, state in cores.attempts())["COMPLETED"] == 1
            assert cores.at_rest()
    assert deaths >= 25, "there are that many points to die at"
