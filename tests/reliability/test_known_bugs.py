"""Bugs of the original: what got stuck, lost or doubled there (B1 to B25; docs/explanation/differences.md has them all)."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.abc import Batch, ExecutionState, Task, TaskIO
from bacalhau_sdk.cluster.compute import ComputeNode
from bacalhau_sdk.cluster.orchestrator import Orchestrator
from bacalhau_sdk.model.execution import Location
from bacalhau_sdk.model.message import ORCHESTRATOR, AcknowledgeExecution, ExecutionUpdate
from bacalhau_sdk.model.record import JobEvent
from bacalhau_sdk.scheduling.compute import HEARTBEAT_INTERVAL, ComputeCore
from bacalhau_sdk.scheduling.deadlines import NODE_LOST_AFTER
from bacalhau_sdk.scheduling.events import CancelJob, SubmitJob
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from bacalhau_sdk.scheduling.retry import JITTER
from bacalhau_sdk.storage.results import LocalPublisher
from bacalhau_sdk.testing import SimulatedTransport, link, on
from tests.reliability.cores import Cores, assert_recorded_once_after_restart
from tests.reliability.virtual import docker, machine
from tests.scheduling.desk import Desk, restarted
from tests.scheduling.makers import DONE, node, wasm
from tests.scheduling.world import World

E = ExecutionState
ONE = wasm(resources=bac.Resources(cpu=1))
PATIENT = wasm(resources=bac.Resources(cpu=1), retry=bac.RetryPolicy(3, backoff=1))


# ---- With the cores alone: one of the two dies ----

ORDERS = list(itertools.permutations(["first", "second", "tick", "restart"]))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_b1_a_job_has_ended_exactly_when_its_executions_have(order: tuple[str, ...]) -> None:
    """The original could show a job as running whose only execution had completed."""
    desk = Desk(node())
    desk.submit(spec=wasm(count=2))
    for step in order:
        match step:
            case "first":
                desk.report(E.COMPLETED, DONE, 0)
            case "second":
                desk.report(E.COMPLETED, DONE, 1)
            case "tick":
                desk.until(desk.now + 1)
            case _:
                desk = restarted(desk)
        over = all(each.state.terminal for each in desk.executions.values())
        assert desk.jobs["j"].state.terminal is over
    assert desk.states() == "j COMPLETED, j-0 COMPLETED, j-1 COMPLETED"


def test_b2_results_that_are_on_their_way_when_the_orchestrator_is_killed_arrive_once() -> None:
    cores = Cores(*(node(f"n{number}", cpu=1) for number in range(5)))
    cores.submit("j", wasm(count=5, resources=bac.Resources(cpu=1)))
    cores.until(9)
    cores.crash(ORCHESTRATOR)
    cores.until(40)
    assert len([each for each in cores.said(ExecutionUpdate) if each.state is E.COMPLETED]) >= 5
    cores.start_orchestrator()
    cores.until(40 + HEARTBEAT_INTERVAL)
    assert cores.attempts() == [(1, "COMPLETED")] * 5
    assert Counter(state for _, state in cores.recorded)[E.COMPLETED] == 5
    assert cores.at_rest()


def test_b3_a_result_that_cannot_be_stored_is_not_acknowledged_and_comes_again() -> None:
    """The original logged the failure, and acknowledged the message."""
    cores = Cores(node())
    cores.submit("j", ONE)
    cores.until(9)
    cores.disk_full = True
    cores.until(12)
    assert (cores.ends(), cores.said(AcknowledgeExecution)) == ({"j": "RUNNING"}, [])
    cores.start_orchestrator()
    cores.until(20)
    assert cores.said(AcknowledgeExecution) == [], "the disk is still full"
    assert_recorded_once_after_restart(cores)


@pytest.mark.parametrize("dies", [False, True], ids=["", "the orchestrator dies of it"])
def test_b4_a_cancel_races_with_the_end_at_every_step(dies: bool) -> None:
    """A cancel that was committed before the end is the end; one that came later changes nothing (F43)."""
    ends: Counter[str] = Counter()
    for steps in itertools.count():
        world = World(5, [node("n1", cpu=2)])
        world.ask(2, SubmitJob("j", wasm(count=2)))
        while "j" not in world.jobs:
            world.step()
        for _ in range(steps):
            world.step()
        before = world.jobs["j"]
        if dies and not before.state.terminal:
            world.kills = (world.performed + 1,)
        world.order(CancelJob("j", "unwanted"))
        world.run()  # which holds, after every event, that nothing runs of what has ended, and that an end stays
        after = world.jobs["j"]
        ends[after.state.value] += 1
        if before.state.terminal:
            assert after == before
            break
        assert after.state.value == "CANCELLED"
        assert world.killed == dies
        kept = [key for machine in world.machines.values() for key in machine.results]
        assert all(world.executions[key].state is E.COMPLETED for key in kept)
    assert ends["CANCELLED"] >= 15, "there are that many steps"


@pytest.mark.parametrize("dies", ["orchestrator", "node", "node and engine"])
def test_b10_fifty_live_executions_at_restart(dies: str) -> None:
    """The original restarted one job, and forgot the others: those that run, those that wait, and those with a limit."""
    cores = Cores(node(cpu=50, max_executions=100))
    spec = wasm(count=2, resources=bac.Resources(cpu=1), retry=PATIENT.retry)
    for number in range(25):
        cores.submit(f"runs-{number}", spec)
    for number in range(25):
        cores.submit(f"waits-{number}", spec)
    for number in range(5):
        cores.submit(f"nowhere-{number}", wasm(selector="gpu", timeouts=bac.Timeouts(queue=40)))
    cores.until(3)
    assert len(cores.machines["n1"].running()) == 50
    if dies == "orchestrator":
        cores.crash(ORCHESTRATOR)
        cores.start_orchestrator()
    else:
        cores.crash("n1")
        cores.start_node("n1", reboot=dies == "node and engine")
    cores.until(60)
    assert Counter(cores.ends().values()) == {"COMPLETED": 50, "TIMED_OUT": 5}
    states = Counter(each.state.value for each in cores.executions.values())
    lost = {"FAILED": 50} if dies == "node and engine" else {}
    assert states == {"COMPLETED": 100, **lost}
    assert cores.at_rest()


def test_b11_nodes_are_known_again_within_a_heartbeat_when_the_orchestrator_was_away_for_an_hour() -> None:
    """The original's nodes gave up connecting after some attempts."""
    cores = Cores(*(node(f"n{number}") for number in range(3)))
    cores.crash(ORCHESTRATOR)
    cores.until(3600)
    cores.start_orchestrator()
    cores.until(3600 + HEARTBEAT_INTERVAL)
    assert cores.orchestrator is not None
    assert sorted(each.info.name for each in cores.orchestrator.membership.nodes) == ["n0", "n1", "n2"]
    cores.submit("j", ONE)
    cores.until(3660)
    assert cores.ends() == {"j": "COMPLETED"}


