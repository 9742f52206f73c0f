from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import pytest
from anyio import CapacityLimiter

from bacalhau_sdk.executors import wasm_threads
from bacalhau_sdk.executors.wasm_threads import run_to_end

HANG = 60


class Body:
    """A function that runs until it is told to end, or stopped."""

    def __init__(self, ends_when_stopped: bool = True) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()
        self.ended = False
        self.stops: list[bool] = []
        self._ends_when_stopped = ends_when_stopped

    def __call__(self) -> str:
        self.begun.set()
        assert self.end.wait(HANG)
        self.ended = True
        return "result"

    def stop(self) -> None:
        self.stops.append(threading.current_thread() is threading.main_thread())
        if self._ends_when_stopped:
            self.end.set()

    async def has_begun(self) -> None:
        with anyio.fail_after(HANG):
            while not self.begun.is_set():
                await anyio.sleep(0)


def unwanted() -> None:
    pytest.fail("stop was called")


async def test_the_result_is_returned() -> None:
    assert (
        await run_to_end(lambda: threading.current_thread().name, unwanted, CapacityLimiter(1))
        != "MainThread"
    )


async def test_what_the_function_raises_is_raised() -> None:
    error = ValueError("mine")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        await run_to_end(fail, unwanted, CapacityLimiter(1))
    assert caught.value is error


async def test_a_cancellation_stops_the_function_once_and_waits_for_its_end() -> None:
    body = Body()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_to_end, body, body.stop, CapacityLimiter(1))
            await body.has_begun()
            scope.cancel()
    assert scope.cancelled_caught
    assert body.ended
    assert body.stops == [True]


async def test_a_function_that_takes_its_time_is_waited_for() -> None:
    body = Body(ends_when_stopped=False)
    left: list[bool] = []

    async def wait() -> None:
        try:
            await run_to_end(body, body.stop, CapacityLimiter(1))
        finally:
            left.append(body.ended)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await body.has_begun()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            while not body.stops:
                await anyio.sleep(0)
            await anyio.wait_all_tasks_blocked()
            assert left == []
            body.end.set()
    assert left == [True]
    assert body.stops == [True]


@pytest.mark.parametrize("when", ["before the call", "while it waits for a token"])
async def test_a_function_that_has_not_begun_never_begins(when: str) -> None:
    first, second = Body(), Body()
    limiter = CapacityLimiter(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_to_end, first, unwanted, limiter)
        await first.has_begun()
        with anyio.CancelScope() as scope:
            if when == "before the call":
                scope.cancel()
            else:
                tasks.start_soon(_cancel_when_blocked, scope)
            await run_to_end(second, unwanted, limiter)
        assert scope.cancelled_caught
        first.end.set()
    assert await run_to_end(lambda: "next", unwanted, limiter) == "next"
    assert not second.begun.is_set()


async def _cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_thread_that_comes_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interruption comes when the function is on its way to a thread."""
    late: list[Callable[[], object]] = []

    async def on_its_way(function: Callable[[], object], **options: object) -> None:
        late.append(function)
        await anyio.sleep_forever()

    body = Body()
    with monkeypatch.context() as patch:
        patch.setattr(anyio.to_thread, "run_sync", on_its_way)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_blocked, scope)
                await run_to_end(body, unwanted, CapacityLimiter(1))
    assert scope.cancelled_caught
    with pytest.raises(RuntimeError, match="before it began"):
        await anyio.to_thread.run_sync(late[0])
    assert not body.begun.is_set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_number_of_native_cancellations_gets_past_the_function() -> None:
    body = Body(ends_when_stopped=False)
    task = asyncio.create_task(run_to_end(body, body.stop, CapacityLimiter(1)))
    await body.has_begun()
    for number in range(5):
        task.cancel(f"impatient {number}")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    body.end.set()
    with pytest.raises(asyncio.CancelledError, match="impatient 4"):
        await task
    assert body.ended
    assert body.stops == [True]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_that_comes_after_a_scope_is_not_lost() -> None:
    body = Body(ends_when_stopped=False)
    passed: list[str] = []

    async def wait() -> None:
        try:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await run_to_end(body, body.stop, CapacityLimiter(1))
            passed.append("the scope")
        except asyncio.CancelledError:
            passed.append("the task")

    scopes: list[anyio.CancelScope] = []
    task = asyncio.create_task(wait())
    await body.has_begun()
    scopes[0].cancel()
    while not body.stops:
        await asyncio.sleep(0)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    body.end.set()
    await task
    assert passed == ["the task"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_function_that_outlives_its_loop_harms_nobody(backend: str) -> None:
    events: list[anyio.Event] = []
    wakers: list[Callable[[], None]] = []

    async def main() -> None:
        events.append(anyio.Event())
        wakers.append(wasm_threads._waker(events[0]))

    anyio.run(main, backend=backend)
    wakers[0]()
    assert not events[0].is_set()
