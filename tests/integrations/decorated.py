"""Tests that are decorated, for suites with any plugin beside ours: each must run as its author has decorated it."""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import anyio

from bacalhau_sdk.testing import VirtualCluster

Test = Callable[..., Awaitable[None]]

entered: list[str] = []
place = "here"


def noted(test: Test) -> Test:
    @functools.wraps(test)
    async def around(*arguments: Any, **named: Any) -> None:
        entered.append(test.__qualname__)
        await test(*arguments, **named)
        assert anyio.current_time() >= 3600

    return around


@noted
async def test_a_decorator_is_run(bacalhau_cluster: VirtualCluster) -> None:
    assert entered[-1] == "test_a_decorator_is_run"
    await anyio.sleep(3600)


@mock.patch(f"{__name__}.place", "patched")
async def test_a_patch_holds(bacalhau_cluster: VirtualCluster) -> None:
    assert place == "patched"
    await anyio.sleep(3600)


class TestMethods:
    async def test_an_undecorated_one(self, bacalhau_cluster: VirtualCluster) -> None:
        assert isinstance(self, TestMethods)
        await anyio.sleep(3600)

    @noted
    async def test_a_decorated_one(self, bacalhau_cluster: VirtualCluster) -> None:
        assert entered[-1] == "TestMethods.test_a_decorated_one"
        await anyio.sleep(3600)

    @mock.patch.dict("os.environ", PLACE="patched")
    async def test_a_patched_one(self, bacalhau_cluster: VirtualCluster) -> None:
        assert os.environ["PLACE"] == "patched"
        await anyio.sleep(3600)
