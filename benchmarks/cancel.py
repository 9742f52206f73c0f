"""Cancel, from the request to a dead guest: a hot loop and a sleep in WASI, beside the bare kill of the same run."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

import anyio
import wasmtime

import bacalhau_sdk as bac

from .measure import percentile, table

SAMPLES = 500
GUESTS = Path(__file__).parents[1] / "tests" / "guests"
LOOP = """(module (import "env" "ready" (func $ready)) (func (export "run") (call $ready) (loop (br 0))))"""


def raw_kills() -> list[float]:
    """Return the seconds from ``increment_epoch`` to the end of a bare hot loop in a thread."""
    taken: list[float] = []
    for _ in range(SAMPLES):
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.signals_based_traps = False
        engine = wasmtime.Engine(config)
        module = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(LOOP)))
        store, ready, ended = wasmtime.Store(engine), threading.Event(), 0.0
        store.set_epoch_deadline(1)
        linker = wasmtime.Linker(engine)
        linker.define_func("env", "ready", wasmtime.FuncType([], []), ready.set)
        run = linker.instantiate(store, module).exports(store)["run"]
        assert isinstance(run, wasmtime.Func)

        def body(run: wasmtime.Func = run, store: wasmtime.Store = store) -> None:
            nonlocal ended
            try:
                run(store)
            except wasmtime.Trap:
                ended = time.perf_counter()

        thread = threading.Thread(target=body)
        thread.start()
        ready.wait()
        time.sleep(0.001)  # until the guest is really in its loop
        began = time.perf_counter()
        engine.increment_epoch()
        thread.join()
        taken.append(ended - began)
    return taken


async def cancels(spec: bac.JobSpec) -> list[float]:
    """Return the seconds that `Job.cancel` takes for a guest that has said that it runs."""
    taken: list[float] = []
    async with bac.Cluster() as cluster:
        for _ in range(SAMPLES):
            job = await cluster.submit(spec)
            async for _entry in job.logs():
                break
            began = time.perf_counter()
            state = await job.cancel()
            taken.append(time.perf_counter() - began)
            assert state is bac.JobState.CANCELLED
    return taken


def main() -> None:
    raw = raw_kills()
    guests = {
        "hot loop": bac.JobSpec.wasm(GUESTS / "loop.wasm"),
        "sleep in WASI": bac.JobSpec.wasm(GUESTS / "sleep.wasm", "3600"),
    }
    rows = [
        _row("bare increment_epoch, hot loop", raw, raw),
        *(
            _row(f"Job.cancel, {name}, {backend}", anyio.run(cancels, spec, backend=backend), raw)
            for name, spec in guests.items()
            for backend in ("asyncio", "trio")
        ),
    ]
    print(table(("", "p50 ms", "p99 ms", "max ms", "p50 / bare"), rows))
    print(f"{SAMPLES} samples each; from the request until the guest is dead and the cancel is recorded")


def _row(name: str, taken: list[float], raw: list[float]) -> tuple[object, ...]:
    median = statistics.median(taken)
    figures = (median, percentile(taken, 99), max(taken))
    return (name, *(f"{figure * 1e3:.2f}" for figure in figures), f"{median / statistics.median(raw):.1f}")
