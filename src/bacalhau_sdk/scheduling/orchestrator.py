"""The orchestrator as a state machine: an event in, effects out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import evolve

from ..errors import JobConflictError, JobNotFoundError
from ..model.evaluation import Evaluation, Explanation, Trigger
from ..model.execution import Execution, ExecutionState, Failure, FailureKind, Outcome
from ..model.job import JobSpec, JobState
from ..model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
    BidResult,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from ..model.node import Check
from ..model.record import Batch, JobEvent, JobRecord, Snapshot
from .agenda import Agenda
from .answers import is_about_the_job
from .deadlines import NODE_LOST_AFTER
from .effects import Commit, Effect, Send, WakeAt
from .evaluations import EvaluationQueue
from .events import CancelAll, CancelJob, Deliver, OrchestratorEvent, Restore, SubmitJob, Tick
from .explaining import explain_job, explain_spec
from .lifecycle import advance, is_news
from .membership import Membership
from .node_index import NodeSet
from .plan import Plan, events_between, job_events_between, messages_between
from .ranking import Ranker, default_rank
from .schedule import ClusterSnapshot, schedule

__all__ = ["LATE_AFTER", "PULSE", "STARVING_AFTER", "OrchestratorCore"]

RESEND_AFTER = 5.0
"""Seconds after which an offer that its node's heartbeat does not list is sent to the node again."""
PULSE = 5.0
"""Seconds after which an orchestrator that has nodes wakes in any case."""
LATE_AFTER = 2.0
"""Seconds by which a wake may be late. One that is later shows that the process, or its event loop, stood still: what was not
heard meanwhile says nothing about the nodes.
"""
ROUNDING = 0.001
"""Seconds, more than any difference of two times is wrong by."""
STARVING_AFTER = 300.0
"""Seconds after its submission from which on a job that waits for room is not passed any more by those that come after it."""


