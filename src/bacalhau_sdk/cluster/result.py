"""What comes back of a partition: exit code, output streams, and folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from attrs import field, frozen

from ..errors import NonZeroExitError, OutputNotFoundError, ResultsGoneError
from ..model.data import PathLike, local_path
from ..model.display import (
    ROWS_MAX,
    card,
    counted,
    duration,
    element,
    last_part,
    moment,
    state_badge,
    table,
    visible,
)
from ..model.execution import Execution, Outcome
from ..model.frozenmap import FrozenMap
from ..model.problems import invalid, printable, shown, shown_path

__all__ = ["TEXT_CAP", "Output", "Result", "last_lines", "read_result"]

TEXT_CAP = 1024 * 1024
"""Bytes of each stream that `Result.stdout` and `Result.stderr` hold at most; the files are whole."""
_LAST_LINES, _LINE_LENGTH = 5, 200
_NAMES_MAX = 10


@frozen(eq=False)
class ResultFolder:
    """Where the files of a result are, and whether they still are.

    Attributes:
        folder: The folder of the execution.
        kept: Whether the folder is still there: a private one goes with its cluster.
    """

    folder: Path
    kept: Callable[[], bool]

    def at(self, *parts: str) -> Path:
        """Return a path inside the folder.

        Raises:
            ResultsGoneError: The folder went with its cluster.
        """
        if not self.kept():
            raise ResultsGoneError(
                f"{'/'.join(parts)} lay in the private folder of a cluster that has closed",
                hint="copy it inside the cluster's block, or give the cluster a data_dir",
            )
        return self.folder.joinpath(*parts)


@frozen(eq=False)
class Output:
    """A folder that a job has filled; also a path-like object, so that it can be the input of another job.

    Attributes:
        name: The name from the spec.
    """

    name: str
    _folder: ResultFolder = field(repr=False, alias="folder")

    @property
    def path(self) -> Path:
        """Where the folder is.

        Raises:
            ResultsGoneError: It lay in the private folder of a cluster that has closed.
        """
        return self._folder.at(self.name)

    def copy_to(self, destination: str | PathLike) -> Path:
        """Copy what is in the folder into another one; blocking. Links are copied as links.

        Args:
            destination: A folder, ``~`` allowed, made if it is missing; files of the same name in it are replaced.

        Returns:
            The destination.

        Raises:
            InvalidSpecError: The destination is no path, a file, or a folder inside the output.
            ResultsGoneError: The output is not there any more.
            OSError: The copy fails.
        """
        target = _user_path(local_path(destination, "destination"))
        source = self.path
        if not source.is_dir():
            raise _gone(source)
        if target.exists() and not target.is_dir():
            raise invalid(f"{shown_path(target)} is a file: give a folder, or a new name", "destination")
        if target.resolve().is_relative_to(source.resolve()):
            raise invalid(
                f"{shown_path(target)} lies in the output itself: give a folder elsewhere", "destination"
            )
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        return target

    def __fspath__(self) -> str:
        """Return the path of the folder.

        Raises:
            ResultsGoneError: It lay in the private folder of a cluster that has closed.
        """
        return str(self.path)


class _Outputs(FrozenMap[str, Output]):
    """The outputs by their names."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Output:
        """Return an output.

        Raises:
            OutputNotFoundError: None has that name.
        """
        try:
            return super().__getitem__(key)
        except KeyError:
            names = [shown(name) for name in islice(self, _NAMES_MAX)]
            more = f" and {len(self) - _NAMES_MAX} more" if len(self) > _NAMES_MAX else ""
            raise OutputNotFoundError(
                f"the job has no output {shown(key)}", hint=f"it has {', '.join(names) or 'none'}{more}"
            ) from None


