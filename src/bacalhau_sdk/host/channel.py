"""A queue between tasks that nobody has to close: what is forgotten is just gone."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

import anyio
from anyio import lowlevel

__all__ = ["Channel", "ChannelClosedError", "Watch"]

T = TypeVar("T")

_TURN = 32
"""How many items one task may take before it lets the others run."""


class Watch:
    """Lets tasks wait until something has changed."""

    def __init__(self) -> None:
        self._changed: anyio.Event | None = None

    def notify(self) -> None:
        """Wake everybody who waits."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changed(self) -> None:
        """Wait for the next change."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()


class ChannelClosedError(Exception):
    """The channel is closed, and empty for whoever takes from it."""


class Channel(Generic[T]):
    """Hands items from any task to one other, in order. For one thread.

    Args:
        size: How many items may wait; `put` waits while there are more.
    """

    def __init__(self, size: float = math.inf) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._closed = False
        self._error: Exception | None = None
        self._taken = 0
        self._not_empty = Watch()
        self._not_full = Watch()

    def put_nowait(self, item: T) -> None:
        """Add an item, whatever the size; nothing happens when the channel is closed."""
        if not self._closed:
            self._items.append(item)
            self._not_empty.notify()

    async def put(self, item: T) -> None:
        """Add an item, once there is room.

        Raises:
            ChannelClosedError: The channel is closed, also while this waits.
        """
        while len(self._items) >= self._size and not self._closed:
            await self._not_full.changed()
        if self._closed:
            raise ChannelClosedError
        self.put_nowait(item)

    async def get(self) -> T:
        """Take the next item, once there is one; a cancellation loses none.

        Raises:
            ChannelClosedError: The channel is closed and empty; or the error that it was closed with.
        """
        self._taken += 1
        if self._taken % _TURN == 0:
            await lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise self._error or ChannelClosedError
            await self._not_empty.changed()
        item = self._items.popleft()
        self._not_full.notify()
        return item

    def close(self, error: Exception | None = None) -> None:
        """Take no more items; those that wait can still be taken.

        Args:
            error: What `get` raises once it is empty; None is a `ChannelClosedError`.
        """
        self._closed = True
        self._error = error
        self._not_empty.notify()
        self._not_full.notify()
