"""A cluster under virtual time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.to_thread
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.abc import ExecutionState, JobEvent
from bacalhau_sdk.errors import InvalidSpecError, VirtualTimeError
from bacalhau_sdk.testing import Entry, link, messages, on
from bacalhau_sdk.testing.virtual import BackendName

BACKENDS: tuple[BackendName, ...] = ("asyncio", "trio")
both = pytest.mark.parametrize("backend", BACKENDS)
SPEC = bac.JobSpec.docker("busybox:1.37", "true")


def node(*plan: Entry, name: str = "edge") -> bac.Node:
    engine = testing.SimulatedEngine("docker", ["linux/amd64"], plan=plan)
    return bac.Node(name, [engine], resources=bac.Resources(cpu=8, memory="8GiB", disk="1TiB"))


async def until_running(job: bac.Job) -> None:
    async for event in job.events():
        if event.execution_state is ExecutionState.RUNNING:
            return


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whatever wants a thread."""

    def refuse(*arguments: object, **options: object) -> NoReturn:
        pytest.fail(f"a thread was wanted for {arguments[0]!r}")

    monkeypatch.setattr(anyio.to_thread, "run_sync", refuse)


async def test_a_job_of_an_hour_ends_after_an_hour() -> None:
    async with testing.VirtualCluster([node(on().runs(3600))]) as cluster:
        result = await cluster.run(SPEC)
        assert (result.started_at, result.ended_at) == (0, 3600)
        assert anyio.current_time() == 3600
        second = await cluster.run(SPEC)
        assert (second.created_at, second.ended_at) == (3600, 7200)


async def test_the_default_node_takes_jobs_of_every_engine() -> None:
    async with testing.VirtualCluster() as cluster:
        for spec in (SPEC, bac.JobSpec.wasm(b"\0asm\1\0\0\0"), bac.JobSpec.function("count")):
            assert (await cluster.run(spec)).exit_code == 0
        [state] = await cluster.nodes()
    assert state.info.capacity == bac.Resources(cpu=16, memory="64GiB", disk="1TiB")


async def test_files_and_logs_are_handled_without_a_thread(tmp_path: Path, no_threads: None) -> None:
    before = set(threading.enumerate())
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text("words", encoding="utf-8")
    spec = bac.JobSpec.docker(
        "busybox:1.37",
        inputs={"/books": str(tmp_path / "books"), "/more": b"bytes"},
        outputs={"counts": "/outputs"},
        stdin=b"stdin",
    )
    story = on().prints("first\n").runs(60).prints("oh\n", to="stderr").writes("counts", "a/b.txt", "7")
    async with testing.VirtualCluster([node(story)], data_dir=tmp_path / "results") as cluster:
        job = await cluster.submit(spec, job_id="j-1")
        entries = [(entry.stream, entry.text, entry.time) async for entry in job.logs()]
        result = await job.result()
        assert before.issuperset(threading.enumerate())  # those of other tests may end at any time
    assert entries == [("stdout", "first", 0.0), ("stderr", "oh", 60.0)]
    assert (result.stdout, result.stderr) == ("first\n", "oh\n")
    assert (result.outputs["counts"].path / "a" / "b.txt").read_text(encoding="utf-8") == "7"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["j-1"]


async def test_a_missing_input_is_found_without_a_thread(no_threads: None) -> None:
    async with testing.VirtualCluster() as cluster:
        with pytest.raises(bac.errors.InputNotFoundError):
            await cluster.submit(bac.JobSpec.docker("busybox:1.37", inputs={"/in": "/no/such/file"}))


async def test_a_plan_tells_one_try_from_the_next() -> None:
    told = node(on(attempt=1).runs(5).fails("the disk is full"), on(attempt=2).runs(30).exits(4))
    async with testing.VirtualCluster([told]) as cluster:
        spec = bac.JobSpec.docker("busybox:1.37", retry=bac.RetryPolicy(max_attempts=2))
        job = await cluster.submit(spec)
        result = await job.result()
    first, second = job.executions
    assert first.outcome is not None
    assert first.outcome.failure is not None
    assert first.outcome.failure.message == "the disk is full"
    assert (first.ended_at, result.attempt, result.exit_code) == (5, 2, 4)
    assert second.started_at is not None
    assert result.ended_at == second.started_at + 30