@frozen(eq=False)
class Result:
    """What one partition of a job has come to.

    Attributes:
        job_id: The job.
        partition_index: Which partition, from 0.
        attempt: Which try succeeded, from 1.
        node: Where it ran.
        exit_code: Of the workload.
        stdout: The standard output as text, at most a megabyte of it; bytes that are no UTF-8 become U+FFFD.
        stderr: The standard error, likewise.
        stdout_truncated: Whether ``stdout`` is not all that the workload wrote.
        stderr_truncated: Whether ``stderr`` is not all that the workload wrote.
        outputs: The folders, by the names from the spec; `Output.path` is where one is, `Output.copy_to` copies it. Another name
            in brackets is an `OutputNotFoundError`.
        created_at: When the execution was made, in seconds of the cluster's clock (Unix time by default).
        started_at: When the workload began to run.
        ended_at: When the results were stored.

    ``duration`` is the seconds that it took, and ``stdout_path`` and ``stderr_path`` are files with the whole streams.
    """

    job_id: str
    partition_index: int
    attempt: int
    node: str
    exit_code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    stdout_truncated: bool
    stderr_truncated: bool
    outputs: Mapping[str, Output]
    created_at: float
    started_at: float
    ended_at: float
    _folder: ResultFolder = field(repr=False, alias="folder")

    @property
    def duration(self) -> float:
        """Seconds from the start of the workload until its results were stored."""
        return self.ended_at - self.started_at

    @property
    def stdout_path(self) -> Path:
        """The file with the standard output, whole up to the log's cap (64 MiB by default).

        Raises:
            ResultsGoneError: It lay in the private folder of a cluster that has closed.
        """
        return self._folder.at("stdout")

    @property
    def stderr_path(self) -> Path:
        """The file with the standard error, whole up to the log's cap (64 MiB by default).

        Raises:
            ResultsGoneError: It lay in the private folder of a cluster that has closed.
        """
        return self._folder.at("stderr")

    def _repr_html_(self) -> str:
        badge = state_badge("COMPLETED" if self.exit_code == 0 else "FAILED", f"exit code {self.exit_code}")
        head = [element("strong", f"result of job {visible(self.job_id)} "), badge]
        place = (
            f"partition {self.partition_index}, attempt {self.attempt}, on node {visible(self.node)}; "
            f"took {duration(self.duration)}, ended {moment(self.ended_at)}"
        )
        parts = [element("div", place, class_="bac-note")]
        for name, text, truncated in (
            ("stdout", self.stdout, self.stdout_truncated),
            ("stderr", self.stderr, self.stderr_truncated),
        ):
            shown, cut = last_part(text)
            if shown:
                note = f"{name}, the end of it" if cut else name
                note += "; what the workload wrote was cut off" if truncated else ""
                parts += (
                    element("div", note, class_="bac-note"),
                    element("pre", shown, class_="bac-text"),
                )
        if len(self.outputs) > ROWS_MAX:
            note = f"the first {ROWS_MAX} of {counted(len(self.outputs), 'output')}"
            parts.append(element("div", note, class_="bac-note"))
        if self.outputs:
            rows = [(output.name, _place(output)) for output in list(self.outputs.values())[:ROWS_MAX]]
            parts.append(table(("output", "folder"), rows))
        return card(head, *parts)

    def check(self) -> None:
        """Do nothing if the exit code is 0.

        Raises:
            NonZeroExitError: It is another one; the message ends with the last lines of stderr.
        """
        if self.exit_code != 0:
            message = f"job {self.job_id} ended with exit code {self.exit_code} on node {self.node}"
            raise NonZeroExitError(
                message + last_lines(self.stderr),
                job_id=self.job_id,
                exit_code=self.exit_code,
                result=self,
                hint="run(spec, check=False) returns the result, with all of its stderr and its outputs",
            )


def _user_path(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise invalid(
            f"{shown_path(path)} cannot be found: {error} Give its whole path.", "destination"
        ) from error


def last_lines(stderr: str) -> str:
    """Return the last lines of a stderr, in printable characters, as a message ends with them; empty when there are none."""
    lines = [printable(line[:_LINE_LENGTH]) for line in stderr.rstrip().splitlines()[-_LAST_LINES:]]
    return "\n  stderr: " + "\n  stderr: ".join(lines) if lines else ""


def _place(output: Output) -> str:
    try:
        return str(output.path)
    except ResultsGoneError:
        return "gone: it lay in the private folder of a cluster that has closed"


def read_result(
    execution: Execution, outcome: Outcome, output_names: tuple[str, ...], kept: Callable[[], bool]
) -> Result:
    """Make the result of a completed execution; blocking, for it reads the streams.

    Args:
        execution: The execution.
        outcome: How it ended; it has a location.
        output_names: The names from the spec.
        kept: Whether the results are still there.

    Raises:
        ResultsGoneError: They are not.
        OSError: They cannot be read.
    """
    assert outcome.location is not None
    folder = ResultFolder(Path(outcome.location.path), kept)
    stdout, stdout_cut = _read_text(folder.at("stdout"))
    stderr, stderr_cut = _read_text(folder.at("stderr"))
    ended = execution.ended_at if execution.ended_at is not None else execution.modified_at
    return Result(
        job_id=execution.job_id,
        partition_index=execution.partition_index,
        attempt=execution.attempt,
        node=execution.node,
        exit_code=outcome.exit_code or 0,
        stdout=stdout,
        stderr=stderr,
        stdout_truncated=stdout_cut or outcome.stdout_truncated,
        stderr_truncated=stderr_cut or outcome.stderr_truncated,
        outputs=_Outputs({name: Output(name, folder) for name in output_names}),
        created_at=execution.created_at,
        started_at=execution.started_at if execution.started_at is not None else ended,
        ended_at=ended,
        folder=folder,
    )


def _gone(path: Path) -> ResultsGoneError:
    return ResultsGoneError(
        f"{shown_path(path)} is not there any more",
        hint="a private folder goes with its cluster, and somebody may have removed this one: run the job again",
    )


def _read_text(path: Path) -> tuple[str, bool]:
    try:
        with path.open("rb") as file:
            data = file.read(TEXT_CAP + 1)
    except FileNotFoundError:
        raise _gone(path) from None
    return data[:TEXT_CAP].decode("utf-8", "replace"), len(data) > TEXT_CAP
