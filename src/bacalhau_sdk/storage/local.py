"""Inputs from this machine: paths are copied, bytes become files."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ..abc.storage import Storage
from ..errors import InputChangedError, InputError, UnsafePathError
from ..host.threads import run_stoppable
from ..model.data import BytesSource, PathSource, Source
from ..model.problems import shown_path

__all__ = ["LocalStorage"]

_CHUNK = 1 << 20
_DEPTH_MAX = 200
# Links are never followed while copying, and a FIFO must not block the open; Windows has none of these flags.
_FILE_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
# What is in a folder is looked up in the open folder, not by its path, in which somebody may put a link meanwhile.
_BY_DESCRIPTOR = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
# What opening an entry says when it is no more, or is a link (or a socket) now.
_CHANGED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_UNREADABLE = {errno.EACCES, errno.EPERM}
_AGAIN = "leave it alone until the job runs, and submit again"


class LocalStorage(Storage):
    """Copies files and folders of this machine, and writes inline bytes.

    A link inside a folder is kept, as a relative one, when it leads to something inside that folder, and refused otherwise; so
    are devices, FIFOs and sockets. Files keep their permissions. Cancelling stops the copy between two megabytes.
    """

    schemes: Sequence[str] = ("path", "bytes")

    async def _fetch(self, source: Source, into: Path) -> None:
        stop = threading.Event()
        match source:
            case BytesSource(data):
                await run_stoppable(lambda: _write(data, into), stop.set)
            case PathSource(path, folder):
                copy = _Copy(Path(path), folder, stop.is_set)
                await run_stoppable(lambda: copy.run(into), stop.set)
            case _:
                raise InputError(f"{source} cannot be fetched by the local storage")


def _write(data: bytes, into: Path) -> None:
    into.write_bytes(data)


@frozen
class _Copy:
    """Copies one input.

    Attributes:
        root: The input.
        folder: Whether it was a folder when the job was submitted, or None when that is not known.
        stopped: Whether to leave off.
    """

    root: Path
    folder: bool | None
    stopped: Callable[[], bool]

    def run(self, into: Path) -> None:
        with self._reading(self.root):
            mode = self.root.lstat().st_mode
            if stat.S_ISDIR(mode) and into.parent.resolve().is_relative_to(self.root.resolve()):
                raise InputError(
                    f"the input {shown_path(self.root)} contains the folder in which inputs are staged",
                    hint="choose a smaller folder, or a data_dir outside of it",
                )
        if stat.S_ISLNK(mode):
            raise InputChangedError(
                f"the input {shown_path(self.root)} became a link after the job was submitted", hint=_AGAIN
            )
        if self.folder is not None and self.folder is not stat.S_ISDIR(mode):
            kinds = ("a file", "a folder") if self.folder else ("a folder", "a file")
            raise InputChangedError(
                f"the input {shown_path(self.root)} became {kinds[0]} after the job was submitted, it was {kinds[1]}",
                hint=_AGAIN,
            )
        self._entry(self.root, into, mode, None)

    def _entry(self, source: Path, into: Path, mode: int, parent: int | None) -> None:
        """Copy one entry of a folder that is open as ``parent``, or of one that is found by its path."""
        if stat.S_ISDIR(mode):
            self._folder(source, into, parent)
        elif stat.S_ISREG(mode):
            self._file(source, into, parent)
        elif stat.S_ISLNK(mode):
            self._link(source, into)
        else:
            raise UnsafePathError(
                f"{self._named(source)} is {_kind(mode)}, not a file or a folder",
                hint="take it out of the folder",
            )

    def _folder(self, source: Path, into: Path, parent: int | None) -> None:
        if len(source.parts) - len(self.root.parts) > _DEPTH_MAX:
            raise InputError(
                f"{self._named(source)} lies more than {_DEPTH_MAX} folders deep",
                hint="pack the folder into an archive, and give that",
            )
        with self._opened(source, parent) as folder:
            into.mkdir()
            with self._reading(source):
                found = os.scandir(source if folder is None else folder)
            with found as entries:
                for entry in entries:
                    if self.stopped():
                        return
                    path = source / entry.name
                    with self._reading(path):
                        mode = entry.stat(follow_symlinks=False).st_mode
                    self._entry(path, into / entry.name, mode, folder)

    @contextmanager
    def _opened(self, source: Path, parent: int | None) -> Generator[int | None]:
        """Open a folder, where the system can look things up in an open folder."""
        if not _BY_DESCRIPTOR:
            yield None
            return
        with self._reading(source):
            folder = os.open(source if parent is None else source.name, _FOLDER_FLAGS, dir_fd=parent)
        try:
            yield folder
        finally:
            os.close(folder)

    def _file(self, source: Path, into: Path, parent: int | None) -> None:
        with self._reading(source):
            descriptor = os.open(source if parent is None else source.name, _FILE_FLAGS, dir_fd=parent)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise self._changed(source)
        with os.fdopen(descriptor, "rb") as reading, into.open("xb") as writing:
            while not self.stopped() and (chunk := reading.read(_CHUNK)):
                writing.write(chunk)
        into.chmod(stat.S_IMODE(mode) & 0o777)

    def _link(self, link: Path, into: Path) -> None:
        """Copy a link that leads to something inside the folder, as a relative one."""
        root = self.root.resolve()
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError is a loop, before Python 3.13
            raise UnsafePathError(
                f"{self._named(link)} is a link that leads nowhere", hint="remove it from the folder"
            ) from None
        if not target.is_relative_to(root):
            raise UnsafePathError(
                f"{self._named(link)} is a link that leads out of it",
                hint="copy what it leads to into the folder",
            )
        # Not the folder of the link as the system finds it now: the copy has no links among its folders.
        folder = root / link.parent.relative_to(self.root)
        into.symlink_to(os.path.relpath(target, folder), target_is_directory=target.is_dir())

    @contextmanager
    def _reading(self, path: Path) -> Generator[None]:
        """Turn what the system says of an entry of the source into errors of inputs that name it."""
        try:
            yield
        except OSError as error:
            if error.errno in _CHANGED:
                raise self._changed(path) from error
            if error.errno in _UNREADABLE:
                raise InputError(
                    f"{self._named(path)} cannot be read: {error.strerror}",
                    hint="see to its permissions, or take it out of the folder",
                ) from error
            raise

    def _changed(self, path: Path) -> InputChangedError:
        return InputChangedError(
            f"{self._named(path)} vanished or changed after the job was submitted", hint=_AGAIN
        )

    def _named(self, path: Path) -> str:
        """Name an entry in printable characters: those who have made it may have chosen any others."""
        root = f"the input {shown_path(self.root)}"
        return root if path == self.root else f"{shown_path(path.relative_to(self.root))} in {root}"


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return name
    return "something else"
