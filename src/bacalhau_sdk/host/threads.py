"""Blocking work in a thread that can be told to stop, and that is never left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, Event, to_thread
from anyio.lowlevel import current_token

__all__ = ["run_stoppable"]

T = TypeVar("T")


async def run_stoppable(
    work: Callable[[], T], stop: Callable[[], None], *, limiter: CapacityLimiter | None = None
) -> T:
    """Run blocking work in a thread and return what it returns.

    However the wait is interrupted (a cancel scope, a bare ``task.cancel()`` of asyncio, an interrupt), ``stop`` is called once,
    in the caller's thread, and the interruption goes on only when the work has ended. Work that has not begun by then never
    begins, and ``stop`` is not called for it.

    Args:
        work: What to do; it must end soon after ``stop``, since nothing else can end it.
        stop: Makes running work end; must not block and must not raise.
        limiter: Of which the thread takes a token; anyio's default one otherwise.

    Raises:
        BaseException: What the work raises; an interruption wins over it.
    """
    ended = Event()
    wake = _waker(ended)
    claim = threading.Lock()  # whoever comes first has it: the thread that begins, or the interruption

    def claimed() -> T:
        if not claim.acquire(blocking=False):
            raise RuntimeError("interrupted before it began")  # nobody waits for it any more
        try:
            return work()
        finally:
            wake()

    try:
        return await to_thread.run_sync(claimed, abandon_on_cancel=True, limiter=limiter)
    except BaseException:
        if not claim.acquire(blocking=False):
            if not ended.is_set():
                stop()
            await _outlast(ended)
        raise


def _waker(event: Event) -> Callable[[], None]:
    """Return a function that sets the event from any thread.

    It does not wait for the loop, as `anyio.from_thread` does: the loop may have gone.
    """
    token = current_token().native_token
    # asyncio's event loop, or trio's token.
    name = "call_soon_threadsafe" if hasattr(token, "call_soon_threadsafe") else "run_sync_soon"
    soon: Callable[[Callable[[], object]], object] = getattr(token, name)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has gone, and the waiting with it
            soon(event.set)

    return wake


async def _outlast(event: Event) -> None:
    """Wait for an event whatever is thrown into the wait; raise the last of it afterwards."""
    interruption: BaseException | None = None
    with CancelScope(shield=True):  # keeps cancel scopes out, but not asyncio's own task.cancel()
        while not event.is_set():
            try:
                await event.wait()
            except BaseException as error:  # noqa: BLE001 - it is raised below
                interruption = error
    if interruption is not None:
        raise interruption
