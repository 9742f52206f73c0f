"""Run the benchmarks: ``python -m benchmarks [NAME ...]``; without names, all of them."""

from __future__ import annotations

import sys

from . import cancel, imports, noop, phases

BENCHMARKS = {"cancel": cancel.main, "imports": imports.main, "noop": noop.main, "phases": phases.main}


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
