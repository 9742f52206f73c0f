"""The node's half: what it does with offers, cancels, acknowledgements, and with what its engines report."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from bacalhau_sdk.model.execution import (
    FailureKind,
    Location,
    Outcome,
    RunResult,
)
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.message import (
    AcknowledgeExecution,
    BidResult,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from bacalhau_sdk.model.node import Check, EngineInfo
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling import compute
from bacalhau_sdk.scheduling.bidding import task_of
from bacalhau_sdk.scheduling.compute import HEARTBEAT_INTERVAL, ComputeCore
from bacalhau_sdk.scheduling.effects import (
    CheckBid,
    DiscardResults,
    Publish,
    Send,
    StartExecution,
    WakeAt,
)
from bacalhau_sdk.scheduling.events import (
    BidChecked,
    ComputeEvent,
    Deliver,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)
from tests.scheduling.compute_node import (
    CANCEL,
    FAULT,
    HERE,
    ID,
    KILL,
    OFFER,
    OVER,
    SPEC,
    STEPS,
    E,
    Node,
    at,
    done,
    said,
)
from tests.scheduling.makers import node, offer, refusal, to_node, wasm

# ---- The straight line ----


def test_from_the_offer_to_the_end() -> None:
    here = Node()
    task = task_of(OFFER)
    assert here.deliver(OFFER) == [CheckBid(task)]
    assert (here.reserved, here.listed()) == (1, {ID: E.ASK_FOR_BID})

    effects = here.handle(BidChecked(ID))
    assert (said(effects), done(effects)) == ([BidResult(ID)], [StartExecution(task, SPEC)])
    assert (here.reserved, here.listed()) == (1, {ID: E.BID_ACCEPTED})

    effects = here.handle(WorkloadStarted(ID))
    assert (said(effects), done(effects)) == ([ExecutionUpdate(ID, E.RUNNING)], [])

    effects = here.handle(WorkloadEnded(ID, RunResult(3), stdout_truncated=True))
    assert (said(effects), done(effects)) == ([ExecutionUpdate(ID, E.PUBLISHING)], [Publish(ID)])
    assert (here.reserved, here.listed()) == (1, {ID: E.PUBLISHING})

    effects = here.handle(ResultsPublished(ID, HERE))
    outcome = Outcome(exit_code=3, location=HERE, stdout_truncated=True)
    assert (said(effects), done(effects)) == ([ExecutionUpdate(ID, E.COMPLETED, outcome)], [])
    assert (here.reserved, here.listed()) == (0, {ID: E.COMPLETED})

    assert here.deliver(AcknowledgeExecution(ID)) == []
    assert here.listed() == {}


def test_the_engine_may_keep_the_variables_of_the_system_from_its_workloads() -> None:
    here = Node(ComputeCore(node("n1", EngineInfo("wasm", system_env=False))))
    (check,) = here.deliver(OFFER)
    assert check == CheckBid(task_of(OFFER, system_env=False))
    assert done(here.handle(BidChecked(ID))) == [StartExecution(task_of(OFFER, system_env=False), SPEC)]


# ---- Refusing ----


def test_an_offer_that_does_not_fit_is_refused_and_leaves_nothing() -> None:
    here = Node()
    effects = here.deliver(evolve(OFFER, spec=JobSpec.function("f")))
    (answer,) = said(effects)
    assert isinstance(answer, BidResult)
    assert [(each.check, each.lasting) for each in answer.refusals] == [(Check.ENGINE, True)]
    assert (done(effects), here.reserved, here.listed()) == ([], 0, {})


def test_the_executor_refuses_in_the_name_of_the_node() -> None:
    here = at(E.ASK_FOR_BID)
    effects = here.handle(BidChecked(ID, refusal("somebody", lasting=False)))
    assert (said(effects), done(effects)) == ([BidResult(ID, (refusal("n1", lasting=False),))], [])
    assert (here.reserved, here.listed()) == (0, {})


@pytest.mark.parametrize("by_executor", [False, True])
def test_an_offer_that_was_refused_stays_refused(by_executor: bool) -> None:
    """The partition is offered elsewhere by then; a doubled offer must not run it here as well."""
    here = Node()
    if by_executor:
        first = [here.deliver(OFFER), here.handle(BidChecked(ID, refusal()))][-1]
    else:
        here.deliver(offer("other", wasm(resources=Resources(cpu=2))))
        first = here.deliver(OFFER)
        here.handle(BidChecked("other"), WorkloadEnded("other", None))
    assert here.reserved == 0, "there is room now"
    assert said(here.deliver(OFFER)) == said(first)
    assert here.listed().get(ID) is None


def test_only_so_many_are_remembered() -> None:
    here = Node()
    with mock.patch.object(compute, "_REMEMBERED", 3):
        for serial in range(9):
            here.deliver(CancelExecution(f"j-{serial}"))
    assert list(here.core._closed) == ["j-6", "j-7", "j-8"]


def test_the_node_never_gives_more_than_it_has() -> None:
    here = Node()
    offers = [offer(f"j-{serial}", SPEC, partition_index=serial) for serial in range(3)]
    effects = [effect for offer in offers for effect in here.deliver(offer)]
    assert [type(effect) for effect in effects] == [CheckBid, CheckBid, Send]
    assert here.reserved == 2


# ---- Doubled, old and strange messages ----


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (E.ASK_FOR_BID, []),
        (E.BID_ACCEPTED, [BidResult(ID)]),
        (E.RUNNING, [ExecutionUpdate(ID, E.RUNNING)]),
        (E.PUBLISHING, [ExecutionUpdate(ID, E.PUBLISHING)]),
        (E.COMPLETED, [ExecutionUpdate(ID, E.COMPLETED, Outcome(exit_code=3, location=HERE))]),
    ],
)
def test_a_doubled_offer_is_answered_with_where_the_execution_stands(state: E, answer: list[Message]) -> None:
    here = at(state)
    reserved = here.reserved
    effects = here.deliver(OFFER)
    assert (said(effects), done(effects)) == (answer, [])
    assert here.reserved == reserved
    assert here.listed() == {ID: state}


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (E.ASK_FOR_BID, [E.RUNNING, E.PUBLISHING, E.COMPLETED]),
        (E.BID_ACCEPTED, [E.BID_ACCEPTED, E.COMPLETED]),
        (E.RUNNING, [E.BID_ACCEPTED, E.RUNNING, E.COMPLETED]),
        (E.PUBLISHING, [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING]),
        (E.COMPLETED, [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING, E.COMPLETED]),
    ],
)
def test_what_an_engine_says_again_or_out_of_turn_changes_nothing(state: E, steps: list[E]) -> None:
    here = at(state)
    for step in steps:
        assert here.handle(*STEPS[step]) == []
    assert here.listed() == {ID: state}


@pytest.mark.parametrize("events", [STEPS[state] for state in STEPS if state is not E.ASK_FOR_BID])
def test_what_an_engine_says_of_an_unknown_execution_changes_nothing(events: list[ComputeEvent]) -> None:
    here = Node()
    assert here.handle(*events) == []
    assert here.listed() == {}


@pytest.mark.parametrize("state", [E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_an_execution_that_goes_on_is_not_forgotten(state: E) -> None:
    here = at(state)
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == []
    assert here.listed() == {ID: state}
    assert here.reserved == 1


def test_an_old_offer_of_an_execution_that_is_over_starts_nothing() -> None:
    here = at(E.COMPLETED)
    here.deliver(AcknowledgeExecution(ID))
    assert said(here.deliver(OFFER)) == [OVER]
    assert (here.reserved, here.listed()) == (0, {})


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope("n2", "n1", OFFER),
        Envelope("n2", "n1", CancelExecution(ID)),
        Envelope("n1", "n1", AcknowledgeExecution(ID)),
        to_node("n1", BidResult(ID)),
        to_node("n1", ExecutionUpdate(ID, E.FAILED)),
        to_node("n1", Heartbeat(node())),
    ],
)
@pytest.mark.parametrize("state", [None, E.RUNNING, E.COMPLETED])
def test_only_the_orchestrator_is_obeyed_and_only_in_its_own_words(
    envelope: Envelope, state: E | None
) -> None:
    here = at(state) if state else Node()
    before = here.listed()
    assert here.handle(Deliver(envelope)) == []
    assert here.listed() == before


# ---- Heartbeats ----


def test_a_heartbeat_says_what_the_node_is_and_holds_and_is_followed_by_the_next() -> None:
    here = at(E.RUNNING)
    here.deliver(offer("j-1", SPEC, partition_index=1))
    effects = here.handle(Tick(), now=20.0)
    assert said(effects) == [Heartbeat(here.core.info, ((ID, E.RUNNING), ("j-1", E.ASK_FOR_BID)))]
    assert done(effects) == [WakeAt(20.0 + HEARTBEAT_INTERVAL)]


def test_an_end_is_repeated_until_it_is_acknowledged() -> None:
    here = at(E.COMPLETED)
    end = ExecutionUpdate(ID, E.COMPLETED, Outcome(exit_code=3, location=HERE))
    for _ in range(2):
        beat, repeated = said(here.handle(Tick()))
        assert beat == Heartbeat(here.core.info, ((ID, E.COMPLETED),))
        assert repeated == end
    here.deliver(AcknowledgeExecution(ID))
    assert said(here.handle(Tick())) == [Heartbeat(here.core.info)]


# ---- Ends ----


@pytest.mark.parametrize("kind", list(FailureKind))
@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING])
def test_a_failure_is_told_with_its_kind_and_what_there_is_goes(state: E, kind: FailureKind) -> None:
    here = at(state)
    failure = evolve(FAULT, kind=kind)
    effects = here.handle(WorkloadEnded(ID, failure, stderr_truncated=True))
    outcome = Outcome(failure=failure, stderr_truncated=True)
    assert said(effects) == [ExecutionUpdate(ID, E.FAILED, outcome)]
    assert done(effects) == [DiscardResults(ID)]
    assert here.reserved == 0


def test_results_that_cannot_be_published_are_a_failure() -> None:
    here = at(E.PUBLISHING)
    effects = here.handle(ResultsPublished(ID, FAULT))
    assert said(effects) == [ExecutionUpdate(ID, E.FAILED, Outcome(exit_code=3, failure=FAULT))]
    assert done(effects) == [DiscardResults(ID)]
    assert here.reserved == 0


def test_a_workload_that_ends_before_it_has_said_that_it_runs_has_run() -> None:
    here = at(E.BID_ACCEPTED)
    effects = here.handle(WorkloadEnded(ID, RunResult(0)))
    assert (said(effects), done(effects)) == ([ExecutionUpdate(ID, E.PUBLISHING)], [Publish(ID)])


@pytest.mark.parametrize(
    ("state", "event"), [(E.RUNNING, WorkloadEnded(ID, None)), (E.PUBLISHING, ResultsPublished(ID, None))]
)
def test_what_was_killed_without_being_asked_is_stopped(state: E, event: ComputeEvent) -> None:
    """The node is closing."""
    here = at(state)
    effects = here.handle(event)
    (update,) = said(effects)
    assert isinstance(update, ExecutionUpdate)
    assert (update.state, done(effects), here.reserved) == (E.CANCELLED, [DiscardResults(ID)], 0)


def test_results_that_are_not_wanted_are_discarded_with_the_acknowledgement() -> None:
    here = at(E.COMPLETED)
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == [DiscardResults(ID, HERE)]
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == []
    assert here.listed() == {}


def test_an_acknowledged_failure_has_nothing_left_to_be_found() -> None:
    here = at(E.RUNNING)
    here.handle(WorkloadEnded(ID, FAULT))
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == [DiscardResults(ID)]


# ---- Cancelling ----

CANCELLED = ExecutionUpdate(ID, E.CANCELLED, Outcome())


@pytest.mark.parametrize(
    ("state", "last", "outcome", "location"),
    [
        (E.ASK_FOR_BID, BidChecked(ID), Outcome(), None),
        (E.ASK_FOR_BID, BidChecked(ID, refusal()), Outcome(), None),
        (E.BID_ACCEPTED, WorkloadEnded(ID, None), Outcome(), None),
        (E.RUNNING, WorkloadEnded(ID, None), Outcome(), None),
        (E.RUNNING, WorkloadEnded(ID, None, stdout_truncated=True), Outcome(stdout_truncated=True), None),
        # The kill came too late: what it has come to is not wanted.
        (E.RUNNING, WorkloadEnded(ID, RunResult(0)), Outcome(), None),
        (E.RUNNING, WorkloadEnded(ID, FAULT), Outcome(), None),
        (E.PUBLISHING, ResultsPublished(ID, None), Outcome(exit_code=3), None),
        (E.PUBLISHING, ResultsPublished(ID, HERE), Outcome(exit_code=3), HERE),
        (E.PUBLISHING, ResultsPublished(ID, FAULT), Outcome(exit_code=3), None),
    ],
)
def test_cancel_kills_and_the_end_is_told_when_it_is_dead(
    state: E, last: ComputeEvent, outcome: Outcome, location: Location | None
) -> None:
    here = at(state)
    assert here.handle(CANCEL) == [KILL]
    assert (here.reserved, here.listed()) == (1, {ID: state}), "nothing is given away while it may still run"
    effects = here.handle(last)
    assert said(effects) == [ExecutionUpdate(ID, E.CANCELLED, outcome)]
    assert done(effects) == [DiscardResults(ID, location)]
    assert (here.reserved, here.listed()) == (0, {ID: E.CANCELLED})
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == [DiscardResults(ID)]
    assert here.listed() == {}


def test_a_workload_that_begins_while_it_is_killed_is_not_told_to_run() -> None:
    here = at(E.BID_ACCEPTED)
    here.handle(CANCEL)
    assert here.handle(WorkloadStarted(ID)) == []
    assert here.listed() == {ID: E.BID_ACCEPTED}


@pytest.mark.parametrize("state", [E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_cancelled_again_it_is_killed_again_for_the_first_kill_may_have_failed(state: E) -> None:
    here = at(state)
    assert here.handle(CANCEL, CANCEL) == [KILL, KILL]
    assert here.reserved == 1


def test_a_cancel_that_overtakes_its_offer_holds() -> None:
    here = Node()
    assert said(here.handle(CANCEL)) == [OVER]
    effects = here.deliver(OFFER)
    assert (said(effects), done(effects)) == ([OVER], []), "the orchestrator must not wait for an answer"
    assert (here.reserved, here.listed()) == (0, {})
    assert said(here.handle(CANCEL)) == [OVER], "the first answer may be lost"


def test_a_cancel_after_a_refusal_holds() -> None:
    here = at(E.ASK_FOR_BID)
    here.handle(BidChecked(ID, refusal()))
    assert said(here.handle(CANCEL)) == [OVER]
    effects = here.deliver(OFFER)
    assert (said(effects), done(effects)) == ([OVER], []), "the orchestrator must not wait for an answer"


def test_a_cancel_after_the_end_is_answered_with_the_end() -> None:
    here = at(E.COMPLETED)
    end = ExecutionUpdate(ID, E.COMPLETED, Outcome(exit_code=3, location=HERE))
    effects = here.handle(CANCEL)
    assert (said(effects), done(effects)) == ([end], [])
    here.deliver(AcknowledgeExecution(ID))
    effects = here.handle(CANCEL)
    assert (said(effects), done(effects)) == ([OVER], [])


# ---- Any order of anything ----

ids = st.sampled_from(["a", "b", "c"])
events = st.one_of(
    ids.map(lambda each: Deliver(to_node("n1", offer(each, SPEC)))),
    ids.map(lambda each: Deliver(to_node("n1", CancelExecution(each)))),
    st.builds(
        lambda each, drop: Deliver(to_node("n1", AcknowledgeExecution(each, drop))), ids, st.booleans()
    ),
    st.builds(BidChecked, ids, st.sampled_from([None, None, refusal()])),
    ids.map(WorkloadStarted),
    st.builds(WorkloadEnded, ids, st.sampled_from([RunResult(0), RunResult(0), FAULT, None])),
    st.builds(ResultsPublished, ids, st.sampled_from([HERE, HERE, FAULT, None])),
    st.just(Tick()),
)


@settings(max_examples=300)
@given(st.lists(events, max_size=60))
def test_whatever_comes(todo: list[ComputeEvent]) -> None:
    """Engines answer only what they were asked; everything else comes in any order."""
    here, twin = Node(), Node()
    at_work: dict[str, type] = {}
    started: Counter[str] = Counter()
    unwanted: set[str] = set()
    ended: dict[str, Message] = {}
    for event in todo:
        answers = {
            BidChecked: CheckBid,
            WorkloadStarted: StartExecution,
            WorkloadEnded: StartExecution,
            ResultsPublished: Publish,
        }
        if isinstance(event, BidChecked | WorkloadStarted | WorkloadEnded | ResultsPublished):
            if at_work.get(event.execution_id) is not answers[type(event)]:
                continue
            if not isinstance(event, WorkloadStarted):
                del at_work[event.execution_id]
        if isinstance(event, Deliver) and isinstance(event.envelope.message, CancelExecution):
            unwanted.add(event.envelope.message.execution_id)
        effects = here.handle(event)
        assert effects == twin.handle(event), "equal events have equal effects"
        for effect in effects:
            match effect:
                case CheckBid(task) | StartExecution(task, _):
                    assert task.execution_id not in at_work
                    at_work[task.execution_id] = type(effect)
                    started[task.execution_id] += isinstance(effect, StartExecution)
                    assert task.execution_id not in unwanted
                case Publish(execution_id):
                    assert execution_id not in at_work | dict.fromkeys(unwanted)
                    at_work[execution_id] = Publish
                case Send(Envelope(_, _, ExecutionUpdate(execution_id, state) as end)) if state.terminal:
                    first = ended.setdefault(execution_id, end)
                    known = ExecutionUpdate(execution_id, E.CANCELLED)
                    assert end in (first, known), "an end is one end"
                    assert execution_id not in at_work
                case _:
                    pass
        assert max(started.values(), default=0) <= 1
        assert sorted(each for each in "abc" if each in here.core.account) == sorted(at_work)
        assert len(at_work) <= 2, "there is room for two"
