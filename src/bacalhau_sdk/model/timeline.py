"""When an execution was where: its phases, and the marks at its end."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from attrs import frozen

from .execution import Execution, ExecutionState
from .record import JobEvent

__all__ = ["Mark", "Phase", "Span", "marks_of", "outcome_of", "publishing_times", "spans_of"]


class Phase(enum.Enum):
    """What an execution is doing, in this order."""

    OFFERED = "offered"
    PREPARING = "preparing"
    RUNNING = "running"
    PUBLISHING = "publishing"


class Mark(enum.Enum):
    """What is said at the end of an execution."""

    REFUSED = "refused"
    COMPLETED = "completed"
    NON_ZERO_EXIT = "exit code not 0"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    FENCED = "fenced"
    LIVE = "not over yet"


_MARKS = {
    ExecutionState.ASK_FOR_BID_REJECTED: Mark.REFUSED,
    ExecutionState.COMPLETED: Mark.COMPLETED,
    ExecutionState.FAILED: Mark.FAILED,
    ExecutionState.CANCELLED: Mark.CANCELLED,
    ExecutionState.TIMED_OUT: Mark.TIMED_OUT,
}


@frozen
class Span:
    """A phase of an execution, from when to when.

    Attributes:
        phase: Which.
        begin: In seconds of the cluster's clock.
        end: The same, not before it.
    """

    phase: Phase
    begin: float
    end: float


def publishing_times(events: Iterable[JobEvent]) -> dict[str, float]:
    """Return since when results were published, by the id of the execution; only the history knows it."""
    found: dict[str, float] = {}
    for event in events:
        if event.execution_id is not None and event.execution_state is ExecutionState.PUBLISHING:
            found.setdefault(event.execution_id, event.time)
    return found


def spans_of(execution: Execution, published_at: float | None, now: float) -> tuple[Span, ...]:
    """Return the phases of an execution, those of no length included; what is not over yet ends now.

    Args:
        execution: Its record.
        published_at: Since when its results were published, or None if they were not.
        now: In seconds of the cluster's clock.
    """
    begins = (
        (Phase.OFFERED, execution.created_at),
        (Phase.PREPARING, execution.accepted_at),
        (Phase.RUNNING, execution.started_at),
        (Phase.PUBLISHING, published_at),
    )
    known = [(phase, begin) for phase, begin in begins if begin is not None]
    end = max(execution.created_at, execution.ended_at if execution.ended_at is not None else now)
    spans: list[Span] = []
    # From the last one: the clocks of a node and of the orchestrator may differ, and no phase ends before it begins.
    for phase, begin in reversed(known):
        spans.append(Span(phase, max(execution.created_at, min(begin, end)), end))
        end = spans[-1].begin
    return tuple(reversed(spans))


def marks_of(execution: Execution) -> tuple[Mark, ...]:
    """Return the marks at the end of an execution: how it ended, and whether it was fenced."""
    mark = _MARKS.get(execution.state, Mark.LIVE)
    if mark is Mark.COMPLETED and execution.outcome is not None and execution.outcome.exit_code:
        mark = Mark.NON_ZERO_EXIT
    return (mark, Mark.FENCED) if execution.fenced else (mark,)


def outcome_of(execution: Execution) -> str:
    """Say what has become of an execution, for people; empty when there is nothing to add to its state."""
    said: list[str] = []
    outcome = execution.outcome
    if execution.refusals:
        said += map(str, execution.refusals)
    elif outcome is not None and outcome.failure is not None:
        said.append(outcome.failure.message)
    elif outcome is not None and outcome.exit_code is not None:
        said.append(f"exit code {outcome.exit_code}")
    if execution.ending is not None and not execution.state.terminal:
        said.append("told to stop")
    if execution.fenced:
        said.append("fenced: it may still run there until the node is back")
    return "; ".join(said)
