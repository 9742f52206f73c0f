"""Who is on the stage: one orchestrator, some nodes and their engines, users; and the faults that come by themselves."""

from __future__ import annotations

from collections.abc import Callable

from ...model.message import ORCHESTRATOR
from ..history import History
from .faults import Faults
from .node import SimulatedNode
from .orchestrator import SimulatedOrchestrator
from .shapes import draw_nodes
from .stage import Action, Cores, Stage
from .users import Users

__all__ = ["Scene"]


class Scene(Stage):
    """A world that nobody watches.

    Args:
        seed: Equal seeds give equal worlds, on every Python version.
        faults: What goes wrong; None draws it from the seed.
        jobs: How many jobs are submitted.
        nodes: How many nodes there are.
        cores: Makes the cores.
        tell: Called with each line of the story; None tells none.
        history: Where what happens is kept to be judged; None keeps nothing.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        *,
        jobs: int = 200,
        nodes: int = 10,
        cores: Cores | None = None,
        tell: Callable[[str], object] | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__(seed, faults, cores, tell, history)
        self.orchestrator: SimulatedOrchestrator = SimulatedOrchestrator(self)
        self.parties[ORCHESTRATOR] = self.orchestrator
        self.nodes: dict[str, SimulatedNode] = {}
        for info in draw_nodes(self.chance, nodes):
            self.nodes[info.name] = self.parties[info.name] = SimulatedNode(self, info)
        self.users: Users = Users(self, self.orchestrator, jobs)
        self._plan_faults()

    # Faults that come by themselves

    def _plan_faults(self) -> None:
        faults = self.faults
        for mean, action in (
            (faults.partitions, self.partition),
            (faults.orchestrator_crashes, lambda: self.orchestrator.crash("it is killed")),
            (faults.node_crashes, self._crash_node),
            (faults.stalls, lambda: self.orchestrator.stall(self.chance.between(1.0, 60.0))),
            (faults.full_disks, lambda: self.orchestrator.fill_disk(self.chance.between(1.0, 20.0))),
            (faults.drains, self._drain),
        ):
            if mean:
                self.after(self.chance.interval(mean), self._again, mean, action)

    def _again(self, mean: float, action: Action) -> None:
        if not self.kind:
            action()
            self.after(self.chance.interval(mean), self._again, mean, action)

    def _crash_node(self) -> None:
        self.chance.of(list(self.nodes.values())).crash("it is killed")

    def _drain(self) -> None:
        node = self.chance.of(list(self.nodes.values()))
        node.drain(self.chance.between(1.0, 60.0))
