"""Builds what an executor is asked to run, and what it reads and writes, around a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
from attrs import define, field

from bacalhau_sdk.abc import EngineSpec, Task, TaskIO
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.resources import Resources

Tree = Mapping[str, "bytes | Tree"]


@define(slots=False)
class Sink:
    """Collects what is written, and lets a test wait for some of it.

    Attributes:
        data: All that was written.
        drains: How often somebody has waited for the sink.
        gate: What `drain` waits for, if anything.
    """

    data: bytearray = field(factory=bytearray)
    drains: int = 0
    gate: anyio.Event | None = None
    _news: anyio.Event = field(factory=anyio.Event)

    def write(self, data: bytes) -> None:
        self.data += data
        self._tell()

    async def drain(self) -> None:
        self.drains += 1
        self._tell()
        if self.gate is not None:
            await self.gate.wait()

    async def wrote(self, text: str) -> None:
        """Wait until a text was written."""
        while text not in self.text:
            await self._news.wait()

    async def drained(self) -> None:
        """Wait until somebody waits for the sink."""
        while not self.drains:
            await self._news.wait()

    @property
    def text(self) -> str:
        return self.data.decode()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


@define
class Job:
    """A task, its files, and what has become of it so far."""

    task: Task
    io: TaskIO
    stdout: Sink
    stderr: Sink
    started: list[str]

    def output(self, guest: str) -> Path:
        return self.io.outputs[guest]


def make_job(
    folder: Path,
    engine: EngineSpec,
    *,
    inputs: Mapping[str, bytes | Tree] | None = None,
    writable: Iterable[str] = (),
    outputs: Iterable[str] = (),
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    resources: Resources | None = None,
    execution_id: str = "e-1",
) -> Job:
    """Make a task with its inputs staged in one tree below ``folder`` that mirrors the guest's, as a node does."""
    root = folder / execution_id
    for name in ("inputs", "outputs", "scratch"):
        (root / name).mkdir(parents=True)
    staged = {
        guest: _stage(root / "inputs" / guest.strip("/"), content)
        for guest, content in (inputs or {}).items()
    }
    made = {guest: root / "outputs" / str(index) for index, guest in enumerate(outputs)}
    for path in made.values():
        path.mkdir()
    if stdin is not None:
        (root / "stdin").write_bytes(stdin)
    stdout, stderr, started = Sink(), Sink(), list[str]()
    task = Task(
        execution_id=execution_id,
        job_id="j-1",
        partition_index=0,
        partition_count=1,
        engine=engine,
        env=FrozenMap(env or {}),
        resources=resources or Resources(),
        network=Network(),
    )
    io = TaskIO(
        inputs=staged,
        writable=frozenset(writable),
        outputs=made,
        stdin=None if stdin is None else root / "stdin",
        stdout=stdout,
        stderr=stderr,
        started=lambda: started.append(stdout.text),
        scratch=root / "scratch",
    )
    return Job(task, io, stdout, stderr, started)


def _stage(path: Path, content: bytes | Tree) -> Path:
    if isinstance(content, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    else:
        path.mkdir(parents=True, exist_ok=True)
        for name, child in content.items():
            _stage(path / name, child)
    return path
