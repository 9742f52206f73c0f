"""Checks of executors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio import CancelScope
from attrs import frozen

from ...abc.executor import Executor, TaskIO
from ...errors import BacalhauError, ExecutionError
from ...host.threads import run_blocking
from ...model.execution import RunResult
from ...model.job import EngineSpec
from ...model.node import EngineInfo, Refusal
from .check import WATCH, BrokenPromiseError, Check, Promises, cancel_after, expect, read_tree
from .desk import GREETING, LETTER, Desk, desk, running
from .leaks import apart, leaks_nothing

__all__ = ["EXECUTOR_CHECKS", "PROCESS_EXECUTOR_CHECKS", "ExecutorKit"]

_DEAD = "`run` returns or raises only when the workload is dead"
_STOPS = "Cancelling `run` is the way to stop a workload"
_CLEANS = "it then ends it, cleans up under a shield, and lets the cancellation through"


@frozen
class ExecutorKit:
    """An executor to be checked, and programs for it that do what the checks are about.

    The program is given an input folder at ``/inputs``, with a file ``letter`` in it, and an output folder at ``/outputs``.

    Attributes:
        make: Makes the executor, anew for every check.
        echo: Copies its standard input to its standard output, writes the value of the variable ``GREETING``, and nothing else,
            to its standard error, copies ``/inputs/letter`` to ``/outputs/letter``, and exits with 3.
        nap: Takes about a second, without work, and exits with 0.
        tick: Writes the line ``up`` to its standard output, at once; then adds a byte to ``/outputs/ticks`` every few hundredths
            of a second, for half a minute, writes the line ``done``, and exits with 0.
        impossible: What no try could ever run: no such program, a module that is none.
        leave: For `PROCESS_EXECUTOR_CHECKS`: begins a program in the background that has none of its streams and adds to
            ``/outputs/ticks`` as that of ``tick`` does; exits with 0 once there is a byte, and leaves the other one behind.
    """

    make: Callable[[], Executor]
    echo: EngineSpec
    nap: EngineSpec
    tick: EngineSpec
    impossible: EngineSpec
    leave: EngineSpec | None = None


_NAP = 0.3
"""Seconds in which a loop that is not blocked has many more turns than the check asks for."""

_note: Promises[ExecutorKit] = Promises()
_note_process: Promises[ExecutorKit] = Promises()


# ---- What it says of itself ----


@_note(Executor, "The name of the engine whose specs it runs.")
async def _the_probe_names_the_engine(kit: ExecutorKit) -> None:
    async with kit.make() as executor:
        info = await executor.probe()
        expect(isinstance(info, EngineInfo), f"the probe returned {type(info).__name__}, not an EngineInfo")
        names = {executor.engine, info.name, kit.echo.engine, kit.tick.engine}
        expect(
            len(names) == 1 and names != {""}, f"executor, probe and specs name the engines {sorted(names)}"
        )
        expect(await executor.probe() == info, "a second probe found something else")


@_note(Executor, "Say why the engine would not run a task, or None when it would")
async def _the_check_takes_what_can_run(kit: ExecutorKit) -> None:
    async with kit.make() as executor:
        for name in ("echo", "nap", "tick"):
            async with desk(getattr(kit, name)) as given:
                refusal = await executor.check(given.task)
                expect(refusal is None, f"{name} was refused: {refusal}")


@_note(Executor, "The task can never succeed.")
async def _what_can_never_run_is_refused_or_fails_for_good(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.impossible, name="impossible") as given:
        refusal = await executor.check(given.task)
        if refusal is not None:
            expect(
                isinstance(refusal, Refusal) and refusal.lasting, f"the refusal does not last: {refusal!r}"
            )
            return
        try:
            result = await executor.run(given.task, given.io)
        except ExecutionError:
            return
        except BacalhauError as error:
            raise BrokenPromiseError(
                f"it would be tried again, for run raised {type(error).__name__}: {error}"
            ) from error
        expect(False, f"check took it, and run returned {result}")


# ---- What a workload reads and writes ----


@_note(Executor, "Run a task to its end")
async def _the_exit_code_is_the_result(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.echo) as given:
        result = await executor.run(given.task, given.io)
        expect(
            isinstance(result, RunResult) and result.exit_code == 3,
            f"echo exits with 3, run returned {result}",
        )


@_note(TaskIO, "Takes the standard output, live.")
async def _all_of_both_streams_is_there_when_it_ends(kit: ExecutorKit) -> None:
    data = bytes(range(256)) * 4096
    async with kit.make() as executor, desk(kit.echo, stdin=data) as given:
        await executor.run(given.task, given.io)
        out, err = bytes(given.stdout.data), bytes(given.stderr.data)
        expect(
            out == data,
            f"echo was given {len(data)} bytes, {len(out)} {'other ' * (len(out) == len(data))}came out",
        )
        expect(err == GREETING.encode(), f"stderr has {err[:200]!r}, the variable GREETING is {GREETING!r}")
        await anyio.sleep(WATCH)
        expect(len(given.stdout.data) == len(data), "more came out after run had returned")


@_note(TaskIO, "Takes the standard output, live.")
async def _output_is_seen_while_the_workload_runs(kit: ExecutorKit) -> None:
    async with kit.make() as executor, _ticking(kit, executor) as given:
        expect(b"done" not in given.stdout.data, "'up' was seen when the workload had ended")
        expect(not given.ended, "'up' was seen after run had returned")


@_note(TaskIO, "None for an empty standard input")
async def _no_standard_input_is_an_empty_one(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.echo, stdin=None) as given:
        result = await executor.run(given.task, given.io)
        expect(result.exit_code == 3, f"without a standard input, echo ended with {result}")
        expect(
            not given.stdout.data, f"echo was given no input, and wrote {bytes(given.stdout.data)[:200]!r}"
        )


@_note(TaskIO, "what is in it at the end is collected")
async def _outputs_are_filled_from_inputs(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.echo) as given:
        await executor.run(given.task, given.io)
        made = await read_tree(given.outputs)
        expect(made == {"letter": LETTER}, f"/outputs has {sorted(made)}, echo copies the letter into it")


@_note(TaskIO, "A private folder for the executor's own needs, gone afterwards.")
async def _nothing_is_written_but_outputs_and_scratch(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.echo) as given:
        if not executor.needs_scratch:
            await run_blocking(given.io.scratch.rmdir)
        before = await given.others()
        await executor.run(given.task, given.io)
        after = await given.others()
        changed = sorted(name for name in {*before, *after} if before.get(name, 0) != after.get(name, 0))
        expect(not changed, f"these files of the node were changed: {changed}")


@_note(Executor, "``_run`` calls ``io.started()`` when the workload itself begins.")
async def _started_is_called_once_when_the_workload_begins(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.echo) as given:
        await executor.run(given.task, given.io)
        expect(len(given.started) == 1, f"started was called {len(given.started)} times")
        expect(given.started == [0], f"started was called when {given.started[0]} bytes had come out already")


# ---- How it ends ----


@_note(Executor, _STOPS)
async def _a_cancelled_workload_is_stopped(kit: ExecutorKit) -> None:
    async with kit.make() as executor:
        async with _ticking(kit, executor) as given:
            pass
        expect(b"done" not in given.stdout.data, "run went on until the workload had ended by itself")


@_note(Executor, _DEAD)
async def _a_cancelled_run_ends_when_the_workload_is_dead(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.tick) as given:
        async with running(executor, given):
            pass
        before = await read_tree(given.outputs), bytes(given.stdout.data)
        await anyio.sleep(WATCH)
        after = await read_tree(given.outputs), bytes(given.stdout.data)
        expect(before == after, "the workload was still writing after the cancelled run had ended")


@_note(Executor, _CLEANS)
async def _a_cancellation_is_let_through(kit: ExecutorKit) -> None:
    async with kit.make() as executor, _ticking(kit, executor) as given:
        given.scope.cancel()
        await given.over()
        expect(given.ended == "was cancelled", f"a run that was cancelled {given.ended}")


@_note(Executor, _CLEANS)
async def _a_run_that_is_cancelled_beforehand_is_cancelled(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.tick) as given:
        result: RunResult | None = None
        with CancelScope() as scope:
            scope.cancel()
            result = await executor.run(given.task, given.io)
        expect(scope.cancelled_caught, f"a run in a scope that was cancelled before returned {result}")
        before = await read_tree(given.outputs)
        await anyio.sleep(WATCH)
        expect(
            await read_tree(given.outputs) == before,
            "the workload runs although its run was cancelled before",
        )


@_note(Executor, _CLEANS)
async def _a_cancellation_at_any_time_is_clean(kit: ExecutorKit) -> None:
    async with kit.make() as executor, AsyncExitStack() as desks:
        given: dict[int, Desk] = {}
        for turns in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            given[turns] = await desks.enter_async_context(desk(kit.tick))
            with CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_after, turns, scope)
                    result = await executor.run(given[turns].task, given[turns].io)
                    expect(
                        False, f"a run that was cancelled after {turns} turns of the loop returned {result}"
                    )
        before = {turns: await each.ticks() for turns, each in given.items()}
        await anyio.sleep(WATCH)
        alive = [turns for turns, each in given.items() if await each.ticks() != before[turns]]
        expect(not alive, f"workloads run although their runs were cancelled after {alive} turns of the loop")


@_note(Executor, "Runs workloads of one engine on this machine.")
async def _workloads_run_side_by_side(kit: ExecutorKit) -> None:
    """One that is cancelled takes nobody along, and streams and folders are each workload's own."""
    async with kit.make() as executor, AsyncExitStack() as desks:
        echoes: dict[str, Desk] = {}
        for name in ("input 0", "input 1", "input 2", "input 3"):
            data = name.encode()
            laid = desk(kit.echo, stdin=data, letter=data, name=name.replace(" ", "-"))
            echoes[name] = await desks.enter_async_context(laid)
        first = await desks.enter_async_context(_ticking(kit, executor))
        second = await desks.enter_async_context(_ticking(kit, executor))
        async with anyio.create_task_group() as tasks:
            for each in echoes.values():
                tasks.start_soon(executor.run, each.task, each.io)
            first.scope.cancel()
            await first.over()
        read = {name: bytes(each.stdout.data) for name, each in echoes.items()}
        mixed = {name: data for name, data in read.items() if data != name.encode()}
        expect(not mixed, f"of four that ran at once, these got another one's input: {mixed}")
        made = {name: await read_tree(each.outputs) for name, each in echoes.items()}
        strange = {name: tree for name, tree in made.items() if tree != {"letter": name.encode()}}
        expect(
            not strange,
            f"of four that ran at once, these did not find their letter alone in /outputs: {strange}",
        )
        expect(not second.ended, f"the run of another workload {second.ended} when one was cancelled")
        size = await second.ticks()
        await anyio.sleep(WATCH)
        expect(await second.ticks() > size, "another workload stopped when one was cancelled")


