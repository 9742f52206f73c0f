"""What counts as an async function."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any
from unittest.mock import AsyncMock

import pytest

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.problems import check_async_function


async def work(*args: object) -> None: ...


def logged(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(function)
    def call(*args: object) -> Awaitable[None]:
        return function(*args)

    return call


class Worker:
    async def __call__(self, *args: object) -> None: ...

    async def method(self, *args: object) -> None: ...

    @classmethod
    async def of_class(cls, *args: object) -> None: ...

    @staticmethod
    async def static(*args: object) -> None: ...


class Plain:
    def __call__(self, *args: object) -> None: ...


class Endless:
    pass


anything: Any = Endless
anything.__call__ = Endless()

FUNCTIONS: list[Callable[..., Any]] = [
    work,
    partial(work, 1),
    partial(partial(work, 1), 2),
    Worker(),
    Worker().method,
    Worker().of_class,
    Worker.static,
    partial(Worker(), 1),
    partial(Worker().method, 1),
    logged(work),
    partial(logged(work), 1),
    logged(partial(work, 1)),
    AsyncMock(),
]


def named(value: object) -> str:
    """Return what a test is called by: without addresses, so that it is called the same in every run."""
    return re.sub(r" (at 0x\w+|id='\d+')", "", str(value))


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_an_async_function_may_come_in_wrappers(function: Callable[..., Any]) -> None:
    check_async_function(function)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        print,
        len,
        logged,
        Worker,
        Plain(),
        partial(print, 1),
        partial(Plain(), 1),
        lambda *args: work(*args),
        logged(lambda *args: work(*args)),
        Endless(),
    ],
    ids=named,
)
def test_what_is_none_is_told_what_to_do(value: object) -> None:
    with pytest.raises(InvalidSpecError, match="is not an async function: write 'async def' instead of a"):
        check_async_function(value)
