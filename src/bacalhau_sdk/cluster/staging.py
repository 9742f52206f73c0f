"""The folder of one execution: its inputs staged, its outputs to be filled, its results to be published."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from anyio.lowlevel import checkpoint

from ..abc.executor import TaskIO
from ..abc.storage import Storage
from ..errors import BacalhauError, InputChangedError, InputError, OutputError
from ..host.folders import make_read_only, make_writable, remove_folder
from ..host.threads import run_blocking
from ..model.data import Source
from ..model.job import JobSpec
from ..model.paths import normalise_guest_path
from ..model.problems import key_path
from ..storage.log import ExecutionLog
from ..storage.results import check_outputs

__all__ = ["Staging"]


class Staging:
    """What one execution reads and writes on its node.

    Args:
        folder: Does not exist yet; everything but the log and the results is in it.
        job_id: Its job.
        spec: Says what goes in and what comes out.
        log: Takes the output streams.
        storages: Fetch the inputs.
        scratch: Whether the executor needs a folder of its own.
    """

    def __init__(
        self,
        folder: Path,
        job_id: str,
        spec: JobSpec,
        log: ExecutionLog,
        storages: Sequence[Storage],
        *,
        scratch: bool = True,
    ) -> None:
        self.job_id = job_id
        self.log = log
        self._folder = folder
        self._results = folder.with_name(f"{folder.name}.results")
        self._spec = spec
        self._storages = storages
        self._inputs = {path: _inside(folder / "inputs", path) for path in spec.inputs}
        self._outputs = {name: folder / "outputs" / name for name in spec.outputs}
        self._scratch = folder / "scratch"
        self._empty = [*([self._scratch] if scratch else []), *self._outputs.values()]

    async def prepare(self, started: Callable[[], None]) -> TaskIO:
        """Stage the inputs and make the folders of the outputs.

        All inputs are in one tree that mirrors the guest paths, so that an input can lie inside another one.

        Args:
            started: What the executor calls when the workload begins.

        Raises:
            InputError: An input cannot be had.
            TransientError: An input could not be had this time.
        """
        spec = self._spec
        if self._empty:
            await run_blocking(self._make_folders)
        else:
            await checkpoint()  # nothing starts that was cancelled before
        for path in self._outer_first():
            await self._fetch(key_path("inputs", path), spec.inputs[path].source, self._inputs[path])
        writable = frozenset(path for path, given in spec.inputs.items() if given.writable)
        if spec.inputs:
            await run_blocking(self._protect, writable)
        stdin = None
        if spec.stdin is not None:
            stdin = self._folder / "stdin"
            await self._fetch("stdin", spec.stdin, stdin)
            if await run_blocking(stdin.is_dir):
                raise InputChangedError(
                    f"stdin: {spec.stdin} is a folder, it was a file", field="stdin", hint="submit it again"
                )
        return TaskIO(
            inputs=self._inputs,
            writable=writable,
            outputs={path: self._outputs[name] for name, path in spec.outputs.items()},
            stdin=stdin,
            stdout=self.log.stdout,
            stderr=self.log.stderr,
            started=started,
            scratch=self._scratch,
        )

    async def collect(self, exit_code: int) -> Path:
        """Lay the results folder out: ``stdout``, ``stderr``, ``exitCode`` and one folder for each output.

        The workload must be dead, and the log closed. What else was staged is removed.

        Raises:
            OutputError: An output holds something that cannot be kept.
        """
        return await run_blocking(self._collect, exit_code)

    async def remove(self) -> None:
        """Remove everything but the log."""
        await run_blocking(self._remove)

    def _make_folders(self) -> None:
        for folder in self._empty:
            folder.mkdir(parents=True)

    def _outer_first(self) -> list[str]:
        """Return the guest paths of the inputs so that one inside another one comes later: it is laid into the copy of it."""
        return sorted(self._inputs, key=lambda path: len(self._inputs[path].parts))

    async def _fetch(self, field: str, source: Source, into: Path) -> None:
        storage = next((known for known in self._storages if source.scheme in known.schemes), None)
        if storage is None:
            raise InputError(
                f"{field}: no storage of this node fetches {source}",
                field=field,
                hint=f"give the node a storage for {source.scheme}, in its 'storages'",
            )
        await run_blocking(_make_room, field, into)
        try:
            await storage.fetch(source, into)
        except BacalhauError as error:
            error.field = error.field or field
            raise

    def _protect(self, writable: frozenset[str]) -> None:
        for path in self._outer_first():
            if path in writable:
                make_writable(self._inputs[path])
            else:
                make_read_only(self._inputs[path])

    def _collect(self, exit_code: int) -> Path:
        self._results.mkdir()
        for name, output in self._outputs.items():
            try:
                check_outputs(output)
            except OutputError as error:
                error.field = key_path("outputs", name)
                raise
            if not os.access(output, os.W_OK):
                # A folder that is moved is itself written to, for its "..".
                output.chmod(stat.S_IRWXU)
            output.rename(self._results / name)
        self.log.write_streams(self._results)
        (self._results / "exitCode").write_text(str(exit_code), encoding="ascii")
        remove_folder(self._folder)
        return self._results

    def _remove(self) -> None:
        remove_folder(self._folder)
        remove_folder(self._results)


def _make_room(field: str, into: Path) -> None:
    """Make the parent of a path where nothing is yet.

    Raises:
        InputError: Something is there, or a file is on the way, or the path is too long.
    """
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        into.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                f"{field}: the path is too long for this machine",
                field=field,
                hint="give the input a shorter path inside the job",
            ) from error
        if error.errno not in (errno.EEXIST, errno.ENOTDIR):
            raise
    raise InputError(
        f"{field}: would replace a part of another input",
        field=field,
        hint="give it another path inside the job",
    )


def _inside(root: Path, guest_path: str) -> Path:
    return root.joinpath(*Path(normalise_guest_path(guest_path)).parts[1:])
