"""What every test gets: both backends, a guard against blocking calls, `require` for what may be missing."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from typing import NoReturn, Protocol
from unittest import mock

import blockbuster
import hypothesis
import pytest

# A failing property prints the blob that reproduces it; pytest-randomly prints the seed of everything else.
hypothesis.settings.register_profile("bacalhau", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("bacalhau")


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every async test on asyncio and on trio."""
    backend: str = request.param
    return backend


@pytest.fixture(scope="session", autouse=True)
def own_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the locks of clusters and the caches of modules away from those of the user; subprocesses inherit that."""
    home = tmp_path_factory.mktemp("home")
    variables = {"XDG_STATE_HOME": str(home / "state"), "XDG_CACHE_HOME": str(home / "cache")}
    with mock.patch.dict(os.environ, variables):
        yield


@pytest.fixture(autouse=True)
def blocking_calls() -> Iterator[list[str]]:
    """Fail a test in which code of the library blocks a running asyncio loop.

    The blocking call raises `blockbuster.BlockingError` where it is made. It is also kept in this list, so
    that code which swallows the exception does not hide it. Not looked at are calls in which no code of the
    library takes part, what the import of a module and the handlers of logging do (pytest's write to a file),
    trio, and threads without a loop.
    """
    calls: list[str] = []

    class RecordedBlockingError(blockbuster.BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            calls.append(f"{self}\n{''.join(traceback.format_stack(limit=12))}")

    with (
        mock.patch("blockbuster.blockbuster.BlockingError", RecordedBlockingError),
        blockbuster.blockbuster_ctx("bacalhau_sdk") as guard,
    ):
        for function in guard.functions.values():
            function.can_block_in("<frozen importlib._bootstrap>", {"_find_and_load"})
            function.can_block_in("logging/__init__.py", {"callHandlers"})
            # Under virtual time, and only then, it works in the event loop's thread; in any other thread it is not looked at.
            function.can_block_in("bacalhau_sdk/host/threads.py", {"run_blocking"})
            # Called where a loop runs, it has a loop of its own in another thread, and waits for it.
            function.can_block_in("bacalhau_sdk/testing/virtual.py", {"run"})
        yield calls
    if calls:
        pytest.fail("the library blocked the event loop:\n" + "\n".join(calls), pytrace=False)


class Require(Protocol):
    """The type of the `require` fixture, for annotations."""

    def __call__(self, component: str, reason: str) -> NoReturn: ...


@pytest.fixture(scope="session")
def require() -> Require:
    """Say that a component which the test needs is not there; call it when that has been found out.

    Here the test is skipped with the reason. Where BACALHAU_TEST_REQUIRE=all, as in CI, it fails. ::

        try:
            client = docker.from_env()
        except DockerException as error:
            require("docker", f"no daemon answers: {error}")
    """

    def require(component: str, reason: str) -> NoReturn:
        __tracebackhide__ = True
        if os.environ.get("BACALHAU_TEST_REQUIRE") == "all":
            pytest.fail(f"BACALHAU_TEST_REQUIRE=all, but {component} is missing: {reason}")
        pytest.skip(f"{component} is missing: {reason}")

    return require
