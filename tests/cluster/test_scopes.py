"""What leaves a block, and what owns a job (design §2)."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.abc import Batch, EngineInfo, Executor, JobStore, RunResult, Snapshot, Task, TaskIO
from bacalhau_sdk.model.execution import ExecutionState
from tests.cluster.harness import Workload, cluster, spec, until


class BrokenStore(JobStore):
    """A store that fails at the first commit that has the job ``doomed`` in a state."""

    def __init__(self, cause: Exception, state: bac.JobState = bac.JobState.PENDING) -> None:
        self.cause = cause
        self.state = state

    async def _commit(self, batch: Batch) -> None:
        if any(job.id == "doomed" and job.state is self.state for job in batch.jobs):
            raise self.cause

    async def _load(self) -> Snapshot:
        return Snapshot()


class TestWhatTheBlockRaises:
    async def test_a_nonzero_exit_is_caught_around_the_cluster(self) -> None:
        with pytest.raises(bac.NonZeroExitError) as caught:
            async with cluster(Workload()) as c:
                (await (await c.submit(spec("exit 3"))).result()).check()
        assert caught.value.exit_code == 3
        assert caught.value.message.endswith("last words")

    @pytest.mark.parametrize(
        "error",
        [
            KeyError("mine"),
            ExceptionGroup("mine", [ValueError()]),
            KeyboardInterrupt(),
            StopAsyncIteration(),
            RuntimeError("generator didn't stop"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_the_very_object_comes_out(self, error: BaseException) -> None:
        workload, jobs = Workload(), list[bac.Job]()
        with pytest.raises(type(error)) as caught:
            async with bac.Cluster([bac.Node("only", [workload])]) as c:
                jobs.append(await c.submit(spec("hold")))
                await workload.running.wait()
                raise error
        assert caught.value is error
        assert not workload.alive
        assert jobs[0].state is bac.JobState.CANCELLED

    async def test_a_cancellation_from_outside_ends_the_cluster_and_stays_with_its_scope(self) -> None:
        workload = Workload()
        with anyio.CancelScope() as scope:
            async with cluster(workload) as c:
                await c.submit(spec("hold"))
                await workload.running.wait()
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert not workload.alive

    async def test_an_error_raised_while_being_cancelled_comes_out(self) -> None:
        error = KeyError("cleanup")
        with anyio.CancelScope() as scope, pytest.raises(KeyError) as caught:
            async with cluster(Workload()):
                try:
                    scope.cancel()
                    await anyio.sleep_forever()
                finally:
                    raise error
        assert caught.value is error

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_bare_asyncio_cancel_comes_out_as_one(self) -> None:
        workload = Workload()

        async def main() -> None:
            async with cluster(workload) as c:
                await c.submit(spec("hold"))
                await anyio.sleep_forever()

        task = asyncio.create_task(main())
        await workload.running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not workload.alive


class TestFaultsOfTheMachinery:
    async def test_a_fault_cancels_the_block_and_is_raised_as_one_error(self) -> None:
        cause = OSError("disk full")
        store, cancelled = BrokenStore(cause, bac.JobState.COMPLETED), False
        with pytest.raises(bac.errors.ClusterFailedError, match="disk full") as caught:
            async with cluster(Workload(), store=store) as c:
                await c.submit(spec("ok"), "doomed")
                try:
                    await anyio.sleep_forever()
                finally:
                    cancelled = True
        assert cancelled
        store_error = caught.value.__cause__
        assert isinstance(store_error, bac.errors.StoreError)
        assert store_error.__cause__ is cause

    async def test_the_submit_that_met_the_fault_raises_too(self) -> None:
        with pytest.raises(bac.errors.ClusterFailedError):
            async with cluster(Workload(), store=BrokenStore(OSError("disk full"))) as c:
                with anyio.CancelScope(shield=True), pytest.raises(bac.errors.ClusterFailedError):
                    await c.submit(spec("ok"), "doomed")
                with pytest.raises(bac.errors.ClusterFailedError):
                    await c.jobs()

    async def test_workloads_are_dead_afterwards(self) -> None:
        workload = Workload()
        with pytest.raises(bac.errors.ClusterFailedError):
            async with cluster(workload, store=BrokenStore(OSError("disk full"))) as c:
                await c.submit(spec("hold"))
                await workload.running.wait()
                await c.submit(spec("ok"), "doomed")
        assert not workload.alive

    async def test_the_block_s_own_error_wins_and_carries_a_note(self) -> None:
        error = KeyError("mine")
        with pytest.raises(KeyError) as caught:
            async with cluster(Workload(), store=BrokenStore(OSError("disk full"))) as c:
                try:
                    await c.submit(spec("ok"), "doomed")
                finally:
                    raise error
        assert caught.value is error
        assert "disk full" in caught.value.__notes__[0]

    async def test_a_cancellation_from_outside_wins_too(self) -> None:
        with anyio.CancelScope() as scope:
            async with cluster(Workload(), store=BrokenStore(OSError("disk full"))) as c:
                scope.cancel()
                with anyio.CancelScope(shield=True), pytest.raises(bac.errors.ClusterFailedError):
                    await c.submit(spec("ok"), "doomed")
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    async def test_an_engine_that_cannot_be_used_is_raised_on_entering(self) -> None:
        class Absent(Executor):
            engine = "absent"

            async def _probe(self) -> EngineInfo:
                raise FileNotFoundError("no socket")

            async def _run(self, task: Task, io: TaskIO) -> RunResult:
                raise NotImplementedError

        with pytest.raises(bac.errors.EngineError, match="no socket"):
            async with bac.Cluster([bac.Node("only", [Absent()])]):
                pytest.fail("the block must not begin")

    async def test_a_cluster_is_entered_once(self) -> None:
        c = bac.Cluster([bac.Node("only", [Workload()])])
        async with c:
            pass
        with pytest.raises(bac.errors.ClusterClosedError):
            async with c:
                pytest.fail("the block must not begin")


class TestOwning:
    async def test_waiting_is_not_owning(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            job = await c.submit(spec("hold"))
            await workload.running.wait()
            for wait in (
                job.wait,
                job.result,
                job.results,
                lambda: anext(job.logs()),
                lambda: c.job("nothing"),
            ):
                with anyio.move_on_after(0) as scope:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    await wait()
            assert workload.alive
            workload.release.set()
            assert (await job.result()).exit_code == 0

    async def test_move_on_after_around_result_leaves_the_job_running(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            job = await c.submit(spec("hold"))
            await workload.running.wait()
            with anyio.move_on_after(0.01) as scope:
                await job.result()
            assert scope.cancelled_caught
            assert workload.alive
            workload.release.set()
            assert (await job.result()).exit_code == 0

    async def test_move_on_after_around_run_ends_the_job(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_when_running, workload, scope)
                    await c.run(spec("hold"))
            assert scope.cancelled_caught
            assert not workload.alive
            (job,) = await c.jobs()
            assert job.state is bac.JobState.CANCELLED

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_bare_asyncio_cancel_of_run_ends_the_job(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            task = asyncio.create_task(c.run(spec("hold")))
            await workload.running.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not workload.alive
            (job,) = await c.jobs()
            assert job.state is bac.JobState.CANCELLED

    @pytest.mark.parametrize("turns", range(12))
    async def test_run_leaves_no_job_behind_whenever_it_is_cancelled(self, turns: int) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(c.run, spec("hold"))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert not workload.alive
            assert all(job.state is bac.JobState.CANCELLED for job in await c.jobs())

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    @pytest.mark.parametrize("turns", range(12))
    async def test_run_leaves_no_job_behind_after_a_bare_asyncio_cancel(self, turns: int) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            task = asyncio.create_task(c.run(spec("hold")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not workload.alive
            assert all(job.state is bac.JobState.CANCELLED for job in await c.jobs())

    async def test_an_owned_job_is_waited_for_on_a_normal_exit_and_raises_nothing(self) -> None:
        async with cluster(Workload()) as c:
            async with await c.submit(spec("exit 9")) as job:
                pass
            assert job.state is bac.JobState.COMPLETED
            async with await c.submit(spec("broken")) as failed:
                pass
            assert failed.state is bac.JobState.FAILED

    async def test_an_owned_job_is_cancelled_by_an_exception_of_its_block(self) -> None:
        workload, error = Workload(), KeyError("mine")
        async with cluster(workload) as c:
            with pytest.raises(KeyError) as caught:
                async with await c.submit(spec("hold")) as job:
                    await workload.running.wait()
                    raise error
            assert caught.value is error
            assert job.state is bac.JobState.CANCELLED
            assert not workload.alive

    async def test_an_owned_job_is_cancelled_when_the_wait_at_its_end_is(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_when_running, workload, scope)
                    async with await c.submit(spec("hold")) as job:
                        pass
            assert job.state is bac.JobState.CANCELLED
            assert not workload.alive

    async def test_an_owner_returns_only_when_the_workload_is_dead(self) -> None:
        workload = Workload()
        async with cluster(workload) as c, anyio.create_task_group() as tasks:
            left = anyio.Event()

            async def own() -> None:
                with anyio.CancelScope() as scope:
                    tasks.start_soon(_cancel_when_running, workload, scope)
                    await c.run(spec("stubborn"))
                left.set()

            tasks.start_soon(own)
            await workload.dying.wait()
            await anyio.wait_all_tasks_blocked()
            assert not left.is_set()
            workload.let_die.set()
            await left.wait()
            assert not workload.alive

    async def test_a_normal_exit_cancels_what_has_not_ended_and_one_warning_names_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        workload = Workload()
        with caplog.at_level(logging.WARNING, "bacalhau_sdk"):
            async with cluster(workload) as c:
                done = await c.submit(spec("ok"), "done")
                await done.wait()
                first = await c.submit(spec("hold"), "first")
                second = await c.submit(spec("hold"), "second")
                await workload.running.wait()
        assert not workload.alive
        assert {first.state, second.state} == {bac.JobState.CANCELLED}
        (warning,) = caplog.messages
        assert "first" in warning
        assert "second" in warning
        assert "done" not in warning

    async def test_a_submit_that_is_cancelled_before_its_commit_leaves_no_job(self) -> None:
        async with cluster(Workload()) as c:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await c.submit(spec("ok"), "never")
            # A later request is handled after the one that was withdrawn.
            await c.submit(spec("ok"), "later")
            assert [job.id for job in await c.jobs()] == ["later"]

    async def test_a_submit_that_returned_is_found_again_by_its_id(self) -> None:
        async with cluster(Workload()) as c:
            first = await c.submit(spec("ok"), "same")
            second = await c.submit(spec("ok"), "same")
            assert (first.id, len(await c.jobs())) == (second.id, 1)
            with pytest.raises(bac.errors.JobConflictError):
                await c.submit(spec("exit 1"), "same")
            await first.wait()
            assert len(first.executions) == 1


async def _cancel_when_running(workload: Workload, scope: anyio.CancelScope) -> None:
    await workload.running.wait()
    scope.cancel()


async def test_nothing_of_the_face_works_outside_of_the_block() -> None:
    c = bac.Cluster([bac.Node("only", [Workload()])])
    with pytest.raises(bac.errors.ClusterClosedError):
        await c.submit(spec("ok"))
    async with c:
        job = await c.submit(spec("ok"))
        await until(job, ExecutionState.COMPLETED)
    for call in (
        c.submit(spec("ok")),
        c.run(spec("ok")),
        c.jobs(),
        c.job(job.id),
        c.nodes(),
        c.explain(spec("ok")),
    ):
        with pytest.raises(bac.errors.ClusterClosedError):
            await call
    with pytest.raises(bac.errors.ClusterClosedError):
        c.events()
    assert job.state is bac.JobState.COMPLETED
    assert await job.wait() is bac.JobState.COMPLETED
    assert await job.cancel() is bac.JobState.COMPLETED
