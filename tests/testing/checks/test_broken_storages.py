"""Storages and publishers that break one promise each, and the check that catches it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from attrs import evolve

from bacalhau_sdk.abc import Location, PathSource, Publisher, Source, Storage
from bacalhau_sdk.errors import TransientError
from bacalhau_sdk.storage.results import LocalPublisher
from bacalhau_sdk.testing.checks import PUBLISHER_CHECKS, STORAGE_CHECKS, Check, PublisherKit, StorageKit
from tests.testing.checks.broken import cases, catches
from tests.testing.checks.kits import STORAGES


class Copies(Storage):
    """Copies somehow, in a thread; those below do it wrongly."""

    schemes = ("path",)

    async def _fetch(self, source: Source, into: Path) -> None:
        assert isinstance(source, PathSource)
        await to_thread.run_sync(self.copy, Path(source.path), into)

    def copy(self, source: Path, into: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, into, symlinks=True, copy_function=self.copy_file)
        else:
            shutil.copyfile(source, into)

    def copy_file(self, source: str, into: str) -> None:
        shutil.copyfile(source, into)


class ChangesLines(Copies):
    def copy(self, source: Path, into: Path) -> None:
        into.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))


class MakesFolders(Copies):
    def copy(self, source: Path, into: Path) -> None:
        into.mkdir()
        super().copy(source, into / "file")


class ForgetsEmptyFiles(Copies):
    def copy_file(self, source: str, into: str) -> None:
        if Path(source).stat().st_size:
            super().copy_file(source, into)


class LinksHard(Copies):
    def copy(self, source: Path, into: Path) -> None:
        into.hardlink_to(source)


class LinksSoftly(Copies):
    def copy(self, source: Path, into: Path) -> None:
        into.symlink_to(source)


class CopiesLinks(Copies):
    def copy(self, source: Path, into: Path) -> None:
        for path in sorted(source.rglob("*")):
            made = into / path.relative_to(source)
            made.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                made.symlink_to(path.readlink())
            elif path.is_file():
                super().copy(path, made)


class CopiesFifos(Copies):
    def copy_file(self, source: str, into: str) -> None:
        if Path(source).is_fifo():
            os.mkfifo(into)
        else:
            super().copy_file(source, into)


class ReadsFifos(Copies):
    async def _fetch(self, source: Source, into: Path) -> None:
        assert isinstance(source, PathSource)
        if await anyio.Path(source.path, "pipe").is_fifo():
            await anyio.sleep_forever()  # as opening it would do


class FetchesNothing(Copies):
    def copy(self, source: Path, into: Path) -> None:
        if source.exists():
            super().copy(source, into)


class TriesAgain(Copies):
    async def _fetch(self, source: Source, into: Path) -> None:
        raise TransientError("not this time")


class WritesOn(Copies):
    """Leaves its thread behind when it is cancelled."""

    async def _fetch(self, source: Source, into: Path) -> None:
        await to_thread.run_sync(self._slowly, into, abandon_on_cancel=True)

    def _slowly(self, into: Path) -> None:
        with into.open("wb", buffering=0) as file:
            for _ in range(60):
                time.sleep(0.01)
                try:
                    file.write(b"x")
                except OSError:
                    return


BROKEN_STORAGES: dict[str, list[tuple[Callable[[], Storage], str]]] = {
    "a file is fetched as it is": [
        (ChangesLines, "a file of 4 bytes was not fetched as it is"),
        (MakesFolders, "became no file"),
    ],
    "a folder is fetched as it is": [(ForgetsEmptyFiles, "differ in ['counts/empty']")],
    "the copy is private": [(LinksHard, "changed the source"), (LinksSoftly, "changed the source")],
    "no link leads out of the copy": [(CopiesLinks, "a link that leads out")],
    "nothing special is in the copy": [
        (CopiesFifos, "a FIFO"),
        (ReadsFifos, "it was not done after 2 seconds"),
    ],
    "a missing source is an input error": [
        (FetchesNothing, "returned"),
        (TriesAgain, "raised TransientError"),
    ],
    "nothing is written after a cancellation": [(WritesOn, "were written after a fetch")],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(STORAGE_CHECKS, BROKEN_STORAGES))
async def test_a_storage_is_caught(check: Check[StorageKit], make: Callable[[], Storage], seen: str) -> None:
    kit = evolve(STORAGES["LocalStorage of paths"], make=make)
    await catches(check, kit, seen, limit=2 if "after 2 seconds" in seen else 20)


# ---- Publishers ----


class Publishes(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        location = await super()._publish(directory, name)
        await to_thread.run_sync(self.spoil, Path(location.path))
        return location

    def spoil(self, path: Path) -> None:
        """Do something wrong to what was published."""


class LosesAFile(Publishes):
    def spoil(self, path: Path) -> None:
        next(path.glob("**/b"), path / "0/file").unlink()


class AlwaysTheSamePlace(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        await to_thread.run_sync(lambda: shutil.rmtree(self._root / "one", ignore_errors=True))
        return await super()._publish(directory, "one")


class CopiesStepByStep(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        target = self._root / name
        for path in await to_thread.run_sync(lambda: sorted(directory.rglob("*"))):
            into = target / path.relative_to(directory)
            await anyio.Path(into.parent).mkdir(parents=True, exist_ok=True)
            if await anyio.Path(path).is_file():
                await to_thread.run_sync(shutil.copyfile, path, into)
        return Location("path", str(target))


class PublishesNothing(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        if not await anyio.Path(directory).exists():
            return Location("path", str(self._root / name))
        return await super()._publish(directory, name)


class MakesRoomFirst(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        target = anyio.Path(self._root / name)
        await target.mkdir(parents=True)
        await anyio.sleep(0)
        await target.rmdir()
        return await super()._publish(directory, name)


class LeavesRoom(LocalPublisher):
    async def _publish(self, directory: Path, name: str) -> Location:
        if not await anyio.Path(directory).exists():
            await anyio.Path(self._root / name).mkdir(parents=True)
        return await super()._publish(directory, name)


class RemovesAll(LocalPublisher):
    async def _discard(self, location: Location) -> None:
        await to_thread.run_sync(lambda: shutil.rmtree(Path(location.path).parent, ignore_errors=True))


class RemovesOnce(LocalPublisher):
    async def _discard(self, location: Location) -> None:
        await to_thread.run_sync(shutil.rmtree, location.path)


class RemovesNothing(LocalPublisher):
    async def _discard(self, location: Location) -> None:
        return


BROKEN_PUBLISHERS: dict[str, list[tuple[Callable[[Path], Publisher], str]]] = {
    "what was published can be read": [
        (LosesAFile, "differ in ['counts/a/b']"),
        (AlwaysTheSamePlace, "differ in ['exitCode']"),
    ],
    "results are seen whole or not at all": [(CopiesStepByStep, "of 100 files could be seen")],
    "a publication that fails leaves nothing": [
        (PublishesNothing, "returned"),
        (LeavesRoom, "left something at its location"),
    ],
    "a publication that is cancelled leaves nothing": [(MakesRoomFirst, "left something visible")],
    "what is discarded is gone and nothing else": [
        (RemovesAll, "cannot be read"),
        (RemovesOnce, "could not be removed"),
        (RemovesNothing, "can still be read"),
    ],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(PUBLISHER_CHECKS, BROKEN_PUBLISHERS))
async def test_a_publisher_is_caught(
    check: Check[PublisherKit], make: Callable[[Path], Publisher], seen: str
) -> None:
    await catches(check, PublisherKit(make), seen)
