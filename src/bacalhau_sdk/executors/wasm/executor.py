"""Runs WebAssembly modules inside this process, with wasmtime."""

from __future__ import annotations

import importlib
import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Literal, Self

import anyio
from anyio import CapacityLimiter, to_thread

from ...abc.executor import Executor, TaskIO
from ...errors import ExecutionError, InvalidModuleError, UnsupportedSpecError
from ...host.threads import run_stoppable
from ...model.data import BytesSource, PathLike, local_path
from ...model.execution import RunResult, Task
from ...model.job import WasmSpec
from ...model.network import NetworkType
from ...model.node import EngineInfo
from ...model.problems import Problems, shown, to_flag
from ...model.resources import parse_bytes
from .cache import ModuleCache
from .guest import Command, Guest, GuestEnd
from .modules import require_binary, runtime_version
from .streams import PIPES_HAVE_PATHS, GuestStream, open_stream

__all__ = ["WasmExecutor"]


class WasmExecutor(Executor):
    """Runs core WebAssembly modules that are WASI preview 1 commands; any machine runs any of them.

    What a guest sees: ``argv`` (the name in the spec, then its arguments), the task's variables and no
    others, its standard input or an empty one, the inputs (read-only unless writable) and the outputs at
    their guest paths, clocks and random numbers. It has no network. A relative path counts from ``/``. A file
    input is shown with the folder that it is in; when one file there is writable, all are.

    How it ends: an exit code, whatever its value (0 to 2**32 - 1), is the result; a return from the entry
    point is 0. A trap (``unreachable``, an access out of bounds, a stack that overflows, fuel that is used
    up) is the guest's own failure: exit code 1, with the trap and the functions that it was in as
    the last two lines of the standard error.

    Cancellation: `run` returns when the guest is dead, which is a moment later, also in an endless loop, in a
    sleep, in the start section. Two things cannot be interrupted in a thread. A compilation: a cancel
    does not wait for it, nothing of the job starts, it ends into the cache, and leaving the executor
    waits for it. One bulk-memory instruction (``memory.fill``): a cancel waits until it has ended, for a
    time that the memory limit bounds.

    Isolation: a guest runs in a thread of this process, in wasmtime's sandbox and within limits of memory and
    tables. The files that it has open count against the process's own limit, and what it writes into its
    outputs has no limit here. That is for modules which are trusted neither to attack wasmtime nor to
    starve the process.

    Args:
        isolation: ``"thread"``. ``"process"`` is to come and to be the default; until then this must be asked
            for.
        memory_limit: The linear memory of a guest whose task asks for none: bytes, or a size such as
            ``"512MiB"``.
        fuel: How many units of work a guest may do, or None for any number. A unit is about an instruction;
            the same module with the same inputs uses the same number.
        cache_dir: Where compiled modules are kept; made private to the user, for they are native code. None
            is the user's cache directory.
        system_env: Whether guests get the variables of the system, such as ``BACALHAU_JOB_ID``.

    Raises:
        InvalidSpecError: From the constructor, for a value that makes no sense.
        UnsupportedSpecError: From the constructor, for ``isolation="process"``.
    """

    engine = "wasm"
    needs_scratch: bool = not PIPES_HAVE_PATHS

    def __init__(
        self,
        *,
        isolation: Literal["thread"],
        memory_limit: int | str = "4GiB",
        fuel: int | None = None,
        cache_dir: str | PathLike | None = None,
        system_env: bool = True,
    ) -> None:
        problems = Problems()
        asked: str = isolation  # callers without a type checker
        if asked == "process":
            raise UnsupportedSpecError(
                "WasmExecutor(isolation='process') does not exist yet",
                field="isolation",
                hint="isolation='thread' is for modules that you trust",
            )
        if asked != "thread":
            problems.add("isolation", f"{shown(asked)} is not 'thread', the only one so far")
        self._memory_limit = problems.convert("memory_limit", lambda: parse_bytes(memory_limit), 0)
        if fuel is not None and (isinstance(fuel, bool) or not isinstance(fuel, int) or not 0 < fuel < 2**64):
            problems.add(
                "fuel", f"{shown(fuel)} is not a number of units from 1 to 2**64 - 1: None sets no limit"
            )
        self.system_env: bool = problems.convert("system_env", lambda: to_flag(system_env), True)
        folder = (
            None
            if cache_dir is None
            else problems.convert("", lambda: local_path(cache_dir, "cache_dir"), "")
        )
        problems.check()
        self._fuel = fuel
        self._modules = ModuleCache(fuel is not None, None if folder is None else Path(folder))

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """Let guests run; leaving waits for the compilations that nobody waits for any more."""
        async with self._modules.open():
            yield self

    async def _probe(self) -> EngineInfo:
        version = await to_thread.run_sync(_probe_runtime, limiter=CapacityLimiter(1))
        return EngineInfo(self.engine, networks=(NetworkType.NONE,), version=version)

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        command = await self._prepare(task)
        async with AsyncExitStack() as closed:
            stdout = open_stream(io.stdout, io.scratch, "stdout")
            closed.push_async_callback(stdout.finish)
            stderr = open_stream(io.stderr, io.scratch, "stderr")
            closed.push_async_callback(stderr.finish)
            guest = closed.enter_context(closing(Guest(command, io, stdout.path, stderr.path)))
            io.started()
            end = await _run_guest(guest, stdout, stderr)
        if end.trap:
            text = end.trap if end.trap.endswith("\n") else f"{end.trap}\n"
            io.stderr.write((f"\n{text}" if stderr.midline else text).encode())
        return RunResult(end.exit_code)

    async def _prepare(self, task: Task) -> Command:
        spec = task.engine
        if not isinstance(spec, WasmSpec):
            raise ExecutionError(f"a WasmExecutor runs a WasmSpec, not a {type(spec).__name__}")
        if not isinstance(spec.module, BytesSource):
            raise InvalidModuleError(f"the module {spec.module} was not read before it came here")
        require_binary(spec.module.data)
        module = await self._modules.get(spec.module.data)
        module.require_entry_point(spec.entry_point)
        return Command(
            module=module,
            entry_point=spec.entry_point,
            argv=(spec.name, *spec.args),
            env=task.env,
            memory_limit=task.resources.memory or self._memory_limit,
            fuel=self._fuel,
        )


async def _run_guest(guest: Guest, stdout: GuestStream, stderr: GuestStream) -> GuestEnd:
    """Run a guest and read its streams; returns or raises when it is dead and nobody reads them any more."""

    def kill() -> None:
        guest.kill()
        stdout.hurry()
        stderr.hurry()

    outcome: GuestEnd | BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stdout.pump)
        tasks.start_soon(stderr.pump)
        try:
            # The node says how many run at once.
            outcome = await run_stoppable(guest.run, kill, limiter=CapacityLimiter(math.inf))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, where no group is put around it
            outcome = error
        finally:
            stdout.stop()
            stderr.stop()
    assert outcome is not None  # a cancellation has left above
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _probe_runtime() -> str:
    version = runtime_version()
    importlib.import_module("wasmtime")  # fails where it has no native library for the machine
    return version
