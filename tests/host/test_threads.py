"""Blocking work that can be told to stop, and that has ended whenever `run_stoppable` has."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import anyio
import pytest
from anyio import CapacityLimiter, to_thread

from bacalhau_sdk.host import threads
from bacalhau_sdk.host.threads import run_stoppable

HANG = 60


class Work:
    """Work that goes on until it is told to end."""

    def __init__(self, *, obedient: bool = True) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()
        self.ended = False
        self.stops: list[bool] = []
        self._obedient = obedient

    def __call__(self) -> str:
        self.begun.set()
        assert self.end.wait(HANG)
        self.ended = True
        return "done"

    def stop(self) -> None:
        self.stops.append(threading.current_thread() is threading.main_thread())
        if self._obedient:
            self.end.set()

    async def has_begun(self) -> None:
        with anyio.fail_after(HANG):
            while not self.begun.is_set():
                await anyio.sleep(0)

    async def was_stopped(self) -> None:
        with anyio.CancelScope(shield=True), anyio.fail_after(HANG):
            while not self.stops:
                await anyio.sleep(0)


def unwanted() -> None:
    pytest.fail("it was stopped")


async def turns() -> None:
    """Let everybody else have some turns."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_the_value_is_returned_and_the_work_is_done_in_a_thread() -> None:
    assert await run_stoppable(threading.get_ident, unwanted) != threading.get_ident()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, RuntimeError])
async def test_what_the_work_raises_is_raised_as_itself(kind: type[BaseException]) -> None:
    error = kind("mine")

    def fail() -> None:
        raise error

    with pytest.raises(kind) as caught:
        await run_stoppable(fail, unwanted)
    assert caught.value is error


async def test_a_scope_stops_the_work_once_and_waits_for_its_end() -> None:
    work = Work()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stoppable, work, work.stop)
        await work.has_begun()
        tasks.cancel_scope.cancel()
    assert work.ended
    assert work.stops == [True]


async def test_a_deadline_stops_the_work() -> None:
    work = Work()
    with anyio.move_on_after(0.001) as scope:
        await run_stoppable(work, work.stop)
    assert scope.cancelled_caught
    assert work.begun.is_set() == bool(work.stops) == work.ended


async def test_work_that_takes_its_time_is_waited_for() -> None:
    work = Work(obedient=False)
    left: list[bool] = []

    async def wait() -> None:
        try:
            await run_stoppable(work, work.stop)
        finally:
            left.append(work.ended)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await work.has_begun()
        tasks.cancel_scope.cancel()
        await work.was_stopped()
        with anyio.CancelScope(shield=True):
            await turns()
        assert left == []
        work.end.set()
    assert left == [True]
    assert work.stops == [True]


async def test_the_end_of_the_work_is_not_waited_for_in_a_busy_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[None] = []

    class Counted:
        def __init__(self) -> None:
            self._event = anyio.Event()
            self.set = self._event.set
            self.is_set = self._event.is_set

        async def wait(self) -> None:
            waits.append(None)
            await self._event.wait()

    monkeypatch.setattr(threads, "Event", Counted)
    work = Work(obedient=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stoppable, work, work.stop)
        await work.has_begun()
        tasks.cancel_scope.cancel()
        await work.was_stopped()
        with anyio.CancelScope(shield=True):
            await turns()
        work.end.set()
    assert len(waits) == 1


async def test_a_cancellation_wins_over_what_the_work_raises() -> None:
    work = Work()

    def fail() -> None:
        work()
        raise ValueError("lost")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_stoppable, fail, work.stop)
            await work.has_begun()
            scope.cancel()
    assert scope.cancelled_caught
    assert work.ended


async def cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize("when", ["before the call", "while it waits for a token"])
async def test_work_that_waits_for_its_thread_is_never_begun(when: str) -> None:
    first, second = Work(), Work()
    limiter = CapacityLimiter(1)

    async def run_first() -> None:
        assert await run_stoppable(first, unwanted, limiter=limiter) == "done"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_first)
        await first.has_begun()
        with anyio.CancelScope() as scope:
            if when == "before the call":
                scope.cancel()
            else:
                tasks.start_soon(cancel_when_blocked, scope)
            await run_stoppable(second, unwanted, limiter=limiter)
        assert scope.cancelled_caught
        first.end.set()
    assert await run_stoppable(lambda: "next", unwanted, limiter=limiter) == "next"
    assert not second.begun.is_set()


async def test_a_thread_that_comes_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[Callable[[], object]] = []

    async def on_its_way(function: Callable[[], object], **_: object) -> None:
        late.append(function)
        await anyio.sleep_forever()

    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(to_thread, "run_sync", on_its_way)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when_blocked, scope)
                await run_stoppable(work, unwanted)
    assert scope.cancelled_caught
    with pytest.raises(RuntimeError):
        late[0]()
    assert not work.begun.is_set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 5])
async def test_no_number_of_native_cancellations_gets_past_the_work(times: int) -> None:
    work = Work(obedient=False)
    task = asyncio.create_task(run_stoppable(work, work.stop))
    await work.has_begun()
    for _ in range(times):
        task.cancel("impatient")
        await turns()
        assert not task.done()
    work.end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended
    assert work.stops == [True]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("first", ["the scope", "the task"])
async def test_a_scope_does_not_swallow_a_native_cancellation(first: str) -> None:
    work = Work(obedient=False)
    scope = anyio.CancelScope()
    passed: list[str] = []

    async def wait() -> None:
        with scope:
            await run_stoppable(work, work.stop)
        passed.append("the scope")

    task = asyncio.create_task(wait())
    await work.has_begun()
    cancels: list[Callable[[], object]] = [scope.cancel, task.cancel]
    for cancel in cancels if first == "the scope" else reversed(cancels):
        cancel()
        await turns()
    work.end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert passed == []
    assert work.ended


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_timeouts_of_asyncio_work() -> None:
    work = Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await run_stoppable(work, work.stop)
    assert work.begun.is_set() == work.ended
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_neither_tokens_nor_threads_are_lost() -> None:
    limiter = CapacityLimiter(2)

    async def cancelled() -> None:
        work = Work()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run_stoppable(work, work.stop, limiter=limiter))
            await work.has_begun()
            tasks.cancel_scope.cancel()
        assert work.ended

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(cancelled)

    await many()
    before = threading.active_count()
    for _ in range(10):
        await many()
    # Idle threads are kept by the event loop; what it lacks, it makes.
    assert threading.active_count() <= before + 4
    with anyio.fail_after(HANG):
        while limiter.borrowed_tokens:  # trio has its token back when the thread has reported
            await anyio.sleep(0)
    assert await run_stoppable(lambda: "next", unwanted, limiter=limiter) == "next"


def test_work_that_outlives_its_loop_harms_nobody() -> None:
    """A loop that is torn down without mercy leaves the thread alone, with nobody to report to."""
    work = Work()
    tasks: list[asyncio.Task[str]] = []

    async def main() -> None:
        tasks.append(asyncio.create_task(run_stoppable(work, lambda: None)))
        await work.has_begun()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    failures: list[object] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    try:
        work.end.set()
        for thread in threading.enumerate():
            if "worker" in thread.name:
                thread.join(0.1)
    finally:
        threading.excepthook = hook
    assert work.ended
    assert failures == []
    tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]
    tasks.clear()
    gc.collect()
