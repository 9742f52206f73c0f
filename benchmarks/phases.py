"""Where the event loop's work for a no-op job goes: the share of each part of the library, under the profiler of Python."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

import anyio

from .peers import ours

JOBS = 500
FLOORS = (
    "model",
    "scheduling",
    "cluster",
    "storage",
    "stores",
    "transports",
    "executors",
    "host",
    "clocks",
    "abc",
)
FILES = "files: the system's calls, pathlib, io"
LOOP = "asyncio, anyio"
_PARTS = {
    "pathlib": FILES,
    "shutil": FILES,
    "posixpath": FILES,
    "genericpath": FILES,
    "os": FILES,
    "codecs": FILES,
}
_LOOP = ("anyio", "asyncio", "selectors", "contextvars", "concurrent")
_Function: TypeAlias = tuple[str, int, str]


def part_of(function: _Function) -> str:
    """Return the floor that a function belongs to, or what else it is; nothing for one that is built in."""
    file, _, name = function
    if file == "~":
        return FILES if "posix." in name or "_io." in name or "io.open" in name else ""
    path = Path(file)
    if "bacalhau_sdk" in path.parts:
        floor = path.parts[path.parts.index("bacalhau_sdk") + 1]
        return f"bacalhau_sdk/{floor}" if floor in FLOORS else "bacalhau_sdk"
    if any(name in path.parts or name == path.stem for name in _LOOP):
        return LOOP
    return _PARTS.get(path.stem, "others: attrs, contextlib, logging")


def shares(stats: pstats.Stats) -> dict[str, float]:
    """Return which part of the time is whose; what is built in counts as its caller's, and waiting is left out."""
    found: defaultdict[str, float] = defaultdict(float)
    for function, (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if "select.epoll" in function[2] or "select.poll" in function[2]:
            continue
        if part := part_of(function):
            found[part] += own
            continue
        for caller, (_, _, there, _) in callers.items():
            found[part_of(caller) or LOOP] += there
    total = sum(found.values())
    return {part: own / total for part, own in sorted(found.items(), key=lambda item: -item[1])}


def profiled() -> dict[str, float]:
    """Return the shares of jobs that were submitted together, all of their work done in the thread of the event loop."""
    profiler = cProfile.Profile()

    async def run() -> None:
        async with ours(threads=False) as jobs:
            await jobs(1, True)
            profiler.enable()
            await jobs(JOBS, False)
            profiler.disable()

    anyio.run(run)
    return shares(pstats.Stats(profiler))


def main() -> None:
    print(f"own time of {JOBS} jobs submitted together, under the profiler:")
    for part, share in profiled().items():
        if share >= 0.01:
            print(f"  {part:<40} {share:6.1%}")
