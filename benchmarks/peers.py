"""No-op jobs by this library and by others, each as its own documentation has it: opened, used and closed.

A peer is a context manager that opens it anew and gives a function: run so many jobs, all together or one after the other, and
have the result of each.
"""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import frozen

import bacalhau_sdk as bac
from bacalhau_sdk import blocking
from bacalhau_sdk.host.threads import use_no_threads

Run: TypeAlias = Callable[[int, bool], None]
"""So many jobs, one after the other or not."""
AsyncRun: TypeAlias = Callable[[int, bool], Awaitable[None]]
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
STORED = 500  # results that taskiq keeps
WORKERS = 2


async def nothing(_task: bac.FunctionTask | None = None) -> None:
    await anyio.lowlevel.checkpoint()


async def nothing_in_asyncio(_index: int = 0) -> None:
    await asyncio.sleep(0)


def nothing_at_all() -> None:
    pass


@asynccontextmanager
async def ours(*, threads: bool = True) -> AsyncGenerator[AsyncRun]:
    spec = bac.JobSpec.function("nothing")
    async with bac.Cluster([bac.Node("local", [bac.FunctionExecutor({"nothing": nothing})])]) as cluster:
        if not threads:
            use_no_threads()

        async def run(jobs: int, in_turn: bool) -> None:
            if in_turn:
                for _ in range(jobs):
                    await cluster.run(spec)
                return
            for job in [await cluster.submit(spec) for _ in range(jobs)]:
                assert (await job.result()).exit_code == 0

        yield run


@contextmanager
def ours_blocking() -> Generator[Run]:
    spec = bac.JobSpec.function("nothing")
    with blocking.Cluster([bac.Node("local", [bac.FunctionExecutor({"nothing": nothing})])]) as cluster:

        def run(jobs: int, in_turn: bool) -> None:
            if in_turn:
                for _ in range(jobs):
                    cluster.run(spec)
                return
            for job in [cluster.submit(spec) for _ in range(jobs)]:
                assert job.result().exit_code == 0

        yield run


@asynccontextmanager
async def bare() -> AsyncGenerator[AsyncRun]:
    async with anyio.create_task_group() as tasks:

        async def run(jobs: int, in_turn: bool) -> None:
            if in_turn:
                for _ in range(jobs):
                    await tasks.start_soon(nothing)
                return
            for handle in [tasks.start_soon(nothing) for _ in range(jobs)]:
                await handle

        yield run


@asynccontextmanager
async def dask() -> AsyncGenerator[AsyncRun]:
    from distributed import Client, LocalCluster

    async with (
        LocalCluster(  # type: ignore[no-untyped-call, unused-ignore]
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, asynchronous=True
        ) as cluster,
        Client(cluster, asynchronous=True) as client,  # type: ignore[no-untyped-call, unused-ignore]
    ):

        async def run(jobs: int, in_turn: bool) -> None:
            # pure=False: otherwise the same call is not made twice
            if in_turn:
                for _ in range(jobs):
                    await client.submit(nothing_in_asyncio, pure=False)
            else:
                await client.gather(client.map(nothing_in_asyncio, range(jobs), pure=False))

        yield run


@contextmanager
def parsl() -> Generator[Run]:
    import parsl
    from parsl.config import Config
    from parsl.executors import ThreadPoolExecutor

    with (
        tempfile.TemporaryDirectory() as folder,
        parsl.load(
            Config(
                executors=[ThreadPoolExecutor(max_threads=WORKERS)],
                strategy="none",
                run_dir=folder,
                initialize_logging=False,
            )
        ) as kernel,
    ):
        app = parsl.python_app(nothing_at_all, data_flow_kernel=kernel)

        def run(jobs: int, in_turn: bool) -> None:
            if in_turn:
                for _ in range(jobs):
                    app().result()
                return
            for future in [app() for _ in range(jobs)]:
                future.result()

        yield run
    parsl.clear()


@asynccontextmanager
async def taskiq() -> AsyncGenerator[AsyncRun]:
    from taskiq import InMemoryBroker

    broker = InMemoryBroker(max_stored_results=STORED)
    task = broker.register_task(nothing_in_asyncio, task_name="nothing")
    await broker.startup()

    async def run(jobs: int, in_turn: bool) -> None:
        assert jobs <= STORED
        for _ in range(jobs if in_turn else 1):
            sent = [await task.kiq() for _ in range(1 if in_turn else jobs)]
            await broker.wait_all()  # `wait_result` looks five times a second
            for each in sent:
                assert not (await each.get_result()).is_err

    yield run
    await broker.shutdown()


