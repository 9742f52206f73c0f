"""Checks of storages and publishers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint
from attrs import field, frozen

from ...abc.storage import Publisher, Storage
from ...errors import BacalhauError, InputError, TransientError
from ...host.threads import run_blocking
from ...model.data import Source
from ...model.execution import Location
from .check import WATCH, BrokenPromiseError, Check, Promises, cancel_after, expect, folder, read_tree

__all__ = ["PUBLISHER_CHECKS", "STORAGE_CHECKS", "PublisherKit", "StorageKit"]

_LARGE = 64 << 20
_TREE = {"stdout": b"1\n", "counts/a/b": b"\0\xff" * 1000, "counts/empty": b"", "counts/ä b/c": b"2"}
_COPY = "after `fetch`, ``into`` is a private copy, a file or a folder as the source is"
_SAFE = "with no link that leads out of it, no device, FIFO or socket"
_VISIBLE = "the results are visible as a whole or not at all"


@frozen
class StorageKit:
    """A storage to be checked, and sources for it.

    Attributes:
        make: Makes the storage.
        offer: Makes a source of a local file or folder: names it, or uploads it to where the storage fetches from.
        missing: A source that is not there.
        folders: Whether a source can be a folder; without, the checks offer files only.
    """

    make: Callable[[], Storage]
    offer: Callable[[Path], Awaitable[Source]]
    missing: Source
    folders: bool = True


async def _read_path(location: Location) -> Path | None:
    path = Path(location.path)
    return path if location.scheme == "path" and await run_blocking(path.exists) else None


@frozen
class PublisherKit:
    """A publisher to be checked, and how its results are read.

    Attributes:
        make: Makes the publisher, given an empty folder that it may use.
        read: Returns a local folder with what is at a location, or None when nothing is; by default that of a ``path``.
    """

    make: Callable[[Path], Publisher]
    read: Callable[[Location], Awaitable[Path | None]] = field(default=_read_path)


_note: Promises[StorageKit] = Promises()
_note_publisher: Promises[PublisherKit] = Promises()


# ---- Storages ----


@_note(Storage, _COPY)
async def _a_file_is_fetched_as_it_is(kit: StorageKit) -> None:
    async with folder() as place:
        for number, data in enumerate((b"", b"\0\xff\r\n", bytes(range(256)) * 8192)):
            source = place / f"source-{number}"
            await run_blocking(source.write_bytes, data)
            into = place / f"into-{number}"
            await kit.make().fetch(await kit.offer(source), into)
            expect(await run_blocking(into.is_file), f"a file of {len(data)} bytes became no file")
            expect(
                await read_tree(into) == {".": data}, f"a file of {len(data)} bytes was not fetched as it is"
            )


@_note(Storage, _COPY)
async def _a_folder_is_fetched_as_it_is(kit: StorageKit) -> None:
    if not kit.folders:
        return
    async with folder() as place:
        await run_blocking(_make_tree, place / "source")
        await run_blocking((place / "source" / "nothing in it").mkdir)
        await kit.make().fetch(await kit.offer(place / "source"), place / "into")
        expect(await run_blocking((place / "into").is_dir), "a folder became no folder")
        _same(await read_tree(place / "into"), await read_tree(place / "source"), "the copy of a folder")


@_note(Storage, _COPY)
async def _the_copy_is_private(kit: StorageKit) -> None:
    async with folder() as place:
        source = place / "source"
        await run_blocking(source.write_bytes, b"as it was")
        offered = await kit.offer(source)
        first, second = place / "first", place / "second"
        await kit.make().fetch(offered, first)
        await run_blocking(_overwrite, first, b"changed by a workload")
        await kit.make().fetch(offered, second)
        expect(
            await read_tree(second) == {".": b"as it was"},
            "a workload that writes to its copy changed the source",
        )
        await run_blocking(_overwrite, source, b"changed afterwards")
        expect(await read_tree(second) == {".": b"as it was"}, "the copy changed with the source")


@_note(Storage, _SAFE)
async def _no_link_leads_out_of_the_copy(kit: StorageKit) -> None:
    await _fetches_safely(
        kit, {"absolute": "{outside}", "relative": "../outside", "up": "..", "folder/up": "../.."}
    )


@_note(Storage, _SAFE)
async def _nothing_special_is_in_the_copy(kit: StorageKit) -> None:
    if hasattr(os, "mkfifo"):  # Windows has nothing of the kind
        await _fetches_safely(kit, {"pipe": None})


@_note(Storage, "It cannot be had, and no other try would help.")
async def _a_missing_source_is_an_input_error(kit: StorageKit) -> None:
    async with folder() as place:
        try:
            await kit.make().fetch(kit.missing, place / "into")
        except InputError:
            return
        except BacalhauError as error:
            raise BrokenPromiseError(
                f"a source that is not there raised {type(error).__name__}: {error}"
            ) from error
        expect(False, "fetching a source that is not there returned")


@_note(Storage, "When it raises or is cancelled, ``into`` may hold a part, which the caller removes.")
async def _nothing_is_written_after_a_cancellation(kit: StorageKit) -> None:
    async with folder() as place:
        source, into = place / "source", place / "into"
        await run_blocking(_make_large, source)
        offered = await kit.offer(source)
        with CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_begun, into, scope)
                await kit.make().fetch(offered, into)
                tasks.cancel_scope.cancel()
        before = await run_blocking(_size, into)
        await anyio.sleep(WATCH)
        after = await run_blocking(_size, into)
        expect(
            before == after, f"{after - before} bytes were written after a fetch that was cancelled had ended"
        )


STORAGE_CHECKS: tuple[Check[StorageKit], ...] = tuple(_note)
"""The promises of `bacalhau_sdk.abc.Storage`; each is called with a `StorageKit`."""


# ---- Publishers ----


@_note_publisher(Publisher, "once `publish` has returned they can be read at the location")
async def _what_was_published_can_be_read(kit: PublisherKit) -> None:
    async with folder() as root, folder() as place:
        publisher = kit.make(root)
        locations: list[Location] = []
        for number in range(3):
            tree = {**_TREE, "exitCode": str(number).encode()}
            locations.append(await publisher.publish(await _made(place / str(number), tree), f"j/e-{number}"))
        for number, location in enumerate(locations):
            expected = {**_TREE, "exitCode": str(number).encode()}
            await _reads(kit, location, expected, f"the results of j/e-{number}")


@_note_publisher(Publisher, _VISIBLE)
async def _results_are_seen_whole_or_not_at_all(kit: PublisherKit) -> None:
    many = {f"{number}/file": b"x" * 1000 for number in range(100)}
    async with folder() as root, folder() as place:
        publisher = kit.make(root)
        location = await publisher.publish(await _made(place / "first", many), "j/e-1")
        await publisher.discard(location)
        again = await _made(place / "again", many)
        parts: list[int] = []

        async def watch() -> None:
            while True:
                path = await kit.read(location)
                seen = None if path is None else await run_blocking(_names, path)
                if seen is not None and len(seen) < len(many):
                    parts.append(len(seen))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await publisher.publish(again, "j/e-1")
            tasks.cancel_scope.cancel()
        expect(not parts, f"while they were published, {parts[:1]} of {len(many)} files could be seen")


@_note_publisher(Publisher, "when it raises or is cancelled, nothing is visible")
async def _a_publication_that_fails_leaves_nothing(kit: PublisherKit) -> None:
    async with folder() as root, folder() as place:
        publisher = kit.make(root)
        location = await publisher.publish(await _made(place / "first", _TREE), "j/e-1")
        await publisher.discard(location)
        try:
            await publisher.publish(place / "missing", "j/e-1")
        except TransientError:
            expect(
                await kit.read(location) is None, "a publication that raised left something at its location"
            )
        else:
            expect(False, "publishing a folder that is not there returned")
        await publisher.publish(await _made(place / "again", _TREE), "j/e-1")


@_note_publisher(Publisher, "when it raises or is cancelled, nothing is visible")
async def _a_publication_that_is_cancelled_leaves_nothing(kit: PublisherKit) -> None:
    async with folder() as root, folder() as place:
        publisher = kit.make(root)
        for turns in range(6):
            name = f"j/e-{turns}"
            location = await publisher.publish(await _made(place / f"first-{turns}", _TREE), name)
            await publisher.discard(location)
            made = await _made(place / f"cancelled-{turns}", _TREE)
            done = False
            with CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_after, turns, scope)
                    await publisher.publish(made, name)
                    done = True
                    tasks.cancel_scope.cancel()
            if not done:
                expect(
                    await kit.read(location) is None,
                    "a publication that was cancelled left something visible",
                )
            else:
                await _reads(kit, location, _TREE, "what was published in spite of a cancellation")


@_note_publisher(Publisher, "Remove what was published; nothing happens if it is gone already.")
async def _what_is_discarded_is_gone_and_nothing_else(kit: PublisherKit) -> None:
    async with folder() as root, folder() as place:
        publisher = kit.make(root)
        first = await publisher.publish(await _made(place / "1", _TREE), "j/e-1")
        second = await publisher.publish(await _made(place / "2", {**_TREE, "exitCode": b"0"}), "j/e-2")
        for _ in range(2):
            await publisher.discard(first)
            expect(await kit.read(first) is None, "what was discarded can still be read")
        await _reads(
            kit, second, {**_TREE, "exitCode": b"0"}, "the results next to those that were discarded"
        )


PUBLISHER_CHECKS: tuple[Check[PublisherKit], ...] = tuple(_note_publisher)
"""The promises of `bacalhau_sdk.abc.Publisher`; each is called with a `PublisherKit`."""


async def _fetches_safely(kit: StorageKit, entries: dict[str, str | None]) -> None:
    """Fetch a folder with something in it that must not get out of it: a link (where to), or a FIFO (None)."""
    if not kit.folders:
        return
    async with folder() as place:
        await run_blocking((place / "outside").write_bytes, b"secret")
        for number, (name, target) in enumerate(entries.items()):
            source, into = place / f"source-{number}", place / f"into-{number}"
            await run_blocking(_make_tree, source)
            await run_blocking(_put, source / name, target and target.format(outside=place / "outside"))
            try:
                await kit.make().fetch(await kit.offer(source), into)
            except InputError:
                continue
            wrong = await run_blocking(_unsafe, into)
            expect(
                not wrong,
                f"a folder with {name!r} was fetched with {wrong!r} in it, which is {_kind(target)}",
            )


async def _cancel_when_begun(into: Path, scope: CancelScope) -> None:
    while not await run_blocking(_size, into):
        await checkpoint()
    scope.cancel()


async def _made(path: Path, tree: dict[str, bytes]) -> Path:
    await run_blocking(_make_tree, path, tree)
    return path


async def _reads(kit: PublisherKit, location: Location, tree: dict[str, bytes], what: str) -> None:
    path = await kit.read(location)
    if path is None:
        raise BrokenPromiseError(f"{what} cannot be read at {location}")
    found = {name: data for name, data in (await read_tree(path)).items() if data is not None}
    _same(found, tree, what)


def _same(found: Mapping[str, bytes | None], expected: Mapping[str, bytes | None], what: str) -> None:
    wrong = sorted(name for name in {*found, *expected} if found.get(name, 0) != expected.get(name, 0))
    expect(not wrong, f"{what} differ in {wrong}")


def _make_tree(path: Path, tree: dict[str, bytes] = _TREE) -> None:
    for name, data in tree.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def _make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(_LARGE)


def _overwrite(path: Path, data: bytes) -> None:
    """Write into a file where it is."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def _put(path: Path, target: str | None) -> None:
    path.parent.mkdir(exist_ok=True)
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)


def _unsafe(path: Path) -> str:
    """Return the first entry of a tree that must not be there, or nothing."""
    whole = path.resolve()
    for each in (path, *sorted(path.rglob("*"))):
        leads_out = each.is_symlink() and not each.resolve().is_relative_to(whole)
        if leads_out or not (each.is_symlink() or each.is_dir() or each.is_file()):
            return each.relative_to(path).as_posix()
    return ""


def _kind(target: str | None) -> str:
    return "a FIFO" if target is None else "a link that leads out of it"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _names(path: Path) -> set[str] | None:
    """Return the files of a folder, or None when there is none."""
    if not path.exists():  # first: it may appear meanwhile
        return None
    return {each.as_posix() for each in path.rglob("*") if each.is_file()}
