"""Results on this machine: a folder for each execution, moved into place at once."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from ..abc.storage import Publisher
from ..errors import OutputError, TransientError
from ..host.folders import remove_folder, walk
from ..host.threads import run_blocking
from ..model.execution import Location
from ..model.problems import shown_path

__all__ = ["LocalPublisher", "check_outputs"]

# No system follows more links than that for one path.
_LINKS_MAX = 64
_SPECIAL = stat.S_ISUID | stat.S_ISGID
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


class LocalPublisher(Publisher):
    """Keeps results below a folder of this machine.

    Args:
        root: The folder, absolute; on the same file system as what is published, so that a rename moves it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def _publish(self, directory: Path, name: str) -> Location:
        target = self._root / name
        await run_blocking(_move, directory, target)
        return Location("path", str(target))

    async def _discard(self, location: Location) -> None:
        await run_blocking(self._remove, location)

    def _remove(self, location: Location) -> None:
        target = Path(location.path)
        inside = target.is_relative_to(self._root) and ".." not in target.parts
        # Nor is anything removed through a link that somebody has put below the root.
        parent = self._root.resolve() / target.relative_to(self._root).parent if inside else None
        if location.scheme != "path" or target.parent.resolve() != parent:
            raise TransientError(f"{location.path} is not a result of {self._root}")
        remove_folder(target)
        with suppress(OSError):  # the job has other results
            target.parent.rmdir()


def check_outputs(folder: Path) -> None:
    """See that a folder of outputs holds only files, folders and links that stay inside it.

    A link stays inside if no step of following it leaves the folder, so that it leads to the same thing wherever the folder is
    moved or copied; it may lead nowhere. The workload that wrote the folder must be dead. No link is followed. Files lose what
    would have them run as their owner or group.

    Raises:
        OutputError: It names the first entry that is something else, or that cannot be read.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise OutputError(
                f"the output {folder.name!r} is no folder any more",
                hint="have the job write into it, not replace it",
            )
        for entry in walk(folder):
            mode = entry.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not _stays_inside(folder, entry):
                    raise OutputError(
                        f"{_named(entry, folder)} is a link that leads out of it",
                        hint="make it a relative link to something inside, or copy what it leads to",
                    )
            elif not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise OutputError(
                    f"{_named(entry, folder)} is neither a file, a folder nor a link",
                    hint="have the job remove it before it ends",
                )
            elif not os.access(entry, os.R_OK):
                raise OutputError(
                    f"{_named(entry, folder)} has no permission to be read",
                    hint="have the job make it readable before it ends",
                )
            elif stat.S_ISREG(mode) and mode & _SPECIAL:
                entry.chmod(stat.S_IMODE(mode) & ~_SPECIAL)
    except OSError as error:
        path = Path(str(error.filename or folder))
        if path == folder and isinstance(error, FileNotFoundError):
            raise OutputError(
                f"the output {folder.name!r} is gone", hint="have the job leave the folder there, if empty"
            ) from error
        raise OutputError(
            f"{_named(path, folder)} cannot be read: {error.strerror}",
            hint="have the job make it readable before it ends",
        ) from error


def _stays_inside(folder: Path, link: Path) -> bool:
    """Follow a link step by step, as the system would, and say whether no step leaves the folder."""
    place = folder
    steps = list(reversed(link.relative_to(folder).parts))
    links = 0
    while steps:
        step = steps.pop()
        if step == "..":
            if place == folder:
                return False
            place = place.parent
        elif not (place / step).is_symlink():
            place /= step
        else:
            target = (place / step).readlink()
            links += 1
            if target.is_absolute():
                return False
            if links > _LINKS_MAX:
                return True  # a loop; it leads nowhere
            steps += reversed(target.parts)
    return True


def _named(entry: Path, folder: Path) -> str:
    """Name an entry in printable characters: the workload may have chosen any others."""
    whole = f"the output {folder.name!r}"
    return whole if entry == folder else f"{shown_path(entry.relative_to(folder))} in {whole}"


def _move(directory: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.rename(target)
    except OSError as error:
        if error.errno in _TAKEN and os.path.lexists(target):
            raise TransientError(
                f"{target} exists already", hint="an earlier job of the same id has left it there"
            ) from error
        raise
