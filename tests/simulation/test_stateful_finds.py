"""The second opinion is worth something: each of these bugs, put into the cores, is found by it in a few seconds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.message import AskForBid, Envelope, ExecutionUpdate
from bacalhau_sdk.model.node import Refusal
from bacalhau_sdk.model.record import Snapshot
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import Commit, Effect, KillExecution
from bacalhau_sdk.scheduling.events import Adopt, ComputeEvent
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from tests.simulation.test_stateful import THOROUGH, Cluster

# Not shrunk: that it is found is enough here, and shrinking takes longer than finding.
SEARCH = settings(
    THOROUGH, max_examples=2500, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False
)


class _RoomGivenAwayAtKill(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        super()._cancel(execution_id)
        self.account.release(execution_id)


class _TombstonesForgotten(ComputeCore):
    def _close(self, execution_id: str, refusals: tuple[Refusal, ...] = ()) -> None:
        pass


class _KillNotEmitted(ComputeCore):
    def _cancel(self, execution_id: str) -> None:
        super()._cancel(execution_id)
        self._effects = [effect for effect in self._effects if not isinstance(effect, KillExecution)]


class _NothingAdopted(ComputeCore):
    def handle(self, event: ComputeEvent, now: float) -> list[Effect]:
        return [] if isinstance(event, Adopt) else super().handle(event, now)


class _SaidBeforeCommitted(OrchestratorCore):
    def _effects(self, now: float) -> list[Effect]:
        return sorted(super()._effects(now), key=lambda effect: isinstance(effect, Commit))


class _CancelForgottenAtRestart(OrchestratorCore):
    def _restore(self, snapshot: Snapshot, now: float) -> None:
        jobs = tuple(job if job.state.terminal else evolve(job, ending=None) for job in snapshot.jobs)
        super()._restore(evolve(snapshot, jobs=jobs), now)


class _LostOfferNotSentAgain(OrchestratorCore):
    def _say_again(self, node: str, reported: Mapping[str, ExecutionState], now: float) -> None:
        before = len(self._changes.sends)
        super()._say_again(node, reported, now)
        again = self._changes.sends[before:]
        self._changes.sends[before:] = [
            send for send in again if not isinstance(send.envelope.message, AskForBid)
        ]


class _LateResultWins(OrchestratorCore):
    def _receive(self, envelope: Envelope, now: float) -> None:
        match envelope.message:
            case ExecutionUpdate(execution_id, ExecutionState.COMPLETED as state, outcome):
                known = self._execution(execution_id, envelope.sender)
                if known is not None and known.fenced:
                    self._put_execution(evolve(known, state=state, outcome=outcome, fenced=False), now)
            case _:
                pass
        super()._receive(envelope, now)


class _NodesNeverLost(OrchestratorCore):
    def _look_at_what_is_due(self, now: float) -> None:
        self._membership.check_at = float("inf")
        super()._look_at_what_is_due(now)


@pytest.mark.parametrize(
    "bug",
    [
        _RoomGivenAwayAtKill,
        _TombstonesForgotten,
        _KillNotEmitted,
        _NothingAdopted,
        _SaidBeforeCommitted,
        _CancelForgottenAtRestart,
        _LostOfferNotSentAgain,
        _LateResultWins,
        _NodesNeverLost,
    ],
)
def test_a_bug_is_found(
    bug: type[OrchestratorCore] | type[ComputeCore], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "orchestrator_core" if issubclass(bug, OrchestratorCore) else "compute_core"
    monkeypatch.setattr(Cluster, name, bug)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Cluster, settings=SEARCH)
