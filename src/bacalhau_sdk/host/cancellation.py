"""Work that must come to its end, whatever is being cancelled around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from anyio import lowlevel

__all__ = ["being_cancelled", "from_any_thread", "persist"]


async def persist(call: Callable[[], Awaitable[object]]) -> None:
    """Call until the call has returned, or has raised an error of its own; then let the interruptions through.

    A shield keeps cancel scopes out, but neither a bare ``task.cancel()`` of asyncio nor an interrupt from the keyboard. So the
    call is made again whenever one of those has cut it short, and the last of them is raised afterwards.

    Args:
        call: What to do; may be begun any number of times.

    Raises:
        BaseException: What the call raises, or else the last interruption.
    """
    interruption: BaseException | None = None
    with anyio.CancelScope(shield=True):
        while True:
            try:
                await call()
                break
            except (anyio.get_cancelled_exc_class(), KeyboardInterrupt) as error:
                interruption = error
    if interruption is not None:
        raise interruption


async def being_cancelled() -> bool:
    """Say whether the current task is really being cancelled, or has only met somebody else's cancellation."""
    try:
        await lowlevel.checkpoint_if_cancelled()
    except anyio.get_cancelled_exc_class():
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # not asyncio
        return False
    return task is not None and task.cancelling() > 0


def from_any_thread(call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that has the current event loop make a call soon, from any thread, also from a finaliser.

    It does not wait for the loop, as `anyio.from_thread` does: the loop may have gone.
    """
    token = lowlevel.current_token().native_token
    # asyncio's event loop, or trio's token.
    name = "call_soon_threadsafe" if hasattr(token, "call_soon_threadsafe") else "run_sync_soon"
    soon: Callable[[Callable[[], object]], object] = getattr(token, name)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has gone, and whoever waited with it
            soon(call)

    return wake