async def test_a_refused_offer_goes_to_another_node() -> None:
    nodes = [node(on().refuses("only on Sundays", lasting=True), name=name) for name in ("a", "b")]
    async with testing.VirtualCluster([*nodes, node(name="c")]) as cluster:
        assert (await cluster.run(SPEC)).node == "c"


async def test_a_job_that_hangs_can_be_cancelled() -> None:
    async with testing.VirtualCluster([node(on().hangs())]) as cluster:
        job = await cluster.submit(SPEC)
        await anyio.sleep(1000)
        assert job.state is bac.JobState.RUNNING
        assert await job.cancel() is bac.JobState.CANCELLED
        assert anyio.current_time() == 1000


async def test_a_cancellation_waits_for_a_workload_that_ignores_it() -> None:
    async with testing.VirtualCluster([node(on().hangs().ignores_kill(7))]) as cluster:
        job = await cluster.submit(SPEC)
        await until_running(job)
        await anyio.sleep(100)
        await job.cancel()
        assert anyio.current_time() == 107
        assert job.executions[0].state is ExecutionState.CANCELLED


async def test_leaving_the_cluster_waits_for_a_workload_that_ignores_its_kill() -> None:
    async with testing.VirtualCluster([node(on().hangs().ignores_kill(7))]) as cluster:
        await until_running(await cluster.submit(SPEC))
        await anyio.sleep(5)
    assert anyio.current_time() == 12


async def test_what_the_block_raises_leaves_it_as_itself() -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as raised:
        async with testing.VirtualCluster():
            raise error
    assert raised.value is error


# ---- The limit ----


async def test_a_job_that_never_ends_is_given_up_after_a_day() -> None:
    with pytest.raises(VirtualTimeError, match="not done after 86400 seconds"):
        async with testing.VirtualCluster([node(on().hangs())]) as cluster:
            await cluster.run(SPEC)
    assert anyio.current_time() == 86400


async def test_the_limit_counts_from_the_entering() -> None:
    await anyio.sleep(50)
    with pytest.raises(VirtualTimeError, match="not done after 30 seconds"):
        async with testing.VirtualCluster(limit=30):
            await anyio.sleep(29)
            await anyio.sleep(2)
    assert anyio.current_time() == 80


@both
def test_the_limit_of_run_is_enough(backend: BackendName) -> None:
    async def longer_than_a_day() -> float:
        async with testing.VirtualCluster([node(on().runs(86460))]) as cluster:
            return (await cluster.run(SPEC)).ended_at

    assert testing.run(longer_than_a_day, backend=backend, limit=86500) == 86460


# ---- Where it can be entered, and of what it is made ----


@both
def test_it_cannot_be_entered_in_real_time(backend: BackendName) -> None:
    async def enter() -> None:
        async with testing.VirtualCluster():
            pytest.fail("it was entered")

    with pytest.raises(VirtualTimeError, match="is a real one"):
        anyio.run(enter, backend=backend)


def test_an_executor_that_needs_threads_is_refused() -> None:
    wasm = bac.WasmExecutor(isolation="thread")
    other = testing.SimulatedEngine("docker")
    with pytest.raises(InvalidSpecError) as raised:
        testing.VirtualCluster([node(), bac.Node("field", [other, wasm])])
    [problem] = raised.value.problems
    assert problem.path == "nodes[1].executors[1]"
    assert "works in threads" in problem.message


def test_the_composition_is_checked_as_that_of_a_cluster() -> None:
    with pytest.raises(InvalidSpecError, match="an earlier node"):
        testing.VirtualCluster([node(), node()])


# ---- The same course ----


async def _course(seed: int) -> tuple[list[JobEvent], list[str]]:
    """Return what happens when much goes wrong by chance."""
    transport = testing.SimulatedTransport(
        [messages().lost(0.2).doubled(0.1).delayed(0.5, 0.1, 6.0), link("rack").flaps(4, end=120)], seed=seed
    )
    plan = [on(partition=1).runs(40).exits(3), on(partition=2).breaks("no such image"), on().runs(12)]
    nodes = [node(*plan, name="edge"), node(*plan, name="rack")]
    events: list[JobEvent] = []
    async with testing.VirtualCluster(nodes, transport=transport, seed=seed) as cluster:
        jobs = [await cluster.submit(bac.JobSpec.docker("busybox:1.37", count=count)) for count in (4, 2, 2)]
        await anyio.sleep(5)
        await jobs[2].cancel()
        for job in jobs:
            await job.wait()
            events += [event async for event in job.events()]
    return events, transport.story


