"""Whether `own_executor.py` keeps the promises of an executor, and a job that it runs. Run it with ``pytest examples``."""

import sys

import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.testing.checks import EXECUTOR_CHECKS, PROCESS_EXECUTOR_CHECKS, Check, ExecutorKit
from examples.own_executor import ProgramExecutor, ProgramSpec

ECHO = 'cat; printf %s "$GREETING" >&2; cp "$0/letter" "$1/letter"; exit 3'
# The program that ticks is a child of the one that is run, so that it is seen whether both are killed.
TICKS = '(n=0; while [ $n -lt 1000 ]; do printf . >> "$0/ticks"; sleep 0.03; n=$((n + 1)); done)'
TICK = f"echo up; {TICKS} & wait; echo done"
LEAVE = f'{TICKS} > /dev/null 2>&1 & until [ -s "$0/ticks" ]; do sleep 0.01; done'
KIT = ExecutorKit(
    ProgramExecutor,
    echo=ProgramSpec(("sh", "-c", ECHO, "/inputs", "/outputs")),
    nap=ProgramSpec(("sleep", "1")),
    tick=ProgramSpec(("sh", "-c", TICK, "/outputs")),
    impossible=ProgramSpec(("no-such-program",)),
    leave=ProgramSpec(("sh", "-c", LEAVE, "/outputs")),
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the processes of a group are POSIX's")


@pytest.mark.parametrize("check", [*EXECUTOR_CHECKS, *PROCESS_EXECUTOR_CHECKS], ids=str)
async def test_it_keeps_the_promises_of_an_executor(check: Check[ExecutorKit]) -> None:
    await check(KIT)


async def test_it_runs_jobs() -> None:
    spec = bac.JobSpec(ProgramSpec(("wc", "-w", "/text")), inputs={"/text": b"to be or not to be"})
    async with bac.Cluster([bac.Node("here", [ProgramExecutor()])]) as cluster:
        result = await cluster.run(spec)
    assert result.stdout.split()[0] == "6"