async def test_b11_a_node_that_was_cut_off_for_an_hour_is_known_again_within_a_heartbeat() -> None:
    transport = SimulatedTransport([link("a").cut(5, 3605)])
    async with testing.VirtualCluster([machine(on().runs(1))], transport=transport) as cluster:
        await anyio.sleep(3600)
        (state,) = await cluster.nodes()
        assert state.lost_at is not None
        job = await cluster.submit(docker())
        assert job.state is bac.JobState.QUEUED
        result = await job.result()
        assert result.started_at <= 3605 + HEARTBEAT_INTERVAL


def test_b12_a_node_that_comes_back_is_the_same_node() -> None:
    """The original made up a new id, and kept the old node for ever."""
    cores = Cores(node())
    for number in range(5):
        cores.submit(f"j{number}", wasm(retry=bac.RetryPolicy(6, backoff=1)))
        cores.until(cores.now + 3)
        cores.crash("n1")
        cores.start_node("n1", reboot=True)
    cores.until(120)
    assert cores.orchestrator is not None
    assert [each.info.name for each in cores.orchestrator.membership.nodes] == ["n1"]
    assert set(cores.ends().values()) == {"COMPLETED"}
    assert cores.at_rest()


@pytest.mark.parametrize("party", [ORCHESTRATOR, "n1"])
@pytest.mark.parametrize("what", ["empty", "older", "as it was"])
def test_b13_one_side_comes_back_with_another_store(party: str, what: str) -> None:
    """Empty, older than what the other side knows, or as it was: both agree in the end, and nothing is skipped in silence."""
    cores = Cores(node(), seconds=20)
    here = cores.machines["n1"]
    cores.submit("first", PATIENT)
    cores.until(10)
    older = dict(cores.jobs), dict(cores.executions), dict(here.offers), dict(here.engine), dict(here.results)
    cores.submit("second", PATIENT)
    cores.submit("third", PATIENT)
    cores.until(25)
    assert cores.ends() == {"first": "COMPLETED", "second": "RUNNING", "third": "RUNNING"}
    cores.crash(party)
    if party == ORCHESTRATOR:
        if what != "as it was":
            cores.jobs, cores.executions = ({}, {}) if what == "empty" else older[:2]
        cores.start_orchestrator()
    else:
        if what != "as it was":
            offers, engine, results = ({}, {}, {}) if what == "empty" else older[2:]
            here.offers, here.engine, here.results = offers, engine, results
        cores.start_node("n1")
    cores.until(40)
    for job_id in ("first", "second", "third"):
        assert cores.submit(job_id, PATIENT), "who submits again finds the job, or makes it anew"
    cores.until(120)
    assert set(cores.ends().values()) == {"COMPLETED"}
    assert cores.at_rest()
    if party == ORCHESTRATOR and what != "as it was":
        # What was made anew has no id of what is over at the node, so that it is not refused there.
        assert cores.attempts("second") == cores.attempts("third") == [(1, "COMPLETED")]