@_note(Executor, "Run a task to its end")
async def _the_event_loop_is_not_blocked(kit: ExecutorKit) -> None:
    async with kit.make() as executor, desk(kit.nap) as given:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await anyio.sleep(0.01)
                beats += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            await anyio.sleep(0.05)
            before, begun = beats, anyio.current_time()
            result = await executor.run(given.task, given.io)
            seen, took = beats - before, anyio.current_time() - begun
            expect(result.exit_code == 0, f"nap exits with 0, run returned {result}")
            expect(
                took >= _NAP,
                f"nap was too short for this check: it is to take about a second, run returned after {took:.2g}",
            )
            expect(
                seen >= 5,
                f"while a workload took {took:.2g} seconds, a task that sleeps for 10 ms at a time had {seen} turns",
            )
            tasks.cancel_scope.cancel()


@_note(Executor, "leaving it waits for whatever still runs on its behalf")
async def _leaving_leaves_nothing(kit: ExecutorKit) -> None:
    async with apart():
        await leaks_nothing(
            lambda: _round_trip(kit), "entering it, an ended and a cancelled run, and leaving it"
        )


@_note(Executor, _CLEANS)
async def _runs_leave_nothing(kit: ExecutorKit) -> None:
    async with apart(), kit.make() as executor:
        await leaks_nothing(lambda: _two_runs(kit, executor), "an ended and a cancelled run")


