"""A cluster of one node whose workloads do what a test wants, and tell whether they live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

import bacalhau_sdk as bac
from bacalhau_sdk.abc import Executor, JobStore, RunResult, Task, TaskIO
from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.node import EngineInfo, Refusal


@define(eq=False)
class Workload(Executor):
    """An engine ``function`` whose tasks say where they are, and stay there for as long as they are held.

    `JobSpec.function(name)` decides: ``ok`` ends with 0, ``exit N`` with N, ``hold`` runs until `release`, ``check`` is held in
    the check of the bid, ``stubborn`` takes until `let_die` to die of its cancellation, ``transient`` and ``broken`` fail;
    ``first holds`` holds in its first partition and fails in the others.
    """

    alive: set[str] = field(factory=set[str])
    started: list[str] = field(factory=list[str])
    checking: anyio.Event = field(factory=anyio.Event)
    running: anyio.Event = field(factory=anyio.Event)
    release: anyio.Event = field(factory=anyio.Event)
    dying: anyio.Event = field(factory=anyio.Event)
    let_die: anyio.Event = field(factory=anyio.Event)
    engine: str = "function"

    async def _probe(self) -> EngineInfo:
        return EngineInfo(self.engine)

    async def _check(self, task: Task) -> Refusal | None:
        if name_of(task) == "check":
            self.checking.set()
            await self.release.wait()
        return None

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        self.alive.add(task.execution_id)
        self.started.append(task.execution_id)
        io.started()
        try:
            name = "hold" if name_of(task) == "first holds" and task.partition_index == 0 else name_of(task)
            return RunResult(await self._behave(name, io))
        except anyio.get_cancelled_exc_class():
            if name_of(task) == "stubborn":
                with anyio.CancelScope(shield=True):
                    self.dying.set()
                    await self.let_die.wait()
            raise
        finally:
            self.alive.discard(task.execution_id)

    async def _behave(self, name: str, io: TaskIO) -> int:
        match name.split():
            case ["hold" | "stubborn"]:
                io.stdout.write(b"ready\n")
                self.running.set()
                await self.release.wait()
            case ["exit", code]:
                io.stderr.write(b"first\nlast words\n")
                return int(code)
            case ["first", "holds"]:
                await self.running.wait()
                raise bac.errors.ExecutionError("the second one breaks")
            case ["transient"]:
                raise bac.errors.TransientError("the disk is away")
            case ["broken"]:
                io.stderr.write(b"it does not fit\n")
                raise bac.errors.InvalidModuleError("no such thing", hint="use another")
        return 0


def name_of(task: Task) -> str:
    return getattr(task.engine, "name", "")


def spec(name: str, count: int = 1, resources: bac.Resources | None = None) -> bac.JobSpec:
    return bac.JobSpec.function(name, count=count, resources=resources or bac.Resources())


@asynccontextmanager
async def cluster(
    workload: Workload, *, store: JobStore | None = None, max_executions: int = 8
) -> AsyncIterator[bac.Cluster]:
    """Enter a cluster with one node; what the block raises passes through this as it came."""
    node = bac.Node("only", [workload], max_executions=max_executions)
    async with bac.Cluster([node], store=store) as entered:
        yield entered


async def until(job: bac.Job, state: ExecutionState) -> None:
    """Wait until an execution of the job has been in a state."""
    async for event in job.events():
        if event.execution_state is state:
            return
    raise AssertionError(f"job {job.id} ended as {job.state} without having been {state}")


async def until_job(job: bac.Job, holds: Callable[[bac.JobState], bool]) -> None:
    """Wait until the job has been in a state."""
    async for event in job.events():
        if holds(event.job_state):
            return
    raise AssertionError(f"job {job.id} ended as {job.state}")
