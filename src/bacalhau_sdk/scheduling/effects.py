"""What the cores want done: values that the runners in ``cluster/`` perform in order, the commit first."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from ..model.execution import Location, Task
from ..model.job import JobSpec
from ..model.message import Envelope
from ..model.record import Batch

__all__ = [
    "CheckBid",
    "Commit",
    "DiscardResults",
    "Effect",
    "KillExecution",
    "Publish",
    "Send",
    "StartExecution",
    "WakeAt",
]


@frozen
class Commit:
    """Keep records; nothing after it may be done before they are kept.

    Attributes:
        batch: What to keep.
    """

    batch: Batch


@frozen
class Send:
    """Send a message; it may be lost, since every one can be derived again from the records.

    Attributes:
        envelope: The message, addressed.
    """

    envelope: Envelope


@frozen
class WakeAt:
    """Hand in a `Tick` at a time; a later one replaces an earlier one that is still to come.

    Attributes:
        time: When, in seconds of the clock.
    """

    time: float


@frozen
class CheckBid:
    """Ask the executor whether it would run a task; answered by a `BidChecked`.

    Attributes:
        task: What it would be asked to run.
    """

    task: Task


@frozen
class StartExecution:
    """Stage the inputs and run; answered by `WorkloadStarted` and `WorkloadEnded`.

    An engine that has a workload of that execution already, from an earlier life of the node, goes on with it: nothing is run
    twice.

    Attributes:
        task: What the executor runs.
        spec: What is staged for it.
    """

    task: Task
    spec: JobSpec


@frozen
class KillExecution:
    """End whatever goes on for an execution: what was to answer that (a check, a run, publishing) answers once it is dead.

    Attributes:
        execution_id: The execution.
    """

    execution_id: str


@frozen
class Publish:
    """Put the results where they stay; answered by `ResultsPublished`.

    Attributes:
        execution_id: The execution.
    """

    execution_id: str


@frozen
class DiscardResults:
    """Remove what an execution has staged and published; its log stays readable.

    Attributes:
        execution_id: The execution.
        location: Where its results were published, or None.
    """

    execution_id: str
    location: Location | None = None


Effect: TypeAlias = (
    Commit | Send | WakeAt | CheckBid | StartExecution | KillExecution | Publish | DiscardResults
)
