"""Cancelling: in every phase, once and twice; it returns when nothing runs any more (design §2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.abc import ExecutionState, Source
from bacalhau_sdk.model.execution import Location
from bacalhau_sdk.storage.local import LocalStorage
from bacalhau_sdk.storage.results import LocalPublisher
from tests.cluster.harness import Workload, cluster, spec, until_job


class Gate:
    """Holds a verb of a real part until the test lets go, and says that it was reached."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.let_go = anyio.Event()
        self.cancelled = False

    async def wait(self) -> None:
        self.reached.set()
        try:
            await self.let_go.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


@pytest.fixture
def staging(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold every job that has an input in the middle of its staging."""
    gate, fetch = Gate(), LocalStorage._fetch

    async def held(self: LocalStorage, source: Source, into: Path) -> None:
        await fetch(self, source, into)
        await gate.wait()

    monkeypatch.setattr(LocalStorage, "_fetch", held)
    return gate


@pytest.fixture
def publishing(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold every job before its results are moved into place, or, with the id ``moved``, right afterwards."""
    gate, publish = Gate(), LocalPublisher._publish

    async def held(self: LocalPublisher, directory: Path, name: str) -> Location:
        if not name.startswith("moved/"):
            await gate.wait()
        location = await publish(self, directory, name)
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return location

    monkeypatch.setattr(LocalPublisher, "_publish", held)
    return gate


Phase = Callable[[], Awaitable[bac.Job]]


@asynccontextmanager
async def phases(
    workload: Workload, staging: Gate, publishing: Gate
) -> AsyncIterator[tuple[bac.Cluster, dict[str, Phase]]]:
    """Enter a cluster with room for one execution, and ways to bring a job into each of its phases."""
    async with cluster(workload, max_executions=1) as c:

        async def submitted() -> bac.Job:
            return await c.submit(spec("ok"), "it")

        async def queued() -> bac.Job:
            await c.submit(spec("hold"), "first")
            await workload.running.wait()
            job = await c.submit(spec("ok"), "it")
            await until_job(job, lambda state: state is bac.JobState.QUEUED)
            return job

        async def checked() -> bac.Job:
            job = await c.submit(spec("check"), "it")
            await workload.checking.wait()
            return job

        async def staged() -> bac.Job:
            job = await c.submit(bac.JobSpec.function("ok", inputs={"/in": b"bytes"}), "it")
            await staging.reached.wait()
            return job

        async def running() -> bac.Job:
            job = await c.submit(spec("hold"), "it")
            await workload.running.wait()
            return job

        async def published() -> bac.Job:
            job = await c.submit(spec("ok"), "it")
            await publishing.reached.wait()
            return job

        yield c, {f.__name__: f for f in (submitted, queued, checked, staged, running, published)}


NAMES = ["submitted", "queued", "checked", "staged", "running", "published"]


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_job_is_cancelled_in_every_phase(
    name: str, twice: bool, staging: Gate, publishing: Gate, tmp_path: Path
) -> None:
    workload = Workload()
    async with phases(workload, staging, publishing) as (c, into):
        job = await into[name]()
        async with anyio.create_task_group() as tasks:
            if twice:
                tasks.start_soon(job.cancel)
            state = await job.cancel("enough")
        assert state is job.state is bac.JobState.CANCELLED
        assert not {execution for execution in workload.alive if execution.startswith("it-")}
        assert all(execution.state.terminal for execution in job.executions)
        with pytest.raises(bac.JobCancelledError, match=r"enough|by the user") as caught:
            await job.result()
        assert caught.value.job_id == "it"
        assert caught.value.results == ()
        assert not _left(c, "it")
        # What it held is free again, and nothing of it stays.
        workload.release.set()
        publishing.let_go.set()
        staging.let_go.set()
        assert (await c.run(spec("ok"))).exit_code == 0
        assert job.state is bac.JobState.CANCELLED


async def test_results_that_were_published_while_the_cancel_was_on_its_way_are_removed(
    publishing: Gate,
) -> None:
    async with cluster(Workload()) as c, anyio.create_task_group() as tasks:
        job = await c.submit(spec("ok"), "moved")
        await publishing.reached.wait()
        assert _left(c, "moved")

        async def let_go_when_told_to_stop() -> None:
            async for event in job.events():
                if "told to stop" in event.message:
                    publishing.let_go.set()

        tasks.start_soon(let_go_when_told_to_stop)
        assert await job.cancel() is bac.JobState.CANCELLED
        await c.run(spec("ok"))
        assert not _left(c, "moved")


@pytest.mark.parametrize("name", ["exit 0", "exit 3", "broken"])
async def test_cancelling_what_has_ended_changes_nothing(name: str) -> None:
    async with cluster(Workload()) as c:
        job = await c.submit(spec(name))
        ended = await job.wait()
        assert await job.cancel() is ended
        assert await job.cancel() is job.state is ended


async def test_a_cancel_before_the_start_starts_nothing() -> None:
    workload = Workload()
    async with cluster(workload) as c:
        job = await c.submit(spec("check"))
        await workload.checking.wait()
        await job.cancel()
        workload.release.set()
        await c.run(spec("ok"))
        assert not any(execution_id.startswith(job.id) for execution_id in workload.started)


async def test_cancel_returns_only_when_the_workload_is_dead() -> None:
    workload, returned = Workload(), anyio.Event()
    async with cluster(workload) as c, anyio.create_task_group() as tasks:
        job = await c.submit(spec("stubborn"))
        await workload.running.wait()

        async def cancel() -> None:
            await job.cancel()
            returned.set()

        tasks.start_soon(cancel)
        await workload.dying.wait()
        await anyio.wait_all_tasks_blocked()
        assert not returned.is_set()
        assert job.state is bac.JobState.RUNNING
        assert "told to stop" in str(await job.explain())
        workload.let_die.set()
        await returned.wait()
        assert not workload.alive


async def test_a_cancelled_cancel_stays_in_force() -> None:
    workload = Workload()
    async with cluster(workload) as c:
        job = await c.submit(spec("stubborn"))
        await workload.running.wait()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def stop_waiting() -> None:
                    await workload.dying.wait()
                    scope.cancel()

                tasks.start_soon(stop_waiting)
                await job.cancel()
        assert scope.cancelled_caught
        workload.let_die.set()
        assert await job.wait() is bac.JobState.CANCELLED


async def test_all_partitions_are_cancelled() -> None:
    workload = Workload()
    async with cluster(workload, max_executions=3) as c:
        job = await c.submit(spec("hold", count=5))
        async for event in job.events():
            if len([e for e in job.executions if e.state is ExecutionState.RUNNING]) == 3:
                assert event.job_state is bac.JobState.RUNNING
                break
        assert len(workload.alive) == 3
        assert await job.cancel() is bac.JobState.CANCELLED
        assert not workload.alive
        assert len(workload.started) == 3


async def test_a_failing_partition_stops_the_others() -> None:
    workload = Workload()
    async with cluster(workload) as c:
        job = await c.submit(spec("first holds", count=2))
        with pytest.raises(bac.JobFailedError, match="the second one breaks") as caught:
            await job.results()
        assert not workload.alive
        assert [execution.state.value for execution in job.executions] == ["CANCELLED", "FAILED"]
        assert caught.value.failure_code == "execution.failed"


async def test_a_job_that_waits_in_the_queue_runs_when_the_one_before_it_is_cancelled() -> None:
    workload = Workload()
    async with cluster(workload, max_executions=1) as c:
        first = await c.submit(spec("hold"))
        second = await c.submit(spec("ok"))
        await workload.running.wait()
        await first.cancel()
        assert (await second.result()).exit_code == 0


def _left(c: bac.Cluster, job_id: str) -> list[str]:
    """Return the files of a job that are left in the folders of its cluster, logs aside."""
    root = c._workspace.results.parent
    return [
        str(path) for path in root.rglob("*") if path.name.startswith(f"{job_id}-") and path.suffix != ".log"
    ]
