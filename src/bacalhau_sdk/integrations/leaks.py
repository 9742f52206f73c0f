"""What a test leaves behind: threads, file descriptors, temporary files and child processes."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

from ..testing.held import children, descriptors

__all__ = ["watch_leaks"]

# Seconds of real time that a thread which is about to end is given for doing so.
_LAST_BREATH = 1.0


@contextmanager
def watch_leaks(left: list[str]) -> Generator[None]:
    """Add to a list, a line each, what the block leaves behind; nothing if it raises.

    Meanwhile `tempfile`, and child processes, have a folder of their own, which is removed afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="bacalhau-test-"))
    try:
        threads = set(threading.enumerate())
        before = _held()
        with (
            mock.patch.dict(os.environ, TMPDIR=str(folder)),
            mock.patch.object(tempfile, "tempdir", str(folder)),
        ):
            yield
        left += [f"thread {thread.name!r}" for thread in threading.enumerate() if _stays(thread, threads)]
        left += _new_since(before)
        left += [f"temporary {_kind(path)} {path.name}" for path in sorted(folder.iterdir())]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stays(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    if thread in before:
        return False
    with suppress(AssertionError, RuntimeError):  # one that threading did not start cannot be waited for
        thread.join(_LAST_BREATH)
    return thread.is_alive()


def _new_since(before: Mapping[object, str]) -> list[str]:
    if _held().keys() <= before.keys():
        return []
    gc.collect()  # what only a cycle of objects holds is as good as closed
    return [what for key, what in _held().items() if key not in before]


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else "file"


def _held() -> dict[object, str]:
    """Return what the process has of the system: what makes each thing one of its own, and a description."""
    return {**dict(descriptors()), **dict(children())}
