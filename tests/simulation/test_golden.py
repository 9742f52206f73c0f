"""Twenty worlds whose stories are known by their hashes: a change of behaviour shows in review.

After a change that is meant, and understood, they are written anew by::

    python -m tests.simulation.test_golden > tests/simulation/golden.txt
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bacalhau_sdk.testing.simulate import Options, main, simulate

GOLDEN = Path(__file__).with_name("golden.txt")
SEEDS = 20
JOBS = 60


def trace_hash(seed: int) -> str:
    """Return the hash of the story of a world."""
    report = simulate(seed, Options(jobs=JOBS), tell=lambda line: None)
    assert not report.violation, report.violation
    return report.trace_hash


def known() -> dict[int, str]:
    """Return the hashes that are known, by seed."""
    lines = (line.split() for line in GOLDEN.read_text().splitlines())
    return {int(seed): trace for seed, trace in lines}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_story_of_a_seed_is_the_one_that_is_known(seed: int) -> None:
    assert trace_hash(seed) == known()[seed], "run python -m tests.simulation.test_golden, if that is meant"


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_it_is_so_in_another_process_whatever_the_hash_seed(hash_seed: str) -> None:
    command = [sys.executable, "-m", "bacalhau_sdk.testing.simulate", "--seed", "3", "--jobs", str(JOBS)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["seed", "3:", told.stdout.split()[2], "events,", "trace", known()[3]]


def test_the_trace_is_a_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1", "--jobs", "5", "--trace", "--faults", "none"]) == 0
    story = capsys.readouterr().out
    assert story.index("j0: job submitted") < story.index("j0: partition 0, attempt 1: offered to node")
    assert story.index("attempt 1: offered to node") < story.index("j0: job is")
    assert story.splitlines()[-1].startswith("seed 1: ")


def test_many_seeds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "4", "--jobs", "10", "--judge"]) == 0
    told = capsys.readouterr().out
    assert "4/4 seeds" in told
    assert "all of 4 seeds hold" in told


def test_what_does_not_hold_is_named_with_its_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bacalhau_sdk.scheduling.compute.CapacityAccount.shortage", lambda *_: ())
    assert main(["--seeds", "2", "--first", "5"]) == 1
    told = capsys.readouterr().out
    assert "seed 5 does not hold: I7: " in told
    assert "2 of 2 seeds do not hold: 5, 6" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seeds", "0"],
        ["--nodes", "-1"],
        ["--processes", "0"],
        ["--trace"],
        ["--seed", "1", "--trace", "--runner", "trio"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


if __name__ == "__main__":
    sys.stdout.writelines(f"{seed} {trace_hash(seed)}\n" for seed in range(SEEDS))
