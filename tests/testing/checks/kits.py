"""What our own adapters are checked with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio

from bacalhau_sdk.abc import (
    BytesSource,
    DockerSpec,
    FunctionSpec,
    PathSource,
    Source,
    Task,
    TaskIO,
    Transport,
    WasmSpec,
)
from bacalhau_sdk.executors.function import FunctionExecutor, FunctionTask
from bacalhau_sdk.executors.wasm.executor import WasmExecutor
from bacalhau_sdk.storage.local import LocalStorage
from bacalhau_sdk.storage.results import LocalPublisher
from bacalhau_sdk.testing import SimulatedEngine, on
from bacalhau_sdk.testing.checks import ExecutorKit, MakeEnds, PublisherKit, StorageKit

GUEST = (Path(__file__).parents[2] / "guests" / "conform.wasm").read_bytes()


def wasm_kit(cache_dir: Path) -> ExecutorKit:
    echo, nap, tick = (WasmSpec(BytesSource(GUEST), (verb,)) for verb in ("echo", "nap", "tick"))
    return ExecutorKit(
        lambda: WasmExecutor(isolation="thread", cache_dir=cache_dir),
        echo,
        nap,
        tick,
        impossible=WasmSpec(BytesSource(b"no module")),
    )


class Output(Protocol):
    """What both a `ByteSink` and a `TextSink` do."""

    def write(self, data: bytes, /) -> object: ...


async def echo(
    env: dict[str, str], stdin: Path | None, letter: Path, made: Path, out: Output, err: Output
) -> int:
    """Do what `ExecutorKit.echo` is to do."""
    if stdin is not None:
        out.write(await anyio.Path(stdin).read_bytes())
    err.write(env["GREETING"].encode())
    await anyio.Path(made / "letter").write_bytes(await anyio.Path(letter / "letter").read_bytes())
    return 3


async def tick(made: Path, out: Output, times: int = 1000) -> None:
    """Do what `ExecutorKit.tick` is to do."""
    out.write(b"up\n")
    async with await anyio.open_file(made / "ticks", "ab", buffering=0) as file:
        for _ in range(times):
            await file.write(b".")
            await anyio.sleep(0.03)
    out.write(b"done\n")


async def _echo(task: FunctionTask) -> int:
    env, made = dict(task.env), task.outputs["made"]
    return await echo(env, task.stdin, task.inputs["/inputs"], made, task.stdout, task.stderr)


async def _nap(task: FunctionTask) -> None:
    await anyio.sleep(1)


async def _tick(task: FunctionTask) -> None:
    await tick(task.outputs["made"], task.stdout)


def function_kit() -> ExecutorKit:
    return ExecutorKit(
        lambda: FunctionExecutor({"echo": _echo, "nap": _nap, "tick": _tick}),
        FunctionSpec("echo"),
        FunctionSpec("nap"),
        FunctionSpec("tick"),
        impossible=FunctionSpec("unknown"),
    )


async def behave(task: Task, io: TaskIO) -> int | None:
    """Do what the image of a task says."""
    assert isinstance(task.engine, DockerSpec)
    match task.engine.image:
        case "echo":
            env, made = dict(task.env), io.outputs["/outputs"]
            return await echo(env, io.stdin, io.inputs["/inputs"], made, io.stdout, io.stderr)
        case "nap":
            await anyio.sleep(1)
        case _:
            await tick(io.outputs["/outputs"], io.stdout)
    return None


def simulated_kit() -> ExecutorKit:
    plan = [on(job="j-impossible").breaks("no such image")]
    return ExecutorKit(
        lambda: SimulatedEngine("docker", plan=plan, behaviour=behave),
        DockerSpec("echo"),
        DockerSpec("nap"),
        DockerSpec("tick"),
        impossible=DockerSpec("impossible"),
    )


def one(make: Callable[[], Transport]) -> MakeEnds:
    """Return what makes a transport that both parties use."""

    @asynccontextmanager
    async def ends() -> AsyncIterator[tuple[Transport, Transport]]:
        transport = make()
        yield transport, transport

    return ends


async def _path(path: Path) -> Source:
    return PathSource(str(path))


async def _bytes(path: Path) -> Source:
    return BytesSource(await anyio.Path(path).read_bytes())


STORAGES = {
    "LocalStorage of paths": StorageKit(LocalStorage, _path, PathSource("/is/not/there")),
    "LocalStorage of bytes": StorageKit(LocalStorage, _bytes, PathSource("/is/not/there"), folders=False),
}
PUBLISHERS = {"LocalPublisher": PublisherKit(LocalPublisher)}
