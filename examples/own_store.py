"""A store of your own: a journal, one line for each batch. `docs/how-to/your-own-store.md` explains it."""

import base64
import os
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from bacalhau_sdk.abc import Batch, Execution, JobEvent, JobRecord, JobStore, Snapshot


class JournalStore(JobStore):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._end: int | None = None

    async def _commit(self, batch: Batch) -> None:
        await to_thread.run_sync(self._append, batch)  # once begun, it is not cut short

    async def _load(self) -> Snapshot:
        return await to_thread.run_sync(self._read)

    def _append(self, batch: Batch) -> None:
        data = base64.b64encode(pickle.dumps(batch))
        with self._path.open("a+b") as file:
            if self._end is None:
                self._end = sum(len(line) for line, _ in whole_lines(file))
            file.truncate(self._end)  # a kill, or a disk that is full, may have left half a line
            file.write(b"%08x %s\n" % (zlib.crc32(data), data))
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()

    def _read(self) -> Snapshot:
        jobs: dict[str, JobRecord] = {}
        executions: dict[str, Execution] = {}
        events: list[JobEvent] = []
        with self._path.open("a+b") as file:
            for _, batch in whole_lines(file):
                jobs.update((job.id, job) for job in batch.jobs)
                executions.update((execution.id, execution) for execution in batch.executions)
                events += batch.events
        return Snapshot(tuple(jobs.values()), tuple(executions.values()), tuple(events))


def whole_lines(file: BinaryIO) -> Iterator[tuple[bytes, Batch]]:
    file.seek(0)
    for line in file:
        checksum, _, data = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(data):
            return
        yield line, pickle.loads(base64.b64decode(data))
