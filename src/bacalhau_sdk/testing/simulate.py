"""Run simulated worlds: ``python -m bacalhau_sdk.testing.simulate --seeds 2000``.

Prints a line of progress, how often each fault happened, and what did not hold with the seed that shows it again:
``--seed N --trace`` tells that world's story, line by line, and is the same on every Python version and hash seed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from attrs import field, frozen

from .checker import judge
from .history import History
from .simulation.faults import ALL_FAULTS, NO_FAULTS, Faults
from .simulation.invariants import ViolationError
from .simulation.runner import run_cluster
from .simulation.world import World
from .virtual import BackendName

__all__ = ["Report", "main", "simulate"]

_FAULTS: dict[str, Faults | None] = {"swarm": None, "all": ALL_FAULTS, "none": NO_FAULTS}
_CHUNK = 10


@frozen
class Options:
    """How worlds are made.

    Attributes:
        faults: ``swarm`` draws which faults each world has, ``all`` has all of them, ``none`` none.
        jobs: How many jobs each world has.
        nodes: How many nodes each world has.
        judge: Whether the history is judged as well, by a judge that knows only the documentation.
        runner: ``world`` drives the cores alone; ``asyncio`` and ``trio`` a whole cluster under virtual time, with fewer jobs and
            nodes, and always judged.
    """

    faults: str = "swarm"
    jobs: int = 200
    nodes: int = 10
    judge: bool = False
    runner: str = "world"


@frozen
class Report:
    """What became of a world.

    Attributes:
        seed: Its seed.
        events: How many events there were.
        counts: How often what happened.
        violation: What did not hold, or empty.
        trace_hash: Of its story, when it was told; else empty.
    """

    seed: int
    events: int
    counts: Counter[str] = field(factory=Counter[str])
    violation: str = ""
    trace_hash: str = ""


def simulate(
    seed: int, options: Options | None = None, tell: Callable[[str], object] | None = None
) -> Report:
    """Run the world of a seed to its end.

    Args:
        seed: Equal seeds give equal worlds.
        options: How the world is made.
        tell: Called with each line of the story; None tells none, and is faster.
    """
    options = options or Options()
    if options.runner != "world":
        return _simulate_cluster(seed, options)
    digest = hashlib.blake2b(digest_size=16)

    def told(line: str) -> None:
        digest.update(line.encode())
        if tell is not None:
            tell(line)

    history = History() if options.judge else None
    world = World(
        seed,
        _FAULTS[options.faults],
        jobs=options.jobs,
        nodes=options.nodes,
        tell=told if tell is not None else None,
        history=history,
    )
    violation = ""
    try:
        world.run()
    except ViolationError as error:
        violation = str(error)
    except Exception as error:  # noqa: BLE001 - a core that raises is what is looked for
        violation = f"{type(error).__name__}: {error}"
    if history is not None and not violation:
        violation = _broken_promise(history)
    trace_hash = digest.hexdigest() if tell is not None else ""
    return Report(seed, world.events, world.counts, violation, trace_hash)


def _simulate_cluster(seed: int, options: Options) -> Report:
    backend: BackendName = "trio" if options.runner == "trio" else "asyncio"
    try:
        history = run_cluster(
            seed,
            _FAULTS[options.faults],
            jobs=max(1, options.jobs // 5),
            nodes=max(1, options.nodes // 2),
            backend=backend,
        )
    except Exception as error:  # noqa: BLE001 - a cluster that raises is what is looked for
        return Report(seed, 0, violation=f"{type(error).__name__}: {error}")
    counts = Counter(entry.kind for entry in history)
    return Report(seed, len(history), counts, _broken_promise(history))


def _broken_promise(history: History) -> str:
    """Return the first promise that a history breaks, or nothing."""
    found = judge(history)
    return f"promise {found[0].promise}: {found[0].rule}: {found[0].message}" if found else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code: 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m bacalhau_sdk.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=_positive, default=100, metavar="N", help="how many worlds (100)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="one world only")
    parser.add_argument("--trace", action="store_true", help="tell the story of that world")
    parser.add_argument(
        "--faults",
        choices=sorted(_FAULTS),
        default="swarm",
        help="swarm draws for each world which faults it has; all has all of them; none none (swarm)",
    )
    parser.add_argument("--jobs", type=_positive, default=200, metavar="N", help="jobs of a world (200)")
    parser.add_argument("--nodes", type=_positive, default=10, metavar="N", help="nodes of a world (10)")
    parser.add_argument(
        "--judge",
        action="store_true",
        help="have each history judged too, by a judge that knows only the documented guarantees",
    )
    parser.add_argument("--processes", type=_positive, default=1, metavar="N", help="how many processes (1)")
    parser.add_argument(
        "--runner",
        choices=["world", "asyncio", "trio"],
        default="world",
        help="world runs the cores alone; asyncio and trio a whole cluster under virtual time, with a fifth of the jobs"
        " and half of the nodes, always judged (world)",
    )
    given = parser.parse_args(arguments)
    if given.trace and (given.seed is None or given.runner != "world"):
        parser.error("--trace tells the story of one world: it needs --seed, and the runner 'world'")
    options = Options(given.faults, given.jobs, given.nodes, given.judge, given.runner)
    if given.seed is not None:
        return _run_one(given.seed, options, trace=given.trace)
    return _run_many(range(given.first, given.first + given.seeds), options, given.processes)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return int(text)


def _run_one(seed: int, options: Options, *, trace: bool) -> int:
    report = simulate(seed, options, _say if trace else _hush)
    _say(f"seed {seed}: {report.events} events, trace {report.trace_hash}")
    if report.violation:
        _say(f"seed {seed} does not hold: {report.violation}")
    return 1 if report.violation else 0


def _run_many(seeds: Sequence[int], options: Options, processes: int) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    broken: list[Report] = []
    done = events = 0
    with _mapped(seeds, options, processes) as reports:
        for report in reports:
            done += 1
            events += report.events
            counts += report.counts
            if report.violation:
                broken.append(report)
                _say(f"seed {report.seed} does not hold: {report.violation[:500]}")
            if done % max(1, len(seeds) // 20) == 0 or done == len(seeds):
                seconds = time.monotonic() - began
                rate = 60 * done / seconds / processes
                _say(f"{done}/{len(seeds)} seeds, {events} events, {rate:.0f} seeds per minute and process")
    for name, count in sorted(counts.items()):
        _say(f"  {count:>10}  {name}")
    if broken:
        _say(f"{len(broken)} of {done} seeds do not hold: {_seeds(broken)}")
    else:
        _say(f"all of {done} seeds hold")
    return 1 if broken else 0


@contextmanager
def _mapped(seeds: Sequence[int], options: Options, processes: int) -> Generator[Iterable[Report]]:
    """Run the worlds, in processes of their own when there are to be several."""
    calls = [(seed, options) for seed in seeds]
    if processes == 1:
        yield (simulate(*call) for call in calls)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap(_simulate, calls, chunksize=_CHUNK)


def _simulate(call: tuple[int, Options]) -> Report:
    return simulate(*call)


def _seeds(broken: Sequence[Report]) -> str:
    return ", ".join(str(report.seed) for report in broken)


def _hush(_: str) -> None:
    """Tell nobody; the story is told nevertheless, for its hash."""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
