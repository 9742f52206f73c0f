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
from ..model.record import Batch, JobEvent, JobRecord, Snapshot
from .effects import Commit, Effect, Send
from .evaluations import EvaluationQueue
from .events import CancelAll, CancelJob, Deliver, OrchestratorEvent, Restore, SubmitJob
from .lifecycle import advance, is_news
from .matching import Demand
from .membership import Membership
from .plan import Plan, events_between, job_events_between, messages_between
from .ranking import Ranker, default_rank
from .schedule import ClusterSnapshot, refusals_of, schedule

__all__ = ["OrchestratorCore"]

RESEND_AFTER = 5.0
"""Seconds after which an execution that its node's heartbeat does not list is told to the node again."""
LOST_AFTER = 15.0
"""Seconds after which an accepted execution that its node's heartbeats do not list counts as gone, and in which nodes that are
there must have been heard of after a restart.
"""


class OrchestratorCore:
    """Decides what becomes of jobs; keeps no clock, does no I/O, and is handed one event at a time.

    `handle` may be called again only when the effects of the last call have been performed, the commit first. When it raises,
    nothing has changed.

    Args:
        ranker: Ranks the nodes that match a job.
        name: The party that nodes send to.
    """

    def __init__(self, *, ranker: Ranker = default_rank, name: str = ORCHESTRATOR) -> None:
        self.name = name
        self._jobs: dict[str, JobRecord] = {}
        self._executions: dict[str, dict[str, Execution]] = {}
        self._job_of: dict[str, str] = {}
        self._membership = Membership()
        self._evaluations = EvaluationQueue()
        self._snapshot = ClusterSnapshot(self._jobs, self._executions, self._membership.nodes, ranker)
        self._changes = _Changes()
        self._restored_at = -math.inf
        self._listed_at: dict[str, float] = {}

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """The records of all jobs, by id."""
        return self._jobs

    @property
    def membership(self) -> Membership:
        """The nodes that are known."""
        return self._membership

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
        if not self._snapshot.complete and now >= self._restored_at + LOST_AFTER:
            self._snapshot = evolve(self._snapshot, complete=True)
            self._evaluations.unblock_all()
        self._evaluate(now)
        return self._effects()

    def explain(self, job_id: str) -> Explanation:
        """Say why a job is where it is, why not elsewhere, or why not at all."""
        job, executions = self._jobs[job_id], self.executions(job_id)
        placed = tuple(
            f"partition {e.partition_index}, attempt {e.attempt}: {e.state.value} on node {e.node}"
            + (" (told to stop)" if e.stop_requested and not e.state.terminal else "")
            for e in executions
            if e.state is not ExecutionState.ASK_FOR_BID_REJECTED
        )
        reason = job.reason.partition("\n")[0]
        if job.state.terminal:
            return Explanation(job_id, job.state, reason, placed, (), job.refusals)
        held = self._explain_nodes(job.spec, executions)
        return Explanation(job_id, job.state, reason, placed, held.candidates, held.refusals)

    def explain_spec(self, spec: JobSpec) -> Explanation:
        """Say where a spec would run now, and why not on the other nodes."""
        return self._explain_nodes(spec, ())

    # What can happen

    def _submit(self, event: SubmitJob, now: float) -> None:
        known = self._jobs.get(event.job_id)
        if known is None:
            self._put_job(JobRecord(event.job_id, event.spec, JobState.PENDING, now, now), now)
            self._look_at(event.job_id, Trigger.JOB_REGISTER)
        elif known.spec != event.spec:
            raise JobConflictError(
                f"job {event.job_id} exists with another spec", hint="submit under another id, or without one"
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
        match envelope.message:
            case BidResult(execution_id, refusals):
                execution = self._execution(execution_id, envelope.sender)
                if execution is None or execution.state is not ExecutionState.ASK_FOR_BID:
                    return
                if refusals:
                    state = ExecutionState.ASK_FOR_BID_REJECTED
                    self._put_execution(advance(execution, state, now, refusals=refusals), now)
                    passing = next((refusal for refusal in refusals if not refusal.lasting), None)
                    if passing is not None:
                        self._membership.saturate(envelope.sender, passing)
                    self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)
                else:
                    self._advance(execution, ExecutionState.BID_ACCEPTED, None, now)
            case ExecutionUpdate() as update:
                self._update(envelope.sender, update, now)
            case Heartbeat() as heartbeat:
                self._hear(envelope.sender, heartbeat, now)
            case _:
                pass

    def _update(self, sender: str, update: ExecutionUpdate, now: float) -> None:
        execution = self._execution(update.execution_id, sender)
        if execution is None or execution.state.terminal:
            self._answer_end(sender, update.execution_id, execution, update.state)
        else:
            self._advance(execution, update.state, update.outcome, now)

    def _advance(
        self, execution: Execution, state: ExecutionState, outcome: Outcome | None, now: float
    ) -> None:
        """Take over what a node reports of a live execution, unless it is an old story."""
        if not is_news(execution, state):
            return
        if state is ExecutionState.COMPLETED and (outcome is None or outcome.location is None):
            failure = Failure(
                FailureKind.INFRASTRUCTURE, "node.no_results", "the node does not say where the results are"
            )
            state, outcome = ExecutionState.FAILED, Outcome(failure=failure)
        if state is ExecutionState.COMPLETED and execution.stop_requested:
            # It ended before the kill reached it; its results are not wanted and go.
            state, outcome = ExecutionState.CANCELLED, evolve(outcome or Outcome(), location=None)
        self._put_execution(advance(execution, state, now, outcome=outcome), now)
        if state.terminal or self._jobs[execution.job_id].state is not JobState.RUNNING:
            self._look_at(execution.job_id, Trigger.EXECUTION_UPDATE)

    def _hear(self, sender: str, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.info.name != sender:
            return
        if self._membership.heard_of(heartbeat.info, now):
            self._evaluations.unblock_all()
        reported = dict(heartbeat.executions)
        for execution_id in self._membership.held_by(sender):
            execution = self._execution(execution_id, sender)
            if execution is not None and execution_id not in reported:
                self._remind(execution, now)
        for execution_id, state in reported.items():
            execution = self._execution(execution_id, sender)
            if execution is None or execution.state.terminal:
                self._answer_end(sender, execution_id, execution, state)
            elif not state.terminal:
                self._listed_at[execution_id] = now
                self._advance(execution, state, None, now)
                if execution.stop_requested:
                    self._tell(sender, CancelExecution(execution_id))

    def _remind(self, execution: Execution, now: float) -> None:
        """Deal with an execution that its node does not list: a message was lost, or the node has lost it."""
        heard_at = self._listed_at.get(execution.id, self._restored_at)
        silent = now - max(execution.modified_at, heard_at)
        accepted = execution.state is not ExecutionState.ASK_FOR_BID
        if accepted and not execution.stop_requested and silent >= LOST_AFTER:
            # The heartbeat may be an old one that was held up. So the node is asked to end the execution, which has ended when
            # the node has said so: nothing of it can run any more then.
            self._put_execution(evolve(execution, stop_requested=True, modified_at=now), now)
        elif silent >= RESEND_AFTER:
            self._tell(execution.node, *messages_between(self._jobs[execution.job_id], None, execution))

    def _answer_end(
        self, node: str, execution_id: str, execution: Execution | None, reported: ExecutionState
    ) -> None:
        """Tell a node what to do with an execution that is unknown here or has ended: kill it, or forget it."""
        if reported.terminal:
            kept = execution is not None and execution.state is ExecutionState.COMPLETED
            self._tell(node, AcknowledgeExecution(execution_id, discard=not kept))
        else:
            self._tell(node, CancelExecution(execution_id))

    def _restore(self, snapshot: Snapshot, now: float) -> None:
        if snapshot.jobs:
            # The nodes of the earlier life are still to be heard of: that none is known does not say that there is none.
            self._restored_at = now
            self._snapshot = evolve(self._snapshot, complete=False)
        for job in snapshot.jobs:
            self._jobs[job.id] = job
        for execution in snapshot.executions:
            self._keep(execution)
            if not execution.state.terminal:
                self._membership.hold(execution, self._jobs[execution.job_id].spec.resources)
        for job in snapshot.jobs:
            if not job.state.terminal:
                self._look_at(job.id, Trigger.RECOVERY)

    # What follows

    def _evaluate(self, now: float) -> None:
        """Let the scheduler look at every job that is ready."""
        while (evaluation := self._evaluations.pop()) is not None:
            self._apply(schedule(self._snapshot, evaluation, now), evaluation, now)

    def _apply(self, plan: Plan, evaluation: Evaluation, now: float) -> None:
        for execution in plan.executions:
            self._put_execution(execution, now)
        self._put_job(plan.job, now)
        if plan.blocked is not None:
            self._evaluations.block(evaluation, plan.blocked)
            return
        self._evaluations.unblock_after(plan.job.id)
        if plan.job.state.terminal:
            self._evaluations.forget(plan.job.id)

    def _look_at(self, job_id: str, trigger: Trigger) -> None:
        job = self._jobs[job_id]
        if not job.state.terminal:
            self._evaluations.put(Evaluation(job_id, job.spec.priority, job.created_at, trigger))

    def _put_job(self, job: JobRecord, now: float) -> None:
        before = self._jobs.get(job.id)
        if before == job:
            return
        self._jobs[job.id] = job
        self._changes.jobs[job.id] = job
        self._changes.events += job_events_between(before, job, now)

    def _put_execution(self, execution: Execution, now: float) -> None:
        job = self._jobs[execution.job_id]
        before = self._executions.get(execution.job_id, {}).get(execution.id)
        self._keep(execution)
        self._changes.executions[execution.id] = execution
        self._changes.events += events_between(job, before, execution, now)
        self._tell(execution.node, *messages_between(job, before, execution))
        if not execution.state.terminal:
            if before is None:
                self._membership.hold(execution, job.spec.resources)
            return
        self._listed_at.pop(execution.id, None)
        if self._membership.release(execution):
            self._evaluations.unblock_all()

    def _keep(self, execution: Execution) -> None:
        self._executions.setdefault(execution.job_id, {})[execution.id] = execution
        self._job_of[execution.id] = execution.job_id

    def _tell(self, node: str, *messages: Message) -> None:
        self._changes.sends += (Send(Envelope(self.name, node, message)) for message in messages)

    def _effects(self) -> list[Effect]:
        changes = self._changes
        batch = Batch(tuple(changes.jobs.values()), tuple(changes.executions.values()), tuple(changes.events))
        commits: list[Effect] = [Commit(batch)] if batch else []
        return [*commits, *changes.sends]

    def _execution(self, execution_id: str, node: str) -> Execution | None:
        """Return the execution, if the node is the one that has it: a node reports on its own only."""
        job_id = self._job_of.get(execution_id)
        execution = self._executions[job_id].get(execution_id) if job_id is not None else None
        return execution if execution is not None and execution.node == node else None

    def _explain_nodes(self, spec: JobSpec, executions: tuple[Execution, ...]) -> Explanation:
        refusals = refusals_of(self._membership.nodes, Demand.of(spec), executions)
        refusing = {refusal.node for refusal in refusals}
        names = tuple(e.info.name for e in self._membership.nodes if e.info.name not in refusing)
        reason = f"{len(names)} of {len(self._membership.nodes)} nodes could take it now"
        return Explanation("", None, reason, (), names, refusals)


class _Changes:
    """What one event has changed so far."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.events: list[JobEvent] = []
        self.sends: list[Send] = []
