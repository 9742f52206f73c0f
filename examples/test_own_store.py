"""Whether `own_store.py` keeps the promises of a store, and jobs across clusters. Run it with ``pytest examples``."""

from pathlib import Path

import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.testing.checks import DURABLE_STORE_CHECKS, STORE_CHECKS, Check, MakeStore
from examples.own_store import JournalStore


@pytest.mark.parametrize("check", [*STORE_CHECKS, *DURABLE_STORE_CHECKS], ids=str)
async def test_it_keeps_the_promises_of_a_store(check: Check[MakeStore]) -> None:
    await check(lambda folder: JournalStore(folder / "journal"))


async def test_a_job_is_known_after_the_cluster_has_ended(tmp_path: Path) -> None:
    async def hello(task: bac.FunctionTask) -> None:
        task.stdout.write("hello")

    node = bac.Node("here", [bac.FunctionExecutor({"hello": hello})])
    spec = bac.JobSpec.function("hello")
    async with bac.Cluster([node], store=JournalStore(tmp_path / "journal")) as cluster:
        result = await cluster.run(spec)
        (job,) = await cluster.jobs()
    async with bac.Cluster([node], store=JournalStore(tmp_path / "journal")) as cluster:
        again = await cluster.job(job.id)
        assert (result.stdout, again.state) == ("hello", bac.JobState.COMPLETED)
