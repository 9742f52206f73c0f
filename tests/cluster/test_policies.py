"""Retries, limits, jobs for every node, and draining, through the public face."""

from __future__ import annotations

import anyio
import pytest
from attrs import define

import bacalhau_sdk as bac
from bacalhau_sdk.abc import RunResult, Task, TaskIO
from tests.cluster.harness import Workload, cluster

AGAIN = bac.RetryPolicy(max_attempts=3, backoff=0)


@define(eq=False)
class Improving(Workload):
    """An engine whose tasks come to no good before their third attempt."""

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        self.started.append(task.execution_id)
        io.started()
        if task.attempt < 3:
            if getattr(task.engine, "name", "") == "exits":
                return RunResult(task.attempt)
            raise bac.errors.TransientError("the disk is away")
        return RunResult(0)


async def test_a_fault_of_the_infrastructure_is_tried_again() -> None:
    workload = Improving()
    async with cluster(workload) as c:
        result = await c.run(bac.JobSpec.function("faults", retry=AGAIN))
        (job,) = await c.jobs()
    assert result.exit_code == 0
    assert [each.attempt for each in job.executions] == [1, 2, 3]
    assert len(set(workload.started)) == 3, "each try is an execution of its own"


async def test_the_last_exit_code_is_the_result() -> None:
    retry = bac.RetryPolicy(max_attempts=3, backoff=0, retry_nonzero_exit=True)
    async with cluster(Improving()) as c:
        job = await c.submit(bac.JobSpec.function("exits", retry=retry))
        assert (await job.result()).exit_code == 0
        job = await c.submit(bac.JobSpec.function("exits"))
        assert (await job.result()).exit_code == 1


async def test_what_is_permanent_is_not_tried_again() -> None:
    workload = Workload()
    async with cluster(workload) as c:
        with pytest.raises(bac.JobFailedError, match="no such thing"):
            await c.run(bac.JobSpec.function("broken", retry=AGAIN))
    assert len(workload.started) == 1


@pytest.mark.parametrize("limit", ["execution", "total"])
async def test_a_job_that_takes_too_long_is_killed_and_says_so(limit: str) -> None:
    timeouts = bac.Timeouts(execution=0.05) if limit == "execution" else bac.Timeouts(total=0.05)
    workload = Workload()
    async with cluster(workload) as c:
        with pytest.raises(bac.JobTimeoutError), anyio.fail_after(20):
            await c.run(bac.JobSpec.function("hold", timeouts=timeouts))
        assert workload.alive == set()


async def test_a_job_that_fits_no_node_waits_for_its_queue_limit() -> None:
    async with cluster(Workload()) as c:
        far = bac.JobSpec.function("ok", selector="zone = far", timeouts=bac.Timeouts(queue=0.05))
        with pytest.raises(bac.JobTimeoutError, match="no node accepted it"), anyio.fail_after(20):
            await c.run(far)


async def test_an_ops_job_runs_once_on_every_node() -> None:
    workloads = {name: Workload() for name in ("a", "b", "c")}
    nodes = [bac.Node(name, [each], labels={"even": str(name == "b")}) for name, each in workloads.items()]
    async with bac.Cluster(nodes) as c:
        job = await c.submit(bac.JobSpec.function("ok", type="ops", selector="even != True"))
        results = await job.results()
    assert [each.exit_code for each in results] == [0, 0]
    assert {name: len(each.started) for name, each in workloads.items()} == {"a": 1, "b": 0, "c": 1}


async def test_run_takes_no_ops_job() -> None:
    async with cluster(Workload()) as c:
        with pytest.raises(bac.errors.MultipleResultsError, match="ops"):
            await c.run(bac.JobSpec.function("ok", type="ops"))


async def test_a_node_that_is_drained_brings_to_an_end_what_it_has_and_takes_nothing_until_it_is_resumed() -> (
    None
):
    workload = Workload()
    async with cluster(workload) as c:
        job = await c.submit(bac.JobSpec.function("hold"))
        await workload.running.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(c.drain, "only")
            while not (await c.nodes())[0].info.draining:
                await anyio.wait_all_tasks_blocked()
            assert (await c.submit(bac.JobSpec.function("ok"), "later")).state is bac.JobState.QUEUED
            workload.release.set()
        assert (await job.result()).exit_code == 0
        later = await c.job("later")
        assert later.state is bac.JobState.QUEUED
        await c.resume("only")
        assert (await later.result()).exit_code == 0


async def test_only_a_node_of_the_cluster_can_be_drained() -> None:
    async with cluster(Workload()) as c:
        for call in (c.drain, c.resume):
            with pytest.raises(bac.errors.NodeNotFoundError, match="elsewhere"):
                await call("elsewhere")
