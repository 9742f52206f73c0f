"""Our own adapters keep the promises of their ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_sdk.clocks.system import SystemClock
from bacalhau_sdk.stores.memory import MemoryStore
from bacalhau_sdk.testing import SimulatedTransport, VirtualClock
from bacalhau_sdk.testing.checks import (
    CLOCK_CHECKS,
    EXECUTOR_CHECKS,
    PUBLISHER_CHECKS,
    STORAGE_CHECKS,
    STORE_CHECKS,
    TRANSPORT_CHECKS,
    Check,
    ExecutorKit,
    MakeClock,
    MakeEnds,
    MakeStore,
    PublisherKit,
    StorageKit,
)
from bacalhau_sdk.testing.checks.storage import _names
from bacalhau_sdk.transports.memory import MemoryTransport
from tests.testing.checks.kits import PUBLISHERS, STORAGES, function_kit, one, simulated_kit, wasm_kit


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=str)
async def test_wasm_executor(check: Check[ExecutorKit], cache_dir: Path) -> None:
    await check(wasm_kit(cache_dir))


@pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=str)
@pytest.mark.parametrize(
    "kit", [function_kit(), simulated_kit()], ids=["FunctionExecutor", "SimulatedEngine"]
)
async def test_executors(kit: ExecutorKit, check: Check[ExecutorKit]) -> None:
    await check(kit)


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=str)
@pytest.mark.parametrize("make", [MemoryTransport, SimulatedTransport])
async def test_transports(make: type[MemoryTransport], check: Check[MakeEnds]) -> None:
    await check(one(make))


@pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
async def test_memory_store(check: Check[MakeStore]) -> None:
    await check(lambda folder: MemoryStore())


@pytest.mark.parametrize("check", CLOCK_CHECKS, ids=str)
@pytest.mark.parametrize("make", [SystemClock, VirtualClock])
async def test_clocks(make: MakeClock, check: Check[MakeClock]) -> None:
    await check(make)


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=str)
@pytest.mark.parametrize("kit", STORAGES.values(), ids=STORAGES)
async def test_storages(kit: StorageKit, check: Check[StorageKit]) -> None:
    await check(kit)


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=str)
async def test_a_storage_is_not_blamed_where_there_are_no_fifos(
    check: Check[StorageKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "mkfifo")  # as on Windows
    await check(STORAGES["LocalStorage of paths"])


def test_a_folder_that_appears_while_it_is_looked_at_was_not_there(tmp_path: Path) -> None:
    class Late(type(tmp_path)):  # type: ignore[misc]
        """Is there once somebody has looked into it."""

        def rglob(self, pattern: str) -> Iterator[Path]:
            found = list(super().rglob(pattern))
            self.mkdir()
            return iter(found)

    assert _names(Late(tmp_path / "results")) is None


@pytest.mark.parametrize("check", PUBLISHER_CHECKS, ids=str)
@pytest.mark.parametrize("kit", PUBLISHERS.values(), ids=PUBLISHERS)
async def test_publishers(kit: PublisherKit, check: Check[PublisherKit]) -> None:
    await check(kit)
