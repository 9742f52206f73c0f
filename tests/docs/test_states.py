"""The page of the state machines is what the lifecycle tables say."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_drawings_are_those_of_the_tables() -> None:
    drawn: str = runpy.run_path(str(DOCS / "draw_states.py"))["page"]()
    assert (DOCS / "explanation" / "states.md").read_text() == drawn, "run python docs/draw_states.py"
