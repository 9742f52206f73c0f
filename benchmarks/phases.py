"""Where the time of a no-op job goes: the share of each part of the library, under the profiler of Python."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from pathlib import Path

import anyio

from .noop import JOBS, ours_together

PARTS = (
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


def part_of(file: str) -> str:
    """Return the floor that a file belongs to, or what else it is."""
    path = Path(file)
    if "bacalhau_sdk" in path.parts:
        floor = path.parts[path.parts.index("bacalhau_sdk") + 1]
        return f"bacalhau_sdk/{floor}" if floor in PARTS else "bacalhau_sdk"
    for name in ("anyio", "asyncio", "attr", "selectors", "concurrent", "threading"):
        if name in path.parts or path.stem == name:
            return name
    return "built in" if file == "~" else "other"


def main() -> None:
    profiler = cProfile.Profile()
    profiler.runcall(lambda: anyio.run(ours_together))
    shares: defaultdict[str, float] = defaultdict(float)
    stats = pstats.Stats(profiler)
    for (file, _line, _name), (_calls, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        shares[part_of(file)] += own
    total = sum(shares.values())
    print(f"own time of {JOBS} jobs submitted together, on the thread of the event loop, under the profiler:")
    for part, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        if seconds / total >= 0.01:
            print(f"  {part:<28} {seconds / total:6.1%}")
