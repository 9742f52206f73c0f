"""A node's core, and shorthand for what is done with it."""

from __future__ import annotations

from bacalhau_sdk.model.execution import (
    ExecutionState,
    Failure,
    FailureKind,
    Location,
    RunResult,
)
from bacalhau_sdk.model.message import (
    CancelExecution,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import (
    Effect,
    KillExecution,
    Send,
)
from bacalhau_sdk.scheduling.events import (
    BidChecked,
    ComputeEvent,
    Deliver,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)
from tests.scheduling.makers import from_node, node, offer, to_node, wasm

E = ExecutionState
ID = "j-0"
SPEC = wasm(resources=Resources(cpu=1))
OFFER = offer(ID, SPEC)
HERE = Location("path", "/results/j-0")
FAULT = Failure(FailureKind.PERMANENT, "wasm.invalid_module", "no module")
KILL = KillExecution(ID)
OVER = ExecutionUpdate(ID, E.CANCELLED)

# The events that bring an execution into each state, and those that may come next.
STEPS: dict[E, list[ComputeEvent]] = {
    E.ASK_FOR_BID: [Deliver(to_node("n1", OFFER))],
    E.BID_ACCEPTED: [BidChecked(ID)],
    E.RUNNING: [WorkloadStarted(ID)],
    E.PUBLISHING: [WorkloadEnded(ID, RunResult(3))],
    E.COMPLETED: [ResultsPublished(ID, HERE)],
}
CANCEL = Deliver(to_node("n1", CancelExecution(ID)))


class Node:
    """A core, and shorthand for what is done with it."""

    def __init__(self, core: ComputeCore | None = None) -> None:
        self.core = core or ComputeCore(node(cpu=2))

    def handle(self, *events: ComputeEvent, now: float = 10.0) -> list[Effect]:
        return [effect for event in events for effect in self.core.handle(event, now)]

    def deliver(self, message: Message) -> list[Effect]:
        return self.handle(Deliver(to_node("n1", message)))

    def listed(self) -> dict[str, E]:
        (beat,) = [m for m in said(self.handle(Tick())) if isinstance(m, Heartbeat)]
        return dict(beat.executions)

    @property
    def reserved(self) -> float:
        return 2 - self.core.account.free.cpu


def said(effects: list[Effect]) -> list[Message]:
    """Return the messages, and see that they go to the orchestrator in the node's name."""
    envelopes = [effect.envelope for effect in effects if isinstance(effect, Send)]
    assert all(envelope == from_node("n1", envelope.message, envelope.sequence) for envelope in envelopes)
    return [envelope.message for envelope in envelopes]


def done(effects: list[Effect]) -> list[Effect]:
    """Return what is not said."""
    return [effect for effect in effects if not isinstance(effect, Send)]


def at(state: E) -> Node:
    """Return a node that holds the execution in a state."""
    made = Node()
    for step, events in STEPS.items():
        made.handle(*events)
        if step is state:
            return made
    raise AssertionError(state)
