"""What counts as an async function, and what is made of the words of strangers."""

from __future__ import annotations

import pickle
import re
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any
from unittest.mock import AsyncMock

import pytest
from attrs import evolve

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.execution import Failure, FailureKind
from bacalhau_sdk.model.node import Check, Refusal
from bacalhau_sdk.model.problems import check_async_function, printable, printable_lines, shown


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


HOSTILE = "caf\udce9 \x1b[2J\x1b]0;owned\x07"
WRITTEN_OUT = r"caf\udce9 \x1b[2J\x1b]0;owned\x07"


class Rude:
    def __repr__(self) -> str:
        return HOSTILE


def test_what_a_stranger_says_is_fit_for_a_terminal() -> None:
    assert printable(HOSTILE) == printable(ValueError(HOSTILE)) == shown(Rude()) == WRITTEN_OUT
    assert printable("a\r\nb") == r"a\r\nb"
    assert printable_lines(ValueError(f"a\r\n\n{HOSTILE}\rb\n")) == f"a\n\n{WRITTEN_OUT}\\rb\n"
    assert printable("") == printable_lines("") == ""


def test_the_words_of_a_refusal_and_of_a_failure_are_and_those_of_a_refusal_are_one_line() -> None:
    refusal = Refusal("n", Check.ENGINE, HOSTILE, f"{HOSTILE}\nb", HOSTILE)
    expected = f"node n: engine: asked for {WRITTEN_OUT}, offers {WRITTEN_OUT}\\nb ({WRITTEN_OUT})"
    assert str(refusal) == expected
    failure = Failure(FailureKind.PERMANENT, "mine", f"{HOSTILE}\nb", HOSTILE)
    assert (failure.message, failure.hint) == (f"{WRITTEN_OUT}\nb", WRITTEN_OUT)
    assert evolve(failure, code="other").message == failure.message
    assert pickle.loads(pickle.dumps((refusal, failure))) == (refusal, failure)
