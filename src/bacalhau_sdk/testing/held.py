"""What this process has of the system: threads, descriptors, child processes, temporary files.

Where nothing tells of descriptors and processes they are taken to be none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

__all__ = [
    "OF_MULTIPROCESSING",
    "children",
    "descriptors",
    "folder_of_process",
    "remove",
    "temporary_folder",
    "threads",
]

OF_MULTIPROCESSING = "pymp-"
"""How the name of the folder begins that multiprocessing makes once, when it is first needed, and removes at exit."""
_AFTER_ITS_FOLDER = -200  # that has -100

# Python starts these once, when they are first needed, and keeps them.
_OF_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def descriptors() -> Iterator[tuple[object, str]]:
    """Return for each open descriptor what makes it one of its own, and a description; not on Windows."""
    folder = Path("/dev/fd")
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(OSError):  # the descriptor of this very listing
            found = os.fstat(int(entry.name))
            target = ""
            with suppress(OSError):  # only on Linux is it a link
                target = f": {entry.readlink()}"
            yield (entry, found.st_dev, found.st_ino), f"file descriptor {entry.name}{target}"


def children() -> Iterator[tuple[object, str]]:
    """Return for each child process what makes it one of its own, and a description; on Linux."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # one that has just ended
            # "pid (name) state parent ..."; the name may have spaces and parentheses.
            name, _, rest = (process / "stat").read_text(errors="replace").rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) != os.getpid():
                continue
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            if not any(module in command for module in _OF_PYTHON):
                ended = ", which has ended, but nobody waited for it" if state == "Z" else ""
                yield process, f"child process {process.name}: {command or name.partition('(')[2]}{ended}"


def threads() -> Iterator[threading.Thread]:
    """Return each thread, but for those of trio that wait for work, which they do for 10 seconds, also between event loops."""
    return (thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread "))


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Give a folder that `tempfile`, and child processes that inherit the environment, use for the block.

    It is the same one each time, and stays with what is in it until the process ends, for something may rely on that until then.
    It is the whole process that uses it, not only who is in the block.
    """
    folder = folder_of_process()
    tempdir, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = tempdir
        if variable is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = variable


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@cache
def folder_of_process() -> Path:
    """Return the folder of `temporary_folder`, which is made the first time, by calls that block."""
    folder = Path(tempfile.mkdtemp(prefix="bacalhau-tests-"))
    # Not `atexit`: children of multiprocessing, whose folder may be in it, are waited for first; and a fork removes nothing.
    Finalize(None, remove, args=(folder,), exitpriority=_AFTER_ITS_FOLDER)
    return folder
