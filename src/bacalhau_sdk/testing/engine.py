"""An engine that runs nothing: stands in for a real one where placement, retries and cancellation are tested."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeAlias, cast

import anyio

from ..abc.executor import Executor, TaskIO
from ..errors import ExecutionError, TransientError
from ..host.threads import run_blocking
from ..model.execution import RunResult, Task
from ..model.network import NetworkType
from ..model.node import Check, EngineInfo, Refusal
from ..model.platform import Platform, PlatformSupport
from ..model.problems import Problems, check_async_function, is_text, shown
from .story import Entry, Exit, Fail, Hang, Prepare, Print, Refuse, Run, Step, Write, check_plan

__all__ = ["Behaviour", "SimulatedEngine"]

Behaviour: TypeAlias = Callable[[Task, TaskIO], Awaitable[int | None]]
"""What an execution does: a task and its files to the exit code; None is 0."""


class SimulatedEngine(Executor):
    """Takes the jobs of an engine, on the platforms that it is told, and does what it is told.

    An execution follows the first entry of the plan that is for it. One without an entry does what ``behaviour`` does, and
    without a ``behaviour`` ends at once with 0. Every node has an engine of its own, and so a plan of its own.

    Args:
        engine: The name of the engine that it stands in for, such as ``"docker"``.
        platforms: What it claims to run natively; nothing at all for an engine that does not care.
        emulated: What it claims to run by emulation.
        plan: What executions do; `on` begins an entry.
        behaviour: ``async def behaviour(task: Task, io: TaskIO)``, awaited for a task that the plan does not name; returns the
            exit code, None is 0. The types are those of `bacalhau_sdk.abc`.
        check: ``def check(task: Task)``, called for a bid that the plan does not refuse; a `Refusal` makes the node refuse, None
            lets it accept.

    Raises:
        InvalidSpecError: An entry of the plan is none, says nothing, or is never reached; a platform is none; or ``behaviour``
            is no async function.
    """

    def __init__(
        self,
        engine: str,
        platforms: Iterable[str | Platform] = (),
        *,
        emulated: Iterable[str | Platform] = (),
        plan: Iterable[Entry] = (),
        behaviour: Behaviour | None = None,
        check: Callable[[Task], Refusal | None] | None = None,
    ) -> None:
        problems = Problems()
        if not is_text(engine) or not engine:
            problems.add("engine", f"{shown(engine)} is not the name of an engine such as 'docker'")
        self.engine = engine
        self._platforms = (
            *_supported(platforms, "platforms", problems),
            *_supported(emulated, "emulated", problems),
        )
        self._plan = problems.convert("", lambda: check_plan(plan), ())
        if behaviour is not None:
            problems.convert("behaviour", lambda: check_async_function(behaviour), None)
        if check is not None and not callable(check):
            problems.add("check", f"{shown(check)} is not a function that takes a task")
        problems.check()
        self._behaviour = behaviour
        self._refuse = check
        self._entries: dict[str, Entry | None] = {}

    async def _probe(self) -> EngineInfo:
        return EngineInfo(self.engine, self._platforms, tuple(NetworkType))

    async def _check(self, task: Task) -> Refusal | None:
        match self._entry(task):
            case Entry(steps=(Refuse(reason, lasting),)):
                return Refusal("", Check.ENGINE, task.engine.engine, reason, "the plan says so", lasting)
            case _:
                return self._refuse(task) if self._refuse is not None else None

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        entry = self._entry(task)
        try:
            if entry is not None:
                return RunResult(await _follow(entry, task, io))
            io.started()
            return RunResult((await self._behaviour(task, io) if self._behaviour is not None else None) or 0)
        except anyio.get_cancelled_exc_class():
            if entry is not None and entry.kill_takes:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(entry.kill_takes)
            raise

    def _entry(self, task: Task) -> Entry | None:
        """Return the entry for an execution, the same whenever it is asked for."""
        if task.execution_id not in self._entries:
            offer = len(self._entries) + 1
            self._entries[task.execution_id] = next(
                (entry for entry in self._plan if entry.is_for(task, offer)), None
            )
        return self._entries[task.execution_id]


def _supported(platforms: object, path: str, problems: Problems) -> list[PlatformSupport]:
    if isinstance(platforms, str) or not isinstance(platforms, Iterable):
        problems.add(path, f"{shown(platforms)} is not a list: write ['linux/amd64']")
        return []
    found: list[PlatformSupport] = []
    for index, platform in enumerate(cast("Iterable[str]", platforms)):
        with problems.at(f"{path}[{index}]"):
            found.append(PlatformSupport(Platform.parse(platform), emulated=path == "emulated"))
    return found


async def _follow(entry: Entry, task: Task, io: TaskIO) -> int:
    """Do the steps of an entry, and return the exit code."""
    steps = entry.steps
    if steps and isinstance(steps[0], Prepare):
        await anyio.sleep(steps[0].seconds)
        steps = steps[1:]
    io.started()
    for step in steps:
        if isinstance(step, Exit):
            return step.code
        await _do(step, task, io)
    return 0


async def _do(step: Step, task: Task, io: TaskIO) -> None:
    match step:
        case Run(seconds):
            await anyio.sleep(seconds)
        case Print(data, stream):
            sink = io.stdout if stream == "stdout" else io.stderr
            sink.write(data)
            await sink.drain()
        case Write(output, path, data):
            if output not in task.outputs:
                raise ExecutionError(
                    f"the plan writes into an output {shown(output)}, which the task does not have",
                    hint="give the spec an output of that name, or have the plan write into another",
                )
            await run_blocking(_write, io.outputs[task.outputs[output]] / path, data)
        case Hang():
            await anyio.sleep_forever()
        case Fail(message, transient):
            raise TransientError(message) if transient else ExecutionError(message)
        case _:
            raise AssertionError(f"{step} is nothing that a workload does")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
