"""No-op jobs through the whole path in one process, beside a bare task group and dask's ``LocalCluster`` in process.

A job of ours is submitted, scheduled, bid for, run as a function, recorded, and its result read; all of them at once, and one
after the other. The peers run the same functions.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

import bacalhau_sdk as bac

from .measure import spread, table

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
JOBS = 500
RUNS = 7


async def nothing(_task: bac.FunctionTask | None) -> None:
    await anyio.lowlevel.checkpoint()


async def bare_together() -> float:
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(JOBS):
            tasks.start_soon(nothing, None)
    return time.perf_counter() - began


async def ours_together(data_dir: str | None = None) -> float:
    nodes = [bac.Node("local", [bac.FunctionExecutor({"nothing": nothing})])]
    async with bac.Cluster(nodes, data_dir=data_dir) as cluster:
        spec = bac.JobSpec.function("nothing")
        began = time.perf_counter()
        jobs = [await cluster.submit(spec) for _ in range(JOBS)]
        results = [await job.result() for job in jobs]
        taken = time.perf_counter() - began
        assert all(result.exit_code == 0 for result in results)
        return taken


async def ours_together_in_memory() -> float:
    """The same with results on a file system in memory: what is left is not the disk's."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        return await ours_together(folder)


async def ours_in_turn() -> float:
    async with bac.Cluster([bac.Node("local", [bac.FunctionExecutor({"nothing": nothing})])]) as cluster:
        spec = bac.JobSpec.function("nothing")
        began = time.perf_counter()
        for _ in range(JOBS):
            await cluster.run(spec)
        return time.perf_counter() - began


def dask_together() -> float:
    return asyncio.run(_dask(in_turn=False))


def dask_in_turn() -> float:
    return asyncio.run(_dask(in_turn=True))


async def _dask(*, in_turn: bool) -> float:
    from distributed import Client, LocalCluster

    async def idle(index: int) -> int:
        await asyncio.sleep(0)
        return index

    async with (
        LocalCluster(  # type: ignore[no-untyped-call, unused-ignore]
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, asynchronous=True
        ) as cluster,
        Client(cluster, asynchronous=True) as client,  # type: ignore[no-untyped-call, unused-ignore]
    ):
        began = time.perf_counter()
        if in_turn:
            for index in range(JOBS):
                await client.submit(idle, index)
        else:
            await client.gather(client.map(idle, range(JOBS)))
        return time.perf_counter() - began


def main() -> None:
    runs: dict[str, Callable[[], float]] = {
        "bare anyio task group, together": _on(bare_together),
        "ours, together": _on(ours_together),
        "ours, together, trio": _on(ours_together, "trio"),
        "ours, together, results in memory": _on(ours_together_in_memory),
        "ours, in turn": _on(ours_in_turn),
        "ours, in turn, trio": _on(ours_in_turn, "trio"),
        "dask LocalCluster, together": dask_together,
        "dask LocalCluster, in turn": dask_in_turn,
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            taken[name].append(run())
    bare = statistics.median(taken["bare anyio task group, together"])
    rows = []
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        dask = statistics.median(
            taken[f"dask LocalCluster, {'in turn' if 'in turn' in name else 'together'}"]
        )
        rows.append((name, f"{median / JOBS * 1e6:.0f}", f"{median / bare:.0f}", f"{median / dask:.2f}"))
    print(table(("", "us a job", "/ bare", "/ dask"), rows))
    for name, seconds in taken.items():
        print(f"  {name}: {spread(seconds)} s for {JOBS} jobs")


def _on(run: Callable[[], Awaitable[float]], backend: str = "asyncio") -> Callable[[], float]:
    return lambda: anyio.run(run, backend=backend)
