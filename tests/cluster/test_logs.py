"""The log of a job: from the start, live, to its end, for any number of readers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.abc import Task, TaskIO
from bacalhau_sdk.testing import SimulatedEngine


class Writer:
    """A workload that writes what the test tells it to, line by line."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, task: Task, io: TaskIO) -> int:
        io.stdout.write(b"one\ntwo")
        io.stderr.write(b"oops\n")
        self.started.set()
        await self.go_on.wait()
        io.stdout.write(b" and a half\n")
        io.stdout.write(f"partition {task.partition_index}\n".encode())
        return 0


EXPECTED = [("stdout", "one"), ("stderr", "oops"), ("stdout", "two and a half"), ("stdout", "partition 0")]


def node(behaviour: object = None) -> bac.Node:
    return bac.Node("only", [SimulatedEngine("function", behaviour=behaviour)])  # type: ignore[arg-type]


async def read(entries: AsyncIterator[bac.LogEntry]) -> list[tuple[str, str]]:
    return [(entry.stream, entry.text) async for entry in entries]


async def test_before_during_and_after_every_reader_gets_the_same() -> None:
    writer, found = Writer(), dict[str, list[tuple[str, str]]]()
    async with bac.Cluster([node(writer)]) as c, anyio.create_task_group() as tasks:
        job = await c.submit(bac.JobSpec.function("any"))

        async def reader(name: str) -> None:
            found[name] = await read(job.logs())

        tasks.start_soon(reader, "before")
        await writer.started.wait()
        tasks.start_soon(reader, "during")
        first = await anext(job.logs())
        assert (first.text, first.partition_index, first.attempt) == ("one", 0, 1)
        writer.go_on.set()
        await job.wait()
        await reader("after")
        await reader("again")
    assert set(found) == {"before", "during", "after", "again"}
    assert all(entries == EXPECTED for entries in found.values())


async def test_lines_are_shown_while_the_workload_runs() -> None:
    writer = Writer()
    async with bac.Cluster([node(writer)]) as c:
        job = await c.submit(bac.JobSpec.function("any"))
        logs = job.logs()
        assert [(await anext(logs)).text for _ in range(2)] == ["one", "oops"]
        assert job.state is bac.JobState.RUNNING
        writer.go_on.set()
        assert await read(logs) == EXPECTED[2:]


async def test_a_slow_reader_does_not_hold_the_job() -> None:
    async def chatter(task: Task, io: TaskIO) -> int:
        for number in range(5_000):
            io.stdout.write(f"{number}\n".encode())
            await io.stdout.drain()
        return 0

    async with bac.Cluster([node(chatter)]) as c:
        job = await c.submit(bac.JobSpec.function("any"))
        slow = job.logs()
        assert (await anext(slow)).text == "0"
        assert (await job.result()).stdout.count("\n") == 5_000
        assert [text for _, text in await read(slow)] == [str(number) for number in range(1, 5_000)]


async def test_leaving_the_iteration_leaves_the_job_running() -> None:
    writer = Writer()
    async with bac.Cluster([node(writer)]) as c:
        job = await c.submit(bac.JobSpec.function("any"))
        async for _ in job.logs():
            break
        with anyio.move_on_after(0.01):
            async for _ in job.logs():
                pass
        assert job.state is bac.JobState.RUNNING
        writer.go_on.set()
        assert (await job.result()).stdout == "one\ntwo and a half\npartition 0\n"


async def test_all_partitions_are_in_one_log() -> None:
    writer = Writer()
    writer.go_on.set()
    async with bac.Cluster([node(writer)]) as c:
        job = await c.submit(bac.JobSpec.function("any", count=3))
        by_partition: dict[int, list[str]] = {}
        async for entry in job.logs():
            by_partition.setdefault(entry.partition_index, []).append(entry.text)
    assert {index: lines[-1] for index, lines in by_partition.items()} == {
        index: f"partition {index}" for index in range(3)
    }


async def test_a_job_without_output_or_without_a_start_has_an_empty_log_that_ends() -> None:
    async with bac.Cluster([node()]) as c:
        silent = await c.submit(bac.JobSpec.function("any"))
        assert await read(silent.logs()) == []
        nowhere = await c.submit(bac.JobSpec.wasm(b"\0asm"))
        assert await read(nowhere.logs()) == []
        assert nowhere.state is bac.JobState.FAILED


async def test_the_log_of_a_failed_and_of_a_cancelled_job_is_kept() -> None:
    writer = Writer()

    async def fail(task: Task, io: TaskIO) -> int:
        io.stderr.write(b"it burns\n")
        raise bac.errors.ExecutionError("fire")

    nodes = [node(writer), bac.Node("other", [SimulatedEngine("wasm", behaviour=fail)])]
    async with bac.Cluster(nodes) as c:
        cancelled = await c.submit(bac.JobSpec.function("any"))
        await writer.started.wait()
        await cancelled.cancel()
        assert await read(cancelled.logs()) == [("stdout", "one"), ("stderr", "oops"), ("stdout", "two")]
        failed = await c.submit(bac.JobSpec.wasm(b"\0asm"))
        assert await read(failed.logs()) == [("stderr", "it burns")]
        with pytest.raises(bac.JobFailedError, match="fire") as caught:
            await failed.result()
        assert str(caught.value).endswith("stderr: it burns")


async def test_the_cluster_s_end_ends_every_reader() -> None:
    writer, ended = Writer(), list[list[tuple[str, str]] | bac.BacalhauError]()

    async def follow(entries: AsyncIterator[bac.LogEntry]) -> None:
        # Which of the two comes first, the end of the log or that of the cluster, is nobody's promise; that it is told, is.
        try:
            ended.append(await read(entries))
        except bac.errors.ClusterClosedError as error:
            ended.append(error)

    async with anyio.create_task_group() as tasks, bac.Cluster([node(writer)]) as c:
        job = await c.submit(bac.JobSpec.function("any"))
        tasks.start_soon(follow, job.logs())
        await writer.started.wait()
    (end,) = ended
    assert isinstance(end, bac.errors.ClusterClosedError) or end == [*EXPECTED[:2], ("stdout", "two")]
    with pytest.raises(bac.errors.ClusterClosedError):
        job.logs()


async def test_events_tell_the_story_and_end_with_the_job() -> None:
    async with bac.Cluster([node()]) as c:
        job = await c.submit(bac.JobSpec.function("any"))
        live = [
            (e.job_state.value, e.execution_state and e.execution_state.value) async for e in job.events()
        ]
        assert live == [
            (e.job_state.value, e.execution_state and e.execution_state.value) async for e in job.events()
        ]
        assert live == [
            ("PENDING", None),
            ("PENDING", "ASK_FOR_BID"),
            ("PENDING", "BID_ACCEPTED"),
            ("RUNNING", None),
            ("RUNNING", "RUNNING"),
            ("RUNNING", "PUBLISHING"),
            ("RUNNING", "COMPLETED"),
            ("COMPLETED", None),
        ]
        of_cluster = c.events()
        assert [(await anext(of_cluster)).job_id for _ in live] == [job.id] * len(live)