def test_b16_nodes_join_and_leave_under_load() -> None:
    """Of 100 jobs, the original left 6 behind when two nodes joined."""
    cores = Cores(node("n1", cpu=2), seconds=7)
    for number in range(100):
        cores.submit(f"j{number}", wasm(resources=bac.Resources(cpu=1), retry=bac.RetryPolicy(5, backoff=1)))
    cores.until(10)
    for name in ("n2", "n3"):
        cores.join(node(name, cpu=2))
    cores.until(40)
    assert all(machine.running() for machine in cores.machines.values())
    cores.crash("n2")
    cores.until(70)
    cores.join(node("n4", cpu=4))
    cores.crash("n1")
    cores.start_node("n1", reboot=True)
    cores.until(600)
    assert Counter(cores.ends().values()) == {"COMPLETED": 100}


HOUR, YEAR = 3600.0, 365 * 86400.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR])
def test_b17_the_clock_of_the_machine_has_jumped_when_the_orchestrator_starts_again(jump: float) -> None:
    """In a process that goes on, no jump is seen at all: see test_f42_the_wall_clock_is_changed."""
    cores = Cores(node(cpu=10), seconds=100)
    for number in range(10):
        cores.submit(f"j{number}", ONE)
    cores.until(30)
    cores.crash(ORCHESTRATOR)
    cores.clock_ahead = jump
    cores.start_orchestrator()
    cores.until(95)
    assert Counter(cores.ends().values()) == {"RUNNING": 10}
    cores.until(110)
    assert Counter(cores.ends().values()) == {"COMPLETED": 10}
    assert [attempt for job_id in cores.jobs for attempt, _ in cores.attempts(job_id)] == [1] * 10
    for each in cores.executions.values():
        assert each.ended_at is not None
        assert each.created_at <= each.ended_at, "no time lies before what is recorded"


# ---- With a whole cluster ----


@pytest.mark.parametrize("at", [0, 1, 7, 12, 13, 31, 47])
async def test_b5_after_a_cancel_nothing_is_offered_and_every_move_is_legal(at: float) -> None:
    """The original offered jobs that were cancelled, and showed jobs as cancelled that ran."""
    plan = [
        on(attempt=1).prepares(5).runs(7).fails("the disk is full"),
        on().prepares(5).runs(30).ignores_kill(3),
    ]
    async with testing.VirtualCluster([machine(*plan), machine(*plan, name="b")]) as cluster:
        job = await cluster.submit(docker(6, retry=bac.RetryPolicy(3, backoff=1)))
        await anyio.sleep(at)
        await job.cancel()
        told = False
        states: dict[str | None, ExecutionState | None] = {}
        events: list[JobEvent] = [event async for event in job.events()]
        for event in events:
            told = told or "is being cancelled" in event.message
            was, now = states.get(event.execution_id), event.execution_state
            states[event.execution_id] = now
            if event.execution_id is not None and now is not was:
                assert was is None or (now is not None and now in EXECUTION_MOVES[was]), event
                assert not (told and was is None), f"{event} comes after the cancel"
        assert job.state is bac.JobState.CANCELLED
        assert all(each.state.terminal and not each.fenced for each in job.executions)


