"""Runs the peers in turn, each time in a process of its own, and keeps what was measured in ``peers.json``."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import cast

from attrs import asdict, define, field

from .peers import IN_MEMORY, PEERS, Peer
from .phases import profiled

ROOT = Path(__file__).parents[1]
FIGURES = Path(__file__).with_name("peers.json")
ROUNDS = 5
JOBS = 300
# Memory is measured after so many jobs, and again after so many more, a hundred at a time.
WARM_UP, MEASURED, AT_A_TIME = 600, 2000, 100
MEMORY_ROUNDS = 3


@define
class Figures:
    """What was measured.

    Attributes:
        date: On which day.
        commit: Of this library.
        python: The version.
        system: What the machine runs, and on how many cores.
        jobs: How many in each run.
        busy: The load of the machine, as a number of processes, before the first round.
        versions: Of the peers' packages.
        seconds: By peer, then by step: ``first``, ``together``, ``in turn``, ``close``; one number a round.
        memory: By peer: bytes that each finished job has left behind, one number a round.
        shares: Of the event loop's work for a job, by part of the library.
    """

    date: str
    commit: str
    python: str
    system: str
    jobs: int
    busy: float
    versions: dict[str, str]
    seconds: dict[str, dict[str, list[float]]] = field(factory=dict)
    memory: dict[str, list[float]] = field(factory=dict)
    shares: dict[str, float] = field(factory=dict)

    def save(self) -> None:
        FIGURES.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls) -> Figures:
        return cls(**json.loads(FIGURES.read_text(encoding="utf-8")))

    def median(self, peer: str, step: str) -> float:
        return statistics.median(self.seconds[peer][step])

    def ratios(self, peer: str, step: str) -> list[float]:
        """Return how many times as long as dask it took, in each round."""
        return [a / b for a, b in zip(self.seconds[peer][step], self.seconds["dask"][step], strict=True)]

    def speeds(self, peer: str, step: str) -> list[float]:
        """Return how many times dask's jobs per second it did, in each round."""
        return [1 / ratio for ratio in self.ratios(peer, step)]


# ---- In a process of its own ----


def times(peer: Peer) -> dict[str, float]:
    """Return the seconds of each step."""
    taken: dict[str, float] = {}
    clock = time.perf_counter
    with peer.ready() as opened:
        began = clock()
        with opened() as run:
            run(1, True)
            taken["first"] = clock() - began
            for step in ("together", "in turn"):
                began = clock()
                run(JOBS, step == "in turn")
                taken[step] = clock() - began
            began = clock()
        taken["close"] = clock() - began
    return taken


def left_behind(peer: Peer) -> float:
    """Return by how many bytes the process, with its children, grows for each job."""
    with peer.ready() as opened, opened() as run:

        def resident(jobs: int) -> int:
            import psutil

            for _ in range(jobs // AT_A_TIME):
                run(AT_A_TIME, False)
            gc.collect()
            me = psutil.Process()
            return sum(each.memory_info().rss for each in (me, *me.children(recursive=True)))

        before = resident(WARM_UP)
        return (resident(MEASURED) - before) / MEASURED


# ---- All of them ----


def measured(what: str, name: str) -> object:
    """Measure a peer in a process of its own."""
    peer = PEERS[name]
    env = dict(os.environ)
    if peer.in_memory or what == "memory":
        env["TMPDIR"] = IN_MEMORY
    if hasattr(os, "sync"):
        os.sync()  # what the one before has left to the disk is not for this one to wait for
    command = [sys.executable, "-m", "benchmarks.compare", what, name]
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def commit() -> str:
    """Name the commit that is checked out, if there is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def compare() -> Figures:
    """Measure all peers, interleaved: what slows the machine down for a while slows down all of them."""
    figures = Figures(
        date=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()}, {os.cpu_count()} cores",
        jobs=JOBS,
        busy=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
        versions={peer.package: version(peer.package) for peer in PEERS.values() if peer.package},
    )
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", flush=True)
        for name in PEERS:
            steps = cast("dict[str, float]", measured("times", name))
            for step, seconds in steps.items():
                figures.seconds.setdefault(name, {}).setdefault(step, []).append(seconds)
    for number in range(MEMORY_ROUNDS):
        print(f"memory, round {number + 1} of {MEMORY_ROUNDS}", flush=True)
        for name, peer in PEERS.items():
            if not (peer.variant or peer.in_memory):  # memory is measured with all files there
                figures.memory.setdefault(name, []).append(cast("float", measured("memory", name)))
    print("profile", flush=True)
    figures.shares = cast("dict[str, float]", measured("shares", "no-threads"))
    return figures


if __name__ == "__main__":
    what, name = sys.argv[1:]
    if what == "shares":
        print(json.dumps(profiled()))
    else:
        print(json.dumps({"times": times, "memory": left_behind}[what](PEERS[name])))
