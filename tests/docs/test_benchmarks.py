"""The page of the benchmarks is made from the figures that were measured."""

from __future__ import annotations

from benchmarks.compare import Figures
from benchmarks.page import PAGE, page, verdicts


def test_the_page_is_what_the_figures_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(Figures.load())


def test_a_figure_that_is_worse_than_dasks_is_said_to_be() -> None:
    figures = Figures("", "", "", "", 1, 0.0, {})
    for name, seconds in {"dask": 2.0, "ours": 4.0, "blocking": 1.0}.items():
        figures.seconds[name] = {"together": [seconds, seconds], "in turn": [seconds, seconds]}
    figures.seconds["blocking"]["in turn"] = [1.0, 3.0]
    slower, slower_too, faster, sometimes = verdicts(figures)
    assert "**slower than dask** (0.50; 0.50 to 0.50 times" in slower
    assert "**slower than dask**" in slower_too
    assert "faster than dask (2.0;" in faster
    assert "faster than dask in 1 of 2 rounds" in sometimes


def test_no_machine_is_named() -> None:
    written = PAGE.read_text(encoding="utf-8") + (PAGE.parents[1] / "_static" / "benchmarks.svg").read_text(
        encoding="utf-8"
    )
    assert "/tmp" not in written
    assert "/home" not in written
    assert "<script" not in written
