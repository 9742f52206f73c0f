"""Counts what is left behind: descriptors, threads, tasks, child processes, temporary files."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from ...host.threads import run_blocking
from ..held import children, descriptors, folder_of_process, temporary_folder, threads
from .check import expect

__all__ = ["apart", "leaks_nothing"]

_WARM_UPS = 3
_ROUNDS = 5


@asynccontextmanager
async def apart() -> AsyncGenerator[None, None]:
    """Have the process use a temporary folder that is otherwise used by nobody, for the block."""
    await run_blocking(folder_of_process)
    with temporary_folder():
        yield


async def leaks_nothing(work: Callable[[], Awaitable[None]], what: str) -> None:
    """See that doing something several times does not leave one thing more each time.

    Once is not enough: event loops and libraries keep threads and descriptors for the next time. Temporary files are those in the
    folder for them, which `apart` makes one of this process.
    """
    for _ in range(_WARM_UPS):
        await work()
    before = await _counted()
    for _ in range(_ROUNDS):
        await work()
    after = await _counted()
    grown = [
        f"{after[kind] - before[kind]} more {kind}"
        for kind in before
        if after[kind] >= before[kind] + _ROUNDS
    ]
    expect(not grown, f"{_ROUNDS} times {what} left {', '.join(grown)}")


async def _counted() -> dict[str, int]:
    gc.collect()
    counts = await run_blocking(_count_held)
    return {**counts, "threads": len(list(threads())), "tasks": len(anyio.get_running_tasks())}


def _count_held() -> dict[str, int]:
    return {
        "descriptors": len(list(descriptors())),
        "child processes": len(list(children())),
        "temporary files": len(list(Path(tempfile.gettempdir()).iterdir())),
    }
