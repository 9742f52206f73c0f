"""What is fenced may still run somewhere; nobody waits for it."""

from __future__ import annotations

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.abc import ExecutionState
from bacalhau_sdk.testing import link, on
from tests.reliability.virtual import docker, machine

STUBBORN = on().prints("hello\n", to="stderr").hangs().ignores_kill(3000)


def cut_off() -> testing.VirtualCluster:
    """Return a cluster whose only node is cut off from 10 s to 60 s, and whose workloads outlive their kill."""
    return testing.VirtualCluster(
        [machine(STUBBORN)], transport=testing.SimulatedTransport([link("a").cut(10, 60)])
    )


async def test_results_do_not_wait_for_its_log() -> None:
    async with cut_off() as cluster:
        job = await cluster.submit(docker())
        await job.wait()
        await anyio.sleep_until(61)
        with anyio.fail_after(5), pytest.raises(bac.JobFailedError, match="could not be reached") as caught:
            await job.result()
    assert "hello" in str(caught.value), "what it had written until then is told"


@pytest.mark.parametrize("late", [False, True], ids=["live", "afterwards"])
async def test_its_log_is_read_as_far_as_it_belongs_to_the_job(late: bool) -> None:
    async with cut_off() as cluster:
        job = await cluster.submit(docker())
        if late:
            await job.wait()
            await anyio.sleep_until(61)
        with anyio.fail_after(100):
            assert [entry.text async for entry in job.logs()] == ["hello"]


async def test_a_job_that_is_cancelled_keeps_no_results_of_what_was_timing_out() -> None:
    plan = on().runs(31).ignores_kill(8)
    async with testing.VirtualCluster([machine(plan)]) as cluster:
        job = await cluster.submit(docker(count=2, timeouts=bac.Timeouts(execution=30)))
        await anyio.sleep_until(30.5)
        assert await job.cancel() is bac.JobState.CANCELLED
    assert {each.state for each in job.executions} == {ExecutionState.CANCELLED}
