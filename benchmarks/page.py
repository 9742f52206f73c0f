"""The page and the plot of the benchmarks, from what was measured: ``python -m benchmarks.page`` makes them anew."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .compare import FIGURES, MEASURED, ROOT, WARM_UP, Figures
from .peers import PEERS

PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
PLOT = ROOT / "docs" / "_static" / "benchmarks.svg"
STEPS = ("together", "in turn")
# Grey that is read on white and on black alike: contrast 4.3 to either.
INK, OURS, THEIRS = "#7a7a7a", "#2b7de9", "#9a9a9a"

HEAD = """# Benchmarks

No-op jobs, so that what is left is what a library itself costs a job. `nox -s bench` writes this page from what it measures; no
number is written by hand. A computer that is used by others as well gives other times every minute, so **read the ratios**: the
peers take turns, each time in a process of its own, and a ratio is one to dask in the same round. What is given is the median
of {rounds} rounds, with the range.

![No-op jobs per second, as a multiple of dask's: all together, and one after the other](../_static/benchmarks.svg)

Measured on {date} at commit `{commit}` with {python}, on {system}
(the load of others before the first round: {busy}). {jobs} jobs a run. {versions}.
"""

WAITING = """
A reason for rounds in which it is slower: a job goes to threads and waits for its
files, each time in a queue behind whoever else wants processor and disk; dask does all in one thread and writes nothing.
"""

MEMORY = """
The first result of a new cluster, pool or broker: opening it, one job, and its result, without imports. Memory is how much the
process and its children grew (resident set) for each of {measured} jobs, a hundred at a time, after {warm_up} to warm up. A
cluster of this library keeps record and history of every job for as long as it is open; there is no bound yet. Less is better.
"""

DOES = """
## What each one does

The peers do not do the same, and are not meant to. A task group is the floor below which nothing in one process can be; who
keeps nothing has less to do.

"""

WHERE = """
## Where the time goes

The same jobs, with one thing after another left out: the disk, with results on a file system in memory; then the threads, with
files written in the event loop's own, as under virtual time (no choice for real work: a slow disk would hold up everything).
What is left is the work of the event loop, with the calls of the file system in memory.

"""

SHARES = """
That last line, under Python's profiler, which makes small functions look dearer than they are:

"""

FOLDERS = """
For its results a no-op job makes two folders (of the job, of the execution) and three files (`stdout`, `stderr`, `exitCode`),
and goes to a thread and back three times: to lay them out, to move them into place at once, and to read them. Outputs, or an
executor that needs a scratch folder, add a fourth; each input adds two, and one more for all. When a cluster closes, its private
folder is removed: here {close} ms a job on disk, {close_memory} ms in memory. With a `data_dir` the results stay, and nothing is
removed.
"""

REPEAT = """
## How to repeat it

`nox -s bench` installs the peers, measures for some minutes, and writes `benchmarks/peers.json`, this page and its plot.
`nox -s bench -- cancel imports phases` measures other things: how long a cancel takes, what an import costs, and the last table
above alone. None of it is a part of the tests: no test asserts a time.
"""


def page(figures: Figures) -> str:
    """Return the page."""
    close, close_memory = (
        f"{figures.median(name, 'close') / (2 * figures.jobs) * 1e3:.1f}" for name in ("ours", "memory")
    )
    head = HEAD.format(
        rounds=len(figures.seconds["dask"]["first"]),
        date=figures.date,
        commit=figures.commit or "unknown",
        python=figures.python,
        system=figures.system,
        busy=figures.busy,
        jobs=figures.jobs,
        versions=", ".join(f"{package} {version}" for package, version in sorted(figures.versions.items())),
    )
    does = ((peer.label, peer.does) for peer in PEERS.values() if not peer.variant)
    shares = ((part, f"{share:.0%}") for part, share in figures.shares.items() if share >= 0.01)
    return "".join(
        (
            head,
            "\n## Against dask\n\n",
            *(f"- {line}\n" for line in verdicts(figures)),
            WAITING if slower(figures) else "",
            "\n## Jobs per second\n\nIn brackets as a multiple of dask's, and the range of that. More is better.\n\n",
            speed_table(figures),
            "\n## The first result, and memory\n\n",
            other_table(figures),
            MEMORY.format(measured=f"{MEASURED:,}", warm_up=f"{WARM_UP:,}"),
            DOES,
            rows(("", "what it does for a no-op job"), does),
            WHERE,
            parts_table(figures),
            SHARES,
            rows(("part", "share"), shares),
            FOLDERS.format(close=close, close_memory=close_memory),
            REPEAT,
        )
    )


def verdicts(figures: Figures) -> Iterator[str]:
    """Say plainly, for each shape, whether this library is faster than dask."""
    for name in ("ours", "blocking"):
        for step in STEPS:
            speeds = figures.speeds(name, step)
            faster = sum(speed > 1 for speed in speeds)
            how = {len(speeds): "faster than dask", 0: "**slower than dask**"}.get(
                faster, f"faster than dask in {faster} of {len(speeds)} rounds"
            )
            yield f"{PEERS[name].label}, {_jobs(step)}: {how} ({_range(speeds)} times its jobs per second)."


def slower(figures: Figures) -> bool:
    """Say whether this library was slower than dask in any round."""
    return any(
        speed < 1 for name in ("ours", "blocking") for step in STEPS for speed in figures.speeds(name, step)
    )


def speed_table(figures: Figures) -> str:
    return rows(
        ("", *(_jobs(step) for step in STEPS)),
        (
            (
                peer.label,
                *(
                    f"{figures.jobs / figures.median(name, step):,.0f} ({_range(figures.speeds(name, step))})"
                    for step in STEPS
                ),
            )
            for name, peer in PEERS.items()
            if not peer.variant
        ),
    )


def other_table(figures: Figures) -> str:
    return rows(
        ("", "first result, ms", "times dask's", "memory a finished job, KiB"),
        (
            (
                peer.label,
                _rounded(figures.median(name, "first") * 1e3),
                _rounded(statistics.median(figures.ratios(name, "first"))),
                f"{max(0.0, statistics.median(figures.memory[name])) / 1024:.1f}"
                if name in figures.memory
                else "",
            )
            for name, peer in PEERS.items()
            if not peer.variant
        ),
    )


def parts_table(figures: Figures) -> str:
    """Return how much of a job's time goes when something is left out."""

    def parts(step: str) -> list[str]:
        whole, memory, loop = (figures.median(name, step) for name in ("ours", "memory", "no-threads"))
        taken = (whole - memory, memory - loop, loop)
        return [
            f"{part / figures.jobs * 1e3:.2f} ms ({part / whole:.0%})" if part > 0 else "lost in the noise"
            for part in taken
        ]

    names = ("the disk", "threads: going there and back", "the event loop")
    return rows(
        ("a job's time", *(_jobs(step) for step in STEPS)), zip(names, *map(parts, STEPS), strict=True)
    )


def rows(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, with numbers to the right."""
    rule = ["---", *("---:" if len(head) > 2 or "share" in head else "---" for _ in head[1:])]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))


def draw(figures: Figures, to: Path) -> None:
    """Draw how many times as many jobs per second as dask each peer does."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = [name for name, peer in PEERS.items() if not peer.variant]
    names.sort(key=lambda name: statistics.median(figures.speeds(name, "together")))
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "benchmarks",
        "font.size": 10,
        "font.family": "sans-serif",
    }
    with rc_context(
        {**style, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    ):
        drawing = Figure(figsize=(9, 4.2), layout="constrained")
        drawing.suptitle("No-op jobs per second, as a multiple of dask's (logarithmic)", fontsize=12)
        for axes, step in zip(drawing.subplots(1, 2, sharex=True, sharey=True), STEPS, strict=True):
            speeds = [statistics.median(figures.speeds(name, step)) for name in names]
            colours = [OURS if PEERS[name].imports.startswith("bacalhau_sdk") else THEIRS for name in names]
            # On a logarithmic axis a bar begins at 1: to the right of it is faster than dask, to the left slower.
            axes.barh(
                [PEERS[name].label for name in names],
                [speed - 1 for speed in speeds],
                left=1,
                height=0.62,
                color=colours,
            )
            axes.set_xscale("log")
            axes.set_title(_jobs(step), fontsize=10)
            axes.axvline(1, color=INK, linewidth=1)
            for place, speed in enumerate(speeds):
                beside = (
                    {"xytext": (4, 0), "ha": "left"} if speed >= 1 else {"xytext": (-4, 0), "ha": "right"}
                )
                axes.annotate(
                    _rounded(speed),
                    (speed, place),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    **beside,
                )
            axes.margins(x=0.18)
            axes.minorticks_off()
            axes.tick_params(length=0)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.spines[:].set_visible(False)
            axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.6)
            axes.set_axisbelow(True)
        drawing.savefig(to, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # matplotlib ends lines of paths with blanks
    lines = to.read_text(encoding="utf-8").splitlines()
    to.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def _jobs(step: str) -> str:
    return {"together": "all together", "in turn": "one after the other"}[step]


def _range(speeds: Sequence[float]) -> str:
    middle, least, most = map(_rounded, (statistics.median(speeds), min(speeds), max(speeds)))
    return f"{middle}; {least} to {most}"


def _rounded(value: float) -> str:
    return (
        "1"
        if value == 1
        else f"{value:,.0f}"
        if value >= 10
        else f"{value:.1f}"
        if value >= 2
        else f"{value:.2f}"
    )


def write(figures: Figures) -> None:
    """Write the page and the plot."""
    PAGE.write_text(page(figures), encoding="utf-8")
    draw(figures, PLOT)
    print(f"{FIGURES.relative_to(ROOT)}, {PAGE.relative_to(ROOT)} and {PLOT.relative_to(ROOT)} are written")


if __name__ == "__main__":
    write(Figures.load())
