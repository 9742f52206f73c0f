"""Where the rows of jobs happen: a cluster with a function and a WASM engine, and a folder of the user's."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio
import wasmtime
from anyio import to_thread
from attrs import define, field

import bacalhau_sdk as bac
from bacalhau_sdk.errors import TransientError
from tests.storage.trees import below, make_device, make_fifo, make_socket

GUESTS = Path(__file__).parent.parent / "guests"
SPECIAL = {"FIFO": make_fifo, "socket": make_socket, "device": make_device}


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


@cache
def guest(name: str) -> bytes:
    """Return a module of tests/guests."""
    text = GUESTS / f"{name}.wat"
    return wat(text.read_text()) if text.exists() else (GUESTS / f"{name}.wasm").read_bytes()


@define(eq=False)
class Site:
    """A cluster that is open, and what a row needs to do something wrong.

    Attributes:
        cluster: With one node, ``here``, which runs at most two executions at once.
        data_dir: Where its results stay.
        files: A folder of the user's, which is the current one.
        holding: What the function ``hold`` has come to.
        release: Lets it end.
    """

    cluster: Any  # what the rows give it, no type checker lets through
    data_dir: Path
    files: Path
    holding: anyio.Event = field(factory=anyio.Event)
    release: anyio.Event = field(factory=anyio.Event)

    async def wasm(self, module: object, *args: object, **options: object) -> Any:
        """Run a module."""
        spec: Any = bac.JobSpec.wasm
        return await self.cluster.run(spec(module, *args, **options))

    async def function(self, name: object, *args: object, **options: object) -> Any:
        """Run a function."""
        spec: Any = bac.JobSpec.function
        return await self.cluster.run(spec(name, *args, **options))

    async def output_of(self, kind: str) -> Any:
        """Run the function that leaves something odd in its output."""
        return await self.function("leave", kind, outputs={"odd": "/odd"})

    async def output(self) -> Any:
        """Return a good output."""
        result = await self.function("canary", "tweet", outputs={"song": "/song"})
        return result.outputs["song"]

    async def with_input(self, path: object, **options: object) -> Any:
        """Run a function that has an input."""
        return await self.function("canary", "", inputs={"/in": path}, **options)

    async def with_special(self, kind: str, name: str) -> Any:
        """Run a function whose input is a FIFO, a socket or a device, or a folder that has one."""
        place = self.files / "odd"
        place.mkdir()
        SPECIAL[kind](place / "it")
        return await self.with_input(place / name)

    async def after_a_change(self, given: Path, change: Any) -> Any:
        """Submit a job that has to wait, change its input, and let it run."""
        given.write_text("x")
        spec = bac.JobSpec.function("hold")
        async with await self.cluster.submit(spec), await self.cluster.submit(spec):
            await self.holding.wait()
            job = await self.cluster.submit(bac.JobSpec.function("canary", "", inputs={"/in": given}))
            change(given)
            self.release.set()
        self.holding, self.release = anyio.Event(), anyio.Event()
        return await job.result()

    async def canary(self) -> None:
        """See that the cluster still does what it should, on both engines."""
        options: Any = {"inputs": {"/seed": b"corn"}, "outputs": {"song": "/song"}}
        result = await self.cluster.run(bac.JobSpec.function("canary", "tweet", **options))
        song = result.outputs["song"].path / "song"
        assert (result.stdout, await to_thread.run_sync(song.read_text)) == ("tweet\n", "corn")
        assert (await self.cluster.run(bac.JobSpec.wasm(guest("hello")))).stdout == "Hello, world!\n"

    async def traces(self) -> tuple[object, ...]:
        """Return what is there of the cluster's work: tasks, processes, descriptors, files of executions, what is reserved."""
        await anyio.wait_all_tasks_blocked()
        staged = [
            str(path.relative_to(self.data_dir))
            for staging in self.data_dir.glob(".staging-*/here")
            for path in below(staging)
            if path.suffix != ".log"  # they can be read until the cluster closes
        ]
        node = (await self.cluster.nodes())[0]
        unfinished = [job.id for job in await self.cluster.jobs() if not job.state.terminal]
        tasks = sorted(str(task.name) for task in anyio.get_running_tasks())
        return (staged, node.free, node.executions, unfinished, tasks, *of_the_process())

    async def _canary(self, task: bac.FunctionTask) -> None:
        if task.outputs:
            corn = await to_thread.run_sync(task.inputs["/seed"].read_text) if task.inputs else "none"
            await to_thread.run_sync((task.outputs["song"] / "song").write_text, corn)
        print(*task.args, file=task.stdout)

    async def _hold(self, task: bac.FunctionTask) -> None:
        self.holding.set()
        await self.release.wait()

    async def _leave(self, task: bac.FunctionTask) -> None:
        await to_thread.run_sync(partial(leave, task.args[0], task.outputs["odd"]))

    async def _answer(self, task: bac.FunctionTask) -> Any:
        answers: dict[str, object] = {"text": "done", "True": True, "large": 2**32}
        return answers[task.args[0]]

    async def _fail(self, task: bac.FunctionTask) -> None:
        raise TransientError("the licence server is away", hint="start it")

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, cache_dir: Path) -> AsyncGenerator[Site, None]:
        """Open a cluster whose results are below a folder."""
        site = cls(None, folder / "results", folder / "files")
        engine = bac.FunctionExecutor(
            {
                "canary": site._canary,
                "hold": site._hold,
                "leave": site._leave,
                "answer": site._answer,
                "fail": site._fail,
            }
        )
        executors = [engine, bac.WasmExecutor(isolation="thread", cache_dir=cache_dir)]
        resources = bac.Resources(cpu=4, memory="8GiB", disk="1TiB")
        node = bac.Node("here", executors, resources=resources, max_executions=2)
        async with bac.Cluster([node], data_dir=site.data_dir) as site.cluster:
            yield site


def leave(kind: str, output: Path) -> None:
    """Put something odd into an output."""
    match kind:
        case "link that leads out":
            (output / "it").symlink_to("/etc/passwd")
        case "link to its neighbours":
            (output / "it").symlink_to("../../inputs")
        case "file in its place":
            output.rmdir()
            output.write_text("x")
        case "link in its place":
            output.rmdir()
            output.symlink_to("/etc")
        case "nothing in its place":
            output.rmdir()
        case "set-user-ID file":
            (output / "it").write_text("x")
            (output / "it").chmod(0o6755)
        case "name of control characters":
            make_fifo(output / "\a\x1b[31m\u202e")
        case _:
            SPECIAL[kind](output / "it")


def of_the_process() -> tuple[object, ...]:
    """Return what the process has open, and its children, but for what a thread of wasmtime's own does with its cache."""
    descriptors: list[str] = []
    children: list[str] = []
    for each in (*Path("/proc/self/fd").iterdir(), *Path("/proc/self/task").iterdir()):
        with suppress(FileNotFoundError):  # the descriptor of this listing; a thread that ends
            if each.parent.name == "fd":
                descriptors.append(str(each.readlink()).partition(":")[0])
            else:
                children += (each / "children").read_text().split()
    return sorted(name for name in descriptors if "/wasmtime/" not in name), children


def temporary() -> list[str]:
    """Return what is in the folder for temporary files."""
    return sorted(path.name for path in Path(tempfile.gettempdir()).iterdir())
