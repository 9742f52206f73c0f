"""A process that can be killed, stand still, and start again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ...model.message import Envelope
from ...scheduling.effects import Effect
from .stage import Action, Stage

__all__ = ["Process"]


class Process(ABC):
    """Takes events while it is up. What it had asked for in an earlier life does not reach it.

    Args:
        world: The world.
        name: Its name.
    """

    def __init__(self, world: Stage, name: str) -> None:
        self.world = world
        self.name = name
        self.up: bool = True
        self.life: int = 1
        self.stalled_until: float = 0.0
        self.clock_ahead: float = 0.0
        self._alarm = 0

    @property
    def clock(self) -> float:
        """What the clock of the process shows."""
        return self.world.now + self.clock_ahead

    def deliver(self, envelope: Envelope) -> None:
        """Take a message: lost when the process is down, later when it stands still."""
        if not self.up:
            self.world.counts["to a dead process"] += 1
        elif self.world.now < self.stalled_until:
            self._later(self.deliver_in, self.life, envelope)
        else:
            self.receive(envelope)

    def deliver_in(self, life: int, envelope: Envelope) -> None:
        """Take a message that waited while the process stood still."""
        if life == self.life:
            self.deliver(envelope)

    def wake_at(self, time: float) -> None:
        """Wake the process when its clock shows a time, unless another time is asked for before."""
        self._alarm += 1
        delay = time - self.clock
        if delay < float("inf"):
            self.world.after(max(0.0, delay), self._wake, self.life, self._alarm)

    def _wake(self, life: int, alarm: int) -> None:
        if life != self.life or not self.up or alarm != self._alarm:
            return
        if self.world.now < self.stalled_until:
            self._later(self._wake, life, alarm)
        else:
            self.tick()

    def _later(self, action: Action, *arguments: object) -> None:
        self.world.after(self.stalled_until - self.world.now + 0.001, action, *arguments)

    def perform(self, effects: Iterable[Effect]) -> bool:
        """Perform effects in order; say whether the process has survived that."""
        for effect in effects:
            if self.world.dies_before_effect():
                self.world.counts["crash between effects"] += 1
                self.crash(f"it is killed before {type(effect).__name__}")
                return False
            if not self.do(effect):
                return False
        return True

    def crash(self, why: str) -> None:
        """Kill the process; it starts again after a while."""
        if not self.up:
            return
        world = self.world
        self.up = False
        self.life += 1
        seconds = 0.5 + 45 * world.chance.random() ** 2
        if world.goes_wrong(world.faults.clock_jumps):
            self.clock_ahead += world.chance.of((-3600.0, 3600.0, -3.2e7, 3.2e7))
            world.counts["clock jump"] += 1
        world.counts[f"crash of {self.kind_of_process}"] += 1
        world.story(self.name, f"crashes: {why}; down for {seconds:.1f} s")
        self.went_down()
        world.after(seconds, self.restart)

    kind_of_process = "process"

    @abstractmethod
    def receive(self, envelope: Envelope) -> None:
        """Hand a message to the core."""

    @abstractmethod
    def tick(self) -> None:
        """Hand a `Tick` to the core."""

    @abstractmethod
    def do(self, effect: Effect) -> bool:
        """Perform an effect; say whether the process is still up."""

    @abstractmethod
    def went_down(self) -> None:
        """Lose what a process loses."""

    @abstractmethod
    def restart(self) -> None:
        """Start again."""
