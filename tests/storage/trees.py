"""Trees of files for tests: made from a table, looked at without following links, and run over by another user."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from bacalhau_sdk.host.folders import remove_folder

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = tempfile.gettempdir()  # a test may set another one
NOBODY = 65534
CHILD = """
import codecs, importlib, importlib.metadata, os, sys
from pathlib import Path
import anyio, platformdirs
anyio.run(anyio.sleep, 0)
codecs.lookup("ascii")
importlib.metadata.version("anyio")
function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[4]))
    os.setuid(int(sys.argv[4]))
function(Path(sys.argv[3]))
"""

# Bytes are a file, a text is a link, None is an empty folder.
Tree: TypeAlias = Mapping[str, "bytes | str | None"]


def make_tree(folder: Path, tree: Tree) -> Path:
    """Make a folder with what a table says, by relative path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content)
    return folder


def read_tree(path: Path) -> dict[str, bytes | str | None]:
    """Return the table of a folder, with every folder in it; of a file under the name ``.``."""
    found: dict[str, bytes | str | None] = {}
    for each in [path, *below(path)]:
        mode = each.lstat().st_mode
        name = str(each.relative_to(path))
        if stat.S_ISLNK(mode):
            found[name] = str(each.readlink())
        else:
            found[name] = None if stat.S_ISDIR(mode) else each.read_bytes()
    return found


def below(path: Path) -> list[Path]:
    """Return everything in a folder, sorted, following no link."""
    if path.is_symlink() or not path.is_dir():
        return []
    return sorted(each for entry in path.iterdir() for each in (entry, *below(entry)))


def fingerprint(path: Path) -> list[tuple[object, ...]]:
    """Return all that may change of a tree, but for when it was read last."""
    found: list[tuple[object, ...]] = []
    for each in (path, *below(path)):
        told = each.lstat()
        content: object = None
        if stat.S_ISLNK(told.st_mode):
            content = each.readlink()
        elif stat.S_ISREG(told.st_mode):
            content = each.read_bytes()
        found.append(
            (each, told.st_ino, told.st_mode, told.st_nlink, told.st_size, told.st_mtime_ns, content)
        )
    return found


def mode_of(path: Path) -> int:
    """Return the permissions of a path, not of what a link leads to."""
    return stat.S_IMODE(path.lstat().st_mode)


def make_deep(folder: Path, depth: int) -> None:
    """Make that many folders in each other, however long the path of the last one."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    with os.fdopen(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor), "wb") as file:
        file.write(b"deep")
    os.close(descriptor)


@contextmanager
def deep_folder() -> Iterator[Path]:
    """Give a folder for trees of thousands of folders: quick where that can be had, and removed in a way that can."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        remove_folder(folder)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    short = Path(tempfile.mkdtemp(), "s")  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(short))
    shutil.move(short, path)
    short.parent.rmdir()


def make_device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


SPECIAL = {"FIFO": make_fifo, "socket": make_socket}
if os.geteuid() == 0:  # nobody else makes devices
    SPECIAL["device"] = make_device


def open_descriptors() -> int:
    """Return how many descriptors the process has."""
    return len(list(Path("/dev/fd").iterdir()))


def as_another_user(function: Callable[[Path], None]) -> None:
    """Run a function of a test module as somebody who may not do everything, with an empty folder of his own.

    It runs in a process of its own: all of what Python and the library need is imported while that may still be read.
    """
    folder = Path(tempfile.mkdtemp(dir=TEMPORARY))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        arguments = [function.__module__, function.__name__, str(folder), str(NOBODY)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", CHILD, *arguments],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.fail(done.stderr, pytrace=False)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
        shutil.rmtree(folder)
