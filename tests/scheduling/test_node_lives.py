"""A node that goes on with what an earlier life has left, and one that is drained."""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import (
    Outcome,
    RunResult,
)
from bacalhau_sdk.model.message import (
    AcknowledgeExecution,
    BidResult,
    ExecutionUpdate,
    Heartbeat,
)
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.scheduling.bidding import task_of
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import (
    DiscardResults,
    Effect,
    Send,
    StartExecution,
)
from bacalhau_sdk.scheduling.events import (
    Adopt,
    ComputeEvent,
    Drain,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)
from tests.scheduling.compute_node import (
    CANCEL,
    HERE,
    ID,
    KILL,
    OFFER,
    SPEC,
    STEPS,
    E,
    Node,
    at,
    said,
)
from tests.scheduling.makers import node, offer

# ---- Another life ----


def adopted(state: E = E.BID_ACCEPTED) -> tuple[Node, list[Effect]]:
    """Return a node that begins with what its engine still has, and what it does about that."""
    here = Node(ComputeCore(node(cpu=2, revision=9)))
    effects = here.handle(Adopt(running=(OFFER,)))
    for step in list(STEPS)[2 : list(STEPS).index(state) + 1]:
        here.handle(*STEPS[step])
    return here, effects


def test_what_the_engine_has_outlived_goes_on_and_is_counted() -> None:
    here, effects = adopted()
    assert effects == [StartExecution(task_of(OFFER), SPEC)], "it need not bid again"
    assert (here.reserved, here.listed()) == (1, {ID: E.BID_ACCEPTED})
    assert said(here.handle(WorkloadStarted(ID))) == [ExecutionUpdate(ID, E.RUNNING)]
    here.handle(*STEPS[E.PUBLISHING], *STEPS[E.COMPLETED])
    assert (here.reserved, here.listed()) == (0, {ID: E.COMPLETED})


def test_what_goes_on_is_counted_whatever_room_there_is() -> None:
    here = Node(ComputeCore(node(cpu=0.5)))
    assert len(here.handle(Adopt(running=(OFFER,)))) == 1
    assert here.listed() == {ID: E.BID_ACCEPTED}


@pytest.mark.parametrize("state", [E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_what_goes_on_can_be_cancelled(state: E) -> None:
    here, _ = adopted(state)
    assert here.handle(CANCEL) == [KILL]
    last: ComputeEvent = (
        ResultsPublished(ID, None) if state is E.PUBLISHING else WorkloadEnded(ID, RunResult(0))
    )
    here.handle(last)
    assert (here.reserved, here.listed()) == (0, {ID: E.CANCELLED})


def test_what_had_completed_is_reported_until_it_is_acknowledged() -> None:
    here = Node()
    outcome = Outcome(exit_code=3, location=HERE)
    assert here.handle(Adopt(completed=((OFFER, outcome),))) == []
    assert here.reserved == 0
    assert said(here.handle(Tick()))[1:] == [ExecutionUpdate(ID, E.COMPLETED, outcome)]
    assert here.deliver(AcknowledgeExecution(ID, discard=True)) == [DiscardResults(ID, HERE)]
    assert here.listed() == {}


def test_an_offer_to_an_earlier_life_is_refused_but_not_for_good() -> None:
    here = Node(ComputeCore(node(cpu=2, revision=9)))
    (answer,) = said(here.deliver(evolve(OFFER, node_revision=8)))
    assert isinstance(answer, BidResult)
    assert [(each.check, each.lasting) for each in answer.refusals] == [(Check.BROADCAST, False)]
    assert here.reserved == 0
    assert here.deliver(evolve(offer("j-1", SPEC), node_revision=9)) != []


def test_every_envelope_has_a_higher_number_than_all_before_it() -> None:
    here = Node(ComputeCore(node(cpu=2, revision=8)))
    effects = [*here.handle(Tick()), *here.deliver(OFFER), *here.handle(*STEPS[E.BID_ACCEPTED], Tick())]
    effects += Node(ComputeCore(node(cpu=2, revision=9))).handle(Tick())
    numbers = [effect.envelope.sequence for effect in effects if isinstance(effect, Send)]
    assert len(numbers) == 4
    assert numbers == sorted(set(numbers)), "also from one life to the next"


# ---- Draining ----


def test_a_node_that_is_drained_says_so_and_takes_nothing_new_until_it_is_resumed() -> None:
    here = at(E.RUNNING)
    (beat,) = said(here.handle(Drain(draining=True)))
    assert isinstance(beat, Heartbeat)
    assert (beat.info.draining, beat.info.revision, beat.executions) == (True, 1, ((ID, E.RUNNING),))
    (answer,) = said(here.deliver(evolve(offer("j-1", SPEC), node_revision=1)))
    assert isinstance(answer, BidResult)
    assert [(each.check, each.lasting) for each in answer.refusals] == [(Check.DRAINING, False)]
    (beat,) = said(here.handle(Drain(draining=False)))
    assert isinstance(beat, Heartbeat)
    assert (beat.info.draining, beat.info.revision) == (False, 2)
    assert here.deliver(evolve(offer("j-2", SPEC), node_revision=2)) != []


@pytest.mark.parametrize("draining", [True, False])
def test_drained_or_resumed_again_nothing_changes(draining: bool) -> None:
    here = Node()
    here.handle(Drain(draining=draining))
    before = here.core.info
    here.handle(Drain(draining=draining))
    assert here.core.info == before


def test_what_a_drained_node_has_comes_to_its_end() -> None:
    here = at(E.ASK_FOR_BID)
    here.handle(Drain(draining=True))
    for state in (E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING, E.COMPLETED):
        here.handle(*STEPS[state])
    assert here.listed() == {ID: E.COMPLETED}
    assert (here.core.held, here.core.holds(ID)) == (1, True)
    here.deliver(AcknowledgeExecution(ID))
    assert (here.core.held, here.core.holds(ID)) == (0, False)
