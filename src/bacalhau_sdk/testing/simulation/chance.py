"""All chance of a simulated world, from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["Chance"]

T = TypeVar("T")


class Chance:
    """Draws. Everything comes from `random.Random.random`, whose numbers are the same on every Python version.

    Args:
        seed: Equal seeds give equal draws.
    """

    def __init__(self, seed: int) -> None:
        self.random: Callable[[], float] = random.Random(seed).random  # noqa: S311 - it need not be secret

    def happens(self, probability: float) -> bool:
        """Say whether something of a probability happens; draws nothing when it is impossible."""
        return probability > 0 and self.random() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number between two."""
        return low + (high - low) * self.random()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from one to another, both included."""
        return low + int((high - low + 1) * self.random())

    def of(self, values: Sequence[T]) -> T:
        """Return one of some values."""
        return values[int(len(values) * self.random())]

    def interval(self, mean: float) -> float:
        """Return the time to the next of events that come at random, ``mean`` seconds apart."""
        return -mean * math.log(1.0 - self.random())
