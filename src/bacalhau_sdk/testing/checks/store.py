"""Checks of job stores."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
from attrs import evolve

from ...abc.store import JobStore
from ...host.threads import run_blocking
from ...model.record import Batch, Snapshot
from .check import WATCH, Check, Promises, cancel_after, expect, folder
from .difference import difference
from .records import batch_of, event, execution, job

__all__ = ["DURABLE_STORE_CHECKS", "STORE_CHECKS", "MakeStore"]

MakeStore: TypeAlias = Callable[[Path], JobStore]
"""Makes a store, given a folder that it may use; one that keeps nothing outside of the process does not need it."""

_KEPT = "once `commit` has returned, all of the batch is kept, and a later `load` has it"
_WHOLE = "Keep all records of a batch, or none of them."
_CUTS = 24
"""At how many places a write is torn."""

_note: Promises[MakeStore] = Promises()
_note_durable: Promises[MakeStore] = Promises()


@_note(JobStore, "Return everything that is kept.")
async def _a_new_store_is_empty(make: MakeStore) -> None:
    async with _opened(make) as store:
        await _holds(store, Snapshot(), "a new store")


@_note(JobStore, _KEPT)
async def _what_was_committed_is_loaded_as_it_was(make: MakeStore) -> None:
    async with _opened(make) as store:
        kept = Snapshot()
        for number in range(5):
            batch = batch_of(number)
            await store.commit(batch)
            kept = _after(kept, batch)
            await _holds(store, kept, f"after {number + 1} commits")


@_note(JobStore, _KEPT)
async def _many_records_are_kept(make: MakeStore) -> None:
    many = Batch(
        tuple(job(f"j-{number}") for number in range(1500)),
        tuple(execution(f"e-{number}", number) for number in range(1500)),
        tuple(event(f"j-{number}", number) for number in range(1500)),
    )
    async with _opened(make) as store:
        await store.commit(many)
        kept = _after(Snapshot(), many)
        for number in range(50):
            batch = Batch(executions=(execution(f"e-{number}", number + 1),))
            await store.commit(batch)
            kept = _after(kept, batch)
        await _holds(store, kept, "after a batch of 4500 records and 50 small ones")


@_note(Batch, "each replaces the one of the same id")
async def _a_record_replaces_the_one_of_its_id(make: MakeStore) -> None:
    async with _opened(make) as store:
        kept = Snapshot()
        for attempt in range(1, 4):
            batch = Batch((job("j-1", f"look {attempt}"),), (execution("e-1", attempt),))
            await store.commit(batch)
            kept = _after(kept, batch)
        await _holds(store, kept, "after three commits of the same ids")


@_note(Batch, "To be added to the history.")
async def _events_are_added_also_equal_ones(make: MakeStore) -> None:
    async with _opened(make) as store:
        kept = Snapshot()
        for number in (2, 1, 2):
            batch = Batch(events=(event("j-1", number), event("j-1", number)))
            await store.commit(batch)
            kept = _after(kept, batch)
        await _holds(store, kept, "after three commits of two equal events each")


@_note(Snapshot, "in the order in which it was first stored")
async def _records_keep_the_order_in_which_they_came_first(make: MakeStore) -> None:
    async with _opened(make) as store:
        kept = Snapshot()
        for numbers in ((3, 1), (2, 3), (10, 1, 0)):
            batch = Batch(
                tuple(job(f"j-{number}", str(numbers)) for number in numbers),
                tuple(execution(f"e-{number}", number) for number in numbers),
            )
            await store.commit(batch)
            kept = _after(kept, batch)
        await _holds(store, kept, "after commits of j-3 j-1, then j-2 j-3, then j-10 j-1 j-0")


@_note(JobStore, "Return everything that is kept.")
async def _a_snapshot_does_not_change_afterwards(make: MakeStore) -> None:
    async with _opened(make) as store:
        await store.commit(batch_of(0))
        before = await store.load()
        described = repr(before)
        await store.commit(batch_of(1))
        expect(repr(before) == described, "a snapshot that was loaded earlier changed with the next commit")


@_note(JobStore, _WHOLE)
async def _a_cancelled_commit_keeps_all_or_nothing(make: MakeStore) -> None:
    async with _opened(make) as store:
        await _cancel_commits(store, lambda: store)


@_note_durable(JobStore, _KEPT)
async def _a_store_that_is_made_again_has_what_the_first_one_had(make: MakeStore) -> None:
    async with folder() as place:
        kept = Snapshot()
        for number in range(3):
            await make(place).commit(batch_of(number))
            kept = _after(kept, batch_of(number))
            await _holds(make(place), kept, f"made again after {number + 1} commits")


@_note_durable(JobStore, _KEPT)
async def _what_was_committed_survives_a_kill(make: MakeStore) -> None:
    async with folder() as place, folder() as parent:
        kept = Snapshot()
        store = make(place)
        for number in range(3):
            await store.commit(batch_of(number))
            kept = _after(kept, batch_of(number))
            # What the process would leave behind if it was killed now.
            left = parent / str(number)
            await run_blocking(shutil.copytree, place, left)
            await _holds(make(left), kept, f"made from what a kill after {number + 1} commits leaves")


@_note_durable(JobStore, _WHOLE)
async def _a_commit_that_was_torn_is_kept_whole_or_not_at_all(make: MakeStore) -> None:
    """Try each file to which a commit appends: what a kill, or a full disk, leaves is any first part of what was appended."""
    async with folder() as place, folder() as parent:
        store = make(place)
        await store.commit(batch_of(0))
        old = _after(Snapshot(), batch_of(0))
        sizes = await run_blocking(_sizes, place)
        await run_blocking(shutil.copytree, place, parent / "before")
        await store.commit(batch_of(1))
        new = _after(old, batch_of(1))
        number = itertools.count()
        for name, (file_id, size) in (await run_blocking(_sizes, place)).items():
            begin = sizes.get(name, (file_id, 0))
            if begin[0] != file_id or not await run_blocking(
                _appended, parent / "before" / name, place / name
            ):
                continue
            cuts = sorted({begin[1] + (size - begin[1]) * cut // _CUTS for cut in range(_CUTS)} | {size - 1})
            for cut in (each for each in cuts if begin[1] <= each < size):
                torn = parent / str(next(number))
                await run_blocking(_copy_torn, place, torn, name, cut)
                await _goes_on(make, torn, (old, new), f"{name} torn after {cut} of {size} bytes")


@_note_durable(JobStore, _WHOLE)
async def _a_cancelled_commit_leaves_a_store_that_can_be_made_again(make: MakeStore) -> None:
    async with folder() as place:
        await _cancel_commits(make(place), lambda: make(place))


DURABLE_STORE_CHECKS: tuple[Check[MakeStore], ...] = tuple(_note_durable)
"""What else a `bacalhau_sdk.abc.JobStore` keeps to that survives its process; called as `STORE_CHECKS` are.

