"""The port for time."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Clock"]


class Clock(ABC):
    """Tells the time and waits for it.

    Guarantee: `now` never goes back, and `sleep_until` returns at or after its time, at once if that has passed. The scale is
    the implementation's; one cluster uses one clock for everything that it decides and shows.
    """

    @abstractmethod
    def now(self) -> float:
        """Return the time in seconds; it never goes back."""

    @abstractmethod
    async def sleep_until(self, time: float) -> None:
        """Wait until ``now()`` is at least ``time`` seconds; a checkpoint in any case, and cancellable."""
