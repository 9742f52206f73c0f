"""Runs async functions of the caller's own process."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
from attrs import define

from ..abc.executor import ByteSink, Executor, TaskIO
from ..errors import ExecutionError, TransientError
from ..host.cancellation import being_cancelled
from ..model.execution import RunResult, Task
from ..model.job import FunctionSpec
from ..model.network import NetworkType
from ..model.node import Check, EngineInfo, Refusal
from ..model.problems import check_async_function, invalid, key_path, shown, to_flag, under

__all__ = ["FunctionExecutor", "FunctionTask", "TextSink"]


class TextSink:
    """An output stream of a function: takes text and bytes, so that ``print(..., file=task.stdout)`` works."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink

    def write(self, data: str | bytes) -> int:
        """Take some text, as UTF-8, or bytes; never blocks.

        Returns:
            The number of characters or bytes that were taken: all.
        """
        self._sink.write(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is on its way."""


@define
class FunctionTask:
    """What a function gets.

    Attributes:
        args: The arguments of the spec.
        env: The variables of the spec and of the system.
        inputs: Where each input is, by guest path as in the spec; read-only unless the spec says otherwise.
        outputs: An empty folder for each output, by name; what is in it at the end comes back.
        stdin: The standard input, or None when there is none.
        stdout: Takes text and bytes.
        stderr: Takes text and bytes.
    """

    args: tuple[str, ...]
    env: Mapping[str, str]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    stdin: Path | None
    stdout: TextSink
    stderr: TextSink


Function: TypeAlias = Callable[[FunctionTask], Awaitable[int | None]]


class FunctionExecutor(Executor):
    """Runs async functions that it knows by name, in the event loop of the cluster.

    A function returns its exit code, or None for 0. ``raise TransientError`` says that the infrastructure failed, which may be
    retried; ``sys.exit`` is an exit code, and any other exception is exit code 1, with the traceback on stderr. Cancelling a job
    cancels the function at its next ``await``; one that awaits nothing cannot be stopped, and holds up the whole event loop.
    It writes to its streams from the event loop's thread.

    Args:
        functions: By name.
        system_env: Whether functions get the variables of the system, such as ``BACALHAU_JOB_ID``.

    Raises:
        InvalidSpecError: One of them is not an async function.
    """

    engine = "function"
    needs_scratch = False

    def __init__(self, functions: Mapping[str, Function], *, system_env: bool = True) -> None:
        if not isinstance(functions, Mapping):
            raise invalid(f"{shown(functions)} is not a mapping such as {{'name': function}}", "functions")
        for name, function in functions.items():
            if not isinstance(name, str):
                raise invalid(f"{shown(name)} is not the name of a function: give a text", "functions")
            under(key_path("functions", name), partial(check_async_function, function))
        self._functions = dict(functions)
        self.system_env: bool = under("system_env", lambda: to_flag(system_env))

    async def _probe(self) -> EngineInfo:
        return EngineInfo(self.engine, networks=tuple(NetworkType))

    async def _check(self, task: Task) -> Refusal | None:
        name = task.engine.name if isinstance(task.engine, FunctionSpec) else ""
        if name in self._functions:
            return None
        known = ", ".join(sorted(self._functions)) or "no function"
        return Refusal(
            "", Check.ENGINE, f"the function {name!r}", known, "add it to the node's FunctionExecutor"
        )

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        if not isinstance(task.engine, FunctionSpec):
            raise ExecutionError(f"{task.engine.engine!r} is not a function")
        given = FunctionTask(
            args=task.engine.args,
            env=task.env,
            inputs=io.inputs,
            outputs={name: io.outputs[path] for name, path in task.outputs.items()},
            stdin=io.stdin,
            stdout=TextSink(io.stdout),
            stderr=TextSink(io.stderr),
        )
        function = self._functions[task.engine.name]
        io.started()
        try:
            code = await function(given)
        except TransientError:
            raise
        except SystemExit as stop:
            return RunResult(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            if not isinstance(error, Exception) and await being_cancelled():
                raise
            given.stderr.write(traceback.format_exc())
            return RunResult(1)
        return RunResult(_exit_code(code, task.engine.name))


def _exit_code(code: object, name: str) -> int:
    if code is None:
        return 0
    if isinstance(code, bool) or not isinstance(code, int):
        raise ExecutionError(
            f"the function {shown(name)} returned {shown(code)}: an exit code or None is expected",
            field="engine.name",
            hint="write what it has found to task.stdout, or into a folder of task.outputs",
        )
    return code