class OrchestratorCore:
    """Decides what becomes of jobs; keeps no clock, does no I/O, and is handed one event at a time.

    `handle` may be called again only when the effects of the last call have been performed, the commit first. When it raises,
    no record has changed.

    Args:
        ranker: Ranks the nodes that match a job.
        name: The party that nodes send to.
        incarnation: Differs from one life of the orchestrator to the next, and ends the ids of its executions: a store that was
            put back to an earlier state must not make it give the same id twice.
    """

    def __init__(
        self, *, ranker: Ranker = default_rank, name: str = ORCHESTRATOR, incarnation: str = ""
    ) -> None:
        self.name = name
        self._jobs: dict[str, JobRecord] = {}
        self._executions: dict[str, dict[str, Execution]] = {}
        self._job_of: dict[str, str] = {}
        self._membership = Membership()
        self._evaluations = EvaluationQueue()
        self._agenda = Agenda()
        self._snapshot = ClusterSnapshot(
            self._jobs,
            self._executions,
            self._membership.nodes,
            ranker,
            suffix=f"-{incarnation}" if incarnation else "",
        )
        self._changes = _Changes()
        self._reserving: set[str] = set()
        self._ahead = 0.0
        self._now = -math.inf
        self._wake_at = math.inf
        self._pulse_at = math.inf

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """The records of all jobs, by id."""
        return self._jobs

    @property
    def membership(self) -> Membership:
        """The nodes that are known."""
        return self._membership

    @property
    def now(self) -> float:
        """The time of the last event, as it is recorded."""
        return self._now

    def executions(self, job_id: str) -> tuple[Execution, ...]:
        """Return the executions of a job, in the order in which they were made."""
        return tuple(self._executions.get(job_id, {}).values())

    def handle(self, event: OrchestratorEvent, now: float) -> list[Effect]:
        """Take an event, and return what is to be done, in order.

        Args:
            event: What has happened.
            now: Seconds of the cluster's clock.

        Raises:
            JobConflictError: A job of the submitted id exists with another spec.
            JobNotFoundError: No job has the id that is to be cancelled.
        """
        self._changes = _Changes()
        if isinstance(event, Restore):
            self._ahead = max(0.0, _latest(event.snapshot) - now)
        self._now = now = now + self._ahead
        if now > self._wake_at + LATE_AFTER:
            self._settle(now)
        match event:
            case SubmitJob():
                self._submit(event, now)
            case CancelJob():
                self._cancel(event, now)
            case CancelAll(reason):
                for job_id in self._jobs:
                    self._cancel(CancelJob(job_id, reason), now)
            case Deliver(envelope):
                self._receive(envelope, now)
            case Restore(snapshot):
                self._restore(snapshot, now)
            case Tick():
                self._wake_at = math.inf
        self._look_at_what_is_due(now)
        self._evaluate(now)
        return self._effects(now)

    def explain(self, job_id: str, now: float) -> Explanation:
        """Say why a job is where it is, why not elsewhere, or why not at all."""
        job = self._jobs[job_id]
        now += self._ahead
        look = Evaluation(job_id, job.spec.priority, job.created_at, Trigger.DEADLINE)
        kept, _ = self._reserved_before(look, now)
        return explain_job(job, self._snapshot, self._membership.may_hold, kept, now)

    def explain_spec(self, spec: JobSpec) -> Explanation:
        """Say where a spec would run now, and why not on the other nodes."""
        look = Evaluation("", spec.priority, self._now, Trigger.JOB_REGISTER)
        kept, _ = self._reserved_before(look, self._now)
        return explain_spec(self._membership.nodes, spec, kept)

    # What can happen

    def _submit(self, event: SubmitJob, now: float) -> None:
        known = self._jobs.get(event.job_id)
        if known is None:
            self._put_job(JobRecord(event.job_id, event.spec, JobState.PENDING, now, now), now)
            self._look_at(event.job_id, Trigger.JOB_REGISTER)
        elif known.spec != event.spec:
            raise JobConflictError(
                f"job {event.job_id} exists with another spec",
                field="job_id",
                hint="submit under another id, or without one",
            )

    def _cancel(self, event: CancelJob, now: float) -> None:
        job = self._jobs.get(event.job_id)
        if job is None:
            raise JobNotFoundError(f"no job has the id {event.job_id!r}")
        if job.state.terminal or job.ending is not None:
            return
        cancelled = evolve(job, ending=JobState.CANCELLED, reason=event.reason, modified_at=now)
        self._put_job(cancelled, now)
        self._look_at(event.job_id, Trigger.JOB_CANCEL)

    def _receive(self, envelope: Envelope, now: float) -> None:
        heartbeat = isinstance(envelope.message, Heartbeat)
        if not heartbeat and self._membership.sign_of_life(envelope.sender, envelope.sequence, now):
            self._is_back(envelope.sender)
        match envelope.message:
            case BidResult() as answer:
                self._hear_bid(envelope, answer, now)
            case ExecutionUpdate() as update:
                execution = self._execution(update.execution_id, envelope.sender)
                if execution is None or execution.state.terminal:
                    self._answer_end(envelope.sender, update.execution_id, execution, update.state)
                else:
                    self._advance(execution, update.state, update.outcome, now, envelope.sequence)
            case Heartbeat() as message:
                self._hear(envelope, message, now)
            case _:
                pass

    def _hear_bid(self, envelope: Envelope, answer: BidResult, now: float) -> None:
        execution = self._execution(answer.execution_id, envelope.sender)
        if execution is None or execution.state.terminal:
            if not answer.refusals:
                state = ExecutionState.BID_ACCEPTED
                self._answer_end(envelope.sender, answer.execution_id, execution, state)
            return
        if execution.state is not ExecutionState.ASK_FOR_BID:
            return
        if not answer.refusals:
            self._advance(execution, ExecutionState.BID_ACCEPTED, None, now, envelope.sequence)
            return
        state = ExecutionState.ASK_FOR_BID_REJECTED
        refused = advance(execution, state, now, refusals=answer.refusals, sequence=envelope.sequence)
        self._put_execution(refused, now)
        entry = self._membership.nodes.get(envelope.sender)
        renewed = entry is not None and entry.info.revision != execution.node_revision
        for refusal in answer.refusals:
            # A node that has changed since is asked again at once, as soon as its new broadcast is known.
            of_the_node = not refusal.lasting and not is_about_the_job(refusal)
            if of_the_node and not (refusal.check is Check.BROADCAST and renewed):
                self._membership.saturate(envelope.sender, refusal)
                break
        self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)

    def _advance(
        self,
        execution: Execution,
        state: ExecutionState,
        outcome: Outcome | None,
        now: float,
        sequence: int,
    ) -> None:
        """Take over what a node reports of a live execution, unless it is an old story."""
        if not is_news(execution, state):
            return
        if state is ExecutionState.COMPLETED and (outcome is None or outcome.location is None):
            failure = Failure(
                FailureKind.INFRASTRUCTURE, "node.no_results", "the node does not say where the results are"
            )
            state, outcome = ExecutionState.FAILED, Outcome(failure=failure)
        if execution.ending is not None:
            state, outcome = _as_told(execution.ending, state, outcome)
        self._put_execution(advance(execution, state, now, outcome=outcome, sequence=sequence), now)
        if (
            state.terminal
            or self._jobs[execution.job_id].state is not JobState.RUNNING
            or _limited(self._jobs[execution.job_id])
        ):
            self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)

    def _is_back(self, node: str) -> None:
        """Have those jobs looked at that a node that counted as lost, or as unknown, may matter to."""
        self._evaluations.unblock_all()
        for execution_id in self._membership.held_by(node):
            self._look_at(self._job_of[execution_id], Trigger.NODE_JOIN)

    def _hear(self, envelope: Envelope, heartbeat: Heartbeat, now: float) -> None:
        node, sequence = envelope.sender, envelope.sequence
        if heartbeat.info.name != node:
            return
        reported = dict(heartbeat.executions)
        self._say_again(node, reported, now)
        known = self._membership.nodes.get(node)
        was_away = known is None or known.lost_at is not None
        roomier = self._membership.heard_of(heartbeat.info, sequence, now)
        if roomier is None:
            return
        if was_away:
            self._is_back(node)
        elif roomier:
            self._evaluations.unblock_all()
        for execution_id in self._membership.held_by(node):
            execution = self._execution(execution_id, node)
            if execution is not None and execution_id not in reported:
                self._miss(execution, sequence, now)
        for execution_id, state in reported.items():
            execution = self._execution(execution_id, node)
            if execution is None or execution.state.terminal:
                self._answer_end(node, execution_id, execution, state)
            elif not state.terminal:
                self._advance(execution, state, None, now, sequence)

    def _say_again(self, node: str, reported: Mapping[str, ExecutionState], now: float) -> None:
        """Repeat what a node should have heard by now; a heartbeat that was overtaken is as good a reason."""
        for execution_id in self._membership.held_by(node):
            execution = self._execution(execution_id, node)
            if execution is None or execution.state.terminal:
                continue
            state = reported.get(execution_id)
            if state is None:
                offered = execution.state is ExecutionState.ASK_FOR_BID
                if offered and now - execution.modified_at >= RESEND_AFTER:
                    self._tell(node, *messages_between(self._jobs[execution.job_id], None, execution))
            elif execution.stop_requested and not state.terminal:
                self._tell(node, CancelExecution(execution_id))

    def _miss(self, execution: Execution, sequence: int, now: float) -> None:
        """Deal with an execution that its node does not list: a message was lost, or the node has nothing of it."""
        if execution.state.terminal:
            if self._membership.release(execution):
                self._evaluations.unblock_all()
        elif execution.state is not ExecutionState.ASK_FOR_BID and sequence > execution.sequence:
            # It was accepted before the heartbeat was sent, and a node drops nothing that has not ended here: it was restarted.
            failure = Failure(
                FailureKind.INFRASTRUCTURE,
                "node.lost_execution",
                f"node {execution.node} no longer had the execution",
                "a RetryPolicy with more attempts tries again",
            )
            state = execution.ending or ExecutionState.FAILED
            outcome = Outcome(failure=failure if state is ExecutionState.FAILED else None)
            self._put_execution(advance(execution, state, now, outcome=outcome, sequence=sequence), now)
            self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)

    def _answer_end(
        self, node: str, execution_id: str, execution: Execution | None, reported: ExecutionState
    ) -> None:
        """Tell a node what to do with an execution that is unknown here or has ended: kill it, or forget it."""
        if reported.terminal:
            kept = execution is not None and execution.state is ExecutionState.COMPLETED
            self._tell(node, AcknowledgeExecution(execution_id, discard=not kept))
            if execution is not None and self._membership.release(execution):
                self._evaluations.unblock_all()
        else:
            self._tell(node, CancelExecution(execution_id))

    def _restore(self, snapshot: Snapshot, now: float) -> None:
        if snapshot.jobs:
            # The nodes of the earlier life are still to be heard of: that none is known does not say that there is none.
            self._settle(now)
        for job in snapshot.jobs:
            self._jobs[job.id] = job
        for execution in snapshot.executions:
            self._keep(execution)
            if not execution.state.terminal or execution.fenced:
                self._membership.hold(execution, self._jobs[execution.job_id].spec.resources)
        for job in snapshot.jobs:
            if not job.state.terminal:
                self._look_at(job.id, Trigger.RECOVERY)

    def _settle(self, now: float) -> None:
        """Give the nodes time to be heard of before their silence, or any limit, counts."""
        self._snapshot = evolve(self._snapshot, settled_at=now + NODE_LOST_AFTER)
        for job in self._jobs.values():
            if not job.state.terminal:
                self._agenda.put_if_earlier(job.id, self._snapshot.settled_at)

    # What follows

    def _look_at_what_is_due(self, now: float) -> None:
        """Have those jobs looked at that time alone has changed something for."""
        if now >= self._membership.check_at:
            for node in self._membership.overdue(now, self._snapshot.settled_at):
                for execution_id in self._membership.held_by(node):
                    self._look_at(self._job_of[execution_id], Trigger.NODE_LEAVE)
            self._evaluations.unblock_all()
        for job_id in self._agenda.due(now):
            self._look_at(job_id, Trigger.DEADLINE)

    def _evaluate(self, now: float) -> None:
        """Let the scheduler look at every job that is ready."""
        while (evaluation := self._evaluations.pop()) is not None:
            kept, whose = self._reserved_before(evaluation, now)
            self._reserving |= whose
            self._apply(schedule(self._snapshot, evaluation, now, kept), evaluation, now)

    def look(self, evaluation: Evaluation, now: float) -> Plan:
        """Return what the scheduler would make of a job now, without doing it."""
        kept, _ = self._reserved_before(evaluation, now)
        return schedule(self._snapshot, evaluation, now, kept)

    def _reserved_before(self, evaluation: Evaluation, now: float) -> tuple[NodeSet, set[str]]:
        """Return the nodes that are kept for jobs which go before another one and have waited for too long, and those jobs."""
        nodes = self._membership.nodes
        kept: NodeSet = 0
        whose: set[str] = set()
        for starving, want in self._evaluations.blocked_since(now - STARVING_AFTER):
            if starving.job_id == evaluation.job_id or self._evaluations.precedes(evaluation, starving):
                continue
            wanted = nodes.matching(want.demand) & ~nodes.named(name for name, _ in want.without)
            if want.only:
                wanted &= nodes.named(want.only)
            if wanted:
                whose.add(starving.job_id)
                kept |= wanted
        return kept, whose

    def _apply(self, plan: Plan, evaluation: Evaluation, now: float) -> None:
        for execution in plan.executions:
            self._put_execution(execution, now, plan.job)
        self._put_job(plan.job, now)
        self._agenda.put(plan.job.id, plan.wake_at)
        if plan.blocked is not None:
            self._evaluations.block(evaluation, plan.blocked)
            return
        self._evaluations.unblock_after(plan.job.id)
        if plan.job.id in self._reserving:
            self._reserving.discard(plan.job.id)
            self._evaluations.unblock_all()
        if plan.job.state.terminal:
            self._evaluations.forget(plan.job.id)

    def _look_at(self, job_id: str, trigger: Trigger) -> None:
        job = self._jobs[job_id]
        if not job.state.terminal:
            self._evaluations.put(Evaluation(job_id, job.spec.priority, job.created_at, trigger))

    def _put_job(self, job: JobRecord, now: float) -> None:
        before = self._jobs.get(job.id)
        if before is job or before == job:
            return
        self._jobs[job.id] = job
        self._changes.jobs[job.id] = job
        self._changes.events += job_events_between(before, job, now)

    def _put_execution(self, execution: Execution, now: float, job: JobRecord | None = None) -> None:
        """Take over an execution; its job is the one that is recorded with it, if that changes as well."""
        job = job or self._jobs[execution.job_id]
        before = self._executions.get(execution.job_id, {}).get(execution.id)
        self._keep(execution)
        self._changes.executions[execution.id] = execution
        self._changes.events += events_between(job, before, execution, now)
        self._tell(execution.node, *messages_between(job, before, execution))
        if not execution.state.terminal:
            if before is None:
                self._membership.hold(execution, job.spec.resources)
            return
        # What is fenced may still run, and uses what it has: until its node says otherwise.
        if not execution.fenced and self._membership.release(execution):
            self._evaluations.unblock_all()

    def _keep(self, execution: Execution) -> None:
        self._executions.setdefault(execution.job_id, {})[execution.id] = execution
        self._job_of[execution.id] = execution.job_id

    def _tell(self, node: str, *messages: Message) -> None:
        self._changes.sends += (Send(Envelope(self.name, node, message)) for message in messages)

    def _effects(self, now: float) -> list[Effect]:
        changes = self._changes
        batch = Batch(tuple(changes.jobs.values()), tuple(changes.executions.values()), tuple(changes.events))
        commits: list[Effect] = [Commit(batch)] if batch else []
        return [*commits, *changes.sends, *self._wakes(now)]

    def _wakes(self, now: float) -> list[Effect]:
        """Ask to be woken for what is due next, and often enough that a standstill shows; an early wake does no harm."""
        if now >= self._pulse_at or self._pulse_at == math.inf:
            waits = len(self._membership.nodes) or now < self._snapshot.settled_at
            self._pulse_at = now + PULSE if waits else math.inf
        wake_at = min(self._agenda.next(), self._membership.check_at, self._pulse_at)
        if now < self._wake_at <= wake_at:
            return []
        self._wake_at = wake_at
        if wake_at == math.inf:
            return []
        # A difference of times may be rounded down, and a wake before the time would ask for the same one again and again.
        return [WakeAt(wake_at - self._ahead + ROUNDING if self._ahead else wake_at)]

    def _execution(self, execution_id: str, node: str) -> Execution | None:
        """Return the execution, if the node is the one that has it: a node reports on its own only."""
        job_id = self._job_of.get(execution_id)
        execution = self._executions[job_id].get(execution_id) if job_id is not None else None
        return execution if execution is not None and execution.node == node else None


def _as_told(
    ending: ExecutionState, state: ExecutionState, outcome: Outcome | None
) -> tuple[ExecutionState, Outcome | None]:
    """Return how an execution ends, or goes on, that was told to stop.

    One that ran for too long and yet came to its end is kept: the work is done, and its job is still wanted.
    """
    if ending is ExecutionState.CANCELLED and state is ExecutionState.COMPLETED:
        # It ended before the kill reached it; its results are not wanted and go.
        return ExecutionState.CANCELLED, evolve(outcome or Outcome(), location=None)
    if state is ExecutionState.CANCELLED:
        return ending, outcome
    return state, outcome


def _limited(job: JobRecord) -> bool:
    """Say whether a limit of a job may count from what its executions do."""
    return job.spec.timeouts.execution is not None


def _latest(snapshot: Snapshot) -> float:
    """Return the latest time in the records: a clock that was put back since must not make them lie in the future."""
    times = [job.modified_at for job in snapshot.jobs]
    times += [execution.modified_at for execution in snapshot.executions]
    return max(times, default=-math.inf)


class _Changes:
    """What one event has changed so far."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.events: list[JobEvent] = []
        self.sends: list[Send] = []