@_note_process(Executor, _DEAD)
async def _what_a_workload_leaves_behind_is_dead_when_run_returns(kit: ExecutorKit) -> None:
    if kit.leave is None:
        raise BrokenPromiseError("it cannot be seen without the program `leave`, which the kit does not have")
    async with kit.make() as executor, desk(kit.leave) as given:
        result = await executor.run(given.task, given.io)
        before = await given.ticks()
        expect(result.exit_code == 0, f"leave exits with 0, run returned {result}")
        expect(before, "leave has written nothing to /outputs/ticks")
        await anyio.sleep(WATCH)
        expect(
            await given.ticks() == before,
            "what the workload had left behind was still writing after run had returned",
        )


EXECUTOR_CHECKS: tuple[Check[ExecutorKit], ...] = tuple(_note)
"""The promises of `bacalhau_sdk.abc.Executor`; each is called with an `ExecutorKit`."""

PROCESS_EXECUTOR_CHECKS: tuple[Check[ExecutorKit], ...] = tuple(_note_process)
"""What else an executor keeps to whose workloads can begin processes of their own; called as `EXECUTOR_CHECKS` are.

The kit needs `ExecutorKit.leave`; without it they fail, for they would see nothing.
"""


@asynccontextmanager
async def _ticking(kit: ExecutorKit, executor: Executor) -> AsyncGenerator[Desk, None]:
    """Run ``tick``, from its first tick on; leaving cancels it, and waits for the end of the run."""
    async with desk(kit.tick) as given, running(executor, given):
        yield given


async def _round_trip(kit: ExecutorKit) -> None:
    async with kit.make() as executor:
        await _two_runs(kit, executor)


async def _two_runs(kit: ExecutorKit, executor: Executor) -> None:
    async with desk(kit.echo) as given:
        await executor.run(given.task, given.io)
    async with _ticking(kit, executor):
        pass
