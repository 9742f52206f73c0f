"""What can happen to the cores: values that the runners in ``cluster/`` hand in."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from ..model.execution import Failure, Location, Outcome, RunResult
from ..model.job import JobSpec
from ..model.message import AskForBid, Envelope
from ..model.node import Refusal
from ..model.record import Snapshot

__all__ = [
    "Adopt",
    "BidChecked",
    "CancelAll",
    "CancelJob",
    "ComputeEvent",
    "Deliver",
    "Drain",
    "OrchestratorEvent",
    "Restore",
    "ResultsPublished",
    "SubmitJob",
    "Tick",
    "WorkloadEnded",
    "WorkloadStarted",
]


@frozen
class SubmitJob:
    """A user submits a job.

    Attributes:
        job_id: The id that it gets.
        spec: The spec, its paths absolute and its module read.
    """

    job_id: str
    spec: JobSpec


@frozen
class CancelJob:
    """A user, or the end of an owner, cancels a job.

    Attributes:
        job_id: The job.
        reason: For people.
    """

    job_id: str
    reason: str


@frozen
class CancelAll:
    """The cluster closes: every job that has not ended is cancelled, before any of them is looked at again.

    Attributes:
        reason: For people.
    """

    reason: str


@frozen
class Deliver:
    """A message has arrived.

    Attributes:
        envelope: The message, with its sender.
    """

    envelope: Envelope


@frozen
class Restore:
    """The records of an earlier life are there; the first event that an orchestrator gets.

    Attributes:
        snapshot: All of them.
    """

    snapshot: Snapshot


@frozen
class Tick:
    """The time that a `WakeAt` asked for has come; a node gets one at the start, too."""


@frozen
class Adopt:
    """What a node's earlier life has left: the first event of its new one.

    Attributes:
        running: The offers of executions whose workload its engine still has, running or ended.
        completed: Those of executions whose results are published, with their outcome, that were not acknowledged.
    """

    running: tuple[AskForBid, ...] = ()
    completed: tuple[tuple[AskForBid, Outcome], ...] = ()


@frozen
class Drain:
    """The operator wants a node to take nothing new, or to take executions again.

    Attributes:
        draining: Whether it is to take nothing new.
    """

    draining: bool


@frozen
class BidChecked:
    """The executor has looked at a task that is offered.

    Attributes:
        execution_id: The execution.
        refusal: Why it would not run it, or None when it would.
    """

    execution_id: str
    refusal: Refusal | None = None


@frozen
class WorkloadStarted:
    """The inputs are staged and the workload itself has begun.

    Attributes:
        execution_id: The execution.
    """

    execution_id: str


@frozen
class WorkloadEnded:
    """Nothing of the workload runs any more.

    Attributes:
        execution_id: The execution.
        result: What the executor said, why it failed, or None when it was killed.
        stdout_truncated: Whether stdout passed its cap.
        stderr_truncated: Whether stderr passed its cap.
    """

    execution_id: str
    result: RunResult | Failure | None
    stdout_truncated: bool = False
    stderr_truncated: bool = False


@frozen
class ResultsPublished:
    """The results are where they stay, or could not be brought there.

    Attributes:
        execution_id: The execution.
        result: Where they are, why not, or None when publishing was killed.
    """

    execution_id: str
    result: Location | Failure | None


OrchestratorEvent: TypeAlias = SubmitJob | CancelJob | CancelAll | Deliver | Restore | Tick
ComputeEvent: TypeAlias = (
    Adopt | Deliver | Drain | Tick | BidChecked | WorkloadStarted | WorkloadEnded | ResultsPublished
)
