"""The world: a scene, and what must hold in it."""

from __future__ import annotations

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

    def run(self) -> None:
        """Run to the end.

        Raises:
            ViolationError: Something did not hold.
        """
        invariants = Invariants(self)
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
        invariants.at_end()