async def test_b6_a_workload_that_swallows_its_cancellation_has_not_succeeded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The original took the end of an interrupted wait for a success, and published."""
    published: list[str] = []
    publish = LocalPublisher._publish  # pyright: ignore[reportPrivateUsage]

    async def publishing(self: LocalPublisher, directory: Path, name: str) -> Location:
        published.append(name)
        return await publish(self, directory, name)

    async def swallow(task: Task, io: TaskIO) -> int:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            io.stdout.write(b"all is well\n")
        return 0

    monkeypatch.setattr(LocalPublisher, "_publish", publishing)
    engine = testing.SimulatedEngine("docker", ["linux/amd64"], behaviour=swallow)
    async with testing.VirtualCluster([bac.Node("a", [engine])], data_dir=tmp_path) as cluster:
        job = await cluster.submit(docker())
        await anyio.sleep(10)
        assert await job.cancel() is bac.JobState.CANCELLED
        await anyio.sleep(10)
        with pytest.raises(bac.JobCancelledError):
            await job.result()
        assert (published, list(tmp_path.glob(f"{job.id}/*"))) == ([], [])


async def test_b8_what_was_finished_while_its_node_was_away_is_kept() -> None:
    """The original threw away what an older container had published, and ran the job again."""
    spec = docker(prefer="name = a", retry=bac.RetryPolicy(2, backoff=15))
    nodes = [machine(on().runs(20)), machine(on().runs(20), name="b")]
    transport = SimulatedTransport([link("a").cut(6, 32)])
    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        job = await cluster.submit(spec)
        await anyio.sleep(30)
        assert [state.lost_at is not None for state in await cluster.nodes()] == [True, False]
        result = await job.result()
        assert (result.node, result.attempt, len(job.executions)) == ("a", 1, 1)


async def test_b9_what_fails_is_tried_again_with_growing_waits_and_not_for_ever() -> None:
    """The original started everything that had failed again, at once, and for ever."""
    async with testing.VirtualCluster([machine(on().runs(1).fails("out of memory"))]) as cluster:
        job = await cluster.submit(docker(retry=bac.RetryPolicy(5, backoff=2)))
        with pytest.raises(bac.JobFailedError, match="out of memory"):
            await job.result()
        assert [each.attempt for each in job.executions] == [1, 2, 3, 4, 5]
        for index, (earlier, later) in enumerate(itertools.pairwise(job.executions)):
            assert earlier.ended_at is not None
            waited, least = later.created_at - earlier.ended_at, 2.0 * 2**index
            assert least <= waited <= least * (1 + JITTER)
        await anyio.sleep(HOUR)
        assert (job.state, len(job.executions)) == (bac.JobState.FAILED, 5)


@pytest.mark.parametrize("verb", ["wait", "result", "results", "logs", "events"])
async def test_b14_waiting_has_an_end_and_leaves_the_job_as_it_is(verb: str) -> None:
    async with testing.VirtualCluster([machine(on().runs(100))]) as cluster:
        job = await cluster.submit(docker())
        with pytest.raises(TimeoutError):
            with anyio.fail_after(10):
                if verb in ("logs", "events"):
                    async for _ in getattr(job, verb)():
                        pass
                await getattr(job, verb)()
        assert (anyio.current_time(), job.state) == (10, bac.JobState.RUNNING)
        assert (await job.result()).ended_at == 100


async def test_b15_a_node_that_is_gone_before_the_offer_arrives_is_planned_around() -> None:
    transport = SimulatedTransport([link("a").cut(7, 1e6)])
    nodes = [machine(on().runs(1)), machine(on().runs(1), name="b")]
    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        await anyio.sleep(8)
        result = await cluster.run(docker(prefer="name = a"))
        (job,) = await cluster.jobs()
        assert [each.node for each in job.executions] == ["a", "b"]
        assert (result.node, result.attempt) == ("b", 1), "an offer that nobody heard of is no attempt"
        assert result.started_at <= 8 + NODE_LOST_AFTER


async def test_b18_preparing_is_no_running() -> None:
    """The original counted the pull of an image as run time, and had no logs for it."""
    timeouts = bac.Timeouts(execution=10)
    plan = on().prepares(100).prints("begun\n").runs(5)
    async with testing.VirtualCluster([machine(plan)]) as cluster:
        job = await cluster.submit(docker(timeouts=timeouts))
        await anyio.sleep(50)
        assert job.executions[0].state is E.BID_ACCEPTED
        lines = [(entry.text, anyio.current_time()) async for entry in job.logs()]
        assert lines == [("begun", 100)], "a log that is empty yet is followed"
        result = await job.result()
        assert (result.started_at, result.ended_at) == (100, 105)


@pytest.mark.parametrize("limit", ["queue", "execution", "total"])
async def test_b19_a_limit_is_a_time_out_and_is_in_time(limit: str) -> None:
    """The original said, two minutes later, that the user had cancelled the job."""
    async with testing.VirtualCluster([machine(on().hangs(), cpu=1)]) as cluster:
        if limit == "queue":
            await cluster.submit(docker(cpu=1))
            await anyio.sleep(5)
        began = anyio.current_time()
        spec = docker(cpu=1, timeouts=bac.Timeouts(**{limit: 60}))
        job = await cluster.submit(spec)
        assert await job.wait() is bac.JobState.TIMED_OUT
        assert began + 60 <= anyio.current_time() <= began + 61
        with pytest.raises(bac.JobTimeoutError) as caught:
            await job.result()
        assert not isinstance(caught.value, bac.JobCancelledError)
        assert "cancel" not in str(caught.value)


@pytest.mark.parametrize("checkpoints", range(25))
async def test_b20_a_submit_is_cancelled_inside_a_call_of_the_store(checkpoints: int) -> None:
    """The original's store paniced; here it is the caller that is cancelled, never the call."""

    class Slow(bac.MemoryStore):
        async def _commit(self, batch: Batch) -> None:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await super()._commit(batch)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()

    store = Slow()
    async with testing.VirtualCluster([machine(on().runs(1))], store=store) as cluster:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cluster.submit, docker(), "j")
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        await (await cluster.submit(docker(), "later")).wait()
        kept = {job.id for job in (await store.load()).jobs}
        assert kept == {job.id for job in await cluster.jobs()}, "it is kept, or it is not there"
        job = await cluster.submit(docker(), "j")
        assert (await job.result()).exit_code == 0
        assert len(job.executions) == 1


