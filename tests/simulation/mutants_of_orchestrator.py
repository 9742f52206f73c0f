"""Bugs of the orchestrator's core, and of what it knows of its nodes and its queue."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import evolve

from bacalhau_sdk.model.evaluation import Evaluation, Trigger
from bacalhau_sdk.model.execution import Execution, ExecutionState, Outcome
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.model.message import (
    AcknowledgeExecution,
    AskForBid,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from bacalhau_sdk.model.node import NodeInfo, Refusal
from bacalhau_sdk.model.record import JobRecord, Snapshot
from bacalhau_sdk.scheduling import lifecycle, membership, orchestrator
from bacalhau_sdk.scheduling.agenda import Agenda
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.effects import Commit, Effect
from bacalhau_sdk.scheduling.evaluations import EvaluationQueue
from bacalhau_sdk.scheduling.events import SubmitJob
from bacalhau_sdk.scheduling.membership import Membership
from bacalhau_sdk.scheduling.node_index import NodeEntry, NodeIndex, NodeSet
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from bacalhau_sdk.scheduling.plan import messages_between
from bacalhau_sdk.scheduling.ranking import Ranker, default_rank
from tests.simulation.mutant import Mutant, Patch

# What is recorded


class _LateResultWins(OrchestratorCore):
    def _receive(self, envelope: Envelope, now: float) -> None:
        message = envelope.message
        if isinstance(message, ExecutionUpdate) and message.state is ExecutionState.COMPLETED:
            known = self._execution(message.execution_id, envelope.sender)
            if known is not None and known.fenced and known.state is not ExecutionState.COMPLETED:
                won = evolve(known, state=message.state, outcome=message.outcome, fenced=False)
                self._put_execution(won, now)
        super()._receive(envelope, now)


class _SendsBeforeCommit(OrchestratorCore):
    def _effects(self, now: float) -> list[Effect]:
        effects = super()._effects(now)
        return sorted(effects, key=lambda effect: isinstance(effect, Commit))


class _SameIdOtherSpecAccepted(OrchestratorCore):
    def _submit(self, event: SubmitJob, now: float) -> None:
        known = self._jobs.get(event.job_id)
        super()._submit(event if known is None else evolve(event, spec=known.spec), now)


def _any_is_news(execution: Execution, state: ExecutionState) -> bool:
    return state not in (ExecutionState.ASK_FOR_BID_REJECTED, execution.state)


_ANYWHERE = {
    state: frozenset[ExecutionState]() if state.terminal else frozenset(ExecutionState)
    for state in ExecutionState
}


class _CancelOverwrites(OrchestratorCore):
    def _put_job(self, job: JobRecord, now: float) -> None:
        known = self._jobs.get(job.id)
        if known is not None and known.ending is JobState.CANCELLED and job.state.terminal:
            done = [e for e in self.executions(job.id) if e.state is ExecutionState.COMPLETED]
            if len(done) == job.partition_count:
                job = evolve(job, state=JobState.COMPLETED)
        super()._put_job(job, now)


def _finished_too_late(
    ending: ExecutionState, state: ExecutionState, outcome: Outcome | None
) -> tuple[ExecutionState, Outcome | None]:
    if state is ExecutionState.COMPLETED:
        return ending, evolve(outcome or Outcome(), location=None)
    return (ending if state is ExecutionState.CANCELLED else state), outcome


class _NoWordOfResults(OrchestratorCore):
    """The check of a report that says `COMPLETED` and not where the results are is forgotten."""

    def _advance(
        self,
        execution: Execution,
        state: ExecutionState,
        outcome: Outcome | None,
        now: float,
        sequence: int,
    ) -> None:
        lacking = state is ExecutionState.COMPLETED and (outcome is None or outcome.location is None)
        if lacking and execution.ending is None:
            done = lifecycle.advance(execution, state, now, outcome=outcome, sequence=sequence)
            self._put_execution(done, now)
            self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)
        else:
            super()._advance(execution, state, outcome, now, sequence)


# What is said, and said again


class _NoResendOfOffers(OrchestratorCore):
    def _say_again(self, node: str, reported: Mapping[str, ExecutionState], now: float) -> None:
        before = len(self._changes.sends)
        super()._say_again(node, reported, now)
        again = self._changes.sends[before:]
        self._changes.sends[before:] = [
            send for send in again if not isinstance(send.envelope.message, AskForBid)
        ]


class _NoResendOfCancels(OrchestratorCore):
    _hearing = False

    def _hear(self, envelope: Envelope, heartbeat: Heartbeat, now: float) -> None:
        self._hearing = True
        super()._hear(envelope, heartbeat, now)
        self._hearing = False

    def _tell(self, node: str, *messages: Message) -> None:
        for message in messages:
            if self._hearing and isinstance(message, CancelExecution):
                known = self._execution(message.execution_id, node)
                if known is not None and not known.state.terminal:
                    continue
            super()._tell(node, message)


def _no_cancel_at_first(job: JobRecord, before: Execution | None, after: Execution) -> tuple[Message, ...]:
    messages = messages_between(job, before, after)
    return tuple(message for message in messages if not isinstance(message, CancelExecution))


def _no_acknowledgement(job: JobRecord, before: Execution | None, after: Execution) -> tuple[Message, ...]:
    messages = messages_between(job, before, after)
    return tuple(message for message in messages if not isinstance(message, AcknowledgeExecution))


class _RepeatsUnanswered(OrchestratorCore):
    def _answer_end(
        self, node: str, execution_id: str, execution: Execution | None, reported: ExecutionState
    ) -> None:
        if not reported.terminal:
            super()._answer_end(node, execution_id, execution, reported)


class _FencedNotKilled(OrchestratorCore):
    def _answer_end(
        self, node: str, execution_id: str, execution: Execution | None, reported: ExecutionState
    ) -> None:
        if reported.terminal or execution is None:
            super()._answer_end(node, execution_id, execution, reported)


class _UnknownNotKilled(OrchestratorCore):
    def _answer_end(
        self, node: str, execution_id: str, execution: Execution | None, reported: ExecutionState
    ) -> None:
        if reported.terminal or execution is not None:
            super()._answer_end(node, execution_id, execution, reported)


class _KeptResultsDiscarded(OrchestratorCore):
    def _tell(self, node: str, *messages: Message) -> None:
        for message in messages:
            if isinstance(message, AcknowledgeExecution):
                message = evolve(message, discard=not message.discard)
            super()._tell(node, message)


class _HeartbeatsTellNothing(OrchestratorCore):
    _hearing = False

    def _hear(self, envelope: Envelope, heartbeat: Heartbeat, now: float) -> None:
        self._hearing = True
        super()._hear(envelope, heartbeat, now)
        self._hearing = False

    def _advance(
        self,
        execution: Execution,
        state: ExecutionState,
        outcome: Outcome | None,
        now: float,
        sequence: int,
    ) -> None:
        if not self._hearing:
            super()._advance(execution, state, outcome, now, sequence)


class _MissesNothing(OrchestratorCore):
    def _miss(self, execution: Execution, sequence: int, now: float) -> None:
        if execution.state is ExecutionState.ASK_FOR_BID or execution.state.terminal:
            super()._miss(execution, sequence, now)


# A new life


class _NoSettlingAfterRestart(OrchestratorCore):
    def _restore(self, snapshot: Snapshot, now: float) -> None:
        super()._restore(snapshot, now)
        self._snapshot = evolve(self._snapshot, settled_at=-math.inf)


class _CancelForgotten(OrchestratorCore):
    def _restore(self, snapshot: Snapshot, now: float) -> None:
        jobs = tuple(job if job.state.terminal else evolve(job, ending=None) for job in snapshot.jobs)
        super()._restore(evolve(snapshot, jobs=jobs), now)


class _RestoreForgetsFenced(OrchestratorCore):
    def _restore(self, snapshot: Snapshot, now: float) -> None:
        super()._restore(snapshot, now)
        for execution in snapshot.executions:
            if execution.fenced:
                self._membership.release(execution)


class _OneJobRecovered(OrchestratorCore):
    _recovered = False

    def _look_at(self, job_id: str, trigger: Trigger) -> None:
        if trigger is not Trigger.RECOVERY or not self._recovered:
            super()._look_at(job_id, trigger)
        self._recovered = self._recovered or trigger is Trigger.RECOVERY


class _SettlesAndForgets(OrchestratorCore):
    def _settle(self, now: float) -> None:
        self._snapshot = evolve(self._snapshot, settled_at=now + NODE_LOST_AFTER)


class _IdsRepeat(OrchestratorCore):
    def __init__(
        self, *, ranker: Ranker = default_rank, name: str = "orchestrator", incarnation: str = ""
    ) -> None:
        super().__init__(ranker=ranker, name=name)


def _no_time(snapshot: Snapshot) -> float:
    return -math.inf


# Nodes


class _SequenceIgnored(OrchestratorCore):
    def _miss(self, execution: Execution, sequence: int, now: float) -> None:
        super()._miss(execution, max(sequence, execution.sequence + 1), now)


class _StaleHeartbeatsTaken(Membership):
    def heard_of(self, info: NodeInfo, sequence: int, now: float) -> bool | None:
        known = self.nodes.get(info.name)
        return super().heard_of(info, sequence if known is None else known.sequence + 1, now)


class _NeverSaturated(Membership):
    def saturate(self, node: str, refusal: Refusal) -> None:
        pass


class _LostNodesTakeOffers(NodeIndex):
    def refresh(self, entry: NodeEntry) -> None:
        lost_at, entry.lost_at = entry.lost_at, None
        super().refresh(entry)
        entry.lost_at = lost_at


class _DrainingNodesTakeOffers(NodeIndex):
    def refresh(self, entry: NodeEntry) -> None:
        info, entry.info = entry.info, evolve(entry.info, draining=False)
        super().refresh(entry)
        entry.info = info


# The queue, and time


class _NeverUnblocked(EvaluationQueue):
    def unblock_all(self) -> None:
        pass


class _GroupStops(EvaluationQueue):
    def unblock_after(self, job_id: str) -> None:
        self._tried.pop(job_id, None)


class _ReservationNeverLifted(OrchestratorCore):
    _kept: NodeSet = 0

    def _reserved_before(self, evaluation: Evaluation, now: float) -> tuple[NodeSet, set[str]]:
        kept, whose = super()._reserved_before(evaluation, now)
        self._kept |= kept
        return kept if evaluation.job_id in self._reserving else self._kept, whose


class _LosesEntries(Agenda):
    def put(self, job_id: str, time: float) -> None:
        if job_id in self._times and time < math.inf:
            self._times[job_id] = time
        else:
            super().put(job_id, time)


class _EarlierWakeIgnored(OrchestratorCore):
    def _wakes(self, now: float) -> list[Effect]:
        asked = self._wake_at
        effects = super()._wakes(now)
        if now < asked < math.inf:
            self._wake_at = asked
            return []
        return effects


MUTANTS = (
    Mutant(
        "late_result_wins",
        "The result of an execution that was fenced is recorded after all.",
        "B4, B5",
        orchestrator=(_LateResultWins,),
    ),
    Mutant(
        "sends_before_commit",
        "Messages go out before the records that they rest on are kept.",
        "B3",
        orchestrator=(_SendsBeforeCommit,),
    ),
    Mutant(
        "same_id_other_spec_accepted",
        "A job that is submitted again with another spec is taken for the one that is known.",
        "F1",
        orchestrator=(_SameIdOtherSpecAccepted,),
    ),
    Mutant(
        "states_go_backwards",
        "An old report of a node puts an execution back to an earlier state.",
        "B5",
        patches=(
            Patch(orchestrator, "is_news", _any_is_news),
            Patch(lifecycle, "EXECUTION_MOVES", _ANYWHERE),
        ),
    ),
    Mutant(
        "cancelled_job_completes",
        "A job that is being cancelled completes when all of its partitions had.",
        "B4",
        orchestrator=(_CancelOverwrites,),
    ),
    Mutant(
        "finished_too_late_thrown_away",
        "What came to its end while the limit stopped it is thrown away.",
        "§5.5.1",
        patches=(Patch(orchestrator, "_as_told", _finished_too_late),),
    ),
    Mutant(
        "no_resend_of_offers",
        "An offer that was lost is not sent again.",
        "F3",
        orchestrator=(_NoResendOfOffers,),
    ),
    Mutant(
        "no_resend_of_cancels",
        "A node that goes on with what it was told to stop is not told again.",
        "F8",
        orchestrator=(_NoResendOfCancels,),
    ),
    Mutant(
        "no_cancel_at_first",
        "A node is told to stop an execution by the answer to its next heartbeat only.",
        patches=(Patch(orchestrator, "messages_between", _no_cancel_at_first),),
    ),
    Mutant(
        "no_acknowledgement",
        "The end of an execution is recorded, but not acknowledged.",
        "F7",
        patches=(Patch(orchestrator, "messages_between", _no_acknowledgement),),
    ),
    Mutant(
        "repeats_unanswered",
        "The repeated report of an end that is recorded is not answered.",
        "F7",
        orchestrator=(_RepeatsUnanswered,),
    ),
    Mutant(
        "fenced_not_killed",
        "A node that comes back is not told to kill what was fenced meanwhile.",
        "B7, F25",
        orchestrator=(_FencedNotKilled,),
    ),
    Mutant(
        "unknown_not_killed",
        "A node is not told to kill what the records do not know.",
        "B13",
        orchestrator=(_UnknownNotKilled,),
    ),
    Mutant(
        "kept_results_discarded",
        "An acknowledgement says the opposite of whether results are wanted.",
        "B8",
        orchestrator=(_KeptResultsDiscarded,),
    ),
    Mutant(
        "heartbeats_tell_nothing",
        "What a heartbeat says of an execution is not taken over, so a lost report stays lost.",
        "B1",
        orchestrator=(_HeartbeatsTellNothing,),
    ),
    Mutant(
        "misses_nothing",
        "An execution that its node has no more is not noticed to be missing.",
        "B7",
        orchestrator=(_MissesNothing,),
    ),
    Mutant(
        "limits_fire_after_restart",
        "An orchestrator that starts again does not wait for its nodes before silence and limits count.",
        "F9",
        orchestrator=(_NoSettlingAfterRestart,),
    ),
    Mutant(
        "standstill_ignored",
        "An orchestrator that stood still takes what it did not hear for the silence of its nodes.",
        "F42",
        patches=(Patch(orchestrator, "LATE_AFTER", math.inf),),
    ),
    Mutant(
        "cancel_forgotten_on_restart",
        "A job that was being cancelled goes on after a restart.",
        "F8",
        orchestrator=(_CancelForgotten,),
    ),
    Mutant(
        "restore_forgets_fenced",
        "After a restart, what was fenced and still runs does not count against its node.",
        "B25",
        orchestrator=(_RestoreForgetsFenced,),
    ),
    Mutant(
        "one_job_recovered",
        "Only the first job is looked at after a restart.",
        "B10",
        orchestrator=(_OneJobRecovered,),
    ),
    Mutant(
        "ids_repeat_after_rollback",
        "After the store was put back, ids of executions are given again.",
        "B13",
        orchestrator=(_IdsRepeat,),
    ),
    Mutant(
        "clock_put_back_believed",
        "A clock that was put back lets the records lie in the future.",
        "B17",
        patches=(Patch(orchestrator, "_latest", _no_time),),
    ),
    Mutant(
        "sequence_ignored",
        "A heartbeat that was overtaken is believed.",
        "F24",
        orchestrator=(_SequenceIgnored,),
        patches=(Patch(orchestrator, "Membership", _StaleHeartbeatsTaken),),
    ),
    Mutant(
        "lost_never_detected",
        "A node that is silent never counts as lost.",
        "B15",
        patches=(Patch(membership, "NODE_LOST_AFTER", math.inf),),
    ),
    Mutant(
        "fences_too_early",
        "A node counts as lost after one heartbeat that is missing.",
        "F28",
        patches=(Patch(membership, "NODE_LOST_AFTER", 8.0),),
    ),
    Mutant(
        "nodes_forgotten_at_once",
        "A node that is lost is forgotten, so jobs that only it could run fail.",
        "B12, B15",
        patches=(Patch(membership, "NODE_FORGOTTEN_AFTER", 0.0),),
    ),
    Mutant(
        "saturation_ignored",
        "A node that says that it takes nothing now is asked again at once.",
        "B9",
        patches=(Patch(orchestrator, "Membership", _NeverSaturated),),
    ),
    Mutant(
        "offers_to_lost_nodes",
        "A node that is lost gets offers.",
        "B15",
        patches=(Patch(membership, "NodeIndex", _LostNodesTakeOffers),),
    ),
    Mutant(
        "offers_to_draining_nodes",
        "A node that is being drained gets offers.",
        patches=(Patch(membership, "NodeIndex", _DrainingNodesTakeOffers),),
    ),
    Mutant(
        "never_unblocked",
        "Jobs that wait for room are not looked at when there is some.",
        "B16",
        patches=(Patch(orchestrator, "EvaluationQueue", _NeverUnblocked),),
    ),
    Mutant(
        "group_stops",
        "Of the jobs that wait for the same, only the first is looked at when there is room.",
        "B16",
        patches=(Patch(orchestrator, "EvaluationQueue", _GroupStops),),
        nodes=2,
    ),
    Mutant(
        "reservation_never_lifted",
        "Nodes that were kept for a job that waited for too long stay kept when it is placed.",
        "B16",
        orchestrator=(_ReservationNeverLifted,),
        nodes=2,
    ),
    Mutant(
        "agenda_loses_entries",
        "A job whose time to be looked at changes is not looked at by time any more.",
        "B14",
        patches=(Patch(orchestrator, "Agenda", _LosesEntries),),
    ),
    Mutant(
        "earlier_wake_ignored",
        "What is due before the time that was asked for first comes late.",
        "B19",
        orchestrator=(_EarlierWakeIgnored,),
        nodes=1,
    ),
)

# Alone they change nothing that anybody sees: something else does the same.
HIDDEN = (
    Mutant(
        "results_without_location_completed",
        "A report that does not say where the results are completes the execution.",
        "I3",
        orchestrator=(_NoWordOfResults,),
    ),
    Mutant(
        "settles_and_forgets",
        "Jobs are not looked at when the time in which no limit counts is over.",
        "B10",
        orchestrator=(_SettlesAndForgets,),
    ),
)
