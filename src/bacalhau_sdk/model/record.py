"""What a job store keeps: records, and the history that led to them."""

from __future__ import annotations

from attrs import frozen

from .execution import Execution, ExecutionState, Failure
from .job import JobSpec, JobState, JobType
from .node import Refusal

__all__ = ["Batch", "JobEvent", "JobRecord", "Snapshot"]


@frozen
class JobRecord:
    """The record of a job.

    Attributes:
        id: Unique in the cluster.
        spec: What was submitted, its paths absolute and its module read.
        state: Where it stands.
        created_at: When it was submitted, in seconds of the cluster's clock, like all times here.
        modified_at: When it last changed.
        ended_at: When it reached a terminal state.
        ending: The terminal state that it will take once nothing of it runs any more; None while it is wanted.
        reason: What the state, or the ending, comes from; for people.
        failure: The root failure of a job that fails.
        refusals: Why no known node could ever run it, node by node.
        targets: The nodes of an ``ops`` job, one for each partition; found when the job is first placed, and once more
            whenever all of them have refused it for good.
        chosen_after: How many executions the job had when they were found: what was refused before does not count.
    """

    id: str
    spec: JobSpec
    state: JobState
    created_at: float
    modified_at: float
    ended_at: float | None = None
    ending: JobState | None = None
    reason: str = ""
    failure: Failure | None = None
    refusals: tuple[Refusal, ...] = ()
    targets: tuple[str, ...] = ()
    chosen_after: int = 0

    @property
    def partition_count(self) -> int:
        """How many partitions the job has; of an ``ops`` job, known once it has been placed."""
        return len(self.targets) if self.spec.type is JobType.OPS else self.spec.count


@frozen
class JobEvent:
    """One thing that happened to a job, as `Job.events` and `Cluster.events` tell it.

    Attributes:
        job_id: The job.
        time: When, in seconds of the cluster's clock (Unix time by default).
        message: What, for people.
        job_state: The state of the job afterwards.
        execution_id: The execution that it happened to, or None when it happened to the job.
        execution_state: The state of that execution afterwards.
        node: The node of that execution.
        partition_index: Which partition that execution is of.
        attempt: Which try of the partition it is.
    """

    job_id: str
    time: float
    message: str
    job_state: JobState
    execution_id: str | None = None
    execution_state: ExecutionState | None = None
    node: str | None = None
    partition_index: int | None = None
    attempt: int | None = None


@frozen
class Batch:
    """Records that are stored together or not at all.

    Attributes:
        jobs: New and changed ones; each replaces the one of the same id.
        executions: The same.
        events: To be added to the history.
    """

    jobs: tuple[JobRecord, ...] = ()
    executions: tuple[Execution, ...] = ()
    events: tuple[JobEvent, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is anything to store."""
        return bool(self.jobs or self.executions or self.events)


@frozen
class Snapshot:
    """All that a store holds, in the order in which it was first stored.

    Attributes:
        jobs: The records of all jobs.
        executions: The records of all executions.
        events: The history.
    """

    jobs: tuple[JobRecord, ...] = ()
    executions: tuple[Execution, ...] = ()
    events: tuple[JobEvent, ...] = ()
