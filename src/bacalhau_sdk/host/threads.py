"""Blocking work in a thread that can be told to stop, and that is never left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, Event, to_thread
from anyio.lowlevel import RunVar, checkpoint

from .cancellation import from_any_thread, persist

__all__ = ["run_blocking", "run_stoppable", "threads_are_forbidden", "use_no_threads"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREADS_MAX = 40
_limiter: RunVar[CapacityLimiter] = RunVar("bacalhau_sdk threads")
_no_threads: RunVar[bool] = RunVar("bacalhau_sdk no threads")


def use_no_threads() -> None:
    """Have the functions of this module do the work where they are called, for as long as the current event loop runs.

    Under virtual time a clock would jump while a thread works. It is the loop that has such a clock, not a task, so that this
    holds for all of its tasks, and never ends.
    """
    _no_threads.set(True)


def threads_are_forbidden() -> bool:
    """Say whether `use_no_threads` holds for the current event loop."""
    return _no_threads.get(False)


async def run_blocking(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Run short blocking work in a thread, and return what it returns; once begun it is not cut short by a cancel scope.

    The threads are the library's own: anyio's default ones may all be waiting for it.

    Raises:
        BaseException: What the work raises.
    """
    if _no_threads.get(False):
        await checkpoint()
        return work(*arguments)
    return await to_thread.run_sync(work, *arguments, limiter=_own_limiter())


def _own_limiter() -> CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_THREADS_MAX)
        _limiter.set(limiter)
        return limiter


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
        limiter: Of which the thread takes a token; one of the library's own otherwise.

    Raises:
        BaseException: What the work raises; an interruption wins over it.
    """
    if _no_threads.get(False):
        return await run_blocking(work)
    ended = Event()
    wake = from_any_thread(ended.set)
    claim = threading.Lock()  # whoever comes first has it: the thread that begins, or the interruption

    def claimed() -> T:
        if not claim.acquire(blocking=False):
            raise RuntimeError("interrupted before it began")  # nobody waits for it any more
        try:
            return work()
        finally:
            wake()

    try:
        return await to_thread.run_sync(claimed, abandon_on_cancel=True, limiter=limiter or _own_limiter())
    except BaseException:
        if not claim.acquire(blocking=False):
            if not ended.is_set():
                stop()
            await persist(ended.wait)
        raise
