"""The world: a scene, and what must hold in it."""

from __future__ import annotations

from collections.abc import Callable

from ..history import History
from .faults import Faults
from .invariants import Invariants
from .scene import Scene
from .stage import Cores

__all__ = ["Cores", "World"]

TIME_LIMIT = 1500.0
"""Seconds after the end of the faults in which everything must have come to its end."""
_LINGER = 60.0
"""Seconds that the world goes on when all jobs have ended: what nodes still have must go."""


class World(Scene):
    """A scene that is watched after every event; see `Scene` for the arguments."""

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
        super().__init__(seed, faults, jobs=jobs, nodes=nodes, cores=cores, tell=tell, history=history)
        self.invariants: Invariants = Invariants(self)

    def run(self) -> None:
        """Run to the end.

        Raises:
            ViolationError: Something did not hold.
        """
        end = self.faults.until + TIME_LIMIT
        rest_at = end
        told = False
        while True:
            self.step()
            time = self.now
            if not told and time >= self.faults.until:
                told = True
                self.note("faults-end")
            at_rest = self.users.all_ended() and time >= self.faults.until
            rest_at = min(rest_at, time + _LINGER) if at_rest else end
            if time >= rest_at:
                break
        self.note("end", detail={"expect_all_ended": True})
        self.invariants.at_end()
