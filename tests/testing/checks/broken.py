"""Finds out whether checks catch what breaks their promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import anyio
import pytest
from _pytest.mark import ParameterSet
from anyio.abc import TaskGroup

from bacalhau_sdk.testing.checks import Check, CheckFailedError

S = TypeVar("S")


class HasTasks(anyio.AsyncContextManagerMixin):
    """Has tasks of its own while it is open, which end with it."""

    tasks: TaskGroup

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        async with anyio.create_task_group() as self.tasks:
            yield self
            self.tasks.cancel_scope.cancel()


def cases(
    checks: Sequence[Check[S]], broken: Mapping[str, Sequence[tuple[object, str]]]
) -> list[ParameterSet]:
    """Return check, what is broken, and what is seen of each case, and see that every check has one."""
    known = {check.name: check for check in checks}
    assert list(broken) == list(known), "every check has a case, in the order of the checks"
    return [
        pytest.param(known[name], subject, seen, id=f"{name}-{seen[:40]}")
        for name, several in broken.items()
        for subject, seen in several
    ]


async def catches(check: Check[S], subject: S, seen: str, limit: float = 20) -> None:
    """See that a check fails for what is wrong, and tells it."""
    with pytest.raises(CheckFailedError) as raised:
        await check(subject, limit=limit)
    error = raised.value
    assert seen in error.seen, error.seen
    assert (error.check, error.promise) == (check.name, check.promise)
    assert all(part in str(error) for part in (check.name, error.seen, check.port.__name__, check.promise))
