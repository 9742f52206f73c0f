"""The port for engines: what probes, checks and runs a workload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, Self, final

from anyio import AsyncContextManagerMixin
from attrs import define, evolve

from ..errors import BacalhauError, EngineError, ExecutionError, TransientError
from ..model.execution import RunResult, Task
from ..model.node import Check, EngineInfo, Refusal
from ..model.problems import first_failure, printable_lines

__all__ = ["ByteSink", "Executor", "TaskIO"]


class ByteSink(Protocol):
    """Takes the output of a workload; a cap behind it drops, and marks as truncated, what is too much."""

    def write(self, data: bytes) -> None:
        """Take some bytes; never blocks, never raises."""
        ...

    async def drain(self) -> None:
        """Wait until what was written is mostly out of memory; call it between large writes."""
        ...


@define
class TaskIO:
    """What a workload reads and writes, prepared by the node.

    Attributes:
        inputs: Where each input is staged, by guest path as in the spec; a private copy, read-only unless in ``writable``.
        writable: The guest paths of inputs that the workload may change.
        outputs: An empty folder for each output, by guest path; what is in it at the end is collected.
        stdin: A file to read from, or None for an empty standard input.
        stdout: Takes the standard output, live.
        stderr: Takes the standard error, live.
        started: To be called when the workload itself begins, after what prepares it (pull, compile).
        scratch: A private folder for the executor's own needs, gone afterwards. It is not made for an executor that says
            `Executor.needs_scratch` is false.
    """

    inputs: Mapping[str, Path]
    writable: frozenset[str]
    outputs: Mapping[str, Path]
    stdin: Path | None
    stdout: ByteSink
    stderr: ByteSink
    started: Callable[[], None]
    scratch: Path


class Executor(AsyncContextManagerMixin, ABC):
    """Runs workloads of one engine on this machine.

    Guarantee: `run` returns or raises only when the workload is dead. Cancelling `run` is the way to stop a workload; it then
    ends it, cleans up under a shield, and lets the cancellation through. One instance serves one node; it is entered before
    use, and leaving it waits for whatever still runs on its behalf.

    To write one, subclass, set `engine`, and implement ``_probe`` and ``_run`` (``_check`` where the engine must have a say
    in the bid). ``_run`` calls ``io.started()`` when the workload itself begins. A spec of your own, for an engine of your own,
    is a frozen subclass of `EngineSpec` with the same ``engine``, and goes into ``JobSpec(YourSpec(...), ...)``. ``async with``
    does nothing unless ``__asynccontextmanager__`` is overridden.

    Attributes:
        engine: The name of the engine whose specs it runs.
        system_env: Whether its workloads get the variables of the system, such as ``BACALHAU_JOB_ID``.
        needs_scratch: Whether it uses `TaskIO.scratch`; making and removing a folder for each execution takes time.
    """

    engine: str = ""
    system_env: bool = True
    needs_scratch: bool = True

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        """Enter and leave the executor; override to hold resources while its node is up."""
        yield self

    @final
    async def probe(self) -> EngineInfo:
        """Find out what the engine can do on this machine.

        Raises:
            EngineError: It cannot be used, and why.
        """
        try:
            return evolve(await self._probe(), system_env=self.system_env)
        except BacalhauError:
            raise
        except Exception as error:
            raise EngineError(
                f"the probe of {type(self).__name__} failed: {_describe(error)}",
                hint="mend what it says, or leave the executor out of the node",
            ) from error

    @final
    async def check(self, task: Task) -> Refusal | None:
        """Say why the engine would not run a task, or None when it would; asked for the bid.

        A fault of the check itself is a refusal: the node cannot tell whether it could.
        """
        try:
            refusal = await self._check(task)
            if refusal is None or isinstance(refusal, Refusal):
                return refusal
            raise TypeError(f"{refusal!r} is neither a Refusal nor None")
        except Exception as error:  # noqa: BLE001 - whatever it is, the node must answer the offer
            hint = "the log of the node's executor may say more"
            return Refusal("", Check.ENGINE, self.engine, f"a check that failed: {_describe(error)}", hint)

    @final
    async def run(self, task: Task, io: TaskIO) -> RunResult:
        """Run a task to its end; cancel the call to stop it.

        Raises:
            TransientError: The infrastructure failed; another try may succeed. A foreign exception becomes one of these.
            ExecutionError: The task can never succeed.
        """
        try:
            result = await self._run(task, io)
            if not isinstance(result, RunResult) or not isinstance(result.exit_code, int):
                raise ExecutionError(
                    f"{type(self).__name__} returned {type(result).__name__}, not a RunResult with a number"
                )
            if not -(2**31) <= result.exit_code < 2**32:
                raise ExecutionError(
                    "the workload has no exit code that fits 32 bits",
                    hint="end it with a number from 0 to 255",
                )
            return result
        except BacalhauError:
            raise
        except Exception as error:
            raise TransientError(f"{type(self).__name__} failed: {_describe(error)}") from error

    @abstractmethod
    async def _probe(self) -> EngineInfo:
        """Find out what the engine can do; see `probe`."""

    async def _check(self, task: Task) -> Refusal | None:
        """Say why not, or None; see `check`. The node fills its name in."""
        return None

    @abstractmethod
    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        """Run a task; see `run`."""


def _describe(raised: Exception) -> str:
    error = first_failure(raised)  # a group says only how many there were
    text = printable_lines(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
