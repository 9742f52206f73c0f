"""What must hold after every event, and at the end; the names are those of ``reliability.md`` §4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.evaluation import Evaluation, Trigger
from ...model.execution import Execution, ExecutionState, FailureKind
from ...model.frozenmap import FrozenMap
from ...model.job import JobState, JobType
from ...model.message import AcknowledgeExecution, AskForBid, CancelExecution, Envelope
from ...model.node import NodeInfo
from ...model.record import Batch, JobRecord
from ...scheduling.deadlines import GRACE, NODE_LOST_AFTER
from ...scheduling.lifecycle import EXECUTION_MOVES, JOB_MOVES
from ...scheduling.schedule import schedule

if TYPE_CHECKING:
    from .node import SimulatedNode, Workload
    from .users import Request
    from .world import World

__all__ = ["Invariants", "ViolationError"]

_PATROL = 5.0
_SLACK = 2.5
"""Seconds that messages and a wake may take on top of a bound."""
_KIND_STOP = 4.0
"""Seconds in which a stop, or an offer, comes to its end when nothing goes wrong: two messages, and what is published or staged."""
_LATEST = 51.0
"""Seconds that a message may have been held up."""
_OFFERS_MAX = 60
"""More offers for a partition than this are a storm."""


class ViolationError(AssertionError):
    """Something that must hold does not.

    Args:
        invariant: Which one, such as ``I6``.
        message: What was seen.
    """

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


class Invariants:
    """Watches a world.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._live: dict[tuple[str, int], str] = {}
        self._offers: dict[tuple[str, int], int] = {}
        self._ids_of: dict[str, list[str]] = {}
        self._tried: dict[tuple[str, int], Execution] = {}
        self._created: dict[str, float] = {}
        self._ending: dict[str, float] = {}
        self._since: dict[str, tuple[Execution, float]] = {}
        self._started: set[str] = set()
        self._completed: set[str] = set()
        self._forgotten: set[str] = set()  # completed before the store was put back, and so not kept track of
        self._dropped: set[str] = set()
        self._used: dict[str, list[float]] = {}
        self._patrols = 0
        world.after(_PATROL, self._patrol)

    # Records

    def at_commit(self, batch: Batch) -> None:
        """Hold what must hold of records that are being committed."""
        orchestrator = self.world.orchestrator
        after = {execution.id: execution for execution in batch.executions}
        for execution in batch.executions:
            self._at_execution(orchestrator.executions.get(execution.id), execution)
        for job in batch.jobs:
            self._at_job(orchestrator.jobs.get(job.id), job, after)
        if self.world.noting or self.world.telling:
            self.note_batch(batch)

    def _at_job(self, before: JobRecord | None, job: JobRecord, changed: dict[str, Execution]) -> None:
        now = self.world.now
        if before is None:
            self._created[job.id] = now
        elif before.state.terminal:
            raise ViolationError("I1", f"{job.id} was {before.state.value} and is recorded again as {job}")
        elif job.state is not before.state and job.state not in JOB_MOVES[before.state]:
            raise ViolationError("I8", f"{job.id} goes from {before.state.value} to {job.state.value}")
        elif before.ending is not None and (
            job.ending is not before.ending or (job.state.terminal and job.state is not before.ending)
        ):
            raise ViolationError("I5", f"{job.id} was to end as {before.ending.value} and is {job}")
        if job.ending is not None:
            self._ending.setdefault(job.id, now)
            self._not_too_early(job)
        if job.state.terminal:
            self._at_end_of_job(job, changed)

    def _at_end_of_job(self, job: JobRecord, changed: dict[str, Execution]) -> None:
        done: set[int] = set()
        dropped: set[int] = set()
        for execution in self._executions_of(job.id, changed):
            if not execution.state.terminal:
                raise ViolationError("I4", f"{job.id} is {job.state.value}, but {execution} is not over")
            if execution.state is ExecutionState.COMPLETED:
                done.add(execution.partition_index)
            elif execution.state is ExecutionState.ASK_FOR_BID_REJECTED:
                dropped.add(execution.partition_index)
        if job.state is JobState.COMPLETED:
            lacking = set(range(job.partition_count)) - done
            if job.spec.type is JobType.OPS:
                lacking -= dropped
            if lacking:
                raise ViolationError("I3", f"{job.id} is completed without results of partitions {lacking}")

    def _executions_of(self, job_id: str, changed: dict[str, Execution]) -> list[Execution]:
        known = self.world.orchestrator.executions
        ids = dict.fromkeys(self._ids_of.get(job_id, ()))
        ids.update((execution.id, None) for execution in changed.values() if execution.job_id == job_id)
        return [changed.get(execution_id) or known[execution_id] for execution_id in ids]

    def _not_too_early(self, job: JobRecord) -> None:
        """Hold that no limit fires before its time."""
        if job.ending is not JobState.TIMED_OUT:
            return
        limits = [job.spec.timeouts.total, job.spec.timeouts.queue]
        if job.spec.timeouts.execution is not None:
            limits.append(job.spec.timeouts.execution)
        least = min(limit for limit in limits if limit is not None)
        if job.modified_at - job.created_at < least - 0.001:
            raise ViolationError("I11", f"{job.id} timed out after {job.modified_at - job.created_at:.1f} s")

    def _at_execution(self, before: Execution | None, execution: Execution) -> None:
        world, state = self.world, execution.state
        partition = (execution.job_id, execution.partition_index)
        if before is None:
            self._at_offer(partition, execution)
        elif before.state.terminal:
            raise ViolationError(
                "I1", f"{execution.id} was {before.state.value} and is recorded as {execution}"
            )
        elif state is not before.state and state not in EXECUTION_MOVES[before.state]:
            raise ViolationError("I8", f"{execution.id} goes from {before.state.value} to {state.value}")
        if before is None or before.state is not state or before.ending is not execution.ending:
            self._since[execution.id] = (execution, world.now)
        limit = world.users.requests[execution.job_id].spec.timeouts.execution
        if execution.ending is ExecutionState.TIMED_OUT and limit is not None:
            asked, began = execution.stop_requested_at, execution.started_at
            if asked is None or began is None or asked - began < limit - 0.001:
                raise ViolationError("I11", f"{execution.id} times out before its {limit} s")
        if not state.terminal:
            current = self._live.setdefault(partition, execution.id)
            if current != execution.id:
                raise ViolationError("I6", f"{current} and {execution.id} are both current")
            return
        if self._live.get(partition) == execution.id:
            del self._live[partition]
        self._since.pop(execution.id, None)
        if execution.accepted_at is not None:
            self._tried[partition] = execution
        node = world.nodes[execution.node]
        if execution.fenced:
            self._at_fence(execution)
        elif execution.id in node.busy or (
            execution.id in node.workloads and node.workloads[execution.id].running
        ):
            raise ViolationError("I5", f"{execution.id} is {state.value}, but {node.name} goes on with it")
        if state is ExecutionState.COMPLETED:
            self._completed.add(execution.id)
            if execution.id not in node.results:
                raise ViolationError(
                    "I3", f"{execution.id} is completed, but {node.name} has no results of it"
                )

    def _at_offer(self, partition: tuple[str, int], execution: Execution) -> None:
        self._ids_of.setdefault(execution.job_id, []).append(execution.id)
        self._offers[partition] = self._offers.get(partition, 0) + 1
        if self._offers[partition] > _OFFERS_MAX:
            raise ViolationError(
                "B2", f"{execution.id} is offer number {self._offers[partition]} of its partition"
            )
        request = self.world.users.requests[execution.job_id]
        request_max = request.spec.retry.max_attempts
        if execution.attempt > request_max:
            raise ViolationError("I12", f"{execution.id} is attempt {execution.attempt} of {request_max}")
        tried = self._tried.get(partition)
        if tried is None or tried.attempt == execution.attempt:
            return
        failure = tried.outcome.failure if tried.outcome is not None else None
        if failure is not None and failure.kind is FailureKind.PERMANENT:
            raise ViolationError("I12", f"{tried.id} failed for good, but {execution.id} follows")
        least = request.spec.retry.backoff * 2 ** (tried.attempt - 1)
        waited = execution.created_at - (tried.ended_at or 0.0)
        if not tried.fenced and waited < least - 0.001:
            raise ViolationError(
                "I15", f"{execution.id} follows {tried.id} after {waited:.2f} s, not {least:.2f}"
            )

    def _at_fence(self, execution: Execution) -> None:
        """Hold that an execution is fenced only when its node is silent, or has had its time to stop it."""
        world = self.world
        heard = max(world.orchestrator.heard.get(execution.node, 0.0), world.orchestrator.settled_since)
        silent = world.now - heard
        asked = execution.stop_requested_at
        dying = execution.modified_at - asked if asked is not None else 0.0
        if silent < NODE_LOST_AFTER - 0.01 and dying < GRACE + NODE_LOST_AFTER - 0.01:
            raise ViolationError(
                "I13", f"{execution.id} is fenced, but {execution.node} was heard {silent:.1f} s ago"
            )

    # Messages

    def at_send(self, envelope: Envelope) -> None:
        """Hold that the orchestrator says only what its store knows."""
        message, orchestrator = envelope.message, self.world.orchestrator
        execution_id: str = getattr(message, "execution_id", "")
        execution = orchestrator.executions.get(execution_id)
        if isinstance(message, AskForBid):
            if execution is None or execution.state.terminal or execution.node != envelope.recipient:
                raise ViolationError(
                    "I9", f"{execution_id} is offered to {envelope.recipient}, but not recorded"
                )
            entry = orchestrator.core.membership.nodes.get(envelope.recipient)
            closed = entry is None or entry.lost_at is not None or entry.info.draining
            if closed and execution.created_at == orchestrator.core.now:
                raise ViolationError(
                    "I16", f"{execution_id} is offered to {envelope.recipient}, which takes nothing"
                )
        elif isinstance(message, CancelExecution):
            mine = execution is not None and execution.node == envelope.recipient
            if execution is not None and mine and not execution.state.terminal and execution.ending is None:
                raise ViolationError("I9", f"{execution_id} is to be killed, but its record wants it")
        elif isinstance(message, AcknowledgeExecution):
            self._at_acknowledgement(envelope.recipient, message, execution)

    def _at_acknowledgement(
        self, name: str, message: AcknowledgeExecution, execution: Execution | None
    ) -> None:
        execution_id = message.execution_id
        if execution is not None and execution.node == name:
            if not execution.state.terminal:
                raise ViolationError(
                    "I9", f"{execution_id} is acknowledged, but recorded as {execution.state.value}"
                )
            if message.discard is (execution.state is ExecutionState.COMPLETED):
                raise ViolationError(
                    "I9", f"{execution_id} is recorded as {execution.state.value}, but {message}"
                )
        if message.discard and execution_id not in self._dropped:
            node = self.world.nodes[name]
            if execution_id in node.results:
                self._dropped.add(execution_id)
                self._count_dropped(execution)

    def _count_dropped(self, execution: Execution | None) -> None:
        counts = self.world.counts
        job = self.world.orchestrator.jobs.get(execution.job_id) if execution is not None else None
        if execution is None or job is None:
            counts["finished work dropped: unknown after a rollback"] += 1
        elif job.ending in (JobState.CANCELLED, JobState.TIMED_OUT, JobState.FAILED):
            counts["finished work dropped: not wanted any more"] += 1
        elif execution.fenced:
            counts["finished work dropped: fenced"] += 1
        else:
            counts["finished work dropped: thrown away"] += 1

    # Users

    def submit_returned(self, request: Request) -> None:
        """Hold that a job is recorded when `submit` returns."""
        if request.job_id not in self.world.orchestrator.jobs:
            raise ViolationError("I2", f"{request.job_id} was submitted, but is not recorded")

    def cancel_returned(self, job: JobRecord) -> None:
        """Hold that nothing of a job goes on when a cancel returns, but what is fenced."""
        if not job.state.terminal:
            raise ViolationError("I5", f"the cancel of {job.id} returned, but it is {job.state.value}")

    # Workloads

    def node_exists(self, info: NodeInfo) -> None:
        """Note a node."""
        self._used[info.name] = [0.0, 0.0, 0.0]
        capacity = FrozenMap(
            {
                "cpu": info.capacity.cpu,
                "memory": info.capacity.memory,
                "max_executions": info.max_executions,
            }
        )
        self.world.note("node", node=info.name, detail=capacity)

    def at_start(self, node: SimulatedNode, workload: Workload) -> None:
        """Hold what must hold when a workload begins to run."""
        world, task = self.world, workload.task
        used = self._used[node.name]
        used[0] += task.resources.cpu
        used[1] += task.resources.memory
        used[2] += 1
        capacity = node.info.capacity
        if used[0] > capacity.cpu + 1e-9 or used[1] > capacity.memory or used[2] > node.info.max_executions:
            raise ViolationError("I7", f"{node.name} runs {used}, more than it has")
        if task.execution_id in self._started:
            raise ViolationError("I14", f"{task.execution_id} is started twice")
        self._started.add(task.execution_id)
        world.counts["execution"] += 1
        world.story(node.name, f"runs {task.execution_id}")
        if world.noting:
            resources = FrozenMap({"cpu": task.resources.cpu, "memory": task.resources.memory})
            world.note(
                "started",
                job_id=task.job_id,
                execution_id=task.execution_id,
                node=node.name,
                partition_index=task.partition_index,
                detail=resources,
            )
        execution = world.orchestrator.executions.get(task.execution_id)
        if execution is not None and execution.state.terminal and not execution.fenced:
            raise ViolationError(
                "I5", f"{task.execution_id} is {execution.state.value}, but starts on {node.name}"
            )

    def at_stop(self, node: SimulatedNode, workload: Workload) -> None:
        """Note that a workload is dead."""
        task = workload.task
        used = self._used[node.name]
        used[0] -= task.resources.cpu
        used[1] -= task.resources.memory
        used[2] -= 1
        self.world.story(node.name, f"{task.execution_id} is over: {workload.result or 'killed'}")
        if self.world.noting:
            self.world.note("stopped", job_id=task.job_id, execution_id=task.execution_id, node=node.name)

    # From time to time

    def rolled_back(self) -> None:
        """Take what the store has now for what is recorded."""
        orchestrator = self.world.orchestrator
        self._forgotten |= self._completed
        live = (e for e in orchestrator.executions.values() if not e.state.terminal)
        self._live = {(e.job_id, e.partition_index): e.id for e in live}
        self._since = {
            e.id: (e, self.world.now) for e in orchestrator.executions.values() if not e.state.terminal
        }
        self._ending = {
            job.id: self.world.now for job in orchestrator.jobs.values() if job.ending is not None
        }
        self._offers.clear()
        self._tried.clear()
        self._ids_of.clear()
        for execution in orchestrator.executions.values():
            self._ids_of.setdefault(execution.job_id, []).append(execution.id)

    def _patrol(self) -> None:
        world = self.world
        world.after(_PATROL, self._patrol)
        orchestrator = world.orchestrator
        self._patrols += 1
        settled = max(orchestrator.settled_since, orchestrator.stalled_until) + NODE_LOST_AFTER
        if not orchestrator.up or world.now < settled + _SLACK:
            return
        kind_since = max(world.faults.until + _LATEST if world.faults.until else 0.0, settled)
        for job_id, since in list(self._ending.items()):
            if orchestrator.jobs[job_id].state.terminal:
                del self._ending[job_id]
            elif world.now > max(since, settled) + GRACE + NODE_LOST_AFTER + _SLACK:
                raise ViolationError(
                    "I5", f"{job_id} has been ending since {since:.1f} s: {orchestrator.jobs[job_id]}"
                )
        for execution, since in self._since.values():
            waited = world.now - max(since, kind_since, world.nodes[execution.node].up_since + 2 * _PATROL)
            if execution.ending is not None and waited > _KIND_STOP:
                raise ViolationError("L1", f"nothing goes wrong, but {execution} does not stop")
            if execution.state is ExecutionState.ASK_FOR_BID and waited > _KIND_STOP:
                raise ViolationError("L2", f"nothing goes wrong, but {execution} is not answered")
            self._limit_in_time(execution, max(since, settled))
        if world.faults.clock_jumps == 0:
            self._limits_in_time(settled)
        if self._patrols % 4 == 0:
            self._all_looked_at()

    def _limit_in_time(self, execution: Execution, since: float) -> None:
        limit = self.world.users.requests[execution.job_id].spec.timeouts.execution
        entry = self.world.orchestrator.core.membership.nodes.get(execution.node)
        lost = entry is None or entry.lost_at is not None
        if (
            execution.state is ExecutionState.RUNNING
            and execution.ending is None
            and limit is not None
            and not lost
        ):
            if self.world.now > since + limit + NODE_LOST_AFTER + _SLACK:
                raise ViolationError("L3", f"{execution} runs for more than {limit} s")

    def _limits_in_time(self, settled: float) -> None:
        world = self.world
        for job in world.orchestrator.jobs.values():
            if job.ending is not None or job.state.terminal:
                continue
            total, queue = job.spec.timeouts.total, job.spec.timeouts.queue
            limits = [total] if total is not None else []
            if queue is not None and job.state is not JobState.RUNNING:
                limits.append(queue)
            for limit in limits:
                if world.now > max(self._created[job.id] + limit, settled) + _SLACK:
                    raise ViolationError("L3", f"{job.id} takes more than {limit} s")

    def _all_looked_at(self) -> None:
        """Hold that the scheduler would do nothing about any job if it looked at it now."""
        core, now = self.world.orchestrator.core, self.world.orchestrator.clock
        for job in list(core.jobs.values()):
            if job.state.terminal:
                continue
            look = Evaluation(job.id, job.spec.priority, job.created_at, Trigger.DEADLINE)
            plan = core.look(look, now)
            if plan.job != job or plan.executions:
                raise ViolationError("L4", f"{job.id} was not looked at: {plan}")

    # At the end

    def at_end(self) -> None:
        """Hold what must hold when nothing has gone wrong for long enough."""
        world = self.world
        for request in world.users.requests.values():
            job = world.orchestrator.jobs.get(request.job_id)
            if job is None:
                raise ViolationError("I2", f"{request.job_id} is lost")
            if not job.state.terminal:
                raise ViolationError("I10", f"{request.job_id} has not ended: {job}")
            if request.cancelling and not request.cancel_returned:
                raise ViolationError("I10", f"the cancel of {request.job_id} does not return")
        for node in world.nodes.values():
            if node.busy or any(workload.running for workload in node.workloads.values()):
                raise ViolationError("I4", f"{node.name} goes on: {node.busy} {node.workloads}")
            if len(node.core.account) or node.core.held:
                raise ViolationError("I4", f"{node.name} holds what is over")
            for execution_id in () if node.forgetful else node.results:
                execution = world.orchestrator.executions.get(execution_id)
                gone = execution_id in self._forgotten
                if execution is not None and execution.state is not ExecutionState.COMPLETED and not gone:
                    raise ViolationError("I4", f"{node.name} keeps results of {execution}")
        for entry in world.orchestrator.core.membership.nodes:
            if len(entry.account):
                raise ViolationError("I4", f"{entry.info.name} seems to hold {len(entry.account)} executions")

    def note_batch(self, batch: Batch) -> None:
        """Write down what is recorded, for the history and the story."""
        world = self.world
        for event in batch.events:
            world.story("records", f"{event.job_id}: {event.message}")
        if not world.noting:
            return
        for execution in batch.executions:
            known = world.orchestrator.executions.get(execution.id)
            if execution.ending is not None and (known is None or known.ending is None):
                detail = FrozenMap({"ending": execution.ending.value})
                world.note(
                    "told-to-stop",
                    job_id=execution.job_id,
                    execution_id=execution.id,
                    node=execution.node,
                    detail=detail,
                )
            outcome = execution.outcome
            failure = outcome.failure if outcome is not None else None
            world.note(
                "execution",
                job_id=execution.job_id,
                execution_id=execution.id,
                node=execution.node,
                state=execution.state.value,
                partition_index=execution.partition_index,
                attempt=execution.attempt,
                detail=FrozenMap(
                    {
                        "fenced": execution.fenced,
                        "accepted": execution.accepted_at is not None,
                        "exit_code": outcome.exit_code if outcome is not None else None,
                        "permanent": failure is not None and failure.kind is FailureKind.PERMANENT,
                    }
                ),
            )
        for job in batch.jobs:
            world.note("job", job_id=job.id, state=job.state.value)
