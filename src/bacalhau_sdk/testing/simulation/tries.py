"""What must hold of the records of executions."""

from __future__ import annotations

from ...model.execution import Execution, ExecutionState, FailureKind
from ...model.job import RetryPolicy
from ...model.node import Check
from ...model.record import Batch
from ...scheduling.answers import ASK_AGAIN_AFTER, ASK_AGAIN_MAX
from ...scheduling.deadlines import GRACE, NODE_LOST_AFTER
from ...scheduling.lifecycle import EXECUTION_MOVES
from .scene import Scene
from .violation import ViolationError
from .words import MessageRules

__all__ = ["ExecutionRules", "worth_another_try"]

_OFFERS_MAX = 60
"""More offers for a partition than this are a storm."""
_TURNED_DOWN_MAX = 3
"""So often a node may say that it takes a partition not now, within `_TURNED_DOWN_WITHIN`."""
_TURNED_DOWN_WITHIN = 4.0
_TOLD_MIN = 3
"""So often a node is told at least to stop what is fenced because it did not: it sends six heartbeats until then."""


def worth_another_try(policy: RetryPolicy, tried: Execution) -> bool:
    """Say, in other words than the scheduler's, whether a policy lets a partition be tried again."""
    outcome = tried.outcome
    failure = outcome.failure if outcome is not None else None
    worth = {
        ExecutionState.FAILED: failure is not None and failure.kind is not FailureKind.PERMANENT,
        ExecutionState.TIMED_OUT: policy.retry_timeouts,
        ExecutionState.COMPLETED: policy.retry_nonzero_exit
        and outcome is not None
        and outcome.exit_code != 0,
        ExecutionState.CANCELLED: True,
    }
    return tried.attempt < policy.max_attempts and worth.get(tried.state, False)


def _has_another(policy: RetryPolicy, execution: Execution) -> bool:
    return execution.accepted_at is None or execution.attempt < policy.max_attempts