Several stores are made for one folder, one after the other, the earlier ones being left as a process that is killed leaves them.
"""

STORE_CHECKS: tuple[Check[MakeStore], ...] = tuple(_note)
"""The promises of `bacalhau_sdk.abc.JobStore`; each is called with what makes a store, given an empty folder that it may use."""


@asynccontextmanager
async def _opened(make: MakeStore) -> AsyncGenerator[JobStore, None]:
    async with folder() as place:
        yield make(place)


def _after(kept: Snapshot, batch: Batch) -> Snapshot:
    """Return what a store has to hold after one more batch."""
    jobs = {each.id: each for each in kept.jobs} | {each.id: each for each in batch.jobs}
    executions = {each.id: each for each in kept.executions} | {each.id: each for each in batch.executions}
    return Snapshot(tuple(jobs.values()), tuple(executions.values()), kept.events + batch.events)


async def _holds(store: JobStore, kept: Snapshot, when: str) -> None:
    loaded = await store.load()
    expect(isinstance(loaded, Snapshot), f"{when}: load returned {type(loaded).__name__}, not a Snapshot")
    difference = _difference(loaded, kept)
    expect(not difference, f"{when}: {difference}")


def _difference(loaded: Snapshot, kept: Snapshot) -> str:
    """Say what is wrong with a snapshot; a record of equal value but another type is another record."""
    for kind, found, wanted in (
        ("jobs", loaded.jobs, kept.jobs),
        ("executions", loaded.executions, kept.executions),
        ("events", loaded.events, kept.events),
    ):
        if len(found) != len(wanted):
            return f"{len(found)} {kind} were loaded, {len(wanted)} committed"
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            if differs := difference(f"{kind}[{index}]", one, other):
                return "{} was loaded as {}, committed as {}".format(*differs)
    return ""


async def _cancel_commits(store: JobStore, reopen: Callable[[], JobStore]) -> None:
    """Cancel commits at their first, second, ... step, and see what is kept of each, also a moment later."""
    kept = Snapshot()
    for number, turns in enumerate((0, 0, 1, 1, 1, 2, 2, 3, 5, 8)):
        batch = batch_of(number)
        done = False
        with anyio.CancelScope() as scope:
            if not turns:
                scope.cancel()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_after, turns, scope)
                await store.commit(batch)
                done = True
                tasks.cancel_scope.cancel()
        loaded = await reopen().load()
        after = _after(kept, batch)
        if done:
            kept = after
            expect(not _difference(loaded, kept), f"a commit that returned: {_difference(loaded, kept)}")
        else:
            whole = [known for known in (kept, after) if not _difference(loaded, known)]
            expect(
                whole, f"a commit that was cancelled kept a part of its batch: {_difference(loaded, after)}"
            )
            kept = whole[0]
        store = reopen()
    await anyio.sleep(WATCH)
    late = _difference(await reopen().load(), kept)
    expect(not late, f"a commit that was cancelled still wrote {WATCH:g} seconds later: {late}")


async def _goes_on(make: MakeStore, place: Path, possible: tuple[Snapshot, Snapshot], when: str) -> None:
    """See that a store has one of two contents, and takes the next batch."""
    loaded = await make(place).load()
    found = [kept for kept in possible if not _difference(loaded, kept)]
    expect(found, f"{when}: {_difference(loaded, possible[0])}")
    batch = evolve(batch_of(2), events=(event("j-1", 7),))
    await make(place).commit(batch)
    await _holds(make(place), _after(found[0], batch), f"{when}, then one more commit")


def _sizes(place: Path) -> dict[str, tuple[int, int]]:
    """Return inode and size of every file, by its relative path."""
    files = (each for each in place.rglob("*") if each.is_file())
    return {each.relative_to(place).as_posix(): (each.stat().st_ino, each.stat().st_size) for each in files}


def _appended(before: Path, after: Path) -> bool:
    old = before.read_bytes() if before.exists() else b""
    new = after.read_bytes()
    return len(new) > len(old) and new.startswith(old)


def _copy_torn(place: Path, torn: Path, name: str, size: int) -> None:
    shutil.copytree(place, torn)
    with (torn / name).open("r+b") as file:
        file.truncate(size)
