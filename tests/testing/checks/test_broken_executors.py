"""Executors that break one promise each, and the check that catches it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import anyio
import pytest
from anyio import CancelScope
from attrs import evolve

from bacalhau_sdk.abc import ByteSink, DockerSpec, EngineInfo, Executor, Refusal, RunResult, Task, TaskIO
from bacalhau_sdk.abc import Check as NodeCheck
from bacalhau_sdk.errors import ExecutionError, TransientError
from bacalhau_sdk.testing.checks import EXECUTOR_CHECKS, PROCESS_EXECUTOR_CHECKS, Check, ExecutorKit, desk
from tests.testing.checks.broken import HasTasks, cases, catches
from tests.testing.checks.kits import behave, tick


class Good(Executor):
    """Keeps all promises; those below break one."""

    engine = "docker"

    async def _probe(self) -> EngineInfo:
        return EngineInfo("docker")

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        io.started()
        return RunResult(await self.work(task, io) or 0)

    async def work(self, task: Task, io: TaskIO) -> int | None:
        if image(task) == "impossible":
            raise ExecutionError("there is no such image")
        return await behave(task, io)


def image(task: Task) -> str:
    assert isinstance(task.engine, DockerSpec)
    return task.engine.image


class NamesAnother(Good):
    async def _probe(self) -> EngineInfo:
        return EngineInfo("podman")


class ProbesByChance(Good):
    probes = 0

    async def _probe(self) -> EngineInfo:
        self.probes += 1
        return EngineInfo("docker", version=str(self.probes))


class RefusesAll(Good):
    async def _check(self, task: Task) -> Refusal | None:
        return Refusal("", NodeCheck.ENGINE, "anything", "nothing")


class RefusesForNow(Good):
    async def _check(self, task: Task) -> Refusal | None:
        return Refusal("", NodeCheck.ENGINE, "it", "no such image", lasting=False)


class RunsTheImpossible(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return 0


class TriesTheImpossibleAgain(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        raise TransientError("there is no such image")


class ForgetsTheExitCode(Good):
    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        await super()._run(task, io)
        return RunResult(0)


class Lossy(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return await behave(task, evolve(io, stdout=Altered(io.stdout, lambda data: data[:-1])))


class Decodes(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        def altered(data: bytes) -> bytes:
            return data.decode("utf-8", "replace").encode()

        return await behave(task, evolve(io, stdout=Altered(io.stdout, altered)))


class ForgetsTheEnvironment(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return await behave(task, evolve(io, stderr=Altered(io.stderr, lambda data: b"")))


class Altered:
    """A sink that changes what is written."""

    def __init__(self, sink: ByteSink, change: Callable[[bytes], bytes]) -> None:
        self._sink, self._change = sink, change

    def write(self, data: bytes) -> None:
        self._sink.write(self._change(data))

    async def drain(self) -> None:
        await self._sink.drain()


class ShowsOutputAtTheEnd(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        kept: list[bytes] = []

        def keep(data: bytes) -> bytes:
            kept.append(data)
            return b""

        await tick(io.outputs["/outputs"], Altered(io.stdout, keep), times=5)
        io.stdout.write(b"".join(kept))
        return None


class InventsInput(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        if io.stdin is None:
            io.stdout.write(b"?")
        return await behave(task, io)


class NeedsInput(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        assert io.stdin is not None, "no standard input"
        return await behave(task, io)


class FillsNoOutputs(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return await behave(task, evolve(io, outputs={"/outputs": io.scratch}))


class WritesBesides(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        await anyio.Path(io.scratch.parent / "cache").write_bytes(b"1")
        return await behave(task, io)


class UsesTheScratchThatItDoesNotNeed(Good):
    needs_scratch = False

    async def work(self, task: Task, io: TaskIO) -> int | None:
        await anyio.Path(io.scratch / "cache").write_bytes(b"1")
        return await behave(task, io)


class ChangesInputs(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        code = await behave(task, io)
        await anyio.Path(io.inputs["/inputs"]).chmod(0o700)
        await anyio.Path(io.inputs["/inputs"] / "letter").unlink()
        return code


class NeverSaysStarted(Good):
    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        return RunResult(await self.work(task, io) or 0)


class SaysStartedTwice(Good):
    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        io.started()
        return await super()._run(task, io)


class SaysStartedLate(Good):
    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        io.stdout.write(b"pulling")
        return await super()._run(task, io)


class GoesOn(Good):
    """Lets the workload come to its end when it is cancelled."""

    async def work(self, task: Task, io: TaskIO) -> int | None:
        with CancelScope(shield=True):
            await tick(io.outputs["/outputs"], io.stdout, times=10)
        return None


class Swallows(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        try:
            return await behave(task, io)
        except anyio.get_cancelled_exc_class():
            return 137


class Translates(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        try:
            return await behave(task, io)
        except anyio.get_cancelled_exc_class():
            raise TransientError("it was cancelled") from None


class ReturnsTooEarly(HasTasks, Good):
    """Only waits for its workload, which goes on when it waits no more."""

    async def work(self, task: Task, io: TaskIO) -> int | None:
        ended = anyio.Event()

        async def outlive() -> None:
            with suppress(FileNotFoundError, RuntimeError):
                await behave(task, io)
            ended.set()

        self.tasks.start_soon(outlive)
        await ended.wait()
        return 3


class StartsWhenCancelled(ReturnsTooEarly):
    """Has a moment in which a cancellation is forgotten: before the workload begins."""

    async def work(self, task: Task, io: TaskIO) -> int | None:
        try:
            await anyio.sleep(0.001)
        except anyio.get_cancelled_exc_class():
            self.tasks.start_soon(tick, io.outputs["/outputs"], io.stdout, 10)
            raise
        return await behave(task, io)


class OneAfterTheOther(Good):
    def __init__(self) -> None:
        self._turn = anyio.Lock()

    async def work(self, task: Task, io: TaskIO) -> int | None:
        async with self._turn:
            return await behave(task, io)


class MixesUp(Good):
    """Keeps in itself what is of one run."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._kept: dict[str, Any] = {}

    async def work(self, task: Task, io: TaskIO) -> int | None:
        if image(task) == "echo":
            self._kept = {self._what: getattr(io, self._what)}
            await anyio.sleep(0.05)
            io = evolve(io, **self._kept)
        return await behave(task, io)


