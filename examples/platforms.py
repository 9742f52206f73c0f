"""Nodes of different platforms: where a job runs, and why one fits nowhere, node by node.

No second machine is needed: the engines are simulated, and so is the time, so that ten minutes of work take milliseconds.
"""

import bacalhau_sdk as bac
from bacalhau_sdk.testing import SimulatedEngine, VirtualCluster, on, run

JOBS = {
    "an image for arm64": bac.JobSpec.docker("busybox:1.37", platform="linux/arm64"),
    "an image for amd64, where there is a GPU": bac.JobSpec.docker(
        "trainer:3", platform="linux/amd64", selector="gpu"
    ),
    "two of any platform, rather in the data centre": bac.JobSpec.docker(
        "busybox:1.37", count=2, selector=bac.Selector("zone in (field, dc)", prefer="zone = dc")
    ),
    "a WASM module, which is for any platform": bac.JobSpec.wasm(b"\0asm\1\0\0\0"),
}
NOWHERE = bac.JobSpec.docker("trainer:3", platform="linux/arm64", selector="zone = dc")


def nodes() -> list[bac.Node]:
    work = [on().runs(600)]
    arm64 = SimulatedEngine("docker", ["linux/arm64"], plan=work)
    amd64 = SimulatedEngine("docker", ["linux/amd64"], plan=work)
    return [
        bac.Node("edge", [arm64], labels={"zone": "field"}),
        bac.Node("rack", [amd64], labels={"zone": "dc", "gpu": "l40"}),
        bac.Node("desk", [SimulatedEngine("wasm", plan=work)], labels={"zone": "office"}),
    ]


async def main() -> None:
    async with VirtualCluster(nodes()) as cluster:
        for title, spec in JOBS.items():
            job = await cluster.submit(spec)
            print(f"{title}: {', '.join(result.node for result in await job.results())}")

        print()
        print(await cluster.explain(NOWHERE))  # without running it
        try:
            await cluster.run(NOWHERE)
        except bac.NoMatchingNodeError as error:  # its message has the same lines
            print(f"\nrun all the same, it fails at once: {error.code}")


if __name__ == "__main__":
    run(main)
