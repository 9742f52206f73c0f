"""Records and messages that have something in every field, for checks of what keeps or carries them."""

from __future__ import annotations

from ...model.execution import Execution, ExecutionState, Failure, FailureKind, Location, Outcome
from ...model.frozenmap import FrozenMap
from ...model.job import FunctionSpec, JobSpec, JobState, RetryPolicy, Timeouts
from ...model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
    AskForBid,
    BidResult,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from ...model.network import Network, NetworkType
from ...model.node import Check, EngineInfo, NodeInfo, Refusal
from ...model.platform import Platform, PlatformSupport
from ...model.record import Batch, JobEvent, JobRecord
from ...model.resources import Resources
from ...model.selector import Selector

__all__ = ["batch_of", "envelopes", "event", "execution", "job"]

_TEXT = "tab\t, line\n, \x1b[31m, quote ' \" \\, ümläut, 漢字, \U0001f600"
_TIME = 1764000000.1234567
_FAILURE = Failure(FailureKind.INFRASTRUCTURE, "node.io", _TEXT, "try again")
_REFUSAL = Refusal("edge", Check.CAPACITY, "cpu 4", "cpu 0.1", _TEXT, lasting=False)
_SPEC = JobSpec.wasm(
    bytes(range(256)),
    "a b",
    _TEXT,
    "",
    inputs={"/in": "/data", "/web": "https://example.com/x", "/bytes": b"\0\xff"},
    outputs={"out": "/out", "more": "/more"},
    env={"GREETING": _TEXT, "EMPTY": ""},
    stdin=b"\0\n\xff",
    resources=Resources(cpu=0.1, memory="64MiB", disk=1, gpu=0),
    network=Network(NetworkType.HTTP, [".example.com", "10.0.0.1"]),
    timeouts=Timeouts(queue=1.5, execution=60, total=3600),
    retry=RetryPolicy(max_attempts=3, backoff=0.25),
    selector=Selector("zone in (dc, field), size > 42", prefer="disk = ssd"),
    count=3,
    priority=-7,
    labels={"team": "a"},
)
_OTHERS = (
    JobSpec.function("count", "a", _TEXT),
    JobSpec.docker("busybox:1.37", "sh", "-c", "exit 3", platform="linux/arm/v7", entrypoint=["/bin/env"]),
    JobSpec(FunctionSpec("f"), type="ops"),
)
_OUTCOMES = (
    None,
    Outcome(0, location=Location("path", "/results/ä")),
    Outcome(2**32 - 1, stdout_truncated=True),
    Outcome(failure=_FAILURE, stderr_truncated=True),
)
_BIG = 128 * 1024
"""Bytes of what is in the largest message; the limit of 256 KiB is for all that an encoding makes of them."""


def job(id: str, reason: str = "") -> JobRecord:
    """Return a record of a job."""
    number = len(id) + len(reason)
    spec = _SPEC if number % 2 else _OTHERS[number % 3]
    state = list(JobState)[number % len(JobState)]
    ended = _TIME + 0.1 if state.terminal else None
    ending = None if ended else JobState.CANCELLED
    refusals = (_REFUSAL,) * (number % 3)
    return JobRecord(
        id, spec, state, _TIME, _TIME + number, ended, ending, reason or _TEXT, _FAILURE, refusals, ("a", "b")
    )


def execution(id: str, number: int) -> Execution:
    """Return a record of an execution, another one for every number."""
    states = list(ExecutionState)
    return Execution(
        id=id,
        job_id="j-1",
        partition_index=number % 3,
        attempt=number + 1,
        node="edge",
        node_revision=2**53 + number,
        state=states[number % len(states)],
        created_at=_TIME,
        modified_at=_TIME + number / 3,
        accepted_at=0.0,
        started_at=1e-9 if number % 2 else None,
        ending=ExecutionState.TIMED_OUT if number % 5 == 1 else None,
        fenced=number % 3 == 1,
        sequence=number,
        refusals=(_REFUSAL,) * (number % 2),
        outcome=_OUTCOMES[number % len(_OUTCOMES)],
    )


def event(job_id: str, number: int) -> JobEvent:
    """Return an event, another one for every number."""
    if number % 2:
        return JobEvent(job_id, _TIME + number, _TEXT, JobState.QUEUED)
    return JobEvent(job_id, _TIME, "", JobState.RUNNING, "e-1", ExecutionState.RUNNING, "edge", number, 1)


def batch_of(number: int) -> Batch:
    """Return a batch with all kinds of records; those of a number change some of the one before."""
    return Batch(
        tuple(job(f"j-{each}", "x" * number) for each in range(number, number + 4)),
        tuple(execution(f"e-{each}", each * 2 - number) for each in range(number, number + 4)),
        tuple(event(f"j-{each}", each) for each in range(number, number + 2)),
    )


def envelopes() -> tuple[tuple[Envelope, ...], tuple[Envelope, ...]]:
    """Return one envelope of every kind of message, to the orchestrator and from it; one of each is large."""
    info = NodeInfo(
        "edge",
        FrozenMap({"name": "edge", "zone": "a", "empty": ""}),
        FrozenMap(
            {
                "docker": EngineInfo(
                    "docker", (PlatformSupport(Platform.parse("linux/arm/v6"), emulated=True),)
                )
            }
        ),
        ("bytes", "https"),
        Resources(cpu=0.5, memory=2**40),
        draining=True,
        revision=2**53 + 1,
    )
    held = tuple((f"e-{number}", state) for number, state in enumerate(ExecutionState))
    big = JobSpec.wasm(bytes(range(256)) * (_BIG // 256))
    many = tuple((f"e-{number:060}", ExecutionState.RUNNING) for number in range(_BIG // 100))
    to_hub: tuple[Message, ...] = (
        BidResult("e-1"),
        BidResult("e-ä", (_REFUSAL, _REFUSAL)),
        *(ExecutionUpdate("e-1", state, outcome) for state in ExecutionState for outcome in _OUTCOMES),
        Heartbeat(info, held),
        Heartbeat(info, many),
    )
    to_edge: tuple[Message, ...] = (
        *(AskForBid("e-1", "j-1", 0, 3, 2, 2**53, spec) for spec in (_SPEC, *_OTHERS, big)),
        CancelExecution("e-1"),
        AcknowledgeExecution("e-1", discard=True),
    )
    return (
        tuple(Envelope("edge", ORCHESTRATOR, message, number) for number, message in enumerate(to_hub)),
        tuple(Envelope(ORCHESTRATOR, "edge", message) for message in to_edge),
    )
