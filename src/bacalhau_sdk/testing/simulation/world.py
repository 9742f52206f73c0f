"""The world: one heap of events, the network, and the time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import field, frozen

from ...model.frozenmap import FrozenMap
from ...model.message import ORCHESTRATOR, Envelope
from ...model.node import NodeInfo
from ...scheduling.compute import ComputeCore
from ...scheduling.orchestrator import OrchestratorCore
from ..history import History, HistoryEntry
from .chance import Chance
from .faults import Faults, draw_faults
from .invariants import Invariants
from .node import SimulatedNode
from .orchestrator import SimulatedOrchestrator
from .shapes import draw_nodes
from .users import Users

__all__ = ["Cores", "World"]

TIME_LIMIT = 1500.0
"""Seconds after the end of the faults in which everything must have come to its end."""
_LINGER = 60.0
"""Seconds that the world goes on when all jobs have ended: what nodes still have must go."""

Action: TypeAlias = Callable[..., object]


@frozen
class Cores:
    """What makes the cores; mutants put others in their place.

    Attributes:
        orchestrator: Takes the incarnation.
        compute: Takes what the node broadcasts.
    """

    orchestrator: Callable[[str], OrchestratorCore] = field(
        default=lambda incarnation: OrchestratorCore(incarnation=incarnation)
    )
    compute: Callable[[NodeInfo], ComputeCore] = field(default=ComputeCore)


class World:
    """One orchestrator, some nodes and their engines, users, and what goes wrong.

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
        self.chance = Chance(seed)
        self.faults: Faults = faults if faults is not None else draw_faults(self.chance)
        self.cores = cores or Cores()
        self.now = 0.0
        self.events = 0
        self.counts: Counter[str] = Counter()
        self._tell = tell
        self._history = history
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._serial = 0
        self._cut_from: dict[str, float] = {}
        self._cut_to: dict[str, float] = {}
        self._effects_left = self._next_effect_crash()
        self.invariants = Invariants(self)
        self.orchestrator = SimulatedOrchestrator(self)
        self.nodes = {info.name: SimulatedNode(self, info) for info in draw_nodes(self.chance, nodes)}
        self.users = Users(self, jobs)
        self._plan_faults()

    # Time

    @property
    def kind(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now >= self.faults.until

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Have something happen in a number of seconds."""
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action, arguments))

    def run(self) -> None:
        """Run to the end.

        Raises:
            ViolationError: Something did not hold.
        """
        end = self.faults.until + TIME_LIMIT
        heap = self._heap
        rest_at = end
        told = False
        while heap:
            time, _, action, arguments = heapq.heappop(heap)
            self.now = time
            self.events += 1
            action(*arguments)
            if not told and time >= self.faults.until:
                told = True
                self.note("faults-end")
            at_rest = self.users.all_ended() and time >= self.faults.until
            rest_at = min(rest_at, time + _LINGER) if at_rest else end
            if time >= rest_at:
                break
        self.note("end", detail={"expect_all_ended": True})
        self.invariants.at_end()

    # Chance

    def goes_wrong(self, probability: float) -> bool:
        """Say whether a fault of a probability happens now."""
        return self.now < self.faults.until and self.chance.happens(probability)

    def dies_before_effect(self) -> bool:
        """Say whether the process that is about to perform an effect crashes first."""
        self._effects_left -= 1
        if self._effects_left > 0:
            return False
        self._effects_left = self._next_effect_crash()
        return not self.kind

    def _next_effect_crash(self) -> float:
        if not self.faults.effect_crashes:
            return float("inf")
        return self.chance.interval(1 / self.faults.effect_crashes)

    # Network

    def send(self, envelope: Envelope) -> None:
        """Carry a message, or lose it, or hold it up, or double it."""
        faults, chance = self.faults, self.chance
        if self.now >= faults.until:
            self.after(0.01 + 0.2 * chance.random(), self._deliver, envelope)
            return
        for _ in range(2 if chance.happens(faults.doubling) else 1):
            if chance.happens(faults.loss):
                self.count("lost", envelope)
                continue
            delay = 0.01 + 0.5 * chance.random()
            if chance.happens(faults.lateness):
                delay += 50 * chance.random()
                self.count("late", envelope)
            self.after(delay, self._deliver, envelope)

    def _deliver(self, envelope: Envelope) -> None:
        if envelope.recipient == ORCHESTRATOR:
            if self.now < self._cut_from.get(envelope.sender, 0.0):
                self.count("cut off", envelope)
            else:
                self.orchestrator.deliver(envelope)
        elif self.now < self._cut_to.get(envelope.recipient, 0.0):
            self.count("cut off", envelope)
        else:
            self.nodes[envelope.recipient].deliver(envelope)

    def reachable(self, node: str) -> bool:
        """Say whether messages go through in both directions, and the node's process is up."""
        cut = max(self._cut_from.get(node, 0.0), self._cut_to.get(node, 0.0))
        return self.nodes[node].up and self.now >= cut

    def cut_until(self, node: str) -> float:
        """Return until when a node was, or is, cut off in some direction."""
        return max(self._cut_from.get(node, 0.0), self._cut_to.get(node, 0.0))

    # Faults that come by themselves

    def _plan_faults(self) -> None:
        faults = self.faults
        for mean, action in (
            (faults.partitions, self._partition),
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

    def _partition(self) -> None:
        chance = self.chance
        names = [name for name in self.nodes if chance.happens(0.3)] or [chance.of(list(self.nodes))]
        seconds = min(chance.between(1.0, 90.0), self.faults.until - self.now)
        way = chance.of(("both", "both", "both", "both", "to", "from"))
        flaps = chance.happens(self.faults.flapping)
        self.counts["partition"] += 1
        for name in names:
            if flaps:
                for second in range(0, int(seconds), 2):
                    self.after(float(second), self._cut, name, way, 1.0)
            else:
                self._cut(name, way, seconds)

    def _cut(self, name: str, way: str, seconds: float) -> None:
        until = self.now + seconds
        if way != "to":
            self._cut_from[name] = max(until, self._cut_from.get(name, 0.0))
        if way != "from":
            self._cut_to[name] = max(until, self._cut_to.get(name, 0.0))
        self.story("network", f"{name} is cut off ({way}) for {seconds:.1f} s")
        self.note_reach(name)
        self.after(seconds, self._heal, name)

    def _heal(self, name: str) -> None:
        if self.reachable(name):
            self.story("network", f"{name} can be reached again")
        self.note_reach(name)

    def note_reach(self, name: str) -> None:
        """Write down whether a node can be reached, and whether its messages arrive."""
        if self.reachable(name):
            self.note("joined", node=name)
        else:
            heard = self.nodes[name].up and self.now >= self._cut_from.get(name, 0.0)
            self.note("cut", node=name, detail=FrozenMap({"heard": heard}))

    def _crash_node(self) -> None:
        self.chance.of(list(self.nodes.values())).crash("it is killed")

    def _drain(self) -> None:
        node = self.chance.of(list(self.nodes.values()))
        node.drain(self.chance.between(1.0, 60.0))

    # What is told

    def count(self, what: str, envelope: Envelope) -> None:
        """Count a message that did not go through well."""
        self.counts[what] += 1
        if self._tell is not None:
            message = envelope.message
            about = getattr(message, "execution_id", "")
            text = f"{what}: {type(message).__name__} {about} from {envelope.sender} to {envelope.recipient}"
            self.story("network", text)

    @property
    def telling(self) -> bool:
        """Whether anybody wants to hear the story."""
        return self._tell is not None

    def story(self, who: str, what: str) -> None:
        """Tell a line of the story, to whoever wants to hear it."""
        if self._tell is not None:
            self._tell(f"{self.now:10.3f}  {who:<12}  {what}")

    @property
    def noting(self) -> bool:
        """Whether a history is kept."""
        return self._history is not None

    def note(self, kind: str, **values: Any) -> None:
        """Keep an entry of the history."""
        if self._history is not None:
            self._history.add(HistoryEntry(self.now, kind, **values))
