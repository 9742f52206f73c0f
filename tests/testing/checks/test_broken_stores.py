"""Stores and clocks that break one promise each, and the check that catches it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import anyio
import pytest
from attrs import evolve

from bacalhau_sdk import JobState
from bacalhau_sdk.abc import Batch, Clock, JobEvent, JobRecord, Snapshot
from bacalhau_sdk.clocks.system import SystemClock
from bacalhau_sdk.stores.memory import MemoryStore
from bacalhau_sdk.testing.checks import (
    CLOCK_CHECKS,
    DURABLE_STORE_CHECKS,
    STORE_CHECKS,
    Check,
    MakeClock,
    MakeStore,
)
from examples import own_store
from examples.own_store import JournalStore
from tests.testing.checks.broken import cases, catches


class Fresh(MemoryStore):
    def __init__(self, folder: Path) -> None:
        super().__init__()


class KeepsOld(Fresh):
    async def _load(self) -> Snapshot:
        snapshot = await super()._load()
        return snapshot if snapshot.jobs else evolve(snapshot, events=(JobEvent("j", 0, "", STATE),))


class ForgetsExecutions(Fresh):
    async def _commit(self, batch: Batch) -> None:
        await super()._commit(evolve(batch, executions=()))


class MakesFloats(Fresh):
    async def _commit(self, batch: Batch) -> None:
        executions = tuple(
            evolve(each, attempt=cast("int", float(each.attempt))) for each in batch.executions
        )
        await super()._commit(evolve(batch, executions=executions))


class KeepsFew(Fresh):
    async def _load(self) -> Snapshot:
        snapshot = await super()._load()
        return evolve(snapshot, executions=snapshot.executions[:1000])


class KeepsAllVersions(Fresh):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._all: list[JobRecord] = []

    async def _commit(self, batch: Batch) -> None:
        self._all += batch.jobs
        await super()._commit(batch)

    async def _load(self) -> Snapshot:
        return evolve(await super()._load(), jobs=tuple(self._all))


class KeepsTheFirstVersion(Fresh):
    async def _commit(self, batch: Batch) -> None:
        new = tuple(job for job in batch.jobs if job.id not in self._jobs)
        await super()._commit(evolve(batch, jobs=new))


class KeepsEqualEventsOnce(Fresh):
    async def _load(self) -> Snapshot:
        snapshot = await super()._load()
        return evolve(snapshot, events=tuple(dict.fromkeys(snapshot.events)))


class Sorts(Fresh):
    async def _load(self) -> Snapshot:
        snapshot = await super()._load()
        return evolve(snapshot, jobs=tuple(sorted(snapshot.jobs, key=lambda job: job.id)))


class MovesToTheEnd(Fresh):
    async def _commit(self, batch: Batch) -> None:
        for job in batch.jobs:
            self._jobs.pop(job.id, None)
        await super()._commit(batch)


class ShowsItsOwnList(Fresh):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._all: list[JobEvent] = []

    async def _commit(self, batch: Batch) -> None:
        self._all += batch.events
        await super()._commit(batch)

    async def _load(self) -> Snapshot:
        return evolve(await super()._load(), events=cast("tuple[JobEvent, ...]", self._all))


class KeepsParts(Fresh):
    async def _commit(self, batch: Batch) -> None:
        await super()._commit(Batch(jobs=batch.jobs))
        await anyio.sleep(0)
        await super()._commit(evolve(batch, jobs=()))


class Abandons(Fresh):
    """Lets threads go on that nobody waits for any more; they write when all has been looked at."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._loads = 0
        self._all_seen = threading.Event()
        self._writing: list[threading.Thread] = []

    async def _load(self) -> Snapshot:
        self._loads += 1
        if self._loads > 10:  # the last look, which comes later
            for thread in self._writing:
                await anyio.to_thread.run_sync(thread.join)
        snapshot = await super()._load()
        if self._loads == 10:
            self._all_seen.set()
        return snapshot

    async def _commit(self, batch: Batch) -> None:
        thread = threading.Thread(target=self._write, args=(batch,))
        self._writing.append(thread)
        thread.start()
        while thread.is_alive():
            await anyio.sleep(0.01)

    def _write(self, batch: Batch) -> None:
        self._all_seen.wait(60)
        self._jobs.update((each.id, each) for each in batch.jobs)
        self._executions.update((each.id, each) for each in batch.executions)
        self._events.extend(batch.events)


class Shared(MemoryStore):
    """Keeps in memory what it should keep in its folder."""

    known: ClassVar[dict[Path, MemoryStore]] = {}

    def __new__(cls, folder: Path) -> Shared:
        return cls.known.setdefault(folder, super().__new__(cls))  # type: ignore[return-value]

    def __init__(self, folder: Path) -> None:
        if not hasattr(self, "_jobs"):
            super().__init__()


def journal(folder: Path) -> JournalStore:
    return JournalStore(folder / "journal")


class CannotReadTornLines(JournalStore):
    def _read(self) -> Snapshot:
        with suppress(FileNotFoundError):
            data = self._path.read_bytes()
            if data and not data.endswith(b"\n"):
                raise ValueError("a line has no end")
        return super()._read()


class AppendsToTornLines(JournalStore):
    def _append(self, batch: Batch) -> None:
        self._end = self._path.stat().st_size if self._path.exists() else 0
        super()._append(batch)


class KeepsTornLines(JournalStore):
    """Reads of a line what is there."""

    def _read(self) -> Snapshot:
        snapshot = super()._read()
        whole = sum(len(line) for line, _ in lines_of(self._path))
        torn = self._path.stat().st_size > whole
        return evolve(snapshot, events=(*snapshot.events, *snapshot.events[:1])) if torn else snapshot


