"""Whether `own_transport.py` keeps the promises of a transport, and a job over it. Run it with ``pytest examples``."""

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.testing.checks import TRANSPORT_CHECKS, Check, MakeEnds
from examples.own_transport import SocketTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets in a folder are POSIX's")


@asynccontextmanager
async def ends() -> AsyncGenerator[tuple[SocketTransport, SocketTransport], None]:
    """Give two transports, each of which might be in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)  # tmp_path would be too long: the path of a socket has about a hundred bytes
        async with SocketTransport(folder, "orchestrator") as hub, SocketTransport(folder, "edge") as edge:
            yield hub, edge


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=str)
async def test_it_keeps_the_promises_of_a_transport(check: Check[MakeEnds]) -> None:
    await check(ends)


async def test_a_job_and_its_log_go_over_it() -> None:
    async def hello(task: bac.FunctionTask) -> None:
        task.stdout.write("hello\n")

    node = bac.Node("edge", [bac.FunctionExecutor({"hello": hello})])
    with tempfile.TemporaryDirectory() as name:
        async with (
            SocketTransport(Path(name), "orchestrator", "edge") as transport,
            bac.Cluster([node], transport=transport) as cluster,
        ):
            job = await cluster.submit(bac.JobSpec.function("hello"))
            assert [entry.text async for entry in job.logs()] == ["hello"]
            assert (await job.result()).exit_code == 0
