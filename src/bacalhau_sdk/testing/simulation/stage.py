"""Time, chance, the network and the story of a simulated world; what is on the stage comes above."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from ...model.frozenmap import FrozenMap
from ...model.message import ORCHESTRATOR, Envelope
from ...model.node import NodeInfo
from ...scheduling.compute import ComputeCore
from ...scheduling.orchestrator import OrchestratorCore
from ..history import History, HistoryEntry
from .chance import Chance
from .faults import Faults, draw_faults

__all__ = ["Action", "Cores", "Party", "Stage", "unwatched"]

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


def unwatched(*_: object) -> None:
    """Stand in for a watcher where nobody watches."""


class Party(Protocol):
    """A process that takes messages.

    Attributes:
        name: What messages are sent to.
        up: Whether it runs.
    """

    name: str
    up: bool

    def deliver(self, envelope: Envelope) -> None:
        """Take a message."""
        ...


class Stage:
    """What everything in a world has in common.

    Args:
        seed: Equal seeds give equal worlds, on every Python version.
        faults: What goes wrong; None draws it from the seed.
        cores: Makes the cores.
        tell: Called with each line of the story; None tells none.
        history: Where what happens is kept to be judged; None keeps nothing.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None,
        cores: Cores | None,
        tell: Callable[[str], object] | None,
        history: History | None,
    ) -> None:
        self.chance: Chance = Chance(seed)
        self.faults: Faults = faults if faults is not None else draw_faults(self.chance)
        self.cores: Cores = cores or Cores()
        self.now: float = 0.0
        self.events: int = 0
        self.effects: int = 0
        self.counts: Counter[str] = Counter()
        self.parties: dict[str, Party] = {}
        self._tell = tell
        self._history = history
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._serial = 0
        self._cut_from: dict[str, float] = {}
        self._cut_to: dict[str, float] = {}
        self._effects_left = self._next_effect_crash()

    # Time

    @property
    def kind(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now >= self.faults.until

    def after(self, delay: float, action: Action, *arguments: Any) -> None:
        """Have something happen in a number of seconds."""
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action, arguments))

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, action, arguments = heapq.heappop(self._heap)
        self.events += 1
        action(*arguments)

    # Chance

    def goes_wrong(self, probability: float) -> bool:
        """Say whether a fault of a probability happens now."""
        return self.now < self.faults.until and self.chance.happens(probability)

    def dies_before_effect(self) -> bool:
        """Say whether the process that is about to perform an effect crashes first."""
        self.effects += 1
        self._effects_left -= 1
        if self._effects_left > 0:
            return False
        self._effects_left = self._next_effect_crash()
        return not self.kind

    def crash_before_effect(self, number: int) -> None:
        """Have the process that is to perform the ``number``-th effect from now on, counted from 1, crash before it."""
        self._effects_left = number

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
        up = envelope.recipient == ORCHESTRATOR
        cut = self._cut_from.get(envelope.sender, 0.0) if up else self._cut_to.get(envelope.recipient, 0.0)
        if self.now < cut:
            self.count("cut off", envelope)
        else:
            self.parties[envelope.recipient].deliver(envelope)

    def reachable(self, node: str) -> bool:
        """Say whether messages go through in both directions, and the node's process is up."""
        return self.parties[node].up and self.now >= self.cut_until(node)

    def cut_until(self, node: str) -> float:
        """Return until when a node was, or is, cut off in some direction."""
        return max(self._cut_from.get(node, 0.0), self._cut_to.get(node, 0.0))

    def partition(self) -> None:
        """Cut some nodes off, for a while."""
        chance = self.chance
        nodes = [name for name in self.parties if name != ORCHESTRATOR]
        names = [name for name in nodes if chance.happens(0.3)] or [chance.of(nodes)]
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
            heard = self.parties[name].up and self.now >= self._cut_from.get(name, 0.0)
            self.note("cut", node=name, detail=FrozenMap({"heard": heard}))

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
        """Keep an entry of the history, made of its fields."""
        if self._history is not None:
            self.keep(HistoryEntry(self.now, kind, **values))

    def keep(self, entry: HistoryEntry) -> None:
        """Keep an entry of the history."""
        if self._history is not None:
            self._history.add(entry)