class WritesTwoLines(JournalStore):
    async def _commit(self, batch: Batch) -> None:
        await super()._commit(evolve(batch, events=()))
        await anyio.sleep(0)
        await super()._commit(Batch(events=batch.events))


def lines_of(path: Path) -> Iterator[tuple[bytes, Batch]]:
    file: BinaryIO
    with path.open("rb") as file:
        yield from own_store.whole_lines(file)


STATE = JobState.QUEUED

BROKEN_STORES: dict[str, list[tuple[MakeStore, str]]] = {
    "a new store is empty": [(KeepsOld, "1 events were loaded, 0 committed")],
    "what was committed is loaded as it was": [
        (ForgetsExecutions, "0 executions were loaded, 4 committed"),
        (MakesFloats, "executions[0].attempt was loaded as 1.0, committed as 1"),
    ],
    "many records are kept": [(KeepsFew, "1000 executions were loaded, 1500 committed")],
    "a record replaces the one of its id": [
        (KeepsAllVersions, "3 jobs were loaded, 1 committed"),
        (KeepsTheFirstVersion, "jobs[0].reason was loaded as 'look 1', committed as 'look 3'"),
    ],
    "events are added also equal ones": [(KeepsEqualEventsOnce, "2 events were loaded, 6 committed")],
    "records keep the order in which they came first": [
        (Sorts, "jobs[0].id was loaded as 'j-0', committed as 'j-3'"),
        (MovesToTheEnd, "jobs[0].id was loaded as"),
    ],
    "a snapshot does not change afterwards": [(ShowsItsOwnList, "changed with the next commit")],
    "a cancelled commit keeps all or nothing": [
        (KeepsParts, "kept a part of its batch"),
        (Abandons, "a commit that was cancelled still wrote 0.3 seconds later"),
    ],
}
BROKEN_DURABLE_STORES: dict[str, list[tuple[MakeStore, str]]] = {
    "a store that is made again has what the first one had": [(Fresh, "0 jobs were loaded")],
    "what was committed survives a kill": [(Shared, "0 jobs were loaded")],
    "a commit that was torn is kept whole or not at all": [
        (lambda folder: CannotReadTornLines(folder / "journal"), "a line has no end"),
        (lambda folder: AppendsToTornLines(folder / "journal"), "then one more commit"),
        (lambda folder: KeepsTornLines(folder / "journal"), "journal torn after"),
    ],
    "a cancelled commit leaves a store that can be made again": [
        (lambda folder: WritesTwoLines(folder / "journal"), "kept a part of its batch")
    ],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(STORE_CHECKS, BROKEN_STORES))
async def test_a_store_is_caught(check: Check[MakeStore], make: MakeStore, seen: str) -> None:
    await catches(check, make, seen)


@pytest.mark.parametrize(("check", "make", "seen"), cases(DURABLE_STORE_CHECKS, BROKEN_DURABLE_STORES))
async def test_a_durable_store_is_caught(check: Check[MakeStore], make: MakeStore, seen: str) -> None:
    await catches(check, make, seen)


# ---- Clocks ----


class GoesBack(SystemClock):
    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    def now(self) -> float:
        self._asked += 1
        return super().now() - (10 if self._asked > 1000 else 0)


class WakesEarly(SystemClock):
    async def sleep_until(self, time: float) -> None:
        await anyio.sleep(0)


class WakesAllTogether(SystemClock):
    def __init__(self) -> None:
        super().__init__()
        self._woken = anyio.Event()

    async def sleep_until(self, time: float) -> None:
        if time - self.now() > 0.12:
            await self._woken.wait()
        else:
            await super().sleep_until(time)
            self._woken.set()


class HasOneAlarm(SystemClock):
    """Keeps one time to wake up at, and forgets the others."""

    def __init__(self) -> None:
        super().__init__()
        self._alarm = 0.0

    async def sleep_until(self, time: float) -> None:
        self._alarm = mine = time
        await super().sleep_until(time)
        if self._alarm != mine:
            await anyio.sleep_forever()


class WaitsForThePast(SystemClock):
    async def sleep_until(self, time: float) -> None:
        await super().sleep_until(self.now() + abs(time - self.now()))


class HasNoCheckpoint(SystemClock):
    async def sleep_until(self, time: float) -> None:
        if time > self.now():
            await super().sleep_until(time)


class ShieldsItsCheckpoint(SystemClock):
    async def sleep_until(self, time: float) -> None:
        if time > self.now():
            await super().sleep_until(time)
        else:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)


class IgnoresCancellation(SystemClock):
    async def sleep_until(self, time: float) -> None:
        with anyio.CancelScope(shield=True):
            await super().sleep_until(min(time, self.now() + 0.2))


BROKEN_CLOCKS: dict[str, list[tuple[MakeClock, str]]] = {
    "now never goes back": [(GoesBack, "it went back from")],
    "a sleep is never too short": [(WakesEarly, "returned at")],
    "sleeps end in the order of their times": [
        (WakesAllTogether, "too early"),
        (HasOneAlarm, "it was not done after 1 seconds"),
    ],
    "the past is not waited for": [(WaitsForThePast, "it was not done after 1 seconds")],
    "a sleep lets others run": [(HasNoCheckpoint, "no other task had a turn")],
    "a sleep until the past sees a cancellation": [
        (HasNoCheckpoint, "returned in a scope that was cancelled"),
        (ShieldsItsCheckpoint, "returned in a scope that was cancelled"),
    ],
    "a sleep can be cancelled": [(IgnoresCancellation, "was not cancelled")],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(CLOCK_CHECKS, BROKEN_CLOCKS))
async def test_a_clock_is_caught(check: Check[MakeClock], make: Callable[[], Clock], seen: str) -> None:
    await catches(check, make, seen, limit=1 if "after 1 seconds" in seen else 20)
