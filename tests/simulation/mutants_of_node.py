"""Bugs of the node's core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from bacalhau_sdk.model.execution import ExecutionState, Outcome, RunResult
from bacalhau_sdk.model.message import AskForBid, Envelope, ExecutionUpdate
from bacalhau_sdk.model.node import NodeInfo, Refusal
from bacalhau_sdk.scheduling import bidding, compute
from bacalhau_sdk.scheduling.capacity import CapacityAccount
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import Effect, KillExecution, Send
from bacalhau_sdk.scheduling.events import Adopt, ComputeEvent, WorkloadEnded
from bacalhau_sdk.scheduling.matching import Demand
from tests.simulation.mutant import Mutant, Patch

# Offers


class _OfferNotIdempotent(ComputeCore):
    def _consider(self, offer: AskForBid) -> None:
        self._held.pop(offer.execution_id, None)
        super()._consider(offer)


class _ForgetsTombstones(ComputeCore):
    def _close(self, execution_id: str, refusals: tuple[Refusal, ...] = ()) -> None:
        pass


class _RefusalNotRepeated(ComputeCore):
    def _consider(self, offer: AskForBid) -> None:
        if offer.execution_id not in self._closed:
            super()._consider(offer)


def _revision_ignored(info: NodeInfo, offer: AskForBid) -> Refusal | None:
    return _standing_refusal(evolve(info, revision=offer.node_revision), offer)


_standing_refusal: Callable[[NodeInfo, AskForBid], Refusal | None] = vars(bidding)["_standing_refusal"]


def _room_for_all(info: NodeInfo, account: CapacityAccount, demand: Demand) -> Refusal | None:
    return None


# Capacity


class _FreedAtKill(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        super()._cancel(execution_id)
        self.account.release(execution_id)


class _NeverFreed(CapacityAccount):
    def release(self, execution_id: str) -> bool:
        return False


# Ends


def _without(effects: list[Effect], unwanted: type[object]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, unwanted)]


class _PublishesAfterKill(ComputeCore):
    def _ended(self, ended: WorkloadEnded) -> None:
        held = self._held.get(ended.execution_id)
        if held is not None and ended.result is None:
            held.stopping = False
            ended = evolve(ended, result=RunResult())
        super()._ended(ended)


class _KillForgotten(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        super()._cancel(execution_id)
        self._effects = _without(self._effects, KillExecution)


class _KilledOnce(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        held = self._held.get(execution_id)
        if held is None or not held.stopping:
            super()._cancel(execution_id)


class _KilledIsOver(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        super()._cancel(execution_id)
        held = self._held.get(execution_id)
        if held is not None and not held.state.terminal:
            self._end(execution_id, held, ExecutionState.CANCELLED, Outcome())


class _ResultsStay(ComputeCore):
    def _forget(self, execution_id: str, *, discard: bool) -> None:
        super()._forget(execution_id, discard=False)


class _ResultsNowhere(ComputeCore):
    def _end(self, execution_id: str, held: Any, state: ExecutionState, outcome: Outcome) -> None:
        super()._end(execution_id, held, state, evolve(outcome, location=None))


class _ForgottenAtEnd(ComputeCore):
    def _report(self, execution_id: str, held: Any, state: ExecutionState) -> None:
        super()._report(execution_id, held, state)
        if state.terminal:
            del self._held[execution_id]
            self._close(execution_id)


# Reports


class _NoResendOfResults(ComputeCore):
    def _beat(self, now: float) -> None:
        super()._beat(now)
        self._effects = [effect for effect in self._effects if not _is_update(effect)]


def _is_update(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.envelope.message, ExecutionUpdate)


class _SequenceRestarts(ComputeCore):
    def __init__(self, info: NodeInfo) -> None:
        super().__init__(info)
        self._sequence = 0


class _LivesLookAlike(ComputeCore):
    """Each life of the node broadcasts revision 1, yet its sequence grows."""

    def __init__(self, info: NodeInfo) -> None:
        super().__init__(info)
        self.info = evolve(info, revision=1)


class _CancelsUnanswered(ComputeCore):
    def _receive(self, envelope: Envelope) -> None:
        held = getattr(envelope.message, "execution_id", "") in self._held
        super()._receive(envelope)
        if not held and not isinstance(envelope.message, AskForBid):
            self._effects = []


# A new life


class _AdoptsNothing(ComputeCore):
    def handle(self, event: ComputeEvent, now: float) -> list[Effect]:
        return super().handle(Adopt() if isinstance(event, Adopt) else event, now)


class _ResultsNotAdopted(ComputeCore):
    def handle(self, event: ComputeEvent, now: float) -> list[Effect]:
        return super().handle(evolve(event, completed=()) if isinstance(event, Adopt) else event, now)


class _AdoptsWithoutRoom(ComputeCore):
    def _adopt(self, offer: AskForBid) -> None:
        super()._adopt(offer)
        self.account.release(offer.execution_id)


MUTANTS = (
    Mutant(
        "offer_not_idempotent",
        "A doubled offer begins a second time what is under way.",
        "F23",
        compute=(_OfferNotIdempotent,),
    ),
    Mutant(
        "forgets_tombstones",
        "A node does not remember what is over, so that a late offer starts it.",
        "B5",
        compute=(_ForgetsTombstones,),
    ),
    Mutant(
        "refusal_not_repeated",
        "A node that has refused does not say so again.",
        "F4",
        compute=(_RefusalNotRepeated,),
    ),
    Mutant(
        "revision_ignored",
        "A node takes an offer that was meant for an earlier life of it.",
        "B5, F24",
        patches=(Patch(bidding, "_standing_refusal", _revision_ignored),),
    ),
    Mutant(
        "bids_without_room",
        "A node takes every offer that comes.",
        "I7",
        patches=(Patch(bidding, "room_refusal", _room_for_all),),
        nodes=1,
    ),
    Mutant(
        "capacity_freed_at_kill",
        "What an execution uses is given away when it is told to stop, not when it has.",
        "B25",
        compute=(_FreedAtKill,),
    ),
    Mutant(
        "capacity_never_freed",
        "What an execution used stays reserved when it is over.",
        "B25",
        patches=(Patch(compute, "CapacityAccount", _NeverFreed),),
    ),
    Mutant(
        "adopts_without_room",
        "What runs on from an earlier life of a node does not count as used.",
        "B25, F14",
        compute=(_AdoptsWithoutRoom,),
    ),
    Mutant(
        "publishes_after_kill",
        "A workload that was killed counts as one that has ended well, and is published.",
        "B6",
        compute=(_PublishesAfterKill,),
    ),
    Mutant(
        "kill_forgotten",
        "A node that is told to stop an execution notes it and kills nothing.",
        "B5",
        compute=(_KillForgotten,),
    ),
    Mutant(
        "killed_once",
        "A node that is told again to stop an execution does not kill again.",
        "F33",
        compute=(_KilledOnce,),
    ),
    Mutant(
        "killed_is_over",
        "A node says that an execution is over when the kill is on its way.",
        "B4, F31",
        compute=(_KilledIsOver,),
    ),
    Mutant(
        "results_stay",
        "Results that are not wanted are kept.",
        "B24",
        compute=(_ResultsStay,),
    ),
    Mutant(
        "results_nowhere",
        "A node does not say where the results are.",
        "I3",
        compute=(_ResultsNowhere,),
    ),
    Mutant(
        "forgotten_at_end",
        "A node forgets an execution with its first report of the end.",
        "B2, B3",
        compute=(_ForgottenAtEnd,),
    ),
    Mutant(
        "no_resend_of_results",
        "A report of the end that was lost is not sent again.",
        "B2",
        compute=(_NoResendOfResults,),
    ),
    Mutant(
        "sequence_restarts_with_each_life",
        "A node that starts again counts its messages from 1, so that they look old.",
        "B11, B13",
        compute=(_SequenceRestarts,),
    ),
    Mutant(
        "lives_look_alike",
        "A node that starts again broadcasts the revision of its earlier life.",
        "B12",
        compute=(_LivesLookAlike,),
    ),
    Mutant(
        "cancels_of_unknown_unanswered",
        "A node that is told to stop what it does not have says nothing.",
        "F44",
        compute=(_CancelsUnanswered,),
    ),
    Mutant(
        "adopts_nothing",
        "A node that starts again leaves running what its earlier life has started.",
        "B7, F14",
        compute=(_AdoptsNothing,),
    ),
    Mutant(
        "results_not_adopted",
        "A node that starts again does not report results that it had published.",
        "B8, F18",
        compute=(_ResultsNotAdopted,),
    ),
)
