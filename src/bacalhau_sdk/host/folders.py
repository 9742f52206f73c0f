"""Walking, protecting and removing folders, whatever a workload has made of them. All of it blocks, and follows no link."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

__all__ = ["make_read_only", "make_writable", "remove_folder", "walk"]

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
# Characters below the folder that is removed. With names of one character these are 200 levels, for each of which
# `shutil.rmtree` takes a frame of the stack and a descriptor; with the longest names it is far from the longest path.
_PATH_LENGTH = 400


def walk(folder: Path) -> Iterator[Path]:
    """Return the paths of everything in a folder, at any depth, a folder before what is in it.

    Python 3.11's `os.walk` recurses, so that a deep tree overflows the stack, and does not tell what it could not read.

    Raises:
        OSError: A folder cannot be read; ``filename`` says which.
    """
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as found:
            entries = list(found)
        for entry in entries:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))


def make_read_only(path: Path) -> None:
    """Take the write permission from a file, or from a folder and everything in it; links are left alone."""
    _change_modes(path, lambda mode: mode & ~_WRITABLE)


def make_writable(path: Path) -> None:
    """Let the owner write to a file, or to a folder and everything in it; links are left alone."""
    _change_modes(path, lambda mode: mode | stat.S_IWUSR)


def remove_folder(path: Path) -> None:
    """Remove a folder and everything in it, read-only, locked or deep as it may be; nothing happens if it is gone.

    Nothing may be at work in it.

    Raises:
        NotADirectoryError: It is a link or a file.
        OSError: Something cannot be removed.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _loosen(path)
    shutil.rmtree(path)


def _change_modes(path: Path, change: Callable[[int], int]) -> None:
    inner = walk(path) if path.is_dir() and not path.is_symlink() else ()
    for found in chain((path,), inner):
        mode = found.lstat().st_mode
        if not stat.S_ISLNK(mode):
            found.chmod(change(stat.S_IMODE(mode)))


def _loosen(root: Path) -> None:
    """Make every folder one that can be emptied, and move up those that lie too deep for `shutil.rmtree`."""
    pending = [root]
    while pending:
        folder = pending.pop()
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            folder.chmod(stat.S_IRWXU)
        with os.scandir(folder) as found:
            inner = [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
        for path in inner:
            if len(str(path)) - len(str(root)) <= _PATH_LENGTH:
                pending.append(path)
            else:
                # A folder that is moved is itself written to, for its "..".
                path.chmod(stat.S_IRWXU)
                pending.append(path.rename(root / f".deep-{uuid.uuid4().hex}"))
