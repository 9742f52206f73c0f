"""Run the benchmarks: ``python -m benchmarks [NAME ...]``; without names, all of them."""

from __future__ import annotations

import sys

from . import cancel, compare, imports, page, phases


def peers() -> None:
    """Measure the peers, and write their page and its plot."""
    figures = compare.compare()
    figures.save()
    page.write(figures)


BENCHMARKS = {"cancel": cancel.main, "imports": imports.main, "peers": peers, "phases": phases.main}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(
            f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr
        )
        return 2
    for name in names:
        print(f"\n== {name} ==")
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
