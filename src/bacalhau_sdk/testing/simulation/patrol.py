"""What must hold from time to time, and at the end."""

from __future__ import annotations

from attrs import evolve

from ...model.evaluation import Evaluation, Trigger
from ...model.execution import Execution, ExecutionState
from ...model.job import JobState, JobType
from ...model.record import JobRecord
from ...scheduling.deadlines import GRACE, NODE_LOST_AFTER
from ...scheduling.matching import Demand, lasting_refusal
from ...scheduling.node_index import NodeEntry
from ...scheduling.orchestrator import STARVING_AFTER
from ...scheduling.retry import JITTER
from .node import SimulatedNode
from .records import JobRules
from .scene import Scene
from .tries import ExecutionRules
from .violation import ViolationError
from .words import MessageRules

__all__ = ["Patrol"]

_PATROL = 5.0
_SLACK = 2.5
"""Seconds that messages and a wake may take on top of a bound."""
_KIND_STOP = 4.0
"""Seconds in which a stop, or an offer, comes to its end when nothing goes wrong: two messages, and publishing or staging."""
_LATEST = 51.0
"""Seconds that a message may have been held up."""
_ROUNDING = 0.01
_FEW = 3
"""So many nodes are few."""
_UNTOLD = 25.0
"""Seconds in which a node that can be reached hears that something is over, though every other message were lost."""


