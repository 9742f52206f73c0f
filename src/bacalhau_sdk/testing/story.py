"""What a `SimulatedEngine` does, told entry by entry: ``on(attempt=1).fails("the disk is full")``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from ..model.execution import Task
from ..model.paths import check_job_id, check_output_name
from ..model.problems import Problems, invalid, is_number, is_text, several, shown, to_flag, under

__all__ = ["Entry", "check_plan", "on"]


@frozen
class Prepare:
    """Take some seconds before the workload begins."""

    seconds: float


@frozen
class Run:
    """Let time pass."""

    seconds: float


@frozen
class Print:
    """Write to an output stream."""

    data: bytes
    stream: Literal["stdout", "stderr"]


@frozen
class Write:
    """Write a file into an output."""

    output: str
    path: str
    data: bytes


@frozen
class Exit:
    """End with an exit code."""

    code: int


@frozen
class Fail:
    """End by a fault."""

    message: str
    transient: bool


@frozen
class Hang:
    """Never end."""


@frozen
class Refuse:
    """Refuse the bid."""

    reason: str
    lasting: bool


Step: TypeAlias = Prepare | Run | Print | Write | Exit | Fail | Hang | Refuse

_ENDS = (Exit, Fail, Hang, Refuse)


@frozen
class Entry:
    """One entry of the plan of a `SimulatedEngine`: which executions it is for, and what they do, step by step; `on` makes one.

    An entry is a value; each method returns a new one with one more step. After the last step the workload exits with 0, unless
    that step was another end. Each method raises `InvalidSpecError` for an argument that makes no sense, and for a step after
    the end.
    """

    attempt: int | None = None
    partition: int | None = None
    job: str | None = None
    offer: int | None = None
    steps: tuple[Step, ...] = ()
    kill_takes: float = 0.0

    def prepares(self, seconds: float) -> Entry:
        """Spend time before the workload begins, as a pull of an image does; only as the first step."""
        if self.steps:
            raise invalid("what prepares comes before everything else", "prepares")
        return self._then(Prepare(_seconds(seconds, "prepares")))

    def runs(self, seconds: float) -> Entry:
        """Run for some time."""
        return self._then(Run(_seconds(seconds, "runs")))

    def prints(self, text: str | bytes, to: Literal["stdout", "stderr"] = "stdout") -> Entry:
        """Write a text, as it is, to an output stream."""
        if to not in ("stdout", "stderr"):
            raise invalid(f"{shown(to)} is no stream: it is 'stdout' or 'stderr'", "prints.to")
        return self._then(Print(_data(text, "prints"), to))

    def writes(self, output: str, path: str, data: str | bytes = b"") -> Entry:
        """Write a file into an output.

        Args:
            output: The name of the output, as in the spec. A task that has none of that name fails for good.
            path: Of the file, relative to the output; folders are made.
            data: What is in the file.
        """
        parts = PurePosixPath(path).parts if is_text(path) else ()
        if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
            raise invalid(f"{shown(path)} is no path of a file inside an output", "writes.path")
        name = under("writes.output", lambda: check_output_name(output))
        return self._then(Write(name, path, _data(data, "writes.data")))

    def exits(self, code: int) -> Entry:
        """End with an exit code, of 32 bits."""
        if isinstance(code, bool) or not isinstance(code, int) or not -(2**31) <= code < 2**32:
            raise invalid(f"{shown(code)} is no exit code: give a whole number", "exits")
        return self._then(Exit(code))

    def fails(self, message: str) -> Entry:
        """End by a fault of the infrastructure, which another try may mend."""
        return self._then(Fail(_text(message, "fails"), transient=True))

    def breaks(self, message: str) -> Entry:
        """End by a fault that no other try would mend."""
        return self._then(Fail(_text(message, "breaks"), transient=False))

    def hangs(self) -> Entry:
        """Never end, unless killed."""
        return self._then(Hang())

    def refuses(self, reason: str, *, lasting: bool = False) -> Entry:
        """Refuse the bid.

        Args:
            reason: What the engine offers instead; for people.
            lasting: Whether the node need not be asked again.
        """
        if self.steps:
            raise invalid("an execution that is refused does nothing else", "refuses")
        lasts = under("refuses.lasting", lambda: to_flag(lasting))
        return self._then(Refuse(_text(reason, "refuses"), lasts))

    def ignores_kill(self, seconds: float) -> Entry:
        """Go on for some time when killed, then die; may be said anywhere before a refusal."""
        if self.steps and isinstance(self.steps[-1], Refuse):
            raise invalid("an execution that is refused cannot be killed", "ignores_kill")
        if self.kill_takes:
            raise invalid("it was said already how long it ignores a kill", "ignores_kill")
        return evolve(self, kill_takes=_seconds(seconds, "ignores_kill"))

    def is_for(self, task: Task, offer: int) -> bool:
        """Say whether the entry is for an execution: the engine's ``offer``-th, counted from 1."""
        return (
            self.attempt in (None, task.attempt)
            and self.partition in (None, task.partition_index)
            and self.job in (None, task.job_id)
            and self.offer in (None, offer)
        )

    def covers(self, other: Entry) -> bool:
        """Say whether the entry is for every execution that another one is for."""
        return all(
            mine in (None, theirs)
            for mine, theirs in (
                (self.attempt, other.attempt),
                (self.partition, other.partition),
                (self.job, other.job),
                (self.offer, other.offer),
            )
        )

    def _then(self, step: Step) -> Entry:
        if self.steps and isinstance(self.steps[-1], _ENDS):
            name = type(self.steps[-1]).__name__.lower()
            raise invalid(f"nothing can come after the end, and {name!r} is one", type(step).__name__.lower())
        if isinstance(step, Refuse) and self.kill_takes:
            raise invalid("an execution that is refused cannot be killed", "refuses")
        return evolve(self, steps=(*self.steps, step))


