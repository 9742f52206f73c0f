"""What `web_app.py` does for those who call it, without a server and a socket. Run it with ``pytest examples``."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from examples.web_app import app


@asynccontextmanager
async def running() -> AsyncGenerator[httpx.AsyncClient, None]:
    """Start the application, and stop it: httpx makes requests of it, but has no lifespan."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")
    async with app.router.lifespan_context(app), http:
        yield http


async def test_a_job_is_submitted_and_followed_and_its_result_taken() -> None:
    async with running() as http:
        submitted = await http.post("/jobs?pages=2")
        job = submitted.headers["Location"]
        assert (submitted.status_code, job) == (202, f"/jobs/{submitted.json()['id']}")
        assert (await http.get(f"{job}/log")).text == "page 1\npage 2\n"
        result = await http.get(f"{job}/result")
        assert result.json() == {"exit_code": 0, "stdout": "page 1\npage 2\n", "stderr": ""}


async def test_what_the_job_says_when_it_fails_is_in_its_result() -> None:
    async with running() as http:
        job = (await http.post("/jobs?pages=many")).headers["Location"]
        result = (await http.get(f"{job}/result")).json()
        assert (result["exit_code"], "invalid literal for int()" in result["stderr"]) == (1, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/jobs/j-no/log", 404, "job.not_found"),
        ("GET", "/jobs/j-no/result", 404, "job.not_found"),
        ("DELETE", "/jobs/j-no", 404, "job.not_found"),
        ("POST", "/jobs?pages=%00", 400, "spec.invalid"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    method: str, path: str, status: int, code: str
) -> None:
    async with running() as http:
        refused = await http.request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_a_cancelled_job_has_no_result() -> None:
    async with running() as http:
        job = (await http.post("/jobs?pages=1000000000")).headers["Location"]
        assert (await http.delete(job)).json() == {"state": "CANCELLED"}
        refused = await http.get(f"{job}/result")
        assert (refused.status_code, refused.json()["code"]) == (409, "job.cancelled")