class Patrol:
    """Looks at the whole world from time to time.

    Args:
        world: The world.
        jobs: Knows since when jobs are ending.
        executions: Knows since when executions are as they are.
        messages: Knows what was said.
    """

    def __init__(
        self, world: Scene, jobs: JobRules, executions: ExecutionRules, messages: MessageRules
    ) -> None:
        self._world = world
        self._jobs = jobs
        self._executions = executions
        self._messages = messages
        self._rounds = 0
        self._over: dict[str, tuple[float, int]] = {}
        self._ahead = (0, 0.0)
        world.after(_PATROL, self._patrol)

    def core_said_something(self) -> None:
        """Note by how much the core's time is ahead of the clock, which may have been put back."""
        orchestrator = self._world.orchestrator
        self._ahead = orchestrator.life, orchestrator.core.now - orchestrator.clock

    def _core_time(self) -> float:
        orchestrator, (life, ahead) = self._world.orchestrator, self._ahead
        if life != orchestrator.life:
            return orchestrator.core.now
        # What is due just now is still to be looked at.
        return max(orchestrator.core.now, orchestrator.clock + ahead - _ROUNDING)

    def _patrol(self) -> None:
        world = self._world
        world.after(_PATROL, self._patrol)
        orchestrator = world.orchestrator
        self._rounds += 1
        self._messages.nothing_owed()
        settled = max(orchestrator.settled_since, orchestrator.stalled_until) + NODE_LOST_AFTER
        if orchestrator.up and world.now >= orchestrator.stalled_until:
            self._fenced_ones_count()
        if not orchestrator.up or world.now < settled + _SLACK:
            self._over.clear()
            return
        kind_since = max(world.faults.until + _LATEST if world.faults.until else 0.0, settled)
        self._endings_end(settled)
        self._executions_go_on(settled, kind_since)
        self._nothing_goes_on_that_is_over()
        self._nodes_are_known(kind_since)
        self._lost_ones_replaced()
        if world.faults.clock_jumps == 0:
            self._limits_in_time(settled)
        # With few nodes many jobs wait, which is when one may be forgotten.
        if self._rounds % 4 == 0 or len(world.nodes) <= _FEW:
            self._all_looked_at()

    def _endings_end(self, settled: float) -> None:
        world, jobs = self._world, self._world.orchestrator.jobs
        for job_id, since in list(self._jobs.ending.items()):
            if jobs[job_id].state.terminal:
                del self._jobs.ending[job_id]
            elif world.now > max(since, settled) + GRACE + NODE_LOST_AFTER + _SLACK:
                raise ViolationError("I5", f"{job_id} has been ending since {since:.1f} s: {jobs[job_id]}")

    def _executions_go_on(self, settled: float, kind_since: float) -> None:
        world = self._world
        for execution, since in self._executions.since.values():
            waited = world.now - max(since, kind_since, world.nodes[execution.node].up_since + 2 * _PATROL)
            if execution.ending is not None and waited > _KIND_STOP:
                raise ViolationError("L1", f"nothing goes wrong, but {execution} does not stop")
            if execution.state is ExecutionState.ASK_FOR_BID and waited > _KIND_STOP:
                raise ViolationError("L2", f"nothing goes wrong, but {execution} is not answered")
            self._limit_in_time(execution, max(since, settled))

    def _limit_in_time(self, execution: Execution, since: float) -> None:
        limit = self._world.users.requests[execution.job_id].spec.timeouts.execution
        entry = self._world.orchestrator.core.membership.nodes.get(execution.node)
        lost = entry is None or entry.lost_at is not None
        counts = execution.state is ExecutionState.RUNNING and execution.ending is None and not lost
        if counts and limit is not None and self._world.now > since + limit + NODE_LOST_AFTER + _SLACK:
            raise ViolationError("L3", f"{execution} runs for more than {limit} s")

    def _limits_in_time(self, settled: float) -> None:
        world = self._world
        for job in world.orchestrator.jobs.values():
            if job.ending is not None or job.state.terminal:
                continue
            total, queue = job.spec.timeouts.total, job.spec.timeouts.queue
            limits = [total] if total is not None else []
            if queue is not None and job.state is not JobState.RUNNING:
                limits.append(queue)
            for limit in limits:
                if world.now > max(self._jobs.created[job.id] + limit, settled) + _SLACK:
                    raise ViolationError("L3", f"{job.id} takes more than {limit} s")

    def _all_looked_at(self) -> None:
        """Hold that the scheduler would do nothing about any job if it looked at it now."""
        core, now = self._world.orchestrator.core, self._core_time()
        for job in list(core.jobs.values()):
            if job.state.terminal:
                continue
            look = Evaluation(job.id, job.spec.priority, job.created_at, Trigger.DEADLINE)
            plan = core.look(look, now)
            # An ops job that waits in a group with others of its want chooses its nodes when the group finds room, not before.
            chosen = evolve(plan.job, targets=job.targets, modified_at=job.modified_at)
            if chosen != job or plan.executions:
                raise ViolationError("L4", f"{job.id} was not looked at: {plan}")

    def _nothing_goes_on_that_is_over(self) -> None:
        """Hold that a node which goes on with what has ended, or is unknown, is told so."""
        world, over = self._world, dict[str, tuple[float, int]]()
        for node in world.nodes.values():
            for execution_id in _at_work(node):
                execution = world.orchestrator.executions.get(execution_id)
                if execution is not None and not execution.state.terminal:
                    continue
                told = self._messages.cancels.get(execution_id, 0)
                since, before = over[execution_id] = self._over.get(execution_id, (world.now, told))
                since = max(since, node.up_since, world.cut_until(node.name))
                if node.up and told == before and world.now - since > _UNTOLD:
                    raise ViolationError("L5", f"{node.name} goes on with {execution_id} and is not told")
        self._over = over

    def _nodes_are_known(self, kind_since: float) -> None:
        """Hold that silent nodes count as lost, and others do not when nothing goes wrong."""
        world, orchestrator = self._world, self._world.orchestrator
        for node in world.nodes.values():
            entry = orchestrator.core.membership.nodes.get(node.name)
            settled = max(orchestrator.settled_since, orchestrator.stalled_until)
            heard = max(orchestrator.heard.get(node.name, 0.0), settled)
            silent = world.now - heard > NODE_LOST_AFTER + _SLACK
            if entry is not None and entry.lost_at is None and silent:
                raise ViolationError(
                    "L6", f"{node.name} was heard at {heard:.1f} s, and does not count as lost"
                )
            since = max(kind_since, node.up_since, world.cut_until(node.name))
            known = entry is not None and entry.lost_at is None and entry.info == node.core.info
            if node.up and not known and world.now > since + 2 * _PATROL + _SLACK:
                raise ViolationError("L6", f"nothing goes wrong, but {node.name} is known as {entry}")

    def _lost_ones_replaced(self) -> None:
        """Hold that what is on a lost node goes to another one that has room, once it may be tried again."""
        orchestrator, now = self._world.orchestrator, self._world.orchestrator.core.now
        nodes = orchestrator.core.membership.nodes
        for execution, _ in self._executions.since.values():
            job, entry = orchestrator.jobs[execution.job_id], nodes.get(execution.node)
            retry, accepted = job.spec.retry, execution.accepted_at is not None
            lost_at = entry.lost_at if entry is not None else None
            if lost_at is None or execution.ending is not None or job.ending is not None:
                continue
            if accepted and execution.attempt >= retry.max_attempts:
                continue
            delay = retry.backoff * 2 ** (execution.attempt - 1) * (1 + JITTER) if accepted else 0.0
            if job.spec.type is JobType.BATCH and now > lost_at + delay + _SLACK:
                other = next((each for each in nodes if self._takes(each, job)), None)
                if other is not None:
                    raise ViolationError("L7", f"{execution} is not given to {other.info.name}")

    def _takes(self, entry: NodeEntry, job: JobRecord) -> bool:
        """Say whether a node would take a partition of a job, and is kept for no other one."""
        demand, name = Demand.of(job.spec), entry.info.name
        long_ago = self._world.orchestrator.core.now - STARVING_AFTER
        others = self._world.orchestrator.jobs.values()
        starving = any(not other.state.terminal and other.created_at < long_ago for other in others)
        return (
            entry.lost_at is None
            and entry.saturated is None
            and not entry.info.draining
            and not entry.account.shortage(demand.resources)
            and lasting_refusal(entry.info, demand) is None
            and not any((job.id, name) == refused[:2] for refused in self._executions.refused)
            and not any((job.id, name) == refused[:2] for refused in self._executions.waiting_now())
            and not starving
        )

    def _fenced_ones_count(self) -> None:
        """Hold that what is fenced counts against its node as long as it runs there."""
        world = self._world
        may_hold = world.orchestrator.core.membership.may_hold
        for node in world.nodes.values():
            for execution_id in _at_work(node) if node.up else ():
                execution = world.orchestrator.executions.get(execution_id)
                # That the node has accepted it must have been heard: an offer may arrive after it was withdrawn.
                known = execution is not None and execution.fenced and execution.accepted_at is not None
                if execution is not None and known and not may_hold(execution):
                    raise ViolationError("I7", f"{execution_id} runs on {node.name}, and seems to be gone")

    def at_end(self) -> None:
        """Hold what must hold when nothing has gone wrong for long enough."""
        world = self._world
        for request in world.users.requests.values():
            job = world.orchestrator.jobs.get(request.job_id)
            if job is None:
                raise ViolationError("I2", f"{request.job_id} is lost")
            if not job.state.terminal:
                raise ViolationError("I10", f"{request.job_id} has not ended: {job}")
            if request.cancelling and not request.cancel_returned:
                raise ViolationError("I10", f"the cancel of {request.job_id} does not return")
        for node in world.nodes.values():
            self._nothing_left(node)
        for entry in world.orchestrator.core.membership.nodes:
            if len(entry.account):
                raise ViolationError("I4", f"{entry.info.name} seems to hold {len(entry.account)} executions")

    def _nothing_left(self, node: SimulatedNode) -> None:
        if _at_work(node):
            raise ViolationError("I4", f"{node.name} goes on: {node.busy} {node.workloads}")
        if len(node.core.account) or node.core.held:
            raise ViolationError("I4", f"{node.name} holds what is over")
        for execution_id in () if node.forgetful else node.results:
            execution = self._world.orchestrator.executions.get(execution_id)
            gone = execution_id in self._executions.forgotten
            if execution is not None and execution.state is not ExecutionState.COMPLETED and not gone:
                raise ViolationError("I4", f"{node.name} keeps results of {execution}")


def _at_work(node: SimulatedNode) -> list[str]:
    """Return the executions for which something goes on at a node."""
    return [*node.busy, *(key for key, workload in node.workloads.items() if workload.running)]
