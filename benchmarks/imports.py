"""What the values and errors of ``bacalhau_sdk`` cost, beside attrs, cattrs and anyio; each in a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 15
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
OURS = "import bacalhau_sdk; bacalhau_sdk.errors, bacalhau_sdk.JobSpec"  # the values and errors; the rest is imported when used
THEIRS = "import attrs, cattrs, anyio"


def seconds(statement: str) -> float:
    """Return how long a statement takes in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(RUNS):
        ours.append(seconds(OURS))
        theirs.append(seconds(THEIRS))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"{OURS}: {statistics.median(ours) * 1e3:.0f} ms, {THEIRS}: {statistics.median(theirs) * 1e3:.0f} ms"
    )
    print(f"ratio of the medians of {RUNS} runs: {ratio:.2f} (at most 3 is wanted)")
