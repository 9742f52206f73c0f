"""Records in memory: they last as long as the object."""

from __future__ import annotations

from ..abc.store import JobStore
from ..model.execution import Execution
from ..model.record import Batch, JobEvent, JobRecord, Snapshot

__all__ = ["MemoryStore"]


class MemoryStore(JobStore):
    """Keeps records in this process. Handed to a second cluster, after the first has closed, it still has them."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._executions: dict[str, Execution] = {}
        self._events: list[JobEvent] = []

    async def _commit(self, batch: Batch) -> None:
        self._jobs.update((job.id, job) for job in batch.jobs)
        self._executions.update((execution.id, execution) for execution in batch.executions)
        self._events += batch.events

    async def _load(self) -> Snapshot:
        return Snapshot(tuple(self._jobs.values()), tuple(self._executions.values()), tuple(self._events))
