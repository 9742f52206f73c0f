"""An execution: one try of one partition of a job on one node."""

from __future__ import annotations

import enum

from attrs import field, frozen

from .frozenmap import FrozenMap
from .job import EngineSpec
from .network import Network
from .node import Refusal
from .problems import printable_lines
from .resources import Resources

__all__ = [
    "Execution",
    "ExecutionState",
    "Failure",
    "FailureKind",
    "Location",
    "Outcome",
    "RunResult",
    "Task",
]


class ExecutionState(enum.Enum):
    """Where an execution stands; the original's names, less ``ASK_FOR_BID_ACCEPTED`` and ``BID_REJECTED``: a bid is one round."""

    NEW = "NEW"
    ASK_FOR_BID = "ASK_FOR_BID"
    ASK_FOR_BID_REJECTED = "ASK_FOR_BID_REJECTED"
    BID_ACCEPTED = "BID_ACCEPTED"
    RUNNING = "RUNNING"
    PUBLISHING = "PUBLISHING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def terminal(self) -> bool:
        """Whether the execution has ended, or never began because the node refused it."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        ExecutionState.ASK_FOR_BID_REJECTED,
        ExecutionState.COMPLETED,
        ExecutionState.FAILED,
        ExecutionState.CANCELLED,
        ExecutionState.TIMED_OUT,
    }
)


class FailureKind(enum.Enum):
    """Whether another try could go better."""

    PERMANENT = "permanent"
    INFRASTRUCTURE = "infrastructure"


@frozen
class Failure:
    """Why an execution failed; a stranger may have said it, so its texts are made printable.

    Attributes:
        kind: Whether another try could go better.
        code: The stable code of the error, such as ``wasm.invalid_module``.
        message: What happened.
        hint: What the user can do; may be empty.
        field: The field of the spec that is to blame; may be empty.
    """

    kind: FailureKind
    code: str
    message: str = field(converter=printable_lines)
    hint: str = field(default="", converter=printable_lines)
    field: str = ""


@frozen
class Location:
    """Where published results are.

    Attributes:
        scheme: Which storage has them; ``path`` is a folder that this machine can read.
        path: The folder, or the reference that the storage understands.
    """

    scheme: str
    path: str


@frozen
class RunResult:
    """What an executor says of a workload that ran to its end.

    Attributes:
        exit_code: The exit code; 0 is success.
    """

    exit_code: int = 0


@frozen
class Outcome:
    """How an execution ended, as its node reports it.

    Attributes:
        exit_code: Of the workload, or None when it did not end by itself.
        failure: Why it failed, or None when it did not.
        location: Where its results are, or None when there are none.
        stdout_truncated: Whether the log is cut because stdout passed its cap.
        stderr_truncated: The same of stderr.
    """

    exit_code: int | None = None
    failure: Failure | None = None
    location: Location | None = None
    stdout_truncated: bool = False
    stderr_truncated: bool = False


@frozen
class Task:
    """What an executor is asked to run.

    Attributes:
        execution_id: Unique in the cluster; names the workload wherever an engine wants a name.
        job_id: The job that it belongs to.
        partition_index: Which partition, from 0.
        partition_count: How many partitions the job has.
        attempt: Which try of the partition, from 1.
        engine: The program.
        env: The variables of the spec and those of the system.
        resources: What was reserved on the node.
        network: What the workload may reach.
        outputs: The guest path of each output, by name.
    """

    execution_id: str
    job_id: str
    partition_index: int
    partition_count: int
    engine: EngineSpec
    env: FrozenMap[str, str]
    resources: Resources
    network: Network
    outputs: FrozenMap[str, str] = field(factory=FrozenMap[str, str])
    attempt: int = 1


@frozen
class Execution:
    """The record of one try of one partition on one node.

    Attributes:
        id: Unique in the cluster.
        job_id: The job that it belongs to.
        partition_index: Which partition, from 0.
        attempt: Which try, from 1; an offer that no node accepted uses none up.
        node: The node that it was offered to.
        node_revision: Which broadcast of that node the offer rests on.
        state: Where it stands.
        created_at: When it was made, in seconds of the cluster's clock, like all times here.
        modified_at: When it last changed.
        accepted_at: When its node was heard to have accepted it.
        started_at: When the workload began to run.
        ended_at: When it reached a terminal state.
        ending: The terminal state that it will take once its node says that nothing of it runs any more; None while it is wanted.
        stop_requested_at: When its node was told to end it.
        fenced: Whether it was ended without the word of its node, which could not be reached or did not manage to stop it: it may
            still run there. It is killed when the node is back, and nothing that it reports is recorded.
        sequence: Of the envelope that brought the last news of it; what the node sent before that tells nothing new.
        refusals: Why the node refused it.
        outcome: How it ended.
    """

    id: str
    job_id: str
    partition_index: int
    attempt: int
    node: str
    node_revision: int
    state: ExecutionState
    created_at: float
    modified_at: float
    accepted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    ending: ExecutionState | None = None
    stop_requested_at: float | None = None
    fenced: bool = False
    sequence: int = 0
    refusals: tuple[Refusal, ...] = ()
    outcome: Outcome | None = None

    @property
    def stop_requested(self) -> bool:
        """Whether its node has been told to end it."""
        return self.ending is not None
