"""Wakes a core at the time that it asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from ..abc.clock import Clock

__all__ = ["Alarm"]


class Alarm:
    """Rings once at the time that was set last.

    Args:
        clock: Tells the time.
        ring: Called when it rings; must not block.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._time = math.inf
        self._waiting = anyio.CancelScope()

    def set(self, time: float) -> None:
        """Ring at ``time`` seconds of the clock, instead of any time that was set before."""
        self._time = time
        self._waiting.cancel()

    async def run(self) -> None:
        """Wait and ring until cancelled."""
        while True:
            with anyio.CancelScope() as self._waiting:
                if self._time == math.inf:
                    await anyio.sleep_forever()
                await self._clock.sleep_until(self._time)
                if self._clock.now() >= self._time:  # not set anew in the very moment
                    self._time = math.inf
                    self._ring()
