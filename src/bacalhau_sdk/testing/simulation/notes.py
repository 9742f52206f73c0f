"""What is recorded, as entries of a history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...model.execution import Execution, FailureKind
from ...model.frozenmap import FrozenMap
from ...model.job import JobSpec
from ...model.node import NodeInfo
from ...model.record import Batch
from ..history import HistoryEntry

__all__ = ["node_entry", "recorded", "submitted"]


def recorded(batch: Batch, known: Mapping[str, Execution], time: float) -> Iterator[HistoryEntry]:
    """Yield the entries for a batch that is being committed.

    Args:
        batch: The batch.
        known: The executions as they were before, by id.
        time: Seconds of the run's clock.
    """
    for execution in batch.executions:
        before = known.get(execution.id)
        if execution.ending is not None and (before is None or before.ending is None):
            yield HistoryEntry(
                time,
                "told-to-stop",
                job_id=execution.job_id,
                execution_id=execution.id,
                node=execution.node,
                detail=FrozenMap({"ending": execution.ending.value}),
            )
        outcome = execution.outcome
        failure = outcome.failure if outcome is not None else None
        yield HistoryEntry(
            time,
            "execution",
            job_id=execution.job_id,
            execution_id=execution.id,
            node=execution.node,
            state=execution.state.value,
            partition_index=execution.partition_index,
            attempt=execution.attempt,
            detail=FrozenMap(
                {
                    "fenced": execution.fenced,
                    "accepted": execution.accepted_at is not None,
                    "exit_code": outcome.exit_code if outcome is not None else None,
                    "permanent": failure is not None and failure.kind is FailureKind.PERMANENT,
                }
            ),
        )
    for job in batch.jobs:
        yield HistoryEntry(time, "job", job_id=job.id, state=job.state.value)


def submitted(job_id: str, spec: JobSpec, time: float) -> HistoryEntry:
    """Return the entry for a `submit` that has returned."""
    return HistoryEntry(
        time,
        "submit-returned",
        job_id=job_id,
        detail=FrozenMap(
            {
                "partitions": spec.count,
                "max_attempts": spec.retry.max_attempts,
                "queue": spec.timeouts.queue,
                "execution": spec.timeouts.execution,
                "total": spec.timeouts.total,
                "type": spec.type.value,
            }
        ),
    )


def node_entry(info: NodeInfo, time: float) -> HistoryEntry:
    """Return the entry for a node and what it has."""
    return HistoryEntry(
        time,
        "node",
        node=info.name,
        detail=FrozenMap(
            {
                "cpu": info.capacity.cpu,
                "memory": info.capacity.memory,
                "max_executions": info.max_executions,
            }
        ),
    )
