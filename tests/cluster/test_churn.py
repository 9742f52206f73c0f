"""A thousand jobs started and cancelled at random phases leave nothing behind (both backends)."""

from __future__ import annotations

import gc
import random
import tempfile
import threading
from pathlib import Path

import anyio
import pytest

import bacalhau_sdk as bac
from tests.cluster.harness import Workload

CYCLES = 1_000
GUESTS = Path(__file__).parents[1] / "guests"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def one_cycle(
    c: bac.Cluster, workload: Workload, chance: random.Random, specs: list[bac.JobSpec]
) -> None:
    """Submit a job, let it come to a random point of its life, and cancel it in one of the ways there are."""
    spec = chance.choice(specs)
    turns = chance.choice([0, 1, 2, 3, 5, 8, 13, 21, 34])
    way = chance.choice(["cancel", "run", "own"])
    if way == "cancel":
        job = await c.submit(spec)
        await _live(job, turns)
        assert (await job.cancel()).terminal
        assert all(execution.state.terminal for execution in job.executions)
        return
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            if way == "run":
                tasks.start_soon(cancel)
                await c.run(spec, check=False)
            else:
                async with await c.submit(spec):
                    tasks.start_soon(cancel)
                    await anyio.sleep_forever()
    assert not workload.alive


async def _live(job: bac.Job, turns: int) -> None:
    """Let a job live for some turns of the loop, or, if there are many, until it says something or ends."""
    held_in_the_bid = getattr(job.spec.engine, "name", "") == "check"
    if turns > 20 and not held_in_the_bid:
        async for _ in job.logs():
            return
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()


async def churn(seed: int) -> tuple[int, int]:
    """Return the open files before the cluster was opened, and after it has closed."""
    chance, workload = random.Random(seed), Workload()
    specs = [
        bac.JobSpec.function("hold"),
        bac.JobSpec.function("ok", inputs={"/in": b"bytes"}, outputs={"out": "/out"}),
        bac.JobSpec.function("check"),
        bac.JobSpec.wasm(GUESTS / "loop.wasm", inputs={"/in": GUESTS / "hello.c"}),
        bac.JobSpec.wasm(GUESTS / "sleep.wasm", "3600", outputs={"out": "/out"}),
        bac.JobSpec.wasm(GUESTS / "hello.wasm"),
    ]
    async with bac.Cluster() as warm:
        # What the process opens once, for as long as it lives: the runtime of wasmtime, the first worker thread.
        await warm.run(specs[-1])
    before = open_files()
    nodes = [bac.Node("a", [workload]), bac.Node("b", [bac.WasmExecutor(isolation="thread")])]
    async with bac.Cluster(nodes) as c:
        for spec in specs[3:]:
            job = await c.submit(spec)
            await _live(job, 21)
            await job.cancel()
        await _settle(c)
        tasks, files = len(anyio.get_running_tasks()), open_files()
        for _ in range(CYCLES):
            await one_cycle(c, workload, chance, specs)
        await _settle(c)
        assert len(anyio.get_running_tasks()) == tasks
        assert open_files() == files
        staging = c._workspace.staging
        assert {path.suffix for path in staging.rglob("*") if path.is_file()} <= {".log"}
        assert all(node.executions == 0 for node in await c.nodes())
        assert all(job.state.terminal for job in await c.jobs())
    return before, open_files()


async def _settle(c: bac.Cluster) -> None:
    """Let what was already decided be done: every request is handled after those before it."""
    for node in ("a", "b"):
        selector = bac.Selector(f"name = {node}")
        spec = bac.JobSpec.function("ok") if node == "a" else bac.JobSpec.wasm(GUESTS / "hello.wasm")
        await c.run(bac.JobSpec(spec.engine, selector=selector))
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thousand_cycles_leave_nothing_behind(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    seed = random.randrange(2**32)
    print("seed", seed)
    gc.collect()
    threads = set(threading.enumerate())
    before, after = anyio.run(churn, seed, backend=backend)
    assert after == before
    assert list(tmp_path.iterdir()) == []
    for thread in set(threading.enumerate()) - threads:
        # anyio tells its idle workers to end with the loop; trio keeps idle threads for ten seconds, for every loop.
        if not thread.name.startswith("Trio thread"):
            thread.join(timeout=60)
            assert not thread.is_alive(), thread
