"""A web application with jobs (Starlette; in FastAPI, lifespan, requests and responses are the same).

Install ``starlette`` and ``uvicorn``, run ``uvicorn --timeout-graceful-shutdown 5 examples.web_app:app``, and ::

    curl -X POST 'localhost:8000/jobs?pages=20'
    curl --no-buffer localhost:8000/jobs/ID/log
    curl localhost:8000/jobs/ID/result
    curl -X DELETE localhost:8000/jobs/ID
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import bacalhau_sdk as bac

STATUS = {LookupError: 404, ValueError: 400, bac.errors.JobError: 409, bac.errors.ClusterClosedError: 503}


async def render(task: bac.FunctionTask) -> None:
    for page in range(int(task.args[0])):
        await anyio.sleep(0.1)
        print(f"page {page + 1}", file=task.stdout)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
    node = bac.Node("app", [bac.FunctionExecutor({"render": render})])
    async with bac.Cluster([node]) as cluster:
        app.state.cluster = cluster
        yield  # jobs that have not ended when the server stops are cancelled, and dead when it has stopped


def cluster_of(request: Request) -> bac.Cluster:
    cluster: bac.Cluster = request.app.state.cluster
    return cluster


async def submit(request: Request) -> JSONResponse:
    spec = bac.JobSpec.function("render", request.query_params.get("pages", "1"))
    job = await cluster_of(request).submit(spec)
    return JSONResponse({"id": job.id}, 202, headers={"Location": f"/jobs/{job.id}"})


async def follow(request: Request) -> StreamingResponse:
    job = await cluster_of(request).job(request.path_params["id"])
    # A client that goes away ends this, and leaves the job running.
    lines = (f"{entry.text}\n" async for entry in job.logs())
    return StreamingResponse(lines, media_type="text/plain")


async def result(request: Request) -> JSONResponse:
    job = await cluster_of(request).job(request.path_params["id"])
    result = await job.result()
    return JSONResponse({"exit_code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr})


async def cancel(request: Request) -> JSONResponse:
    job = await cluster_of(request).job(request.path_params["id"])
    return JSONResponse({"state": (await job.cancel("by a request")).value})


async def refuse(_: Request, error: Exception) -> JSONResponse:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"code": getattr(error, "code", "error"), "message": str(error)}, status)


app = Starlette(
    routes=[
        Route("/jobs", submit, methods=["POST"]),
        Route("/jobs/{id}", cancel, methods=["DELETE"]),
        Route("/jobs/{id}/log", follow),
        Route("/jobs/{id}/result", result),
    ],
    exception_handlers={bac.BacalhauError: refuse},
    lifespan=lifespan,
)