@contextmanager
def process_pool() -> Generator[Run]:
    with ProcessPoolExecutor(WORKERS) as pool:

        def run(jobs: int, in_turn: bool) -> None:
            if in_turn:
                for _ in range(jobs):
                    pool.submit(nothing_at_all).result()
                return
            for future in [pool.submit(nothing_at_all) for _ in range(jobs)]:
                future.result()

        yield run


@frozen
class Peer:
    """One that is measured.

    Attributes:
        label: Names it in tables.
        does: What it does for a job, and what it does not.
        imports: The module whose import is not a part of the time to the first result.
        asynchronous: Opens it, if it is asynchronous.
        synchronous: Opens it, if it is not.
        package: Whose version is noted, if it is neither this library nor Python.
        backend: The event loop of one that is asynchronous.
        in_memory: Whether its temporary files are on a file system in memory.
        variant: Whether it is only there to show where the time goes.
    """

    label: str
    does: str
    imports: str
    asynchronous: Callable[[], AbstractAsyncContextManager[AsyncRun]] | None = None
    synchronous: Callable[[], AbstractContextManager[Run]] | None = None
    package: str = ""
    backend: str = "asyncio"
    in_memory: bool = False
    variant: bool = False

    @contextmanager
    def ready(self) -> Generator[Callable[[], AbstractContextManager[Run]]]:
        """Have what an application has before it opens a peer: its modules, and a running event loop; return how to open it."""
        importlib.import_module(self.imports)
        if self.synchronous is not None:
            yield self.synchronous
            return
        assert self.asynchronous is not None, "a peer is one or the other"
        with start_blocking_portal(self.backend) as portal:
            yield partial(_entered, portal, self.asynchronous)


@contextmanager
def _entered(
    portal: BlockingPortal, opened: Callable[[], AbstractAsyncContextManager[AsyncRun]]
) -> Generator[Run]:
    with portal.wrap_async_context_manager(opened()) as run:
        yield partial(portal.call, run)


OURS = "bacalhau_sdk.cluster.cluster"
PEERS = {
    "ours": Peer(
        "bacalhau_sdk",
        "a job is scheduled, bid for and run as an async function in the same event loop; its history is kept; exit code, stdout "
        "and stderr are files in a folder of its own",
        OURS,
        ours,
    ),
    "trio": Peer("bacalhau_sdk, on trio", "the same", OURS, ours, backend="trio"),
    "blocking": Peer(
        "bacalhau_sdk, blocking",
        "the same, each call handed to the thread of the event loop",
        "bacalhau_sdk.blocking",
        synchronous=ours_blocking,
    ),
    "memory": Peer(
        "bacalhau_sdk, results in memory",
        "the same, with the folders on a file system in memory",
        OURS,
        ours,
        in_memory=True,
    ),
    "no-threads": Peer(
        "bacalhau_sdk, results in memory, no threads",
        "the same, with files written in the thread of the event loop, as under virtual time",
        OURS,
        partial(ours, threads=False),
        in_memory=True,
        variant=True,
    ),
    "dask": Peer(
        "dask, LocalCluster in process",
        "a scheduler and one worker in the same event loop; async functions; a result is an object in memory for as long as "
        "somebody has its future, and its task is then forgotten; no files",
        "distributed",
        dask,
        package="distributed",
    ),
    "parsl": Peer(
        "parsl, threads",
        "functions in two threads, with futures and dependencies; results are objects in memory; no nodes, no files",
        "parsl.executors",
        synchronous=parsl,
        package="parsl",
    ),
    "taskiq": Peer(
        "taskiq, InMemoryBroker",
        f"async functions in the same event loop, messages encoded; the last {STORED} results in memory; no nodes, no files",
        "taskiq",
        taskiq,
        package="taskiq",
    ),
    "pool": Peer(
        "ProcessPoolExecutor",
        "functions in two processes; arguments and results are pickled; no nodes, no files, nothing that runs can be cancelled",
        "concurrent.futures.process",
        synchronous=process_pool,
    ),
    "bare": Peer(
        "anyio, task group", "a task in the event loop, and nothing else", "anyio", bare, package="anyio"
    ),
}
