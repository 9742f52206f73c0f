"""A unit test of job logic: hours of retries, a lost node, a time limit, in milliseconds. Run it with ``pytest examples``."""

from __future__ import annotations

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.testing import link, on

PATIENT = bac.RetryPolicy(max_attempts=3, backoff=3600)
NIGHTLY = bac.JobSpec.docker("busybox:1.37", "nightly", retry=PATIENT)


def test_a_full_disk_is_tried_again_after_an_hour() -> None:
    async def night() -> bac.Result:
        engine = testing.SimulatedEngine(
            "docker", plan=[on(attempt=1).runs(60).fails("the disk is full"), on(attempt=2).prints("done\n")]
        )
        async with testing.VirtualCluster([bac.Node("rack", [engine])]) as cluster:
            return await cluster.run(NIGHTLY)

    result = testing.run(night)
    assert (result.attempt, result.stdout) == (2, "done\n")
    assert result.ended_at >= 3600


def test_a_lost_node_costs_an_attempt_and_not_the_job() -> None:
    async def night() -> bac.Result:
        nodes = [
            bac.Node(name, [testing.SimulatedEngine("docker", plan=[on().runs(600)])])
            for name in ("rack-1", "rack-2")
        ]
        spec = bac.JobSpec.docker(
            "busybox:1.37", selector=bac.Selector(prefer="name = rack-1"), retry=PATIENT
        )
        transport = testing.SimulatedTransport([link("rack-1").cut(10)])  # for ever
        async with testing.VirtualCluster(nodes, transport=transport) as cluster:
            return await cluster.run(spec)

    result = testing.run(night)
    assert (result.node, result.attempt) == ("rack-2", 2)


def test_what_hangs_is_stopped() -> None:
    async def night() -> str:
        engine = testing.SimulatedEngine("docker", plan=[on().hangs()])
        limits = bac.Timeouts(execution=1800)
        async with testing.VirtualCluster([bac.Node("rack", [engine])]) as cluster:
            job = await cluster.submit(bac.JobSpec.docker("busybox:1.37", timeouts=limits))
            try:
                await job.result()
            except bac.JobTimeoutError as error:
                return str(error)
            return "it has ended"

    assert "ran for more than its limit of 1800 s on node rack" in testing.run(night)
