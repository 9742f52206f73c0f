"""Which moves executions and jobs may make: the whole tables, as a person reads them in the design."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve

from bacalhau_sdk.errors import IllegalTransitionError
from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.scheduling.lifecycle import advance, end_job, is_news, move_job
from tests.scheduling.makers import ACCEPTED, DONE, execution, job, refusal

E = ExecutionState
STARTED = (E.RUNNING, E.PUBLISHING, E.COMPLETED)

EXECUTIONS = """
                      NEW ASK_FOR_BID ASK_FOR_BID_REJECTED BID_ACCEPTED RUNNING PUBLISHING COMPLETED FAILED CANCELLED TIMED_OUT
NEW                    .       x               .                 .         .        .          .       .       .         .
ASK_FOR_BID            .       .               x                 x         x        x          x       x       x         x
ASK_FOR_BID_REJECTED   .       .               .                 .         .        .          .       .       .         .
BID_ACCEPTED           .       .               .                 .         x        x          x       x       x         x
RUNNING                .       .               .                 .         .        x          x       x       x         x
PUBLISHING             .       .               .                 .         .        .          x       x       x         x
COMPLETED              .       .               .                 .         .        .          .       .       .         .
FAILED                 .       .               .                 .         .        .          .       .       .         .
CANCELLED              .       .               .                 .         .        .          .       .       .         .
TIMED_OUT              .       .               .                 .         .        .          .       .       .         .
"""
JOBS = """
           PENDING QUEUED RUNNING COMPLETED FAILED CANCELLED TIMED_OUT
PENDING       .      x       x        x        x       x         x
QUEUED        .      .       x        x        x       x         x
RUNNING       .      .       .        x        x       x         x
COMPLETED     .      .       .        .        .       .         .
FAILED        .      .       .        .        .       .         .
CANCELLED     .      .       .        .        .       .         .
TIMED_OUT     .      .       .        .        .       .         .
"""


def cells(table: str) -> Iterator[tuple[str, str, bool]]:
    """Read a table: from, to, and whether the move is there."""
    head, *rows = (line.split() for line in table.strip().splitlines())
    for before, *marks in rows:
        assert len(marks) == len(head)
        yield from ((before, after, mark == "x") for after, mark in zip(head, marks, strict=True))


EXECUTION_MOVES = [
    (ExecutionState[before], ExecutionState[after], legal) for before, after, legal in cells(EXECUTIONS)
]
JOB_MOVES = [(JobState[before], JobState[after], legal) for before, after, legal in cells(JOBS)]


def test_the_tables_are_whole() -> None:
    assert len(EXECUTION_MOVES) == len(E) ** 2
    assert len(JOB_MOVES) == len(JobState) ** 2


@pytest.mark.parametrize(("before", "after", "legal"), EXECUTION_MOVES)
def test_move_of_an_execution(before: E, after: E, legal: bool) -> None:
    original = execution(state=before)
    untouched = evolve(original)
    assert is_news(original, after) == (legal and after is not E.ASK_FOR_BID_REJECTED)
    if legal:
        moved = advance(original, after, 7.0)
        assert moved == evolve(
            original,
            state=after,
            modified_at=7.0,
            accepted_at=original.accepted_at or (7.0 if after in ACCEPTED else None),
            started_at=original.started_at or (7.0 if after in STARTED else None),
            ended_at=7.0 if after.terminal else None,
        )
    else:
        with pytest.raises(
            IllegalTransitionError, match=f"j-0 cannot go from {before.value} to {after.value}"
        ):
            advance(original, after, 7.0)
    assert original == untouched


@pytest.mark.parametrize(("before", "after", "legal"), JOB_MOVES)
def test_move_of_a_job(before: JobState, after: JobState, legal: bool) -> None:
    original = job(state=before, reason="as it was")
    untouched = evolve(original)
    if legal:
        moved = move_job(original, after, 7.0, "so it is")
        ended = 7.0 if after.terminal else None
        assert moved == evolve(original, state=after, modified_at=7.0, ended_at=ended, reason="so it is")
    elif before is after:
        assert move_job(original, after, 7.0, "so it is") is original
    else:
        with pytest.raises(IllegalTransitionError, match=f"j cannot go from {before.value} to {after.value}"):
            move_job(original, after, 7.0, "so it is")
    assert original == untouched


@pytest.mark.parametrize(
    ("moves", "first", "states"),
    [(EXECUTION_MOVES, E.NEW, list(E)), (JOB_MOVES, JobState.PENDING, list(JobState))],
    ids=["executions", "jobs"],
)
def test_every_state_can_be_reached_and_the_terminal_ones_are_those_without_a_way_on(
    moves: list[tuple[E | JobState, E | JobState, bool]], first: E | JobState, states: list[E | JobState]
) -> None:
    reached = [first]
    for state in reached:
        reached += [
            after for before, after, legal in moves if before is state and legal and after not in reached
        ]
    assert sorted(state.value for state in reached) == sorted(state.value for state in states)
    for state in states:
        assert state.terminal == (not any(legal for before, _, legal in moves if before is state))


def test_the_times_of_an_execution_are_those_of_its_first_steps() -> None:
    ran = advance(execution(state=E.BID_ACCEPTED), E.RUNNING, 2.0)
    published = advance(ran, E.PUBLISHING, 3.0)
    ended = advance(published, E.COMPLETED, 4.0, outcome=DONE)
    assert (ended.created_at, ended.started_at, ended.ended_at, ended.modified_at) == (1.0, 2.0, 4.0, 4.0)
    assert ended.outcome == DONE
    assert published.ended_at is None


def test_an_execution_that_never_ran_has_not_started() -> None:
    assert advance(execution(state=E.BID_ACCEPTED), E.FAILED, 2.0).started_at is None


def test_the_time_of_acceptance_is_that_of_the_first_report_of_the_node() -> None:
    accepted = advance(execution(state=E.ASK_FOR_BID), E.BID_ACCEPTED, 2.0)
    assert (accepted.accepted_at, advance(accepted, E.RUNNING, 3.0).accepted_at) == (2.0, 2.0)
    assert advance(execution(state=E.ASK_FOR_BID), E.PUBLISHING, 4.0).accepted_at == 4.0


@pytest.mark.parametrize("state", [E.FAILED, E.CANCELLED, E.TIMED_OUT])
def test_what_ends_without_the_word_of_its_node_was_not_accepted_by_it(state: E) -> None:
    fenced = advance(execution(state=E.ASK_FOR_BID), state, 2.0, fenced=True)
    assert (fenced.accepted_at, fenced.fenced) == (None, True)


def test_a_refusal_is_kept_with_its_reasons() -> None:
    reasons = (refusal(),)
    assert (
        advance(execution(state=E.ASK_FOR_BID), E.ASK_FOR_BID_REJECTED, 2.0, refusals=reasons).refusals
        == reasons
    )


@pytest.mark.parametrize(
    "state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT]
)
def test_a_job_ends_as_it_was_to_end(state: JobState) -> None:
    ended = end_job(job(state=JobState.RUNNING, ending=state, reason="why"), 7.0)
    assert (ended.state, ended.reason, ended.ended_at) == (state, "why", 7.0)


def test_a_job_that_is_wanted_does_not_end() -> None:
    with pytest.raises(IllegalTransitionError, match="not ending"):
        end_job(job(), 7.0)