class ExecutionRules:
    """Watches the records of executions.

    Args:
        world: The world.
        messages: Watches what is said of them.
    """

    def __init__(self, world: Scene, messages: MessageRules) -> None:
        self.ids_of: dict[str, list[str]] = {}
        self.tried: dict[
            tuple[str, int], Execution
        ] = {}  # the last one of each partition that counts as a try
        self.since: dict[str, tuple[Execution, float]] = {}
        self.refused: set[tuple[str, str, int]] = set()  # job, node and its revision
        self.not_now: dict[tuple[str, str, int], float] = {}  # the same, and when
        self.forgotten: set[str] = messages.forgotten
        self._world = world
        self._messages = messages
        self._live: dict[tuple[str, int], str] = {}
        self._offers: dict[tuple[str, int], int] = {}
        self._asked: dict[str, float] = {}
        self._turned_down: dict[tuple[str, int, str], list[float]] = {}
        self._completed: set[str] = set()

    def rolled_back(self) -> None:
        """Take what the store has now for what is recorded."""
        executions = self._world.orchestrator.executions.values()
        self.forgotten |= self._completed
        live = [execution for execution in executions if not execution.state.terminal]
        self._live = {(e.job_id, e.partition_index): e.id for e in live}
        self.since = {e.id: (e, self._world.now) for e in live}
        self._offers.clear()
        self.tried.clear()
        self.ids_of.clear()
        self.refused.clear()
        self._asked = {e.id: self._world.now for e in live if e.ending is not None}
        self.not_now.clear()
        for execution in executions:
            self.ids_of.setdefault(execution.job_id, []).append(execution.id)
            if execution.state.terminal:
                self._note_end(execution)

    def at_execution(self, before: Execution | None, execution: Execution) -> None:
        """Hold what must hold of an execution that is being committed."""
        world, state = self._world, execution.state
        if before is None:
            self._at_offer(execution)
        elif before.state.terminal:
            raise ViolationError(
                "I1", f"{execution.id} was {before.state.value} and is recorded as {execution}"
            )
        elif state is not before.state and state not in EXECUTION_MOVES[before.state]:
            raise ViolationError("I8", f"{execution.id} goes from {before.state.value} to {state.value}")
        if before is None or before.state is not state or before.ending is not execution.ending:
            self.since[execution.id] = (execution, world.now)
        if execution.ending is not None:
            self._asked.setdefault(execution.id, world.now)
            self._not_too_early(before, execution)
        if state.terminal:
            self._at_end(before, execution)
            return
        partition = (execution.job_id, execution.partition_index)
        current = self._live.setdefault(partition, execution.id)
        if current != execution.id:
            raise ViolationError("I6", f"{current} and {execution.id} are both current")

    def waiting_now(self) -> list[tuple[str, str, int]]:
        """Return jobs and nodes where a refusal for now may still be waited out."""
        return [
            key for key, at in self.not_now.items() if self._world.orchestrator.core.now < at + ASK_AGAIN_MAX
        ]

    def at_batch(self, batch: Batch) -> None:
        """Hold that an execution which may be tried again is not given up before another one takes its place."""
        orchestrator = self._world.orchestrator
        jobs = {job.id: job for job in batch.jobs}
        for execution in batch.executions:
            before = orchestrator.executions.get(execution.id)
            if not execution.fenced or before is None or before.ending is not None:
                continue
            job = jobs.get(execution.job_id) or orchestrator.jobs[execution.job_id]
            partition = (execution.job_id, execution.partition_index)
            ends = job.ending is not None or job.state.terminal
            if not ends and partition not in self._live and _has_another(job.spec.retry, execution):
                raise ViolationError("I13", f"{execution.id} is fenced, and nothing takes its place")

    def _not_too_early(self, before: Execution | None, execution: Execution) -> None:
        """Hold that the limit on running fires neither before its time, nor for what has come to its end."""
        limit = self._world.users.requests[execution.job_id].spec.timeouts.execution
        if execution.ending is not ExecutionState.TIMED_OUT or limit is None:
            return
        asked, began = execution.stop_requested_at, execution.started_at
        if asked is None or began is None or asked - began < limit - 0.001:
            raise ViolationError("I11", f"{execution.id} times out before its {limit} s")
        new = before is not None and before.ending is None
        if new and before is not None and before.state is ExecutionState.PUBLISHING:
            raise ViolationError("I11", f"{execution.id} times out while it is published")

    def _at_offer(self, execution: Execution) -> None:
        partition = (execution.job_id, execution.partition_index)
        self.ids_of.setdefault(execution.job_id, []).append(execution.id)
        self._offers[partition] = self._offers.get(partition, 0) + 1
        if self._offers[partition] > _OFFERS_MAX:
            raise ViolationError(
                "B2", f"{execution.id} is offer number {self._offers[partition]} of its partition"
            )
        if (execution.job_id, execution.node, execution.node_revision) in self.refused:
            raise ViolationError(
                "I16", f"{execution.id} goes to {execution.node}, which has refused for good"
            )
        asked_before = self.not_now.get((execution.job_id, execution.node, execution.node_revision))
        if asked_before is not None and execution.created_at < asked_before + ASK_AGAIN_AFTER - 0.001:
            raise ViolationError(
                "I16", f"{execution.id} goes to {execution.node}, which has just refused the job"
            )
        policy = self._world.users.requests[execution.job_id].spec.retry
        if execution.attempt > policy.max_attempts:
            raise ViolationError(
                "I12", f"{execution.id} is attempt {execution.attempt} of {policy.max_attempts}"
            )
        tried = self.tried.get(partition)
        if execution.attempt != (tried.attempt if tried is not None else 0) + 1:
            raise ViolationError("I12", f"{execution.id} is attempt {execution.attempt} after {tried}")
        if tried is None:
            return
        if not worth_another_try(policy, tried):
            raise ViolationError("I12", f"{execution.id} follows, but is not worth it: {tried}")
        least = policy.backoff * 2 ** (tried.attempt - 1)
        waited = execution.created_at - (tried.ended_at or 0.0)
        if not tried.fenced and waited < least - 0.001:
            raise ViolationError(
                "I15", f"{execution.id} follows {tried.id} after {waited:.2f} s, not {least:.2f}"
            )

    def _at_end(self, before: Execution | None, execution: Execution) -> None:
        state = execution.state
        partition = (execution.job_id, execution.partition_index)
        if self._live.get(partition) == execution.id:
            del self._live[partition]
        self.since.pop(execution.id, None)
        self._note_end(execution)
        node = self._world.nodes[execution.node]
        if execution.fenced:
            self._at_fence(execution)
        elif execution.id in node.busy or (
            execution.id in node.workloads and node.workloads[execution.id].running
        ):
            raise ViolationError("I5", f"{execution.id} is {state.value}, but {node.name} goes on with it")
        if state is ExecutionState.ASK_FOR_BID_REJECTED:
            self._turns_down(execution)
        elif state is ExecutionState.COMPLETED:
            self._completed.add(execution.id)
            if execution.id not in node.results:
                raise ViolationError(
                    "I3", f"{execution.id} is completed, but {node.name} has no results of it"
                )
            if execution.outcome is None or execution.outcome.location is None:
                raise ViolationError(
                    "I3", f"{execution.id} is completed, but nobody knows where its results are"
                )
        elif before is None or before.ending is not ExecutionState.CANCELLED:
            self._throws_nothing_away(execution)

    def _throws_nothing_away(self, execution: Execution) -> None:
        node = self._world.nodes[execution.node]
        excused = execution.fenced or node.forgetful or execution.id in self.forgotten
        if execution.id in node.results and not excused:
            raise ViolationError(
                "B1", f"{execution.id} has results on {node.name}, but is {execution.state.value}"
            )

    def _note_end(self, execution: Execution) -> None:
        if execution.state is ExecutionState.ASK_FOR_BID_REJECTED:
            if any(refusal.lasting for refusal in execution.refusals):
                self.refused.add((execution.job_id, execution.node, execution.node_revision))
        elif execution.accepted_at is not None or not execution.fenced:
            self.tried[execution.job_id, execution.partition_index] = execution

    def _turns_down(self, execution: Execution) -> None:
        """Hold that a node which says that it takes nothing now is not asked again at once."""
        if any(refusal.lasting or refusal.check is Check.BROADCAST for refusal in execution.refusals):
            return
        if all(refusal.check is Check.ENGINE for refusal in execution.refusals):
            asked = (execution.job_id, execution.node, execution.node_revision)
            self.not_now[asked] = execution.modified_at
        key = (execution.job_id, execution.partition_index, execution.node)
        times = self._turned_down.setdefault(key, [])
        times[:] = [time for time in times if time > self._world.now - _TURNED_DOWN_WITHIN]
        times.append(self._world.now)
        if len(times) > _TURNED_DOWN_MAX:
            raise ViolationError("B2", f"{execution.node} has refused {execution.id} {len(times)} times")

    def _at_fence(self, execution: Execution) -> None:
        """Hold that an execution is fenced only when its node is silent, or has had its time to stop it."""
        world = self._world
        heard = max(world.orchestrator.heard.get(execution.node, 0.0), world.orchestrator.settled_since)
        silent = world.now - heard
        asked = execution.stop_requested_at
        dying = execution.modified_at - asked if asked is not None else 0.0
        if silent >= NODE_LOST_AFTER - 0.01:
            return
        if dying < GRACE + NODE_LOST_AFTER - 0.01:
            raise ViolationError(
                "I13", f"{execution.id} is fenced, but {execution.node} was heard {silent:.1f} s ago"
            )
        self._was_told(execution)

    def _was_told(self, execution: Execution) -> None:
        """Hold that a node which could be reached all the time was told to stop it, and more than once, and still has it."""
        world, node = self._world, self._world.nodes[execution.node]
        asked = self._asked.get(execution.id)
        if asked is None or not node.up:
            return
        away = (world.cut_until(node.name), node.up_since, world.orchestrator.settled_since)
        if max(*away, world.orchestrator.stalled_until) >= asked:
            return
        if not node.core.holds(execution.id):
            raise ViolationError("I13", f"{execution.id} is fenced, but {node.name} has nothing of it")
        told = self._messages.cancels.get(execution.id, 0)
        if told < _TOLD_MIN:
            raise ViolationError(
                "I13", f"{execution.id} is fenced, but {node.name} was told {told} times only"
            )
