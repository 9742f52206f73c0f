"""What this process has of the system: descriptors and child processes. Where nothing tells of them they are taken to be none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["children", "descriptors"]

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
