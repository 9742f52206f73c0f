"""Checks of clocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from ...abc.clock import Clock
from .check import Check, Promises, expect

__all__ = ["CLOCK_CHECKS", "MakeClock"]

MakeClock: TypeAlias = Callable[[], Clock]
"""Makes a clock, such as its class."""

_FAR = 1e6
"""Seconds that no check waits for."""

_note: Promises[MakeClock] = Promises()


@_note(Clock, "`now` never goes back")
async def _now_never_goes_back(make: MakeClock) -> None:
    clock = make()
    last = clock.now()
    for turn in range(5000):
        if turn % 100 == 0:
            await anyio.sleep(0.001 if turn % 1000 == 0 else 0)
        time = clock.now()
        expect(time >= last, f"it went back from {last!r} to {time!r}")
        last = time


@_note(Clock, "`sleep_until` returns at or after its time")
async def _a_sleep_is_never_too_short(make: MakeClock) -> None:
    clock = make()
    for turn in range(40):
        time = clock.now() + turn % 8 * 0.0005
        await clock.sleep_until(time)
        now = clock.now()
        expect(now >= time, f"sleep_until({time!r}) returned at {now!r}")


@_note(Clock, "`sleep_until` returns at or after its time")
async def _sleeps_end_in_the_order_of_their_times(make: MakeClock) -> None:
    clock = make()
    begun = clock.now()
    ended: list[int] = []

    async def sleep(number: int) -> None:
        await clock.sleep_until(begun + number * 0.05)
        now = clock.now()
        expect(now >= begun + number * 0.05, f"one of several sleeps returned {now - begun:g} s too early")
        ended.append(number)

    async with anyio.create_task_group() as tasks:
        for number in (4, 2, 3, 1):
            tasks.start_soon(sleep, number)
    expect(sorted(ended) == [1, 2, 3, 4], f"of 4 sleeps these ended: {ended}")


@_note(Clock, "at once if that has passed")
async def _the_past_is_not_waited_for(make: MakeClock) -> None:
    clock = make()
    begun = anyio.current_time()
    for ago in (0.0, 1.0, _FAR):
        await clock.sleep_until(clock.now() - ago)
    took = anyio.current_time() - begun
    expect(took < 10, f"three sleeps until the past took {took:g} seconds")


@_note(Clock, "a checkpoint in any case")
async def _a_sleep_lets_others_run(make: MakeClock) -> None:
    clock = make()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        for ago in (0.0, _FAR):
            before = turns
            for _ in range(20):
                await clock.sleep_until(clock.now() - ago)
            expect(turns > before, "no other task had a turn while it slept 20 times until the past")
        tasks.cancel_scope.cancel()


@_note(Clock, "a checkpoint in any case")
async def _a_sleep_until_the_past_sees_a_cancellation(make: MakeClock) -> None:
    clock = make()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await clock.sleep_until(clock.now() - _FAR)
    expect(scope.cancelled_caught, "sleep_until returned in a scope that was cancelled")


@_note(Clock, "and cancellable")
async def _a_sleep_can_be_cancelled(make: MakeClock) -> None:
    clock = make()
    with anyio.move_on_after(0.05) as scope:
        await clock.sleep_until(clock.now() + _FAR)
    expect(scope.cancelled_caught, f"sleep_until a time in {_FAR:g} seconds returned, and was not cancelled")


CLOCK_CHECKS: tuple[Check[MakeClock], ...] = tuple(_note)
"""The promises of `bacalhau_sdk.abc.Clock`; each is called with what makes a clock."""
