"""Interrupt a program at random moments, many times: ``python -m tests.blocking.interrupts --runs 1000``.

Each run starts `tests.blocking.interrupted` anew and sends it SIGINT once, or twice, at a moment that the seed draws from the
time that the program takes. What is counted: hangs, the seconds from the last signal to the end, processes that live a second
later, private folders that are left, and of these those that the next start does not remove.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from attrs import define, field

ROOT = Path(__file__).resolve().parent.parent.parent
HANG = 20.0
"""Seconds after which a program that was interrupted counts as hanging."""
SECOND_WITHIN = 0.05
"""Seconds within which the second signal follows the first."""
LAST_BREATH = 1.0
"""Seconds after the end of a program in which its processes end too; the import of trio, say, runs one of some milliseconds."""


@define
class Count:
    """What became of the runs."""

    runs: int = 0
    hangs: list[int] = field(factory=list[int])
    exits: Counter[int] = field(factory=Counter[int])
    seconds: list[float] = field(factory=list[float])
    processes: int = 0
    folders: int = 0
    folders_after: int = 0
    words: Counter[str] = field(factory=Counter[str])

    def __str__(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        return (
            f"{self.runs} runs, {len(self.hangs)} hangs {self.hangs or ''}, exit codes {dict(self.exits)}, "
            f"from the signal to the end median {ordered[len(ordered) // 2]:.3f} s, most {ordered[-1]:.3f} s; "
            f"left: {self.processes} processes, "
            f"{self.folders} private folders, {self.folders_after} after the next start; last words {dict(self.words)}"
        )


def interrupt(kind: str, runs: int, *, double: bool, seed: int = 0) -> Count:
    """Run the program and interrupt it, again and again.

    Args:
        kind: ``blocking``, or the backend of a program with its own ``anyio.run``.
        runs: How often.
        double: Whether a second signal follows, up to 50 milliseconds later.
        seed: Of the moments.
    """
    count, chance = Count(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        lasts = min(_once(kind, folder, (), count=None) for _ in range(3))
        for number in range(runs):
            moments = [chance.uniform(0, lasts)]
            if double:
                moments.append(chance.uniform(0, SECOND_WITHIN) if chance.random() < 0.8 else 0.0)
            before = len(count.seconds)
            _once(kind, folder, moments, count)
            count.runs += 1
            if len(count.seconds) == before:
                count.hangs.append(number)
        count.folders = _folders(folder)
        _once(kind, folder, (), count=None)
        count.folders_after = _folders(folder)
    return count


def _once(kind: str, folder: str, moments: list[float] | tuple[()], count: Count | None) -> float:
    """Run the program once; return the seconds that it took once it was ready."""
    env = {**os.environ, "TMPDIR": folder, "XDG_STATE_HOME": f"{folder}/state", "PYTHONFAULTHANDLER": "1"}
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.blocking.interrupted", kind],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Started in the background of a shell, this process ignores the signal, and so would its child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n", program.communicate()
    began = time.monotonic()
    for moment in moments:
        try:
            program.wait(moment)
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGINT)
    signalled = time.monotonic()
    try:
        _, errors = program.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGABRT)
        _, errors = program.communicate()
        sys.stderr.write(errors)
        return 0.0
    ended = time.monotonic()
    if count is None:
        assert program.returncode == 0, errors
    else:
        count.seconds.append(ended - signalled)
        count.exits[program.returncode] += 1
        count.processes += _left(program.pid)
        count.words[errors.strip().splitlines()[-1][:80] if errors.strip() else ""] += 1
    return ended - began


def _left(session: int) -> int:
    """Count the processes of a session that do not end within a second."""
    until = time.monotonic() + LAST_BREATH
    while (alive := _alive(session)) and time.monotonic() < until:
        time.sleep(LAST_BREATH / 100)
    return alive


def _alive(session: int) -> int:
    """Count the processes of a session."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found += int(stat.read_text().rpartition(")")[2].split()[3]) == session
        except (OSError, ValueError):
            continue
    return found


def _folders(folder: str) -> int:
    return sum(1 for path in Path(folder).iterdir() if path.name.startswith("bacalhau-"))


def main() -> int:
    """Do what the command line asks for; 0 when nothing hung and nothing was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--kind", choices=["blocking", "asyncio", "trio"], default="blocking")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--single", action="store_true", help="send no program a second signal")
    given = parser.parse_args()
    good = True
    for double in (False,) if given.single else (False, True):
        count = interrupt(given.kind, given.runs, double=double, seed=given.seed)
        sys.stdout.write(f"{given.kind}, {'double' if double else 'single'}: {count}\n")
        sys.stdout.flush()
        good = good and not (count.hangs or count.processes or count.folders_after)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
