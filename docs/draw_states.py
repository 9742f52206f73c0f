"""Draws the state machines from the lifecycle tables: ``python docs/draw_states.py > docs/explanation/states.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import pairwise
from typing import TypeVar

from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES, JOB_MOVES

E = TypeVar("E", bound=Enum)

HEAD = """# States

Drawn by `docs/draw_states.py` from the tables in `scheduling/lifecycle.py`, which have every move that there is; a test holds
them together. A solid line is the usual way; a dotted one is a move that skips states, because a report was lost or overtaken, or
that ends early.
"""


def page() -> str:
    """Return the page."""
    jobs = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED)
    executions = (
        ExecutionState.NEW,
        ExecutionState.ASK_FOR_BID,
        ExecutionState.BID_ACCEPTED,
        ExecutionState.RUNNING,
        ExecutionState.PUBLISHING,
        ExecutionState.COMPLETED,
    )
    parts = [HEAD, "## A job\n", *drawing(JOB_MOVES, jobs)]
    parts += ["\n## An execution\n", *drawing(EXECUTION_MOVES, executions)]
    return "\n".join(parts) + "\n"


def drawing(moves: Mapping[E, frozenset[E]], usual: tuple[E, ...]) -> Iterator[str]:
    """Yield the lines of a diagram."""
    order = list(moves)
    steps = set(pairwise(usual))
    yield "```mermaid"
    yield "flowchart LR"
    for state in order:
        shape = f"{state.name}([{state.value}])" if not moves[state] else f"{state.name}[{state.value}]"
        yield f"    {shape}"
    for state in order:
        for target in sorted(moves[state], key=order.index):
            arrow = "-->" if (state, target) in steps else "-.->"
            yield f"    {state.name} {arrow} {target.name}"
    yield "```"


if __name__ == "__main__":
    sys.stdout.write(page())
