"""Blocking work that is done where it is called, for event loops whose clock waits for no thread."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from bacalhau_sdk.host.threads import run_blocking, run_stoppable, use_no_threads

Runner = Callable[[Callable[[], object]], Awaitable[object]]


async def stoppable(work: Callable[[], object]) -> object:
    return await run_stoppable(work, lambda: pytest.fail("it was stopped"))


both = pytest.mark.parametrize("run", [run_blocking, stoppable])


@both
async def test_threads_are_used_unless_they_are_ruled_out(run: Runner) -> None:
    assert await run(threading.get_ident) != threading.get_ident()
    use_no_threads()
    assert await run(threading.get_ident) == threading.get_ident()


@both
async def test_what_the_work_raises_is_raised_as_itself(run: Runner) -> None:
    use_no_threads()
    error = KeyError("mine")

    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as raised:
        await run(fail)
    assert raised.value is error


async def test_arguments_are_handed_over() -> None:
    use_no_threads()
    assert await run_blocking(pow, 2, 5) == 32


@both
async def test_it_holds_for_every_task(run: Runner) -> None:
    found: list[object] = []
    ready = anyio.Event()

    async def work() -> None:
        await ready.wait()
        found.append(await run(threading.get_ident))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.lowlevel.checkpoint()
        use_no_threads()
        ready.set()
    assert found == [threading.get_ident()]


@both
async def test_work_of_a_scope_that_is_cancelled_never_begins(run: Runner) -> None:
    use_no_threads()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run(lambda: pytest.fail("it began"))
    assert scope.cancelled_caught


@both
async def test_others_have_their_turn(run: Runner) -> None:
    use_no_threads()
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(5):
            await run(lambda: None)
        order.append("work")
    assert order == ["other", "work"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_ends_with_the_event_loop(backend: str) -> None:
    async def thread(rule_out: bool) -> int:
        if rule_out:
            use_no_threads()
        return await run_blocking(threading.get_ident)

    assert anyio.run(thread, True, backend=backend) == threading.get_ident()
    assert anyio.run(thread, False, backend=backend) != threading.get_ident()
