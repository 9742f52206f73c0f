"""Blocking work in a thread that can be told to stop, and that is always waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

__all__ = ["run_stoppable"]

T = TypeVar("T")


class _AbandonedError(Exception):
    """The work was cancelled before its thread came to it; nobody sees this."""


async def run_stoppable(
    work: Callable[[], T], stop: Callable[[], None], *, limiter: CapacityLimiter | None = None
) -> T:
    """Run blocking work in a thread; a cancellation calls ``stop`` and passes on only when the work has ended.

    Work that is cancelled before a thread has come to it is never begun.

    Args:
        work: What to do; it must end soon after ``stop`` was called.
        stop: Called in the event loop's thread, at most once; it must not block.
        limiter: Which limiter counts the thread; anyio's default one otherwise.

    Raises:
        BaseException: What the work raises; a cancellation wins over it.
    """
    turn = threading.Lock()
    ended = threading.Event()
    begun = abandoned = False

    def body() -> T:
        nonlocal begun
        with turn:
            if abandoned:
                raise _AbandonedError
            begun = True
        try:
            return work()
        finally:
            ended.set()

    try:
        return await to_thread.run_sync(body, abandon_on_cancel=True, limiter=limiter)
    except BaseException:
        with turn:
            abandoned = not begun
        if begun and not ended.is_set():
            stop()
            await _until(ended)
        raise


async def _until(ended: threading.Event) -> None:
    """Wait for the event, whatever cancellations arrive meanwhile; the caller is being cancelled already."""
    limiter = CapacityLimiter(1)
    while not ended.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(ended.wait, limiter=limiter, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            # A bare asyncio cancel() pierces the shield; the work is still not over.
            continue
