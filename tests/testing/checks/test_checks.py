"""The checks as such: what they are held against, any runner can call them, and none of them hangs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from bacalhau_sdk.abc import Clock, Executor, JobStore, Publisher, Storage, Transport
from bacalhau_sdk.clocks.system import SystemClock
from bacalhau_sdk.testing.checks import (
    CLOCK_CHECKS,
    DURABLE_STORE_CHECKS,
    EXECUTOR_CHECKS,
    PROCESS_EXECUTOR_CHECKS,
    PUBLISHER_CHECKS,
    STORAGE_CHECKS,
    STORE_CHECKS,
    TRANSPORT_CHECKS,
    Check,
    CheckFailedError,
)
from tests.test_house import loaded_after

PORTS: dict[type[object], Sequence[Check[Any]]] = {
    Clock: CLOCK_CHECKS,
    Executor: (*EXECUTOR_CHECKS, *PROCESS_EXECUTOR_CHECKS),
    JobStore: (*STORE_CHECKS, *DURABLE_STORE_CHECKS),
    Publisher: PUBLISHER_CHECKS,
    Storage: STORAGE_CHECKS,
    Transport: TRANSPORT_CHECKS,
}
ALL = [check for checks in PORTS.values() for check in checks]

# Sentences of a guarantee, or parts of one, of which no check can see from outside whether they are kept, and why.
NOT_SEEN = {
    "The scale is the implementation's; one cluster uses one clock for everything that it decides and shows.": "no promise",
    "One instance serves one node; it is entered before use": "what others do",
    "when it raises, the cluster stops, since nothing may rest on a change that is perhaps not kept": "what others do",
    "Calls are never concurrent.": "what others do",
    "It may be lost, doubled, reordered or delayed: whoever sends must be able to send again, and whoever receives must "
    "bear to receive twice.": "what others do",
}


def words(text: str | None) -> str:
    return " ".join((text or "").split())


def guarantee(port: type[object]) -> str:
    """Return the paragraph of the guarantee."""
    found = re.search(r"Guarantee: (.*?)(?:\n\n|$)", inspect.getdoc(port) or "", re.DOTALL)
    assert found is not None
    return words(found[1])


@pytest.mark.parametrize("check", ALL, ids=str)
def test_a_promise_stands_in_its_port(check: Check[Any]) -> None:
    assert check.promise in words(inspect.getsource(sys.modules[check.port.__module__]))


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_every_part_of_a_guarantee_is_checked(port: type[object]) -> None:
    left = guarantee(port)
    promises = {check.promise for check in PORTS[port]} | set(NOT_SEEN)
    for part in sorted(promises, key=len, reverse=True):
        left = re.sub(re.escape(part), " ", left, flags=re.IGNORECASE)
    assert re.findall(r"\w+", left) in ([], ["and"], ["and", "and"]), left


def test_names_are_unique() -> None:
    for checks in PORTS.values():
        assert len({check.name for check in checks}) == len(checks)


def test_checks_need_no_test_runner() -> None:
    script = """
import sys
import anyio
from bacalhau_sdk import MemoryStore
from bacalhau_sdk.clocks.system import SystemClock
from bacalhau_sdk.testing.checks import CLOCK_CHECKS, STORE_CHECKS

async def main():
    for check in CLOCK_CHECKS:
        await check(SystemClock)
    for check in STORE_CHECKS:
        await check(lambda folder: MemoryStore())

for backend in ("asyncio", "trio"):
    anyio.run(main, backend=backend)
assert not {"pytest", "hypothesis", "unittest"} & set(sys.modules), "a test runner was loaded"
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_checks_run_under_unittest() -> None:
    class StoppedClock(SystemClock):
        def now(self) -> float:
            return 0.0

    class OfAClock(unittest.IsolatedAsyncioTestCase):
        async def test_kept(self) -> None:
            for check in CLOCK_CHECKS:
                with self.subTest(check.name):
                    await check(SystemClock)

        async def test_broken(self) -> None:
            for check in CLOCK_CHECKS:
                with self.subTest(check.name):
                    await check(StoppedClock, limit=0.3)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(OfAClock).run(result)
    assert result.errors == []
    assert {str(test).partition("[")[2].partition("]")[0] for test, _ in result.failures} == {
        "a sleep is never too short",
        "sleeps end in the order of their times",
    }


@pytest.mark.parametrize("check", CLOCK_CHECKS, ids=str)
async def test_what_hangs_fails_with_a_message(check: Check[Any]) -> None:
    class Hanging(SystemClock):
        async def sleep_until(self, time: float) -> None:
            await anyio.sleep_forever()

    kept = {"now never goes back", "a sleep until the past sees a cancellation", "a sleep can be cancelled"}
    if check.name in kept:
        await check(Hanging, limit=0.2)
    else:
        with pytest.raises(CheckFailedError, match=r"it was not done after 0\.2 seconds"):
            await check(Hanging, limit=0.2)


async def test_a_check_that_is_cancelled_is_cancelled() -> None:
    (check,) = (check for check in CLOCK_CHECKS if check.name == "a sleep is never too short")

    class Hanging(SystemClock):
        async def sleep_until(self, time: float) -> None:
            await anyio.sleep_forever()

    with anyio.move_on_after(0.05) as scope:
        await check(Hanging)
    assert scope.cancelled_caught


async def test_a_stray_cancellation_is_a_failure(anyio_backend_name: str) -> None:
    class Stray(SystemClock):
        async def sleep_until(self, time: float) -> None:
            if anyio_backend_name == "trio":
                raise RuntimeError("a cancellation cannot be made")
            raise anyio.get_cancelled_exc_class()

    (check,) = (check for check in CLOCK_CHECKS if check.name == "a sleep is never too short")
    with pytest.raises(CheckFailedError, match="a cancellation"):
        await check(Stray)


def test_only_those_who_want_checks_import_them() -> None:
    assert loaded_after("import bacalhau_sdk.testing", {"bacalhau_sdk.testing.checks"}) == set()


@pytest.mark.parametrize("name", ["executor", "transport", "store"])
def test_the_page_shows_the_code_that_runs(name: str) -> None:
    project = Path(__file__).parents[3]
    page = (project / "docs" / "how-to" / f"your-own-{name}.md").read_text()
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    files = [project / "examples" / f"{prefix}own_{name}.py" for prefix in ("", "test_")]
    assert shown == [file.read_text() for file in files]
