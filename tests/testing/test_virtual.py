"""Virtual time: the loop, the clock and `run`."""

from __future__ import annotations

import asyncio
import importlib
import math
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import pytest

from bacalhau_sdk import testing
from bacalhau_sdk.errors import InvalidSpecError, VirtualTimeError
from bacalhau_sdk.host.threads import run_blocking
from bacalhau_sdk.testing.checks import CLOCK_CHECKS, Check, MakeClock
from bacalhau_sdk.testing.virtual import BackendName

BACKENDS: tuple[BackendName, ...] = ("asyncio", "trio")
both = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
async def woken_at() -> AsyncIterator[float]:
    """Sleep before the test, in its loop."""
    await anyio.sleep(5)
    yield anyio.current_time()
    await anyio.sleep(10**6)


# ---- The loops ----


@pytest.mark.parametrize("which", ["one test", "another one"])
async def test_every_test_begins_at_0(which: str) -> None:
    assert anyio.current_time() == 0
    await anyio.sleep(3600)
    assert anyio.current_time() == 3600


async def test_an_async_fixture_shares_the_time_of_its_test(woken_at: float) -> None:
    assert woken_at == anyio.current_time() == 5


async def test_timers_come_in_their_order_and_at_their_times() -> None:
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, anyio.current_time()))

    async with anyio.create_task_group() as tasks:
        for seconds in (7.25, 0.0, 100 * 86400.0, 0.5, 3.0):
            tasks.start_soon(sleep, seconds)
    assert woken == [(seconds, seconds) for seconds in (0.0, 0.5, 3.0, 7.25, 100 * 86400.0)]


async def test_what_is_ready_comes_before_any_timer() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        with anyio.fail_after(10):
            await anyio.wait_readable(here)
    assert anyio.current_time() == 0


async def test_a_deadline_comes_at_its_time() -> None:
    with anyio.move_on_after(12) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() == 12


def test_a_deadlock_on_asyncio_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.sleep(7)
        await asyncio.Event().wait()

    with (
        asyncio.Runner(loop_factory=testing.VirtualEventLoop) as runner,
        pytest.raises(VirtualTimeError, match="deadlock under virtual time: after 7 seconds"),
    ):
        runner.run(wait())


def test_no_thread_of_asyncio_works_under_virtual_time() -> None:
    async def work() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(VirtualTimeError, match="no thread may work"):
        testing.run(work)


# ---- run ----


@both
def test_run_hands_over_arguments_and_returns_the_value(backend: BackendName) -> None:
    async def add(one: int, two: int) -> tuple[int, float]:
        await anyio.sleep(1.5)
        return one + two, anyio.current_time()

    assert testing.run(add, 1, 2, backend=backend) == (3, 1.5)


@both
def test_run_raises_what_the_function_raises(backend: BackendName) -> None:
    error = LookupError("mine")

    async def fail() -> None:
        raise error

    with pytest.raises(LookupError) as raised:
        testing.run(fail, backend=backend)
    assert raised.value is error


@both
def test_what_run_runs_is_async(backend: BackendName) -> None:
    plain: Any = int
    with pytest.raises(
        InvalidSpecError, match="function: <class 'int'> is not an async function: it returned 0"
    ):
        testing.run(plain, backend=backend)


@both
@pytest.mark.parametrize(
    "ticking", [True, False], ids=["while a timer goes on", "with nothing left to happen"]
)
def test_run_gives_up_when_the_time_is_over(backend: BackendName, ticking: bool) -> None:
    ended: list[float] = []

    async def tick() -> None:
        while True:
            await anyio.sleep(60)

    async def wait() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                if ticking:
                    tasks.start_soon(tick)
                await anyio.Event().wait()
        finally:
            ended.append(anyio.current_time())

    with pytest.raises(VirtualTimeError, match=r"ran out of virtual time: not done after 3600 seconds"):
        testing.run(wait, backend=backend, limit=3600)
    assert ended == [3600]


@both
@pytest.mark.parametrize("outer", ["asyncio", "trio"])
def test_run_has_a_loop_of_its_own_where_one_runs(outer: str, backend: BackendName) -> None:
    async def hour() -> float:
        await anyio.sleep(3600)
        return anyio.current_time()

    async def cell() -> float:
        return testing.run(hour, backend=backend)

    assert anyio.run(cell, backend=outer) == 3600


def test_run_has_a_loop_of_its_own_in_a_line_of_a_prompt() -> None:
    """`python -m asyncio` runs lines in callbacks of its loop."""

    async def prompt() -> object:
        printed: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def line() -> None:
            try:
                printed.set_result(testing.run(anyio.sleep, 3600))
            except Exception as error:  # noqa: BLE001
                printed.set_exception(error)

        asyncio.get_running_loop().call_soon(line)
        return await printed

    assert asyncio.run(prompt()) is None


