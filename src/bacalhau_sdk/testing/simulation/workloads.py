"""What must hold of what runs on the nodes."""

from __future__ import annotations

from ...model.execution import Failure, RunResult
from ...model.frozenmap import FrozenMap
from ...model.node import NodeInfo
from .node import SimulatedNode, Workload
from .scene import Scene
from .violation import ViolationError

__all__ = ["WorkloadRules"]

_REVISIONS = 1000
"""The revision of a node grows by so much from life to life; in its first one it begins below."""


class WorkloadRules:
    """Watches the engines.

    Args:
        world: The world.
    """

    def __init__(self, world: Scene) -> None:
        self._world = world
        self._started: set[str] = set()
        self._used: dict[str, list[float]] = {}

    def node_exists(self, info: NodeInfo) -> None:
        """Note a node."""
        self._used[info.name] = [0.0, 0.0, 0.0]

    def at_start(self, node: SimulatedNode, workload: Workload) -> None:
        """Hold what must hold when a workload begins to run."""
        world, task = self._world, workload.task
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
        self._is_wanted(node, task.execution_id)

    def _is_wanted(self, node: SimulatedNode, execution_id: str) -> None:
        execution = self._world.orchestrator.executions.get(execution_id)
        if execution is None:
            return
        if execution.state.terminal and not execution.fenced:
            raise ViolationError(
                "I5", f"{execution_id} is {execution.state.value}, but starts on {node.name}"
            )
        life = node.life if node.life > 1 else 0
        if execution.node_revision // _REVISIONS != life:
            raise ViolationError(
                "I19", f"{execution_id} was offered to revision {execution.node_revision} of {node.name}"
            )

    def at_stop(self, node: SimulatedNode, workload: Workload) -> None:
        """Hold what must hold when a workload is dead: what it used was not given away before."""
        world, task = self._world, workload.task
        used = self._used[node.name]
        used[0] -= task.resources.cpu
        used[1] -= task.resources.memory
        used[2] -= 1
        world.story(node.name, f"{task.execution_id} is over: {_how(workload)}")
        if world.noting:
            world.note("stopped", job_id=task.job_id, execution_id=task.execution_id, node=node.name)
        mine = node.up and task.execution_id in node.workloads
        if mine and task.execution_id not in node.core.account:
            raise ViolationError("I7", f"{node.name} gave away what {task.execution_id} used until now")


def _how(workload: Workload) -> str:
    """Say how a workload has ended."""
    match workload.result:
        case RunResult(exit_code):
            return f"exit code {exit_code}"
        case Failure() as failure:
            return f"{failure.kind.value} fault, {failure.message}"
        case None:
            return "killed"
