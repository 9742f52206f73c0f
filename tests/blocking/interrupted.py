"""A program that is interrupted at any moment: ``python -m tests.blocking.interrupted blocking|asyncio|trio``.

It does what scripts do (logs, results, owned jobs, several clusters and threads), says ``ready`` when its imports are done, and
``done`` at its end.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path

import anyio

import bacalhau_sdk as bac
from bacalhau_sdk import blocking

GUESTS = Path(__file__).resolve().parent.parent / "guests"
LOOP = bac.JobSpec.wasm(GUESTS / "loop.wasm")
SLEEP = bac.JobSpec.wasm(GUESTS / "sleep.wasm")
NAP = bac.JobSpec.function("nap", count=3)
FOLDER = bac.JobSpec.function("folder", outputs={"out": "/out"})


async def nap(task: bac.FunctionTask) -> None:
    for number in range(3):
        task.stdout.write(f"{number}\n".encode())
        await anyio.sleep(0.005)


async def folder(task: bac.FunctionTask) -> None:
    (task.outputs["out"] / "file").write_text("text")


def nodes() -> list[bac.Node]:
    return [
        bac.Node(
            "n",
            [bac.WasmExecutor(isolation="thread"), bac.FunctionExecutor({"nap": nap, "folder": folder})],
            resources=bac.Resources(cpu=16, memory="8GiB", disk="8GiB"),
        )
    ]


def with_blocking() -> None:
    """Wait, own, read on and leave, as scripts and notebooks do."""
    forgotten = blocking.Cluster(nodes())
    forgotten.submit(LOOP)
    reader = threading.Thread(target=_read, args=(forgotten,), daemon=True)
    reader.start()
    with blocking.Cluster(nodes()) as cluster:
        job = cluster.submit(NAP)
        for _ in job.logs():
            pass
        job.results()
        for _ in job.events():
            pass
        cluster.run(FOLDER).outputs["out"].path.stat()
        with cluster.submit(NAP) as owned:
            owned.executions  # noqa: B018
        try:
            with cluster.submit(LOOP):
                raise LookupError
        except LookupError:
            pass
        cluster.submit(SLEEP)
        with suppress(TimeoutError):
            cluster.submit(LOOP).wait(timeout=0.02)
        cluster.explain(NAP)


def _read(cluster: blocking.Cluster) -> None:
    for _ in cluster.events():
        pass


async def with_anyio() -> None:
    """The same, without the blocking face."""
    async with bac.Cluster(nodes()) as cluster:
        job = await cluster.submit(NAP)
        async for _ in job.logs():
            pass
        await job.results()
        (await cluster.run(FOLDER)).outputs["out"].path.stat()
        async with await cluster.submit(NAP):
            pass
        with anyio.move_on_after(0.02):
            await cluster.run(LOOP)
        await cluster.submit(SLEEP)
        await cluster.submit(LOOP)
        await anyio.sleep(0.02)


def main() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.argv[1] == "blocking":
        with_blocking()
    else:
        anyio.run(with_anyio, backend=sys.argv[1])
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