@both
def test_a_seed_gives_one_course(backend: BackendName) -> None:
    first = testing.run(_course, 3, backend=backend, seed=3)
    assert first[1], "nothing went wrong"
    assert testing.run(_course, 3, backend=backend, seed=3) == first


@both
def test_another_seed_gives_another_course(backend: BackendName) -> None:
    first, second = (testing.run(_course, seed, backend=backend, seed=seed) for seed in (3, 4))
    assert first[1] != second[1]
    assert {event.job_id for event in first[0]}.isdisjoint(event.job_id for event in second[0])


@pytest.mark.parametrize("seed", range(5))
@both
def test_jobs_end_whatever_is_lost(backend: BackendName, seed: int) -> None:
    events, _ = testing.run(_course, seed, backend=backend, seed=seed)
    ends = {event.job_id: event.job_state for event in events}
    assert len(ends) == 3
    assert all(state.terminal for state in ends.values())


@pytest.mark.parametrize("seed", range(5))
@both
def test_a_lost_message_is_only_a_delay(backend: BackendName, seed: int) -> None:
    async def complete() -> list[str]:
        transport = testing.SimulatedTransport(
            [messages().lost(0.1).doubled(0.2).delayed(0.5, 0, 3)], seed=seed
        )
        async with testing.VirtualCluster([node(on().runs(40).exits(3))], transport=transport) as cluster:
            job = await cluster.submit(bac.JobSpec.docker("busybox:1.37", count=3))
            assert [result.exit_code for result in await job.results()] == [3, 3, 3]
        return transport.story

    assert testing.run(complete, backend=backend, seed=seed)


async def test_a_cluster_with_a_real_clock_is_refused_under_virtual_time() -> None:
    async with testing.VirtualCluster():
        pass  # from here on no thread may work in this loop
    with pytest.raises(VirtualTimeError, match="clock is a real one"):
        async with bac.Cluster([]):
            pass


async def test_a_node_that_is_cut_off_from_the_start_is_named() -> None:
    nodes = [bac.Node(name, [testing.SimulatedEngine("docker")]) for name in ("a", "b")]
    with pytest.raises(VirtualTimeError, match="and b was not within an hour"):
        async with testing.VirtualCluster(nodes, transport=testing.SimulatedTransport([link("b").cut(0)])):
            pytest.fail("it does not open")


@pytest.mark.parametrize(
    "fault", [link("typo").cut(1), messages(sender="typo").lost(1), messages(recipient="typo").lost(1)]
)
def test_a_party_that_is_not_there_is_refused(fault: testing.LinkFault | testing.MessageFault) -> None:
    transport = testing.SimulatedTransport([fault])
    with pytest.raises(InvalidSpecError, match="'typo' is no party: they are orchestrator, virtual"):
        testing.VirtualCluster(transport=transport)


async def test_the_log_of_one_try_comes_before_that_of_the_next() -> None:
    plan = [on(attempt=1).prints("one\n").fails("as if"), on(attempt=2).prints("two\n")]
    engine = testing.SimulatedEngine("docker", plan=plan)
    async with testing.VirtualCluster([bac.Node("edge", [engine])]) as cluster:
        for _ in range(8):
            job = await cluster.submit(bac.JobSpec.docker("busybox", retry=bac.RetryPolicy(2)))
            await job.wait()
            assert [entry.text async for entry in job.logs()] == ["one", "two"]


async def test_a_check_that_returns_nonsense_is_a_refusal() -> None:
    engine = testing.SimulatedEngine("docker", check=lambda _: "no")  # type: ignore[arg-type,return-value]
    async with testing.VirtualCluster([bac.Node("edge", [engine])]) as cluster:
        with pytest.raises(bac.NoMatchingNodeError, match="'no' is neither a Refusal nor None"):
            await cluster.run(bac.JobSpec.docker("busybox"))
