"""The clock of this machine."""

from __future__ import annotations

import time

import anyio

from ..abc.clock import Clock

__all__ = ["SystemClock"]


class SystemClock(Clock):
    """Monotonic seconds, anchored to Unix time once: they read as dates, and a jump of the wall clock moves nothing."""

    def __init__(self) -> None:
        self._anchor = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds; close to Unix time, and never going back."""
        return self._anchor + time.monotonic()

    async def sleep_until(self, time: float) -> None:
        """Wait until ``now()`` is at least ``time`` seconds; cancellable."""
        await anyio.sleep(max(0.0, time - self.now()))
        while (left := time - self.now()) > 0:  # noqa: ASYNC110 - a timer may wake a little early
            await anyio.sleep(left)
