"""The lifecycle tables: which moves a job and an execution may make. Everything else raises and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

from attrs import evolve

from ..errors import IllegalTransitionError
from ..model.execution import Execution, ExecutionState, Outcome
from ..model.job import JobState
from ..model.node import Refusal
from ..model.record import JobRecord

__all__ = ["EXECUTION_MOVES", "JOB_MOVES", "advance", "end_job", "is_news", "move_job"]

_E = ExecutionState
_ENDS = frozenset({_E.FAILED, _E.CANCELLED, _E.TIMED_OUT})

# A report may be lost or overtaken, so an execution may skip live states, forwards only.
EXECUTION_MOVES: Mapping[ExecutionState, frozenset[ExecutionState]] = {
    _E.NEW: frozenset({_E.ASK_FOR_BID}),
    _E.ASK_FOR_BID: _ENDS
    | {_E.ASK_FOR_BID_REJECTED, _E.BID_ACCEPTED, _E.RUNNING, _E.PUBLISHING, _E.COMPLETED},
    _E.ASK_FOR_BID_REJECTED: frozenset(),
    _E.BID_ACCEPTED: _ENDS | {_E.RUNNING, _E.PUBLISHING, _E.COMPLETED},
    _E.RUNNING: _ENDS | {_E.PUBLISHING, _E.COMPLETED},
    _E.PUBLISHING: _ENDS | {_E.COMPLETED},
    _E.COMPLETED: frozenset(),
    _E.FAILED: frozenset(),
    _E.CANCELLED: frozenset(),
    _E.TIMED_OUT: frozenset(),
}

_J = JobState
_JOB_ENDS = frozenset({_J.COMPLETED, _J.FAILED, _J.CANCELLED, _J.TIMED_OUT})
JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    _J.PENDING: _JOB_ENDS | {_J.QUEUED, _J.RUNNING},
    _J.QUEUED: _JOB_ENDS | {_J.RUNNING},
    _J.RUNNING: _JOB_ENDS,
    _J.COMPLETED: frozenset(),
    _J.FAILED: frozenset(),
    _J.CANCELLED: frozenset(),
    _J.TIMED_OUT: frozenset(),
}


# A node that reports one of these has accepted the execution.
_ACCEPTED = frozenset({_E.BID_ACCEPTED, _E.RUNNING, _E.PUBLISHING, _E.COMPLETED, _E.FAILED})
_STARTED = frozenset({_E.RUNNING, _E.PUBLISHING, _E.COMPLETED})


class _Details(TypedDict, total=False):
    refusals: tuple[Refusal, ...]
    outcome: Outcome | None
    fenced: bool
    sequence: int


def advance(
    execution: Execution, state: ExecutionState, now: float, **details: Unpack[_Details]
) -> Execution:
    """Return the execution in a later state, with the times that go with it.

    Raises:
        IllegalTransitionError: The table does not have the move.
    """
    if state not in EXECUTION_MOVES[execution.state]:
        raise IllegalTransitionError(
            f"execution {execution.id} cannot go from {execution.state.value} to {state.value}"
        )
    accepted, started = execution.accepted_at, execution.started_at
    if accepted is None and state in _ACCEPTED and not details.get("fenced"):
        accepted = now
    if started is None and state in _STARTED:
        started = now
    return evolve(
        execution,
        state=state,
        modified_at=now,
        accepted_at=accepted,
        started_at=started,
        ended_at=now if state.terminal else None,
        **details,
    )


def is_news(execution: Execution, state: ExecutionState) -> bool:
    """Say whether a node's report of this state tells something new; an old or doubled one does not.

    A refusal is never reported so: it comes with its reasons, as the answer to the offer.
    """
    return state is not ExecutionState.ASK_FOR_BID_REJECTED and state in EXECUTION_MOVES[execution.state]


def move_job(job: JobRecord, state: JobState, now: float, reason: str = "") -> JobRecord:
    """Return the job in a later state, with the reason for it; a state that it has already changes nothing.

    Raises:
        IllegalTransitionError: The table does not have the move.
    """
    if state is not job.state and state not in JOB_MOVES[job.state]:
        raise IllegalTransitionError(f"job {job.id} cannot go from {job.state.value} to {state.value}")
    if state is job.state:
        return job
    return evolve(job, state=state, modified_at=now, ended_at=now if state.terminal else None, reason=reason)


def end_job(job: JobRecord, now: float) -> JobRecord:
    """Return the job in the terminal state that it was to end in, once nothing of it runs any more.

    Raises:
        IllegalTransitionError: It is not ending.
    """
    if job.ending is None:
        raise IllegalTransitionError(f"job {job.id} is not ending")
    return move_job(job, job.ending, now, job.reason)
