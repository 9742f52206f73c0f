"""What a test leaves behind: threads, file descriptors, temporary files and child processes."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

from ..testing.held import (
    OF_MULTIPROCESSING,
    children,
    descriptors,
    folder_of_process,
    remove,
    temporary_folder,
    threads,
)

__all__ = ["watch_leaks"]

# Seconds of real time that a thread which is about to end is given for doing so.
_LAST_BREATH = 1.0
# Where multiprocessing has the descriptors that it opens once, for helpers of its own, and keeps; nothing public tells them.
_DESCRIPTORS_KEPT = (
    ("multiprocessing.resource_tracker", "_resource_tracker", "_fd"),
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_alive_fd"),
)


@contextmanager
def watch_leaks(left: list[str]) -> Generator[None]:
    """Add to a list, a line each, what the block leaves behind; nothing if it raises.

    Meanwhile `tempfile`, and child processes, have a folder of their own, but for the ``tmp_path`` of pytest. What is named is
    removed from it, as is what a block leaves that raises; the folder and what else is in it stay until the process ends, for
    something may rely on them until then.
    """
    folder_of_process().mkdir(mode=0o700, exist_ok=True)  # a test may have removed it
    before_threads = set(threads())
    before = _held()
    # pytest makes the folder of all its ``tmp_path`` when a test first asks for one, which may be this test.
    apart = {"PYTEST_DEBUG_TEMPROOT": tempfile.gettempdir(), **os.environ}
    with mock.patch.dict(os.environ, apart), temporary_folder() as folder:
        paths = set(folder.iterdir())
        try:
            yield
        except BaseException:
            for path in _new_in(folder, paths):  # the next test shall not find them
                remove(path)
            raise
    left += [f"thread {thread.name!r}" for thread in threads() if _stays(thread, before_threads)]
    left += _new_since(before)
    for path in _new_in(folder, paths):
        left.append(f"temporary {_kind(path)} {path.name}")
        remove(path)


def _new_in(folder: Path, before: Set[Path]) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(
            path for path in set(folder.iterdir()) - before if not path.name.startswith(OF_MULTIPROCESSING)
        )
    return []


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
    kept = tuple(f"file descriptor {number}:" for number in _kept())
    return [what for key, what in _held().items() if key not in before and not f"{what}:".startswith(kept)]


def _kept() -> Iterator[object]:
    for module, helper, descriptor in _DESCRIPTORS_KEPT:
        yield getattr(getattr(sys.modules.get(module), helper, None), descriptor, None)


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else "file"


def _held() -> dict[object, str]:
    """Return what the process has of the system: what makes each thing one of its own, and a description."""
    return {**dict(descriptors()), **dict(children())}
