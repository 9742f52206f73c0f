"""What follows from a change of records: messages, which can be derived again, and the history."""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import Execution, ExecutionState, Outcome
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.model.message import AcknowledgeExecution, AskForBid, CancelExecution, Message
from bacalhau_sdk.model.record import JobEvent, JobRecord
from bacalhau_sdk.scheduling.plan import events_between, job_events_between, messages_between
from tests.scheduling.makers import DONE, FAILED, FAULT, execution, job, refused, wasm

E = ExecutionState
FENCED = "without the node's word: what it reports is not recorded any more"
SPEC = wasm(count=3)
ASK = AskForBid("j-4", "j", 2, 3, 1, 0, SPEC)
CANCEL = CancelExecution("j-4")
FORGET, KEEP = AcknowledgeExecution("j-4", discard=True), AcknowledgeExecution("j-4")


def of(state: E | None, *, stop: bool = False) -> Execution | None:
    return execution(4, state, 2, ending=E.CANCELLED if stop else None) if state else None


@pytest.mark.parametrize(
    ("before", "after", "messages"),
    [
        # An offer goes out once, however it came to be.
        (None, of(E.ASK_FOR_BID), [ASK]),
        (of(E.NEW), of(E.ASK_FOR_BID), [ASK]),
        (of(E.ASK_FOR_BID), of(E.ASK_FOR_BID), []),
        (None, of(E.NEW), []),
        # What the node has reported itself needs no word.
        *((of(E.ASK_FOR_BID), of(state), []) for state in (E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING)),
        (None, of(E.RUNNING), []),
        # It is told to stop once, from whatever state.
        *(
            (of(state), of(state, stop=True), [CANCEL])
            for state in (E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING)
        ),
        (None, of(E.ASK_FOR_BID, stop=True), [CANCEL]),
        (of(E.RUNNING, stop=True), of(E.PUBLISHING, stop=True), []),
        # Its end is acknowledged once; only a completed one keeps its results.
        (of(E.PUBLISHING), of(E.COMPLETED), [KEEP]),
        (of(E.RUNNING), of(E.FAILED), [FORGET]),
        (of(E.RUNNING, stop=True), of(E.CANCELLED, stop=True), [FORGET]),
        (of(E.RUNNING), of(E.TIMED_OUT), [FORGET]),
        (of(E.COMPLETED), of(E.COMPLETED), []),
        (None, of(E.COMPLETED), [KEEP]),
        (None, of(E.CANCELLED), [FORGET]),
        # Ended without its word, it may still run there: it is told to stop, and nothing is acknowledged.
        (of(E.RUNNING), evolve(execution(4, E.FAILED, 2), fenced=True), [CANCEL]),
        (of(E.RUNNING, stop=True), evolve(execution(4, E.CANCELLED, 2), fenced=True), [CANCEL]),
        (None, evolve(execution(4, E.FAILED, 2), fenced=True), [CANCEL]),
        # The node that refused has forgotten it already.
        (of(E.ASK_FOR_BID), of(E.ASK_FOR_BID_REJECTED), []),
        (None, of(E.ASK_FOR_BID_REJECTED), []),
    ],
)
def test_messages(before: Execution | None, after: Execution, messages: list[Message]) -> None:
    assert list(messages_between(job(SPEC), before, after)) == messages


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        (None, execution(0, E.ASK_FOR_BID), ["offered to node n1"]),
        (
            execution(0, E.ASK_FOR_BID),
            execution(0, E.BID_ACCEPTED),
            ["accepted by node n1, which prepares it"],
        ),
        (execution(0, E.BID_ACCEPTED), execution(0, E.RUNNING), ["runs on node n1"]),
        (
            execution(0, E.RUNNING),
            execution(0, E.PUBLISHING),
            ["ended on node n1, its results are published"],
        ),
        (execution(0, E.PUBLISHING), execution(0, E.COMPLETED, outcome=DONE), ["completed with exit code 0"]),
        (execution(0), execution(0, E.FAILED, outcome=FAILED), ["failed on node n1: no module"]),
        (execution(0), execution(0, E.CANCELLED, outcome=Outcome()), ["stopped on node n1"]),
        (execution(0), execution(0, E.TIMED_OUT), ["timed out on node n1"]),
        (
            execution(0, E.ASK_FOR_BID),
            refused(0, "n1"),
            ["refused by node n1: node n1: engine: asked for all, offers nothing"],
        ),
        (execution(0), execution(0, ending=E.CANCELLED), ["node n1 is told to stop it"]),
        (execution(0), execution(0), []),
        (
            execution(0),
            execution(0, ending=E.TIMED_OUT),
            ["node n1 is told to stop it because it runs for too long"],
        ),
        (
            execution(0),
            execution(0, E.FAILED, outcome=FAULT, fenced=True),
            [f"failed on node n1: disk full {FENCED}"],
        ),
        (
            execution(0, ending=E.CANCELLED),
            execution(0, E.PUBLISHING, ending=E.CANCELLED),
            ["ended on node n1, its results are published"],
        ),
    ],
)
def test_history_of_an_execution(before: Execution | None, after: Execution, texts: list[str]) -> None:
    assert list(events_between(job(state=JobState.RUNNING), before, after, 7.0)) == [
        JobEvent(
            "j", 7.0, f"partition 0, attempt 1: {text}", JobState.RUNNING, "j-0", after.state, "n1", 0, 1
        )
        for text in texts
    ]


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        (None, job(), ["job submitted"]),
        (job(), job(), []),
        (job(), job(state=JobState.QUEUED, reason="no room"), ["job is QUEUED: no room"]),
        (job(), job(state=JobState.RUNNING), ["job is RUNNING"]),
        (job(), job(ending=JobState.CANCELLED, reason="enough"), ["job is being cancelled: enough"]),
        (job(), job(ending=JobState.FAILED, reason="no module"), ["job is being failed: no module"]),
        (job(ending=JobState.CANCELLED), evolve(job(ending=JobState.CANCELLED), modified_at=9.0), []),
        (
            job(ending=JobState.CANCELLED),
            job(state=JobState.CANCELLED, ending=JobState.CANCELLED, reason="enough"),
            ["job is CANCELLED: enough"],
        ),
    ],
)
def test_history_of_a_job(before: JobRecord | None, after: JobRecord, texts: list[str]) -> None:
    assert list(job_events_between(before, after, 7.0)) == [
        JobEvent("j", 7.0, text, after.state) for text in texts
    ]
