"""Bugs that the simulated world must find, one by one; and a command that looks how many seeds that takes.

    python -m tests.simulation.mutants [--seeds 200] [--markdown FILE] [--record] [name...]

A mutant that no seed finds says that the world, or what must hold in it, has a hole. ``--record`` writes the table that
`tests.simulation.test_mutants` holds the world to.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from attrs import frozen

from tests.simulation import mutants_of_node, mutants_of_orchestrator, mutants_of_policy
from tests.simulation.mutant import Mutant, found_in, pair

__all__ = ["MUTANTS", "PAIRS", "TABLE", "Found", "recorded"]

TABLE = Path(__file__).with_suffix(".txt")
_PROCESSES = 2

MUTANTS: tuple[Mutant, ...] = (
    *mutants_of_orchestrator.MUTANTS,
    *mutants_of_policy.MUTANTS,
    *mutants_of_node.MUTANTS,
)
_BY_NAME = {
    mutant.name: mutant for mutant in (*MUTANTS, *mutants_of_orchestrator.HIDDEN, *mutants_of_policy.HIDDEN)
}


_PAGE = """# Mutants: does the simulation find bugs?

Each row is a bug that is put into the scheduler on purpose, alone or, where something else hides what it does, with another
one. *Seeds* is how many simulated worlds it took until something that must hold did not. What *stands for* names is a bug of the
original (B), a fault (F) or a promise (I) of the reliability reference; *shown by* is the invariant, as
`bacalhau_sdk.testing.simulation.invariants` lists them, or the error that a core or its world ended with.

Written by `python -m tests.simulation.mutants --markdown docs/explanation/mutants.md`; CI fails when one is no longer found.
"""


def _pair(first: str, second: str, wrong: str, row: str = "") -> Mutant:
    return pair(_BY_NAME[first], _BY_NAME[second], wrong, row)


PAIRS = (
    _pair(
        "results_without_location_completed",
        "results_nowhere",
        "A node does not say where the results are, and that completes the execution all the same.",
        "I3",
    ),
    _pair(
        "settles_and_forgets",
        "settling_sets_no_time",
        "Nothing has jobs looked at when the time in which no limit counts is over.",
        "B10",
    ),
    _pair(
        "no_acknowledgement",
        "repeats_unanswered",
        "The end of an execution is never acknowledged.",
        "F7",
    ),
    _pair(
        "no_cancel_at_first",
        "no_resend_of_cancels",
        "A node is never told to stop an execution.",
        "B5, F8",
    ),
    _pair(
        "adopts_nothing",
        "misses_nothing",
        "What runs on from an earlier life of a node is forgotten on both sides.",
        "B7",
    ),
    _pair(
        "fences_instead_of_stopping",
        "fenced_not_killed",
        "What is to be stopped is given up at once, and nobody kills it.",
        "B5, B7",
    ),
    _pair(
        "heartbeats_tell_nothing",
        "no_resend_of_results",
        "A report that is lost is lost for ever, whatever it says.",
        "B1, B2",
    ),
)


@frozen
class Found:
    """How a mutant was found.

    Attributes:
        name: Of the mutant.
        seed: The first seed whose world shows it; None when none does.
        invariant: What showed it.
        seconds: How long it took to look.
    """

    name: str
    seed: int | None
    invariant: str
    seconds: float


def named(name: str) -> Mutant:
    """Return a mutant, or a pair, by its name."""
    return next(mutant for mutant in (*MUTANTS, *PAIRS) if mutant.name == name)


def look_for(name: str, seeds: int) -> Found:
    """Look for a mutant in one world after the other, until one shows it."""
    mutant, began = named(name), time.perf_counter()
    for seed in range(seeds):
        invariant = found_in(mutant, seed)
        if invariant is not None:
            return Found(name, seed, invariant, time.perf_counter() - began)
    return Found(name, None, "not found", time.perf_counter() - began)


def recorded() -> dict[str, int]:
    """Return, by the name of the mutant, the first seed that has found it."""
    rows = (line.split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {name: int(seed) for name, seed, *_ in rows}


def markdown(found: Iterable[Found]) -> str:
    """Return the page that says what was found, for people."""
    rows = [
        _PAGE,
        "| Mutant | What is wrong | Stands for | Seeds | Shown by |",
        "| --- | --- | --- | --: | --- |",
    ]
    for each in found:
        mutant = named(each.name)
        name = mutant.name.replace("+", "<br>+ ")
        seeds = "none" if each.seed is None else str(each.seed + 1)
        rows.append(f"| {name} | {mutant.wrong} | {mutant.row} | {seeds} | {each.invariant} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look for mutants, and say how many seeds that has taken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds are tried at most")
    parser.add_argument("--markdown", type=Path, help="write the page for people here; - prints it")
    parser.add_argument("--record", action="store_true", help=f"write {TABLE.name}")
    parser.add_argument("names", nargs="*", metavar="name", help="of mutants or pairs; all, if none is given")
    options = parser.parse_args(arguments)
    names: list[str] = options.names or [mutant.name for mutant in (*MUTANTS, *PAIRS)]
    found: list[Found] = []
    with get_context("spawn").Pool(_PROCESSES) as pool:
        for each in pool.imap(partial(look_for, seeds=options.seeds), names):
            found.append(each)
            seeds = "-" if each.seed is None else each.seed + 1
            print(f"{each.name:<60} {seeds:>4}  {each.invariant:<16} {each.seconds:6.1f} s", flush=True)
    if options.record:
        lines = (f"{each.name} {each.seed} {each.invariant}\n" for each in found if each.seed is not None)
        TABLE.write_text("".join(lines), encoding="utf-8")
    if options.markdown == Path("-"):
        print(markdown(found), end="")
    elif options.markdown is not None:
        options.markdown.write_text(markdown(found), encoding="utf-8")
    return 0 if all(each.seed is not None for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
