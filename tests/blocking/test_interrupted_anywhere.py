"""An interrupt at each single step of the interpreter in the calling thread: nothing hangs, and what is owned is cancelled."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import blocking

FILE = blocking.__file__
HANG = 30.0
# From 3.12 on, a frame whose opcodes are traced is not always told of them.
STEP = "opcode" if sys.version_info < (3, 12) else "line"
QUICK = bac.JobSpec.function("quick")


class Interrupt:
    """Raises a `KeyboardInterrupt` at the n-th opcode, or line, that this thread runs in the module."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.place = ""

    def __enter__(self) -> Interrupt:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != FILE:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = STEP == "opcode", STEP == "line"
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == STEP:
            self.number -= 1
            if self.number == 0:
                self.place = f"{frame.f_code.co_name}, line {frame.f_lineno}, at {frame.f_lasti}"
                raise KeyboardInterrupt
        return self._step


async def quick(task: bac.FunctionTask) -> None:
    task.stdout.write(b"1\n2\n3\n")
    await anyio.sleep(0)


def made() -> blocking.Cluster:
    return blocking.Cluster([bac.Node("n", [bac.FunctionExecutor({"quick": quick})])])


def close_unused(interrupt: Interrupt) -> None:
    cluster = made()
    try:
        with interrupt:
            cluster.close()
    finally:
        cluster.close()


def run(interrupt: Interrupt) -> None:
    cluster = made()
    cluster.nodes()
    try:
        with interrupt:
            cluster.run(QUICK)
    finally:
        states = [job.wait(timeout=HANG) for job in cluster.jobs()]
        cluster.close()
    assert len(states) <= 1


def own(interrupt: Interrupt) -> None:
    cluster = made()
    job = cluster.submit(QUICK)
    try:
        with interrupt, job:
            pass
    finally:
        assert job.wait(timeout=HANG).terminal
        cluster.close()


def read(interrupt: Interrupt) -> None:
    cluster = made()
    job, seen = cluster.submit(QUICK), list[str]()
    stream = job.logs()
    try:
        with interrupt:
            seen.extend(entry.text for entry in stream)
    finally:
        seen.extend(entry.text for entry in stream)
        cluster.close()
    assert seen in (["1", "2", "3"], ["2", "3"], ["1", "3"], ["1", "2"]), "the one in hand may be lost"


def open_and_close(interrupt: Interrupt) -> None:
    cluster = made()
    try:
        with interrupt, cluster:
            pass
    finally:
        cluster.close()


@pytest.mark.parametrize("scenario", [close_unused, run, own, read, open_and_close])
def test_nothing_hangs(scenario: Callable[[Interrupt], None]) -> None:
    main, hung = threading.main_thread().ident, list[str]()
    assert main is not None
    for number in range(1, 100_000):
        interrupt = Interrupt(number)

        def hangs(interrupt: Interrupt = interrupt) -> None:
            hung.append(interrupt.place)
            signal.pthread_kill(main, signal.SIGINT)

        watchdog = threading.Timer(HANG, hangs)
        watchdog.daemon = True
        watchdog.start()
        raised = False
        try:
            scenario(interrupt)
        except KeyboardInterrupt:
            raised = True
        finally:
            watchdog.cancel()
        assert hung == []
        assert raised is (interrupt.place != ""), f"swallowed in {interrupt.place}"
        if not interrupt.place:
            break
    assert number > 10
