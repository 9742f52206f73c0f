"""Conformance checks: whether what you plug in keeps the promises of its port.

For each port a tuple of checks, each of which is called with what makes an implementation, and raises `CheckFailedError`, an
`AssertionError`, if that breaks a promise. Any test runner can call them, or none::

    async def main() -> None:
        for check in STORE_CHECKS:
            await check(MyStore)  # given an empty folder

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
    async def test_my_store(check: Check[MakeStore]) -> None:
        await check(MyStore)

They run on asyncio and on trio, in real time; the longest takes some seconds. What cannot be seen from outside is not checked:
that a port raises the right error when the disk is full, for one.
"""

from __future__ import annotations

from ...errors import CheckFailedError
from .check import Check
from .clock import CLOCK_CHECKS, MakeClock
from .executor import EXECUTOR_CHECKS, PROCESS_EXECUTOR_CHECKS, ExecutorKit
from .storage import PUBLISHER_CHECKS, STORAGE_CHECKS, PublisherKit, StorageKit
from .store import DURABLE_STORE_CHECKS, STORE_CHECKS, MakeStore
from .transport import TRANSPORT_CHECKS, MakeEnds

__all__ = [
    "CLOCK_CHECKS",
    "DURABLE_STORE_CHECKS",
    "EXECUTOR_CHECKS",
    "PROCESS_EXECUTOR_CHECKS",
    "PUBLISHER_CHECKS",
    "STORAGE_CHECKS",
    "STORE_CHECKS",
    "TRANSPORT_CHECKS",
    "Check",
    "CheckFailedError",
    "ExecutorKit",
    "MakeClock",
    "MakeEnds",
    "MakeStore",
    "PublisherKit",
    "StorageKit",
]