@both
def test_an_interrupt_of_a_run_beside_a_loop_cancels_it(backend: BackendName) -> None:
    cancelled, interrupted = threading.Event(), threading.Event()

    async def spin() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            for _ in range(10**6):  # it waits for nothing, so that virtual time does not pass
                await anyio.sleep(0)
        except anyio.get_cancelled_exc_class():
            cancelled.set()
            raise

    def cell() -> None:
        try:
            testing.run(spin, backend=backend)
        except KeyboardInterrupt:
            interrupted.set()
        loop.stop()

    loop = asyncio.new_event_loop()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a job of a shell
    try:
        loop.call_soon(cell)
        loop.run_forever()
    finally:
        signal.signal(signal.SIGINT, handler)
        loop.close()
    assert interrupted.is_set()
    assert cancelled.wait(60)


@both
def test_the_limit_is_a_day_unless_it_is_said(backend: BackendName) -> None:
    assert testing.run(anyio.sleep, 86399, backend=backend) is None
    with pytest.raises(VirtualTimeError):
        testing.run(anyio.sleep, 86401, backend=backend)
    assert testing.run(anyio.sleep, 10**9, backend=backend, limit=math.inf) is None


def test_there_is_no_third_backend() -> None:
    backend: Any = "curio"
    with pytest.raises(InvalidSpecError, match="'curio' is no backend"):
        testing.run(anyio.sleep, 1, backend=backend)


@both
def test_run_lets_the_library_start_no_thread(backend: BackendName) -> None:
    async def thread() -> int:
        return await run_blocking(threading.get_ident)

    assert testing.run(thread, backend=backend) == threading.get_ident()


# ---- Trio ----


async def _order() -> tuple[int, ...]:
    """Return the order in which tasks go on that wake at the same time."""
    order: list[int] = []

    async def wake(number: int) -> None:
        await anyio.sleep(1)
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(wake, number)
    return tuple(order)


@both
def test_a_seed_gives_one_order(backend: BackendName) -> None:
    for seed in range(5):
        assert testing.run(_order, backend=backend, seed=seed) == testing.run(
            _order, backend=backend, seed=seed
        )


def test_seeds_give_many_orders_on_trio() -> None:
    orders = [testing.run(_order, backend="trio", seed=seed) for seed in range(8)]
    assert any(one != other for one, other in pairwise(orders))


def test_trio_still_has_the_private_names_that_the_seed_needs() -> None:
    internals = importlib.import_module("trio._core._run")
    assert hasattr(internals, "_ALLOW_DETERMINISTIC_SCHEDULING")
    assert hasattr(internals, "_r")


@pytest.mark.parametrize("name", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_a_trio_without_the_private_names_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(f"trio._core._run.{name}")
    with pytest.raises(VirtualTimeError, match="cannot be made to take the same course twice"):
        testing.virtual_backend("trio")


def test_a_missing_trio_is_named_and_is_not_needed_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "trio"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert sorted(testing.run(_order)) == list(range(8))
    with pytest.raises(VirtualTimeError, match=r"needs trio(.|\n)*bacalhau-sdk\[trio\]"):
        testing.virtual_backend("trio")


# ---- The clock ----


async def test_the_clock_follows_the_loop() -> None:
    clock = testing.VirtualClock()
    assert clock.now() == 0
    await anyio.sleep(8)
    assert clock.now() == 8
    await clock.sleep_until(20)
    assert clock.now() == 20


async def test_the_clock_never_wakes_early() -> None:
    clock = testing.VirtualClock()
    woken: list[tuple[float, float]] = []

    async def sleep(time: float) -> None:
        await clock.sleep_until(time)
        woken.append((time, clock.now()))

    # Timers of asyncio that are less than a microsecond apart are due together.
    times = [0.1, 100, 100 + 5e-7, 100 + 9e-7, 10**6 / 3, 10**9 / 7]
    async with anyio.create_task_group() as tasks:
        for time in times:
            tasks.start_soon(sleep, time)
    assert [time for time, _ in woken] == times
    assert all(time <= at <= time + 1e-6 for time, at in woken)


async def test_sleeping_until_the_past_takes_no_time_and_lets_others_run() -> None:
    clock, seen = testing.VirtualClock(), list[str]()
    await anyio.sleep(5)

    async def look() -> None:
        seen.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await clock.sleep_until(3)
        await clock.sleep_until(3)
        seen.append("this")
    assert seen == ["other", "this"]
    assert clock.now() == 5


@pytest.mark.parametrize("check", CLOCK_CHECKS, ids=str)
async def test_the_clock_keeps_the_promises_of_a_clock(check: Check[MakeClock]) -> None:
    await check(testing.VirtualClock)