class KillsAll(Good):
    def __init__(self) -> None:
        self._scopes: list[CancelScope] = []

    async def work(self, task: Task, io: TaskIO) -> int | None:
        if image(task) == "echo":
            return await behave(task, io)
        with CancelScope() as scope:
            self._scopes.append(scope)
            try:
                return await behave(task, io)
            except anyio.get_cancelled_exc_class():
                for each in self._scopes:
                    each.cancel()
                raise
        return 1


class BlocksTheLoop(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        if image(task) == "nap":
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                pass
        return await behave(task, io) if image(task) != "nap" else 0


LEFT: list[int] = []
CHILDREN: list[subprocess.Popen[bytes]] = []
STOP = threading.Event()


@pytest.fixture(autouse=True)
def cleaned_up() -> Iterator[None]:
    """Remove what the leaky ones below have left."""
    yield
    STOP.set()
    while LEFT:
        os.close(LEFT.pop())
    while CHILDREN:
        child = CHILDREN.pop()
        child.kill()
        child.wait()
    for thread in threading.enumerate():
        if thread.name == "left":
            thread.join()
    STOP.clear()


class LeaksDescriptors(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        LEFT.append(await anyio.to_thread.run_sync(os.open, os.devnull, os.O_RDONLY))
        return await behave(task, io)


class LeaksChildren(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        CHILDREN.append(await anyio.to_thread.run_sync(subprocess.Popen, ["sleep", "60"]))
        return await behave(task, io)


class LeaksTasks(ReturnsTooEarly):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        self.tasks.start_soon(anyio.sleep_forever)
        return await behave(task, io)


class LeaksThreads(Good):
    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        for _ in range(2):  # idle ones of the event loop may end meanwhile
            threading.Thread(target=STOP.wait, name="left").start()
        yield self


class LeaksFolders(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        await anyio.to_thread.run_sync(tempfile.mkdtemp)
        return await behave(task, io)


class LeaksFilesOfItsChildren(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        if image(task) == "echo":
            await anyio.run_process([sys.executable, "-Sc", "import tempfile; tempfile.mkstemp()"])
        return await behave(task, io)


class LeavesAFolderWhenLeft(Good):
    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        await anyio.to_thread.run_sync(tempfile.mkdtemp)
        yield self


def kit(make: Callable[[], Executor]) -> ExecutorKit:
    return ExecutorKit(
        make, DockerSpec("echo"), DockerSpec("nap"), DockerSpec("tick"), impossible=DockerSpec("impossible")
    )


BROKEN: dict[str, list[tuple[Callable[[], Executor], str]]] = {
    "the probe names the engine": [
        (NamesAnother, "['docker', 'podman']"),
        (ProbesByChance, "a second probe found something else"),
    ],
    "the check takes what can run": [(RefusesAll, "echo was refused")],
    "what can never run is refused or fails for good": [
        (RefusesForNow, "does not last"),
        (RunsTheImpossible, "run returned RunResult(exit_code=0)"),
        (TriesTheImpossibleAgain, "it would be tried again"),
    ],
    "the exit code is the result": [(ForgetsTheExitCode, "run returned RunResult(exit_code=0)")],
    "all of both streams is there when it ends": [
        (Lossy, "1048576 bytes, 1048575 came out"),
        (Decodes, "1048576 bytes"),
        (ForgetsTheEnvironment, "stderr has b''"),
    ],
    "output is seen while the workload runs": [(ShowsOutputAtTheEnd, "before the workload had written 'up'")],
    "no standard input is an empty one": [
        (InventsInput, "wrote b'?'"),
        (NeedsInput, "TransientError: NeedsInput failed: AssertionError: no standard input"),
    ],
    "outputs are filled from inputs": [(FillsNoOutputs, "/outputs has []")],
    "nothing is written but outputs and scratch": [
        (WritesBesides, "['cache']"),
        (UsesTheScratchThatItDoesNotNeed, "FileNotFoundError"),
        (ChangesInputs, "['inputs/letter']"),
    ],
    "started is called once when the workload begins": [
        (NeverSaysStarted, "0 times"),
        (SaysStartedTwice, "2 times"),
        (SaysStartedLate, "7 bytes had come out"),
    ],
    "a cancelled workload is stopped": [(GoesOn, "until the workload had ended by itself")],
    "a cancelled run ends when the workload is dead": [(ReturnsTooEarly, "still writing")],
    "a cancellation is let through": [
        (Swallows, "a run that was cancelled returned RunResult(exit_code=137)"),
        (Translates, "a run that was cancelled raised TransientError"),
    ],
    "a run that is cancelled beforehand is cancelled": [
        (Swallows, "returned RunResult(exit_code=137)"),
        (StartsWhenCancelled, "the workload runs although"),
    ],
    "a cancellation at any time is clean": [
        (StartsWhenCancelled, "workloads run although their runs were cancelled after"),
        (Swallows, "turns of the loop returned RunResult(exit_code=137)"),
    ],
    "workloads run side by side": [
        (OneAfterTheOther, "it was not done after 3 seconds"),
        (partial(MixesUp, "stdin"), "another one's input"),
        (partial(MixesUp, "outputs"), "did not find their letter alone in /outputs: {'input"),
        (partial(MixesUp, "inputs"), "did not find their letter alone in /outputs: {'input"),
        (KillsAll, "when one was cancelled"),
    ],
    "the event loop is not blocked": [(BlocksTheLoop, "had 0 turns")],
    "leaving leaves nothing": [
        (LeaksThreads, "more threads"),
        (LeaksDescriptors, "more descriptors"),
        (LeavesAFolderWhenLeft, "5 more temporary files"),
    ],
    "runs leave nothing": [
        (LeaksDescriptors, "more descriptors"),
        (LeaksChildren, "more child processes"),
        (LeaksTasks, "more tasks"),
        (LeaksFolders, "10 more temporary files"),
        (LeaksFilesOfItsChildren, "5 more temporary files"),
    ],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(EXECUTOR_CHECKS, BROKEN))
async def test_it_is_caught(check: Check[ExecutorKit], make: Callable[[], Executor], seen: str) -> None:
    await catches(check, kit(make), seen, limit=3 if make is OneAfterTheOther else 20)


# ---- What is left behind ----


class LeavesBehind(ReturnsTooEarly):
    """Returns with the program that it has run, and not with what that has begun."""

    async def work(self, task: Task, io: TaskIO) -> int | None:
        async def left() -> None:
            with suppress(FileNotFoundError):
                await tick(io.outputs["/outputs"], Altered(io.stdout, lambda data: b""))

        self.tasks.start_soon(left)
        while not await anyio.Path(io.outputs["/outputs"] / "ticks").exists():
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        return 0


class BeginsNothing(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return 0


class ForgetsThePath(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return 127


BROKEN_PROCESSES: dict[str, list[tuple[Callable[[], Executor], str]]] = {
    "what a workload leaves behind is dead when run returns": [
        (LeavesBehind, "what the workload had left behind was still writing"),
        (BeginsNothing, "leave has written nothing to /outputs/ticks"),
        (ForgetsThePath, "leave exits with 0, run returned RunResult(exit_code=127)"),
    ]
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(PROCESS_EXECUTOR_CHECKS, BROKEN_PROCESSES))
async def test_what_is_left_behind_is_caught(
    check: Check[ExecutorKit], make: Callable[[], Executor], seen: str
) -> None:
    await catches(check, evolve(kit(make), leave=DockerSpec("leave")), seen)


@pytest.mark.parametrize("check", PROCESS_EXECUTOR_CHECKS, ids=str)
async def test_a_kit_without_the_program_does_not_pass(check: Check[ExecutorKit]) -> None:
    await catches(check, kit(Good), "without the program `leave`, which the kit does not have")


# ---- Programs that are not what the kit says are not blamed on the executor ----


class NapsShortly(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        return 0


class TicksNowhere(Good):
    """Runs a program for ``tick`` that writes ``up``, and to no file."""

    async def work(self, task: Task, io: TaskIO) -> int | None:
        io.stdout.write(b"up\n")
        await anyio.sleep_forever()
        return 0


class SaysSomethingElse(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        io.stdout.write(b"usage: tick\n")
        await anyio.sleep_forever()
        return 0


class TicksNowhereAndEnds(Good):
    async def work(self, task: Task, io: TaskIO) -> int | None:
        io.stdout.write(b"up\n")
        return 0


@pytest.mark.parametrize(
    ("name", "make", "seen", "limit"),
    [
        ("the event loop is not blocked", NapsShortly, "nap was too short", 20),
        (
            "a cancelled workload is stopped",
            TicksNowhere,
            "after 1 seconds: tick has written nothing to /outputs/ticks",
            1,
        ),
        (
            "a cancelled workload is stopped",
            TicksNowhere,
            "tick has written nothing to /outputs/ticks, in 0.5 seconds after 'up'",
            20,
        ),
        ("a cancelled workload is stopped", TicksNowhereAndEnds, "tick has written nothing to /outputs", 20),
        (
            "a cancelled workload is stopped",
            SaysSomethingElse,
            "after 1 seconds: tick has not written 'up', but b'usage: tick",
            1,
        ),
    ],
)
async def test_what_was_awaited_of_a_program_is_told(
    name: str, make: Callable[[], Executor], seen: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit > 1:
        monkeypatch.setattr(desk, "_FIRST_TICK", 0.5)
    (check,) = (each for each in EXECUTOR_CHECKS if each.name == name)
    await catches(check, kit(make), seen, limit)
