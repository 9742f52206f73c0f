"""What nodes and the orchestrator tell each other. Every handler of these is idempotent."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from .execution import ExecutionState, Outcome
from .job import JobSpec
from .node import NodeInfo, Refusal

__all__ = [
    "ORCHESTRATOR",
    "AcknowledgeExecution",
    "AskForBid",
    "BidResult",
    "CancelExecution",
    "Envelope",
    "ExecutionUpdate",
    "Heartbeat",
    "Message",
]


ORCHESTRATOR = "orchestrator"
"""The party that nodes send to; no node has this name."""


@frozen
class AskForBid:
    """The orchestrator offers one execution to one node; the answer is a `BidResult`.

    Attributes:
        execution_id: The execution.
        job_id: Its job.
        partition_index: Which partition it is of.
        partition_count: How many partitions the job has.
        attempt: Which try it is.
        node_revision: The revision of the broadcast that the offer rests on; a node that has another one by now refuses.
        spec: The job's spec.
    """

    execution_id: str
    job_id: str
    partition_index: int
    partition_count: int
    attempt: int
    node_revision: int
    spec: JobSpec


@frozen
class BidResult:
    """A node answers an offer. Accepting has reserved the capacity and begun the preparation.

    Attributes:
        execution_id: The execution that was offered.
        refusals: Why the node refuses; empty when it accepts.
    """

    execution_id: str
    refusals: tuple[Refusal, ...] = ()


@frozen
class ExecutionUpdate:
    """A node reports how an execution goes. A terminal report is repeated until it is acknowledged.

    Attributes:
        execution_id: The execution.
        state: Where it stands on the node.
        outcome: How it ended, with a terminal state.
    """

    execution_id: str
    state: ExecutionState
    outcome: Outcome | None = None


@frozen
class CancelExecution:
    """The orchestrator wants an execution dead; the answer is an `ExecutionUpdate` with a terminal state.

    Attributes:
        execution_id: The execution.
    """

    execution_id: str


@frozen
class AcknowledgeExecution:
    """The orchestrator has recorded, or dropped, the end of an execution; the node may forget it.

    Attributes:
        execution_id: The execution.
        discard: Whether the execution's results are not wanted, and must go.
    """

    execution_id: str
    discard: bool = False


@frozen
class Heartbeat:
    """A node says what it is and what it holds.

    Attributes:
        info: What it is.
        executions: The state of every execution that it holds, by id, terminal ones until they are acknowledged.
    """

    info: NodeInfo
    executions: tuple[tuple[str, ExecutionState], ...] = ()


Message: TypeAlias = (
    AskForBid | BidResult | ExecutionUpdate | CancelExecution | AcknowledgeExecution | Heartbeat
)


@frozen
class Envelope:
    """A message on its way.

    Attributes:
        sender: The party that sent it: a node's name, or the orchestrator's.
        recipient: The party that it is for.
        message: The message.
        sequence: Grows from one envelope of a node to the next, and from one life of the node to the next, so that what was held
            up on its way shows; 0 from the orchestrator, whose messages need no order.
    """

    sender: str
    recipient: str
    message: Message
    sequence: int = 0
