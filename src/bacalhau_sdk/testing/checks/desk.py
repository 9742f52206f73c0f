"""What a node lays out for one run of an executor, and what has become of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field

from ...abc.executor import Executor, TaskIO
from ...host.folders import make_read_only
from ...host.threads import run_blocking
from ...model.execution import Task
from ...model.frozenmap import FrozenMap
from ...model.job import EngineSpec
from ...model.network import Network
from ...model.problems import shown
from ...model.resources import Resources
from .check import awaiting, expect, folder, read_tree

__all__ = ["Desk", "Sink", "desk", "running"]

LETTER = b"Dear node,\r\n\0\xff\n" * 1000
GREETING = "hello"
_NO_TICKS = "tick has written nothing to /outputs/ticks"
_FIRST_TICK = 10.0
"""Seconds within which a workload that has written ``up`` ticks; it should be hundredths."""


@define
class Sink:
    """Keeps what is written, and lets somebody wait for some of it."""

    data: bytearray = field(factory=bytearray)
    _news: anyio.Event = field(factory=anyio.Event)

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        self.data += data
        self._news.set()
        self._news = anyio.Event()

    async def drain(self) -> None:
        """Let others run."""
        await checkpoint()

    async def wrote(self, data: bytes) -> None:
        """Wait until some bytes were written."""
        while data not in self.data:
            await self._news.wait()


@define
class Desk:
    """A task and its folders.

    Attributes:
        root: The folder that all of them are in.
        task: What is to be run.
        io: What it reads and writes.
        stdout: What came out.
        stderr: The same of the standard error.
        started: How many bytes had come out whenever the executor said that the workload begins.
        scope: Which the run is in.
        ended: How the run ended, in the words of a sentence; empty before that.
    """

    root: Path
    task: Task
    io: TaskIO
    stdout: Sink
    stderr: Sink
    started: list[int]
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: str = ""
    _over: anyio.Event = field(factory=anyio.Event)

    @property
    def outputs(self) -> Path:
        """The folder of the one output."""
        return self.io.outputs["/outputs"]

    async def run(self, executor: Executor) -> None:
        """Run the task, and note how that ended."""
        ended = ""
        try:
            with self.scope:
                ended = f"returned {await executor.run(self.task, self.io)}"
        except Exception as error:  # noqa: BLE001 - the check says what is wrong with it
            ended = f"raised {type(error).__name__}: {error}"
        finally:
            self.ended = ended or "was cancelled"
            self._over.set()

    async def over(self) -> None:
        """Wait for the end of the run."""
        await self._over.wait()

    async def ticks(self) -> int:
        """Return how often the workload has ticked."""
        return len((await read_tree(self.outputs)).get("ticks") or b"")

    async def others(self) -> dict[str, bytes | None]:
        """Return all files but those that a workload may write."""
        mine = {path.relative_to(self.root).as_posix() for path in (self.outputs, self.io.scratch)}
        found = await read_tree(self.root)
        return {name: data for name, data in found.items() if name.partition("/")[0] not in mine}


@asynccontextmanager
async def desk(
    engine: EngineSpec, *, stdin: bytes | None = b"", letter: bytes = LETTER, name: str = "check"
) -> AsyncGenerator[Desk, None]:
    """Lay out what a program needs, and remove it afterwards."""
    async with folder() as root:
        await run_blocking(_lay_out, root, stdin, letter)
        stdout, stderr, started = Sink(), Sink(), list[int]()
        task = Task(
            execution_id=f"e-{name}",
            job_id=f"j-{name}",
            partition_index=0,
            partition_count=1,
            engine=engine,
            env=FrozenMap({"GREETING": GREETING}),
            resources=Resources(),
            network=Network(),
            outputs=FrozenMap({"made": "/outputs"}),
        )
        io = TaskIO(
            inputs={"/inputs": root / "inputs"},
            writable=frozenset(),
            outputs={"/outputs": root / "outputs"},
            stdin=None if stdin is None else root / "stdin",
            stdout=stdout,
            stderr=stderr,
            started=lambda: started.append(len(stdout.data)),
            scratch=root / "scratch",
        )
        yield Desk(root, task, io, stdout, stderr, started)


@asynccontextmanager
async def running(executor: Executor, given: Desk) -> AsyncGenerator[None, None]:
    """Run a task that writes ``up`` and ticks, from its first tick on; leaving cancels it, and waits for the end of the run."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(given.run, executor)
        try:
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(_ended_early, given)
                with awaiting(lambda: f"tick has not written 'up', but {shown(bytes(given.stdout.data))}"):
                    await given.stdout.wrote(b"up")
                with anyio.move_on_after(_FIRST_TICK), awaiting(lambda: _NO_TICKS):
                    while not await given.ticks():  # noqa: ASYNC110 - nobody tells when a program writes to a file
                        await anyio.sleep(0.01)
                expect(await given.ticks(), f"{_NO_TICKS}, in {_FIRST_TICK:g} seconds after 'up'")
                waiting.cancel_scope.cancel()
            yield
        finally:
            given.scope.cancel()


async def _ended_early(given: Desk) -> None:
    await given.over()
    missing = _NO_TICKS if b"up" in given.stdout.data else "tick has not written 'up'"
    expect(False, f"run {given.ended} before the workload had written 'up' and ticked: {missing}")


def _lay_out(root: Path, stdin: bytes | None, letter: bytes) -> None:
    for name in ("inputs", "outputs", "scratch"):
        (root / name).mkdir()
    (root / "inputs" / "letter").write_bytes(letter)
    make_read_only(root / "inputs")
    if stdin is not None:
        (root / "stdin").write_bytes(stdin)
