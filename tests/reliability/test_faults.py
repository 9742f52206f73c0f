"""Faults of the fault model, row by row: of the network, engines, storage, time, and cancels (F22 to F45; F1 to F21 are in
test_crashes.py, and docs/explanation/differences.md has all rows).
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.abc import Batch, ExecutionState, Source, Task, TaskIO
from bacalhau_sdk.clocks.system import SystemClock
from bacalhau_sdk.errors import JobNotFoundError
from bacalhau_sdk.model.execution import Location
from bacalhau_sdk.model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
)
from bacalhau_sdk.scheduling.deadlines import GRACE, NODE_LOST_AFTER
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES
from bacalhau_sdk.storage.local import LocalStorage
from bacalhau_sdk.storage.results import LocalPublisher
from bacalhau_sdk.testing import SimulatedTransport, link, messages, on
from tests.reliability.cores import Cores
from tests.reliability.virtual import docker, machine
from tests.scheduling.makers import node

E = ExecutionState


# ---- The network ----


def ends_of(job: bac.Job) -> list[tuple[str, int, str]]:
    return [(each.node, each.attempt, each.state.value) for each in job.executions]


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.3])
async def test_f22_messages_are_lost(loss: float) -> None:
    transport = SimulatedTransport([messages().lost(loss)], seed=7)
    nodes = [machine(on().runs(10), name=name) for name in ("a", "b")]
    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        jobs = [await cluster.submit(docker(3, retry=bac.RetryPolicy(5))) for _ in range(5)]
        assert [await job.wait() for job in jobs] == [bac.JobState.COMPLETED] * 5
        assert anyio.current_time() <= 90 / (1 - loss)


@pytest.mark.parametrize("copies", [2, 10])
async def test_f23_messages_are_doubled(copies: int) -> None:
    started = Counter[str]()

    async def run(task: Task, io: TaskIO) -> int:
        started[task.execution_id] += 1
        await anyio.sleep(10)
        return 0

    engine = testing.SimulatedEngine("docker", ["linux/amd64"], behaviour=run)
    transport = SimulatedTransport([messages().doubled(1)] * (copies - 1))
    async with testing.VirtualCluster([bac.Node("a", [engine])], transport=transport) as cluster:
        job = await cluster.submit(docker(5))
        assert len(await job.results()) == 5
    assert (len(started), set(started.values())) == (5, {1})
    assert all(each == ("a", 1, "COMPLETED") for each in ends_of(job))


@pytest.mark.parametrize("seed", range(5))
async def test_f24_messages_are_late_and_pass_each_other(seed: int) -> None:
    """By up to ten heartbeats: 50 seconds."""
    transport = SimulatedTransport([messages().delayed(0.3, 0, 50)], seed=seed)
    nodes = [machine(on().runs(30), name=name) for name in ("a", "b")]
    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        job = await cluster.submit(docker(4, retry=bac.RetryPolicy(5)))
        assert await job.wait() is bac.JobState.COMPLETED
        before: dict[str | None, ExecutionState] = {}
        async for event in job.events():
            if event.execution_state is not None:
                known = before.get(event.execution_id, event.execution_state)
                allowed = EXECUTION_MOVES[known] | {known}
                assert event.execution_state in allowed, f"{event} after {known}"
                before[event.execution_id] = event.execution_state


WAYS = {
    "both": link("a").cut(5, 100),
    "to it": link(ORCHESTRATOR, "a").cut(5, 100, one_way=True),
    "from it": link("a", ORCHESTRATOR).cut(5, 100, one_way=True),
}


@pytest.mark.parametrize("elsewhere", [True, False], ids=["another node", "no other node"])
@pytest.mark.parametrize("way", WAYS)
async def test_f25_f26_f27_a_node_is_cut_off(way: str, elsewhere: bool) -> None:
    """Its late result never wins over a new attempt, and is not lost when none was begun."""
    nodes = [machine(on().runs(60), name="a")] + [machine(on().runs(60), name="b")] * elsewhere
    spec = docker(retry=bac.RetryPolicy(2, backoff=5), prefer="name = a")
    async with testing.VirtualCluster(nodes, transport=SimulatedTransport([WAYS[way]])) as cluster:
        job = await cluster.submit(spec)
        await anyio.sleep(4)
        assert ends_of(job) == [("a", 1, "RUNNING")]
        result = await job.result()
        silent = way != "to it"
        if elsewhere and silent:
            assert ends_of(job) == [("a", 1, "FAILED"), ("b", 2, "COMPLETED")]
            assert job.executions[0].fenced
        else:
            assert ends_of(job) == [("a", 1, "COMPLETED")]
        ended = job.executions
        await anyio.sleep(120)
        assert job.executions == ended
        assert result.node == ("b" if elsewhere and silent else "a")
        assert [state.executions for state in await cluster.nodes()] == [0] * len(nodes)


@pytest.mark.parametrize("seconds", [1, 10, 19])
async def test_f28_a_link_flaps_for_ten_minutes(seconds: float) -> None:
    transport = SimulatedTransport([link("a").flaps(seconds, 10, 610)])
    nodes = [machine(on().runs(300), name=name) for name in ("a", "b")]
    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        jobs = [await cluster.submit(docker(2, retry=bac.RetryPolicy(3))) for _ in range(4)]
        assert [await job.wait() for job in jobs] == [bac.JobState.COMPLETED] * 4
        for job in jobs:
            assert max(each.attempt for each in job.executions) <= 3
            assert len(job.executions) <= 2 * 3, "no storm of offers"


# ---- Workloads that do not die ----


async def test_f31_what_ignores_its_kill_keeps_its_room_until_it_is_dead() -> None:
    stubborn, quick = on(offer=1).hangs().ignores_kill(100), on().runs(1)
    async with testing.VirtualCluster([machine(stubborn, quick, cpu=1)]) as cluster:
        job = await cluster.submit(docker(cpu=1))
        await anyio.sleep(10)
        assert await job.cancel() is bac.JobState.CANCELLED
        assert anyio.current_time() == pytest.approx(10 + GRACE + NODE_LOST_AFTER, abs=1)
        assert "it may still run there" in str(await job.explain())
        later = await cluster.run(docker(cpu=1))
        assert later.started_at >= 110, "nothing is given away while something runs in it"


# ---- Storage ----

FAULTS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE]
by_errno = pytest.mark.parametrize("code", FAULTS, ids=[errno.errorcode[code] for code in FAULTS])


@by_errno
async def test_f37_f38_f39_the_store_fails(code: int) -> None:
    """What is not kept is not acted on: the cluster stops, and nothing was acknowledged."""
    acknowledged: list[str] = []

    class Full(bac.MemoryStore):
        async def _commit(self, batch: Batch) -> None:
            if any(each.state is E.COMPLETED for each in batch.executions):
                raise OSError(code, os.strerror(code))
            await super()._commit(batch)

    class Listening(bac.MemoryTransport):
        async def _send(self, envelope: object) -> None:
            if isinstance(message := getattr(envelope, "message", None), AcknowledgeExecution):
                acknowledged.append(message.execution_id)
            await super()._send(envelope)  # type: ignore[arg-type]

    store = Full()
    with pytest.raises(bac.errors.ClusterFailedError, match=os.strerror(code)):
        async with testing.VirtualCluster(
            [machine(on().runs(5))], store=store, transport=Listening()
        ) as cluster:
            await (await cluster.submit(docker())).wait()
    assert acknowledged == []
    (kept,) = (await store.load()).executions
    assert kept.state is E.PUBLISHING


@pytest.mark.parametrize("place", ["fetch", "publish"])
@by_errno
async def test_f37_f38_f39_a_disk_fails_until_there_is_room_again(
    code: int, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails = [OSError(code, os.strerror(code))] * 2
    fetch = LocalStorage._fetch  # pyright: ignore[reportPrivateUsage]
    publish = LocalPublisher._publish  # pyright: ignore[reportPrivateUsage]

    async def fetching(self: LocalStorage, source: Source, into: Path) -> None:
        if place == "fetch" and fails:
            raise fails.pop()
        await fetch(self, source, into)

    async def publishing(self: LocalPublisher, directory: Path, name: str) -> Location:
        if place == "publish" and fails:
            raise fails.pop()
        return await publish(self, directory, name)

    monkeypatch.setattr(LocalStorage, "_fetch", fetching)
    monkeypatch.setattr(LocalPublisher, "_publish", publishing)
    spec = bac.JobSpec.docker(
        "busybox:1.37", inputs={"/in": b"x"}, retry=bac.RetryPolicy(3), outputs={"out": "/out"}
    )
    told = machine(on().runs(5).writes("out", "it", "7"))
    async with testing.VirtualCluster([told], data_dir=tmp_path) as cluster:
        job = await cluster.submit(spec)
        result = await job.result()
        assert ends_of(job) == [("a", 1, "FAILED"), ("a", 2, "FAILED"), ("a", 3, "COMPLETED")]
        first = job.executions[0].outcome
        assert first is not None
        assert first.failure is not None
        assert os.strerror(code) in first.failure.message
        assert (result.outputs["out"].path / "it").read_text() == "7"
    assert len(list((tmp_path / job.id).iterdir())) == 1, "the failed tries have left nothing"


# ---- Time ----


def test_f42_the_wall_clock_is_changed() -> None:
    clock = SystemClock()
    before = clock.now()
    for jump in (3600, -3600, 10 * 365 * 86400, -10 * 365 * 86400):
        with mock.patch("time.time", return_value=time.time() + jump):
            assert before <= clock.now() < before + 60


async def test_f42_the_machine_is_suspended_for_eight_hours() -> None:
    ahead = 0.0

    class Suspended(testing.VirtualClock):
        def now(self) -> float:
            return super().now() + ahead

        async def sleep_until(self, time: float) -> None:
            while self.now() < time:
                await anyio.sleep(min(1.0, time - self.now()))

    spec = bac.JobSpec.docker("busybox:1.37", timeouts=bac.Timeouts(total=3600, execution=3600))
    composed = testing.VirtualCluster([machine(on().runs(100))])
    composed._clock = Suspended()  # pyright: ignore[reportPrivateUsage]
    async with composed as cluster:
        job = await cluster.submit(spec)
        await anyio.sleep(50)
        ahead = 8 * 3600.0
        await anyio.sleep(NODE_LOST_AFTER - 1)
        assert ends_of(job) == [("a", 1, "RUNNING")]
        (state,) = await cluster.nodes()
        assert state.lost_at is None
        # The limit was passed while nobody could look: it counts again after the time that nodes get to be heard.
        assert await job.wait() is bac.JobState.TIMED_OUT
        assert 50 + NODE_LOST_AFTER - 1 <= anyio.current_time() < 50 + NODE_LOST_AFTER + 10


# ---- Cancelling ----


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        (0, "submitted"),
        (5, "prepares"),
        (15, "runs"),
        (25, "between the attempts"),
        (45, "runs again"),
        (90, "over"),
    ],
)
async def test_f44_a_job_is_cancelled_three_times_at_once_in_any_phase(
    at: float, phase: str, tmp_path: Path
) -> None:
    told = machine(
        on(attempt=1).prepares(10).runs(10).fails("the disk is full"), on(attempt=2).prepares(10).runs(30)
    )
    over = phase == "over"
    async with testing.VirtualCluster([told], data_dir=tmp_path) as cluster:
        job = await cluster.submit(docker(retry=bac.RetryPolicy(2, backoff=10)))
        await anyio.sleep(at)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(job.cancel)
        assert anyio.current_time() == at, "a kill takes no time here"
        assert job.state is await job.cancel() is (bac.JobState.COMPLETED if over else bac.JobState.CANCELLED)
        ended, events = job.executions, [event async for event in job.events()]
        assert all(each.state.terminal for each in ended)
        await anyio.sleep(200)
        assert job.executions == ended
        assert [event async for event in job.events()] == events, "nothing more is recorded"
        assert [path.name for path in tmp_path.glob(f"{job.id}/*")] == ([ended[-1].id] if over else [])


def test_f44_a_job_that_is_not_known_is_cancelled() -> None:
    with pytest.raises(JobNotFoundError):
        Cores(node()).cancel("unknown")


async def test_f45_a_job_is_cancelled_while_its_node_is_cut_off() -> None:
    alive: set[str] = set()

    async def hold(task: Task, io: TaskIO) -> int:
        alive.add(task.execution_id)
        try:
            await anyio.sleep_forever()
        finally:
            alive.clear()
        return 0

    engine = testing.SimulatedEngine("docker", ["linux/amd64"], behaviour=hold)
    transport = SimulatedTransport([link("a").cut(10, 100)])
    async with testing.VirtualCluster([bac.Node("a", [engine])], transport=transport) as cluster:
        job = await cluster.submit(docker())
        await anyio.sleep(15)
        assert await job.cancel() is bac.JobState.CANCELLED
        assert anyio.current_time() <= 15 + NODE_LOST_AFTER
        assert alive, "it cannot be reached"
        assert "it may still run there" in str(await job.explain())
        await anyio.sleep(100 + 6 - anyio.current_time())
        assert not alive, "it is killed with the next heartbeat"
        assert ends_of(job) == [("a", 1, "CANCELLED")]
