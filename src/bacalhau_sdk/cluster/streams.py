"""Asynchronous iterators that a user may leave at any point."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from ..host.cancellation import from_any_thread
from ..host.channel import Channel, ChannelClosedError, Watch

__all__ = ["ChannelStream", "ListStream"]

T = TypeVar("T")


class ChannelStream(AsyncIterator[T]):
    """What somebody puts into a channel, who hears when nobody takes it any more: by `aclose`, or when it was forgotten."""

    def __init__(self, channel: Channel[T]) -> None:
        self._channel = channel
        self._forget = from_any_thread(channel.close)

    async def __anext__(self) -> T:
        """Wait for the next item; cancelling the wait loses none.

        Raises:
            StopAsyncIteration: There will be no more.
        """
        try:
            return await self._channel.get()
        except ChannelClosedError:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """End the stream."""
        self._channel.close()

    def __del__(self) -> None:
        """End the stream when nobody has it any more; in whatever thread that is found out."""
        self._forget()


class ListStream(AsyncIterator[T]):
    """A list that grows, from its start until it is complete."""

    def __init__(self, items: Sequence[T], watch: Watch, complete: Callable[[], bool]) -> None:
        self._items = items
        self._watch = watch
        self._complete = complete
        self._next = 0

    async def __anext__(self) -> T:
        """Wait for the next item; cancelling the wait loses none.

        Raises:
            StopAsyncIteration: There will be no more.
        """
        while self._next >= len(self._items):
            if self._complete():
                raise StopAsyncIteration
            await self._watch.changed()
        self._next += 1
        return self._items[self._next - 1]
