"""The error of a world in which something does not hold."""

from __future__ import annotations

__all__ = ["ViolationError"]


class ViolationError(AssertionError):
    """Something that must hold does not.

    Args:
        invariant: Which one, such as ``I6``.
        message: What was seen.
    """

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant
