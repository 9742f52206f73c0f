"""`examples/web_app.py` under a server: chunks that arrive while the job runs, clients that go away, a stop with running jobs.

httpx, in the test beside the example, gives a response when it is whole. Here requests are made as a server makes them (ASGI).
"""

from __future__ import annotations

import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import anyio
import pytest

import bacalhau_sdk as bac
from examples.web_app import app

ENDLESS = bac.JobSpec.function("render", "1000000000")


class Reader:
    """A client that reads a response chunk by chunk, and may go away before its end."""

    def __init__(self) -> None:
        self.text = ""
        self.whole = False
        self.arrived = anyio.Event()
        self.left = anyio.Event()

    async def get(self, path: str) -> None:
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.text += message.get("body", b"").decode()
        self.whole = not message.get("more_body", True)
        if self.text:
            self.arrived.set()


async def test_a_log_arrives_while_the_job_runs_and_ends_with_it() -> None:
    async with app.router.lifespan_context(app), anyio.create_task_group() as tasks:
        job = await app.state.cluster.submit(ENDLESS)
        reader = Reader()
        tasks.start_soon(reader.get, f"/jobs/{job.id}/log")
        await reader.arrived.wait()
        assert (job.state, reader.whole) == (bac.JobState.RUNNING, False)
        await job.cancel()
    assert reader.text.startswith("page 1\n")
    assert reader.whole


async def test_a_client_that_goes_away_ends_its_response_and_leaves_the_job_running() -> None:
    async with app.router.lifespan_context(app):
        job = await app.state.cluster.submit(ENDLESS)
        reader = Reader()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.get, f"/jobs/{job.id}/log")
            await reader.arrived.wait()
            reader.left.set()
        assert (job.state, reader.whole) == (bac.JobState.RUNNING, False)


async def test_stopping_the_application_ends_its_jobs_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reader = Reader()
    async with anyio.create_task_group() as tasks:
        async with app.router.lifespan_context(app):
            job = await app.state.cluster.submit(ENDLESS)
            tasks.start_soon(reader.get, f"/jobs/{job.id}/log")
            await reader.arrived.wait()
            assert list(tmp_path.iterdir()) != []
        assert job.state is bac.JobState.CANCELLED
    assert reader.whole
    assert list(tmp_path.iterdir()) == []
