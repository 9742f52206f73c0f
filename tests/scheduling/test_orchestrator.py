"""The orchestrator's half: what it commits, and what it tells the nodes."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from bacalhau_sdk.errors import JobConflictError, JobNotFoundError
from bacalhau_sdk.model.execution import (
    ExecutionState,
    Failure,
    FailureKind,
    Outcome,
)
from bacalhau_sdk.model.job import JobSpec, JobState
from bacalhau_sdk.model.message import (
    AskForBid,
    BidResult,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.effects import Send
from bacalhau_sdk.scheduling.events import CancelJob, Deliver, OrchestratorEvent, SubmitJob
from bacalhau_sdk.scheduling.orchestrator import RESEND_AFTER, OrchestratorCore
from tests.scheduling.desk import (
    ACCEPT,
    BIG,
    CANCEL,
    DISCARD,
    KEEP,
    LIVE,
    ONE_CPU,
    REPORTS,
    Desk,
    ask,
    at,
    to,
)
from tests.scheduling.makers import DONE, FAILED, entry, from_node, heartbeat, node, refusal, to_node, wasm

E = ExecutionState


# ---- Submitting ----


def test_a_job_is_committed_with_its_executions_before_they_are_offered() -> None:
    desk = Desk(node())
    spec = wasm(count=2)
    desk.now = 3.0
    assert desk.submit(spec=spec) == [("n1", ask(0, spec=spec)), ("n1", ask(1, spec=spec, partition=1))]
    assert desk.jobs["j"] == JobRecord("j", spec, JobState.PENDING, 3.0, 3.0)
    assert desk.states() == "j PENDING, j-0 ASK_FOR_BID, j-1 ASK_FOR_BID"
    assert desk.history == [
        "job submitted",
        "partition 0, attempt 1: offered to node n1",
        "partition 1, attempt 1: offered to node n1",
    ]


def test_submitting_again_finds_the_job() -> None:
    desk = Desk(node())
    desk.submit(spec=wasm(env={"A": "1", "B": "2"}))
    before = desk.snapshot()
    assert desk.submit(spec=wasm(env={"B": "2", "A": "1"})) == []
    assert desk.snapshot() == before
    desk.hear("n1", *REPORTS.values())
    assert desk.submit(spec=wasm(env={"A": "1", "B": "2"})) == []
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


@pytest.mark.parametrize(
    ("event", "error"),
    [(SubmitJob("j", wasm(count=2)), JobConflictError), (CancelJob("unknown", "enough"), JobNotFoundError)],
)
def test_what_raises_changes_nothing(event: OrchestratorEvent, error: type[Exception]) -> None:
    desk, twin = at(E.RUNNING), at(E.RUNNING)
    with pytest.raises(error):
        desk.core.handle(event, 5.0)
    for each in (desk, twin):
        each.now = 6.0
        each.submit("k", BIG)
    assert desk.snapshot() == twin.snapshot()
    assert desk.history == twin.history
    assert desk.report(E.COMPLETED, DONE) == twin.report(E.COMPLETED, DONE)


def test_a_job_of_no_partitions_is_complete_at_once() -> None:
    desk = Desk()
    assert desk.submit(spec=wasm(count=0)) == []
    assert desk.states() == "j COMPLETED"


# ---- The straight line ----


def test_from_the_offer_to_the_end() -> None:
    desk = Desk(node())
    desk.submit(spec=BIG)
    assert desk.free().cpu == 0
    steps = [
        ("j RUNNING, j-0 BID_ACCEPTED", []),
        ("j RUNNING, j-0 RUNNING", []),
        ("j RUNNING, j-0 PUBLISHING", []),
        ("j COMPLETED, j-0 COMPLETED", to("n1", KEEP)),
    ]
    for message, (states, sent) in zip(REPORTS.values(), steps, strict=True):
        desk.now += 1
        assert desk.hear("n1", message) == sent
        assert desk.states() == states
    made = desk.executions["j-0"]
    assert (made.created_at, made.started_at, made.ended_at, made.outcome) == (0.0, 2.0, 4.0, DONE)
    assert desk.jobs["j"].ended_at == 4.0
    assert desk.free().cpu == 4
    assert desk.history == [
        "job submitted",
        "partition 0, attempt 1: offered to node n1",
        "partition 0, attempt 1: accepted by node n1, which prepares it",
        "job is RUNNING",
        "partition 0, attempt 1: runs on node n1",
        "partition 0, attempt 1: ended on node n1, its results are published",
        "partition 0, attempt 1: completed with exit code 0",
        "job is COMPLETED",
    ]


@pytest.mark.parametrize("kind", list(FailureKind))
@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_a_failure_is_kept_with_its_kind_and_the_other_partitions_are_stopped(
    state: E, kind: FailureKind
) -> None:
    desk = at(state, spec=wasm(count=2))
    outcome = Outcome(exit_code=1, failure=Failure(kind, "node.io", "disk full", "make room"))
    assert desk.report(E.FAILED, outcome) == [("n1", DISCARD), ("n1", CancelExecution("j-1"))]
    assert desk.states() == "j RUNNING, j-0 FAILED, j-1 ASK_FOR_BID"
    assert desk.executions["j-0"].outcome == outcome
    desk.report(E.CANCELLED, Outcome(), 1)
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 CANCELLED"
    assert desk.jobs["j"].failure == outcome.failure
    assert desk.free() == node().capacity


def test_a_nonzero_exit_is_a_result() -> None:
    desk = at(E.PUBLISHING)
    desk.report(E.COMPLETED, evolve(DONE, exit_code=1))
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


# ---- Refused offers ----


def test_after_a_refusal_for_now_the_node_is_asked_again_later_and_tells_so() -> None:
    desk = Desk(node("n1"))
    desk.submit()
    desk.hear("n1", BidResult("j-0", (refusal(lasting=False, check=Check.ENGINE),)))
    (told,) = desk.core.explain("j", desk.now).refusals
    assert told.hint == "it is asked again in 5.0 s"
    refused_at = desk.now
    assert desk.beat(node("n1")) == [], "that it lives does not say that its answer would be another one"
    assert desk.submit("k") == to("n1", ask(0, "k")), "another job may have it"
    assert desk.until(refused_at + 4.9, node("n1"), k_0=E.ASK_FOR_BID) == []
    assert desk.until(refused_at + 5.1, node("n1"), k_0=E.ASK_FOR_BID) == to("n1", ask(1))


def test_after_a_refusal_the_next_node_is_asked_with_the_same_attempt() -> None:
    desk = Desk(node("n1"), node("n2"))
    ((first, _),) = desk.submit()
    other = {"n1": "n2", "n2": "n1"}[first]
    assert desk.hear(first, BidResult("j-0", (refusal(first),))) == to(other, ask(1))
    assert desk.states() == "j PENDING, j-0 ASK_FOR_BID_REJECTED, j-1 ASK_FOR_BID"
    assert desk.executions["j-1"].attempt == 1
    desk.hear(other, BidResult("j-1", (refusal(other),)))
    assert desk.states() == "j FAILED, j-0 ASK_FOR_BID_REJECTED, j-1 ASK_FOR_BID_REJECTED"
    failure = desk.jobs["j"].failure
    assert failure is not None
    assert failure.code == "job.no_matching_node"
    assert sorted(each.node for each in desk.jobs["j"].refusals) == ["n1", "n2"]
    assert desk.free("n1") == desk.free("n2") == node().capacity


def test_a_node_that_has_changed_is_asked_again() -> None:
    info = node("n1", max_executions=2)
    desk = Desk(info, node("n2", max_executions=1, labels={"slow": ""}))
    desk.submit("k", wasm(selector="slow"))
    desk.submit(spec=wasm(count=1))
    desk.hear("n1", BidResult("j-0", (refusal(),)))
    assert desk.states() == "k PENDING, j QUEUED, k-0 ASK_FOR_BID, j-0 ASK_FOR_BID_REJECTED"
    assert desk.beat(info, 5.0) == []
    assert desk.beat(evolve(info, revision=1), 10.0) == to("n1", evolve(ask(1), node_revision=1))
    assert desk.executions["j-1"].node_revision == 1


def test_for_want_of_room_a_node_is_asked_again_when_it_is_heard_of() -> None:
    desk = Desk(node())
    desk.submit()
    assert desk.hear("n1", BidResult("j-0", (refusal(lasting=False),))) == []
    assert desk.states() == "j QUEUED, j-0 ASK_FOR_BID_REJECTED"
    assert desk.submit("k") == [], "nothing is offered to it"
    assert desk.beat(node(), 5.0) == [("n1", ask(1)), ("n1", ask(0, "k"))]


def test_for_want_of_room_a_node_is_asked_again_when_something_of_it_ends() -> None:
    desk = at(E.RUNNING)
    desk.submit("k")
    desk.hear("n1", BidResult("k-0", (refusal(lasting=False),)))
    assert desk.jobs["k"].state is JobState.QUEUED
    assert desk.report(E.COMPLETED, DONE) == [("n1", KEEP), ("n1", ask(1, "k"))]


# ---- The queue ----


def test_priority_then_age_decides_who_gets_the_room() -> None:
    desk = at(E.RUNNING, spec=BIG)
    for job_id, priority in (("old", 0), ("young", 0), ("urgent", 1)):
        desk.now += 1
        assert desk.submit(job_id, evolved(BIG, priority=priority)) == []
    assert "old QUEUED, young QUEUED, urgent QUEUED" in desk.states()
    sent = desk.report(E.COMPLETED, DONE)
    assert [message.job_id for _, message in sent if isinstance(message, AskForBid)] == ["urgent"]
    sent = desk.cancel("urgent") + desk.hear("n1", ExecutionUpdate("urgent-0", E.CANCELLED, Outcome()))
    assert [message.job_id for _, message in sent if isinstance(message, AskForBid)] == ["old"]


def evolved(spec: JobSpec, **changes: Any) -> JobSpec:
    return wasm(resources=spec.resources, **changes)


def test_a_small_job_passes_a_large_one_that_does_not_fit_yet() -> None:
    desk = Desk(node(cpu=4))
    desk.submit("half", wasm(resources=Resources(cpu=2)))
    assert desk.submit("large", BIG) == []
    assert len(desk.submit("small", wasm(resources=ONE_CPU))) == 1
    assert desk.jobs["large"].state is JobState.QUEUED


def test_room_goes_to_as_many_of_the_waiting_jobs_as_there_is_room_for() -> None:
    desk = at(E.RUNNING, spec=BIG)
    for number in range(6):
        desk.submit(f"small-{number}", wasm(resources=ONE_CPU))
    sent = desk.report(E.COMPLETED, DONE)
    assert [message.job_id for _, message in sent if isinstance(message, AskForBid)] == [
        f"small-{number}" for number in range(4)
    ]


def test_a_part_of_a_job_runs_while_the_rest_waits() -> None:
    desk = Desk(node(cpu=2))
    desk.submit(spec=wasm(count=3, resources=ONE_CPU))
    assert desk.states() == "j QUEUED, j-0 ASK_FOR_BID, j-1 ASK_FOR_BID"
    desk.hear("n1", *REPORTS.values())
    assert desk.states() == "j RUNNING, j-0 COMPLETED, j-1 ASK_FOR_BID, j-2 ASK_FOR_BID"
    assert desk.executions["j-2"].partition_index == 2


def test_a_new_node_gets_what_waits() -> None:
    desk = at(E.RUNNING, spec=BIG)
    desk.submit("k", BIG)
    assert desk.beat(node("n2"), 1.0) == to("n2", ask(0, "k", BIG))


def test_a_job_that_waits_for_another_node_holds_up_no_equal_one() -> None:
    """As of two jobs with images of different platforms: equal demands, but the nodes refuse one of them."""
    desk = Desk(node("n1", cpu=1), node("n2", cpu=1))
    spec = wasm(resources=ONE_CPU)
    for job_id in ("a", "b"):
        desk.submit(job_id, spec)
    holder = {desk.executions[f"{job_id}-0"].node: job_id for job_id in "ab"}
    desk.hear("n1", BidResult(f"{holder['n1']}-0"))
    desk.hear("n2", BidResult(f"{holder['n2']}-0"))
    desk.submit("first", spec)
    desk.submit("second", spec)
    assert [desk.jobs[job_id].state for job_id in ("first", "second")] == [JobState.QUEUED] * 2

    def freed(name: str) -> list[str]:
        execution_id = next(e.id for e in desk.executions.values() if e.node == name and not e.state.terminal)
        sent = desk.hear(name, ExecutionUpdate(execution_id, E.COMPLETED, DONE))
        return [message.job_id for _, message in sent if isinstance(message, AskForBid)]

    assert freed("n1") == ["first"]
    sent = desk.hear("n1", BidResult("first-0", (refusal("n1"),)))
    assert [message.job_id for _, message in sent if isinstance(message, AskForBid)] == ["second"]
    desk.submit("third", spec)
    assert freed("n1") == ["third"], "the first one waits for n2"
    assert freed("n2") == ["first"]


# ---- What nodes may say ----


def unchanged(desk: Desk, envelope: Envelope) -> bool:
    before, history = desk.snapshot(), list(desk.history)
    desk.handle(Deliver(envelope))
    return desk.snapshot() == before and desk.history == history


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize(
    "message",
    [
        ACCEPT,
        BidResult("j-0", (refusal("n1"),)),
        *(ExecutionUpdate("j-0", state, DONE) for state in E),
        Heartbeat(node("n1"), (("j-0", E.RUNNING),)),
        Heartbeat(node("n1", revision=9)),
        Heartbeat(node("n2"), (("j-0", E.PUBLISHING),)),
        CANCEL,
        KEEP,
        ask(),
    ],
    ids=str,
)
def test_a_node_reports_on_its_own_executions_only(state: E, message: Message) -> None:
    desk = at(state, node("n2"))
    assert unchanged(desk, from_node("n2", message))
    assert entry(desk.core.membership.nodes, "n1").info == node("n1")


def test_nobody_can_name_an_execution_that_is_not() -> None:
    desk = at(E.RUNNING)
    for message in (BidResult("k-0"), ExecutionUpdate("k-0", E.COMPLETED, DONE)):
        assert unchanged(desk, from_node("n1", message))


@pytest.mark.parametrize(
    ("state", "old"),
    [
        (E.ASK_FOR_BID, [E.NEW, E.ASK_FOR_BID, E.ASK_FOR_BID_REJECTED]),
        (E.BID_ACCEPTED, [E.NEW, E.ASK_FOR_BID, E.ASK_FOR_BID_REJECTED, E.BID_ACCEPTED]),
        (E.RUNNING, [E.NEW, E.ASK_FOR_BID, E.ASK_FOR_BID_REJECTED, E.BID_ACCEPTED, E.RUNNING]),
        (
            E.PUBLISHING,
            [E.NEW, E.ASK_FOR_BID, E.ASK_FOR_BID_REJECTED, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING],
        ),
        (E.COMPLETED, list(E)),
    ],
)
def test_old_news_is_no_news(state: E, old: list[E]) -> None:
    desk = at(state)
    for each in old:
        assert unchanged(desk, from_node("n1", ExecutionUpdate("j-0", each, FAILED)))
        assert each.terminal or unchanged(desk, heartbeat(node(), j_0=each))
    if state is not E.ASK_FOR_BID:
        for late in (ACCEPT, BidResult("j-0", (refusal(),))):
            assert unchanged(desk, from_node("n1", late))


@pytest.mark.parametrize(("state", "answer"), [(E.COMPLETED, KEEP), (E.FAILED, KEEP), (E.RUNNING, CANCEL)])
def test_a_report_on_an_execution_that_has_ended_is_answered(state: E, answer: Message) -> None:
    """What lasts on the node is acknowledged again, since that was lost; what still runs there is killed."""
    desk = at(E.COMPLETED)
    assert desk.report(state, DONE) == to("n1", answer)
    assert desk.beat(node(), 1.0, j_0=state) == to("n1", answer)


@pytest.mark.parametrize(
    ("state", "answer"),
    [(E.BID_ACCEPTED, CANCEL), (E.RUNNING, CANCEL), (E.COMPLETED, DISCARD), (E.FAILED, DISCARD)],
)
def test_an_execution_that_is_not_known_is_killed_or_discarded(state: E, answer: Message) -> None:
    desk = Desk(node())
    assert desk.beat(node(), 1.0, j_0=state) == to("n1", answer)
    assert desk.report(state) == to("n1", answer)
    assert desk.states() == ""


# ---- Lost messages ----


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_a_report_that_was_lost_is_made_up_for_by_the_heartbeat(state: E) -> None:
    desk = at(E.ASK_FOR_BID)
    assert desk.beat(node(), 5.0, j_0=state) == []
    assert desk.states() == f"j RUNNING, j-0 {state.value}"
    desk.hear("n1", ACCEPT)
    desk.report(E.COMPLETED, DONE)
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


@pytest.mark.parametrize("state", [E.RUNNING, E.PUBLISHING])
def test_a_report_that_overtakes_the_bid_is_taken(state: E) -> None:
    desk = at(E.ASK_FOR_BID)
    desk.report(state)
    assert desk.states() == f"j RUNNING, j-0 {state.value}"


def test_an_offer_that_its_node_does_not_list_is_made_again() -> None:
    desk = at(E.ASK_FOR_BID)
    assert desk.beat(node(), RESEND_AFTER - 0.1) == [], "it may be on its way"
    assert desk.beat(node(), RESEND_AFTER) == to("n1", ask())
    assert desk.beat(node(), 60.0, j_0=E.ASK_FOR_BID) == [], "it is being looked at"
    assert desk.beat(node(), 60.0 + RESEND_AFTER) == to("n1", ask())


@pytest.mark.parametrize("state", LIVE)
def test_a_cancel_that_was_lost_is_made_up_for_by_the_heartbeat(state: E) -> None:
    desk = at(state)
    assert desk.cancel() == to("n1", CANCEL)
    assert desk.beat(node(), 1.0, j_0=state) == to("n1", CANCEL)
    desk.report(E.CANCELLED)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"


def test_a_cancel_that_overtook_its_offer_is_told_again() -> None:
    """The node must hear of it before the offer does: until it says so, the offer may still be on its way."""
    desk = at(E.ASK_FOR_BID)
    desk.cancel()
    assert desk.beat(node(), RESEND_AFTER - 0.1) == []
    assert desk.beat(node(), RESEND_AFTER) == to("n1", CANCEL)
    assert not desk.jobs["j"].state.terminal


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_an_execution_that_its_node_does_not_have_any_more_has_failed_at_once(state: E) -> None:
    """The node was restarted: it drops nothing that has not ended here."""
    desk = at(state, spec=wasm(count=2))
    sent = desk.beat(node(), 1.0, j_1=E.ASK_FOR_BID)
    assert sent == [("n1", DISCARD), ("n1", CancelExecution("j-1"))]
    desk.report(E.CANCELLED, serial=1)
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 CANCELLED"
    failure = desk.jobs["j"].failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.INFRASTRUCTURE, "node.lost_execution")
    assert not desk.executions["j-0"].fenced, "nothing of it is left"
    assert desk.free() == node().capacity


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_an_execution_told_to_stop_that_its_node_does_not_have_any_more_has_stopped(state: E) -> None:
    desk = at(state)
    desk.cancel()
    assert desk.beat(node(), 1.0) == to("n1", DISCARD)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
    assert desk.executions["j-0"].outcome == Outcome()


# ---- Cancelling ----


def test_a_job_that_waits_is_cancelled_at_once() -> None:
    desk = at(E.RUNNING, spec=BIG)
    desk.submit("k", BIG)
    assert desk.cancel("k") == []
    assert (desk.jobs["k"].state, desk.jobs["k"].reason) == (JobState.CANCELLED, "enough")


@pytest.mark.parametrize("state", LIVE)
def test_a_job_is_cancelled_when_nothing_of_it_runs(state: E) -> None:
    desk = at(state, spec=wasm(count=2))
    assert desk.cancel() == [("n1", CANCEL), ("n1", CancelExecution("j-1"))]
    assert not desk.jobs["j"].state.terminal
    assert desk.cancel() == []
    assert desk.report(E.CANCELLED, Outcome()) == to("n1", DISCARD)
    assert not desk.jobs["j"].state.terminal
    desk.report(E.CANCELLED, Outcome(), 1)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED, j-1 CANCELLED"
    assert desk.free() == node().capacity
    before = desk.snapshot()
    assert desk.cancel() == []
    assert desk.snapshot() == before


@pytest.mark.parametrize("state", LIVE)
def test_results_of_a_cancelled_execution_are_not_wanted(state: E) -> None:
    desk = at(state)
    desk.cancel()
    assert desk.report(E.COMPLETED, evolve(DONE, exit_code=7)) == to("n1", DISCARD)
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"
    assert desk.executions["j-0"].outcome == Outcome(exit_code=7), (
        "there is nothing where it says results are"
    )
    assert desk.report(E.COMPLETED, DONE) == to("n1", DISCARD)


def test_a_cancelled_job_is_cancelled_even_if_it_fails_meanwhile() -> None:
    desk = at(E.RUNNING)
    desk.cancel()
    desk.report(E.FAILED, FAILED)
    assert desk.states() == "j CANCELLED, j-0 FAILED"
    assert desk.jobs["j"].failure is None


def test_a_failing_job_has_failed_even_if_it_is_cancelled_meanwhile() -> None:
    desk = at(E.RUNNING, spec=wasm(count=2))
    desk.report(E.FAILED, FAILED)
    assert desk.cancel() == []
    desk.report(E.CANCELLED, Outcome(), 1)
    assert desk.states() == "j FAILED, j-0 FAILED, j-1 CANCELLED"
    assert desk.jobs["j"].failure == FAILED.failure


def test_an_offer_that_is_refused_or_accepted_while_it_is_cancelled_is_not_made_again() -> None:
    desk = at(E.ASK_FOR_BID, node("n2"))
    desk.cancel()
    assert desk.hear("n1", BidResult("j-0", (refusal(lasting=False),))) == []
    assert desk.states() == "j CANCELLED, j-0 ASK_FOR_BID_REJECTED"
    assert desk.report(E.CANCELLED) == to("n1", DISCARD)

    desk = at(E.ASK_FOR_BID)
    desk.cancel()
    assert desk.hear("n1", ACCEPT) == []
    assert not desk.jobs["j"].state.terminal
    desk.report(E.CANCELLED, Outcome())
    assert desk.states() == "j CANCELLED, j-0 CANCELLED"


def test_of_jobs_that_have_ended_only_the_records_are_kept() -> None:
    desk = Desk(node("n1", max_executions=1))
    for job_id in ("j", "blocked"):
        desk.submit(job_id)
    desk.beat(node("n1", max_executions=1), 1.0, j_0=E.RUNNING)
    desk.cancel("blocked")
    desk.report(E.COMPLETED, DONE)
    assert desk.states() == "j COMPLETED, blocked CANCELLED, j-0 COMPLETED"
    kept = {name: value for name, value in vars(desk.core._evaluations).items() if name != "_count"}
    assert not any(kept.values()), kept


def test_a_job_that_has_ended_stays_as_it_is() -> None:
    desk = at(E.COMPLETED)
    assert desk.cancel() == []
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


# ---- Explaining ----


def test_a_job_is_explained_node_by_node() -> None:
    desk = Desk(node("n1", cpu=2), node("n2", cpu=0.5))
    desk.submit(spec=wasm(count=2, resources=Resources(cpu=2)))
    desk.hear("n1", ACCEPT)
    assert str(desk.core.explain("j", desk.now)).splitlines() == [
        "job j is RUNNING",
        "  partition 0, attempt 1: BID_ACCEPTED on node n1",
        "  it waits for a node",
        *(f"  {each}" for each in desk.core.explain("j", desk.now).refusals),
    ]
    assert [(each.node, each.check) for each in desk.core.explain("j", desk.now).refusals] == [
        ("n1", Check.CAPACITY),
        ("n2", Check.TOTAL_CAPACITY),
    ]
    desk.cancel()
    assert "  partition 0, attempt 1: BID_ACCEPTED on node n1 (told to stop)" in str(
        desk.core.explain("j", desk.now)
    )


def test_a_job_that_found_no_node_is_explained_by_what_was_then() -> None:
    desk = Desk(node("n1"))
    desk.submit(spec=wasm(selector="zone = dc"))
    desk.beat(node("n2", labels={"zone": "dc"}))
    explained = desk.core.explain("j", desk.now)
    assert (explained.state, explained.candidates) == (JobState.FAILED, ())
    assert explained.reason == "no known node could ever run the job (1 known)"
    assert [(each.node, each.check) for each in explained.refusals] == [("n1", Check.SELECTOR)]


def test_a_spec_is_explained_without_running_it() -> None:
    desk = Desk(node("n1"), node("n2", labels={"zone": "dc"}))
    explained = desk.core.explain_spec(wasm(selector="zone = dc"))
    assert (explained.state, explained.candidates) == (None, ("n2",))
    assert [each.node for each in explained.refusals] == ["n1"]
    assert explained.reason == "1 of 2 nodes could take it now"
    assert desk.states() == ""


def test_an_offer_that_was_refused_is_no_place_of_the_job() -> None:
    desk = Desk(node("n1"))
    desk.submit()
    desk.hear("n1", BidResult("j-0", (refusal(lasting=False),)))
    assert desk.core.explain("j", desk.now).placed == ("it waits for a node",)


# ---- A fault of the user's ranker ----


def test_the_ranker_of_the_user_decides() -> None:
    core = OrchestratorCore(ranker=lambda candidate: (candidate.node.info.name != "n2",))
    for name in ("n1", "n2", "n3"):
        core.handle(Deliver(heartbeat(node(name))), 0.0)
    (_, sent, *_) = core.handle(SubmitJob("j", wasm()), 1.0)
    assert sent == Send(to_node("n2", ask()))
