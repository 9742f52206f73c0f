"""The folders of a cluster, and the lock that tells the next start whether the cluster still lives."""

from __future__ import annotations

import json
import logging
import platform
import re
import sys
import tempfile
import uuid
from pathlib import Path
from typing import IO

from ..errors import InvalidSpecError
from ..host.folders import remove_folder
from ..model.problems import invalid, shown_path

__all__ = ["Workspace"]

_log = logging.getLogger("bacalhau_sdk")
_LOCK_SUFFIX = ".lock"
_NONCE = re.compile(r"[0-9a-f]{32}")
# The names of the folders that go with a cluster, before its nonce; nothing else is ever removed for a dead one.
_PRIVATE, _STAGING = "bacalhau-", ".staging-"


class Workspace:
    """Where a cluster stages and keeps results. All calls block.

    While it is open, a lock of the operating system is held on a file named after its nonce in the state directory of the user;
    the file names the folder that goes when the cluster does. `open` first removes the folder of every nonce whose lock is free:
    its process is dead.

    Args:
        data_dir: Where results stay, ``~`` allowed; None for a private temporary folder that goes with the workspace.
        state_dir: Where the locks are; None for the user's state directory.
    """

    def __init__(self, data_dir: Path | None, state_dir: Path | None = None) -> None:
        self.nonce: str = uuid.uuid4().hex
        self.private: bool = data_dir is None
        self._data_dir = data_dir
        self._state_dir = state_dir
        self._lock: IO[str] | None = None
        self._owned: Path | None = None
        self.results: Path = Path()
        self.staging: Path = Path()

    def open(self) -> None:
        """Clean up after the dead, take the lock, and make the folders.

        Raises:
            InvalidSpecError: The ``data_dir`` is no folder, and cannot be made one, or cannot be written to.
            OSError: The private folder cannot be made.
        """
        if self._data_dir is None:
            owned = Path(tempfile.gettempdir(), f"{_PRIVATE}{self.nonce}").absolute()
            self.results, self.staging = owned / "results", owned / "staging"
        else:
            self.results = _absolute(self._data_dir)
            owned = self.staging = self.results / f"{_STAGING}{self.nonce}"
        self._take_lock(owned)
        self._owned = owned
        try:
            if self.private:
                owned.mkdir(mode=0o700)
                self.results.mkdir()
            else:
                self.results.mkdir(parents=True, exist_ok=True)
            self.staging.mkdir(mode=0o700)
        except (OSError, ValueError) as error:
            # ValueError is for what no path can hold: NUL, and lone surrogates.
            self.close()
            if self.private:
                raise
            raise _unusable(self.results, error) from error

    def close(self) -> None:
        """Remove what goes with the workspace, and give the lock back.

        Raises:
            OSError: Something cannot be removed; the next workspace that is opened tries again.
        """
        try:
            if self._owned is not None:
                remove_folder(self._owned)
            if self._lock is not None:
                Path(self._lock.name).with_suffix(_LOCK_SUFFIX).unlink(missing_ok=True)
        finally:
            self._owned = None
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _take_lock(self, owned: Path) -> None:
        try:
            folder = (self._state_dir or _default_state_dir()).absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in folder.glob(f"*{_LOCK_SUFFIX}"):
                _remove_if_dead(path)
            self._lock = _make_lock(folder / f"{self.nonce}.new", owned)
        except OSError as error:
            _log.warning("no clean-up after a crash: the state directory cannot be used: %s", error)


def _absolute(data_dir: Path) -> Path:
    try:
        return data_dir.expanduser().absolute()
    except (OSError, RuntimeError) as error:  # no such user, or no current directory
        raise _unusable(data_dir, error) from error


def _unusable(data_dir: Path, error: Exception) -> InvalidSpecError:
    reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a file is there, or on the way"
    return invalid(
        f"{shown_path(data_dir)} cannot be used as a folder: {reason}; give one that you can write to, or None",
        "data_dir",
    )


def _default_state_dir() -> Path:
    import platformdirs

    folder = platformdirs.user_state_path("bacalhau_sdk") / "clusters"
    if not folder.is_absolute():
        raise FileNotFoundError(f"the user has no home directory: {folder}")
    return folder


def _make_lock(new: Path, owned: Path) -> IO[str]:
    """Make a lock file and take its lock.

    Raises:
        OSError: It cannot be made, or locked.
    """
    lock = new.open("w", encoding="utf-8")
    try:
        if not _try_lock(lock):
            raise OSError(f"{new} cannot be locked")
        json.dump({"folder": str(owned), "host": platform.node()}, lock)
        lock.flush()
        # Only a locked file ever has the name that others look for.
        new.rename(new.with_suffix(_LOCK_SUFFIX))
    except BaseException:
        lock.close()
        new.unlink(missing_ok=True)
        raise
    return lock


def _remove_if_dead(path: Path) -> None:
    """Remove the folder of a lock file, and the file, unless somebody holds the lock; what is no lock file of ours is left."""
    if not _NONCE.fullmatch(path.stem):
        return
    try:
        with path.open("r+", encoding="utf-8") as lock:
            if not _try_lock(lock):
                return
            folder = _read_folder(lock)
            if folder is None:
                return
            if folder.name in (f"{_PRIVATE}{path.stem}", f"{_STAGING}{path.stem}"):
                remove_folder(folder)
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # its cluster has just closed
    except (OSError, ValueError) as error:
        _log.warning("%s, left by a cluster that died, could not be cleaned up: %s", path, error)


def _read_folder(lock: IO[str]) -> Path | None:
    """Return the folder that a lock file names, or None if it is not one that a workspace of this machine has written.

    Machines that share a home may not see each other's locks.
    """
    try:
        content = json.load(lock)
        folder = Path(content["folder"])
        if content.get("host", platform.node()) != platform.node():
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return folder if folder.is_absolute() else None


def _try_lock(file: IO[str]) -> bool:
    """Take the lock of an open file, and say whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