def on(
    *,
    attempt: int | None = None,
    partition: int | None = None,
    job: str | None = None,
    offer: int | None = None,
) -> Entry:
    r"""Begin an entry of the plan of a `SimulatedEngine`, for the executions that have all that is said here.

    ::

        SimulatedEngine("docker", plan=[
            on(attempt=1).runs(20).fails("the disk is full"),
            on(attempt=2, partition=3).prints("half way\n").hangs().ignores_kill(30),
            on().runs(60).writes("counts", "words.txt", "7").exits(0),
        ])

    Args:
        attempt: Which try of a partition, from 1.
        partition: Which partition, from 0.
        job: The id of the job.
        offer: The how-manieth execution that this engine is asked to take, from 1.

    Raises:
        InvalidSpecError: One of them can never be.
    """
    problems = Problems()
    for name, number, least in (("attempt", attempt, 1), ("partition", partition, 0), ("offer", offer, 1)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < least):
            problems.add(name, f"{shown(number)} is not a number from {least} up")
    if job is not None:
        problems.convert("job", lambda: check_job_id(job), None)
    problems.check()
    return Entry(attempt, partition, job, offer)


def check_plan(plan: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries.

    Raises:
        InvalidSpecError: One is no entry, or says nothing, or an earlier one is for all that it is for.
    """
    problems = Problems()
    entries: list[Entry] = []
    for index, entry in enumerate(several(plan)):
        path = f"plan[{index}]"
        if not isinstance(entry, Entry):
            problems.add(path, f"{shown(entry)} is no entry of a plan: on(...) begins one")
            continue
        if not entry.steps and not entry.kill_takes:
            problems.add(path, "it does not say what happens: exits(0), say")
        if any(earlier.covers(entry) for earlier in entries):
            problems.add(
                path,
                "it is never reached, for an earlier entry is for all that it is for: put it before that",
            )
        entries.append(entry)
    problems.check()
    return tuple(entries)


def _seconds(value: object, path: str) -> float:
    if not (is_number(value) and 0 < value < math.inf):
        raise invalid(f"{shown(value)} is not a number of seconds above 0", path)
    return float(value)


def _text(value: object, path: str) -> str:
    if not is_text(value) or not value:
        raise invalid(f"{shown(value)} is no text that says why", path)
    return value


def _data(value: object, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise invalid(f"{shown(value)} is no text: give a text or bytes", path)
    return value.encode("utf-8", "backslashreplace")