async def test_b21_a_core_is_handed_one_event_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original had deadlocks and races where several threads shared one state."""
    pending: dict[int, int] = {}
    threads: set[int] = set()
    handled: Counter[str] = Counter()

    def watch(core: type[Any], runner: type[Any]) -> None:
        handle, perform = core.handle, runner._perform

        def handling(self: Any, event: Any, now: float) -> Any:
            threads.add(threading.get_ident())
            handled[core.__name__] += 1
            assert not pending.get(id(self)), (
                f"{event} comes before the effects of the last one are performed"
            )
            effects = handle(self, event, now)
            pending[id(self)] = len(effects)
            return effects

        async def performing(self: Any, effect: Any) -> None:
            await anyio.lowlevel.checkpoint()
            await perform(self, effect)
            await anyio.lowlevel.checkpoint()
            pending[id(self._core)] -= 1

        monkeypatch.setattr(core, "handle", handling)
        monkeypatch.setattr(runner, "_perform", performing)

    watch(OrchestratorCore, Orchestrator)
    watch(ComputeCore, ComputeNode)
    nodes = [machine(on().runs(7), name=name) for name in ("a", "b")]
    async with testing.VirtualCluster(nodes) as cluster, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(cluster.submit, docker(3), f"j{number}")
        await anyio.sleep(3)
        for number in range(0, 30, 3):
            tasks.start_soon((await cluster.job(f"j{number}")).cancel)
        for job in await cluster.jobs():
            await job.wait()
    assert threads == {threading.get_ident()}
    assert min(handled["OrchestratorCore"], handled["ComputeCore"]) > 100


@pytest.mark.parametrize("at", [0, 5, 15, 25, 45, 90])
async def test_b23_the_cluster_is_left_in_any_phase(
    at: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted, prepares, runs, between the attempts, runs again, over."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    plan = [
        on(attempt=1).prepares(10).runs(10).fails("the disk is full"),
        on().prepares(10).runs(30).ignores_kill(3),
    ]
    tasks = len(anyio.get_running_tasks())
    async with testing.VirtualCluster([machine(*plan)]) as cluster:
        job = await cluster.submit(docker(2, retry=bac.RetryPolicy(2, backoff=10)))
        await anyio.sleep(at)
    assert job.state is (bac.JobState.COMPLETED if at == 90 else bac.JobState.CANCELLED)
    assert anyio.current_time() <= at + 3
    assert all(each.state.terminal and not each.fenced for each in job.executions)
    assert list(tmp_path.iterdir()) == []
    assert len(anyio.get_running_tasks()) == tasks
    with pytest.raises(bac.errors.ClusterClosedError):
        async with cluster:
            pytest.fail("it is over")


async def test_b24_what_executions_take_is_given_back() -> None:
    """The original kept a goroutine for each; a thousand real jobs are in tests/cluster/test_churn.py."""
    taken: list[tuple[int, int]] = []
    threads = set(threading.enumerate())  # those of tests before this one may end at any time
    async with testing.VirtualCluster([machine(on(partition=1).runs(2).exits(1), on().runs(1))]) as cluster:
        for _ in range(3):
            job = await cluster.submit(docker(50))
            await job.results()
            await anyio.sleep(2 * HEARTBEAT_INTERVAL)
            files = len(list(Path("/proc/self/fd").iterdir()))
            taken.append((len(anyio.get_running_tasks()), files))
            assert threads.issuperset(threading.enumerate())
            assert [state.executions for state in await cluster.nodes()] == [0]
    assert len(set(taken)) == 1, taken
