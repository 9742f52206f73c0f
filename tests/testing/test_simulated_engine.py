"""The plan of a simulated engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from bacalhau_sdk.abc import Check, DockerSpec, Refusal, Task, TaskIO
from bacalhau_sdk.errors import ExecutionError, InvalidSpecError, TransientError
from bacalhau_sdk.host.threads import use_no_threads
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.testing import Entry, SimulatedEngine, on
from tests.executors.harness import Job, make_job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = make_job(tmp_path, DockerSpec("busybox:1.37"), outputs=["/outputs"])
    made.task = evolve(made.task, outputs=FrozenMap({"counts": "/outputs"}))
    return made


def engine(*plan: Entry) -> SimulatedEngine:
    return SimulatedEngine("docker", plan=plan)


async def code(engine: SimulatedEngine, job: Job, **changes: Any) -> int:
    """Run a task with some changes, and return the exit code."""
    return (await engine.run(evolve(job.task, **changes), job.io)).exit_code


# ---- What an execution does ----


async def test_the_steps_come_one_after_the_other(job: Job) -> None:
    plan = on().prints("one ").runs(10).prints("two ").prints(b"\xff", to="stderr").runs(5).exits(7)
    with anyio.move_on_after(12):
        await code(engine(plan), job)
    assert (job.stdout.text, bytes(job.stderr.data)) == ("one two ", b"\xff")
    assert await code(engine(plan), job) == 7
    assert anyio.current_time() == 12 + 15


async def test_an_entry_without_an_end_exits_with_0(job: Job) -> None:
    assert await code(engine(on().runs(3)), job) == 0
    assert await code(engine(on().ignores_kill(3)), job) == 0


async def test_a_workload_begins_at_once_or_when_it_is_prepared(job: Job) -> None:
    times: list[float] = []
    job.io.started = lambda: times.append(anyio.current_time())
    await code(engine(on().runs(10)), job)
    await code(engine(on().prepares(60).runs(10)), job)
    with pytest.raises(TransientError):
        await code(engine(on().prepares(5).fails("no route to the registry")), job)
    assert times == [0, 10 + 60, 80 + 5]


async def test_a_killed_preparation_never_begins(job: Job) -> None:
    with anyio.move_on_after(30):
        await code(engine(on().prepares(60)), job)
    assert anyio.current_time() == 30
    assert job.started == []


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (on().runs(2).fails("the disk is full"), TransientError),
        (on().runs(2).breaks("no image"), ExecutionError),
    ],
)
async def test_faults(entry: Entry, kind: type[Exception], job: Job) -> None:
    with pytest.raises(kind, match=r"the disk is full|no image") as raised:
        await code(engine(entry), job)
    assert type(raised.value) is kind
    assert anyio.current_time() == 2


async def test_files_are_written_into_outputs(job: Job) -> None:
    use_no_threads()  # as in a VirtualCluster
    story = on().writes("counts", "a/b.txt", "7").writes("counts", "c", b"\0").writes("counts", "d")
    assert await code(engine(story), job) == 0
    written = {path.name: path.read_bytes() for path in job.output("/outputs").rglob("*") if path.is_file()}
    assert written == {"b.txt": b"7", "c": b"\0", "d": b""}


async def test_an_output_that_the_task_does_not_have_is_a_fault(job: Job) -> None:
    with pytest.raises(ExecutionError, match="'other', which the task does not have"):
        await code(engine(on().writes("other", "a")), job)


@pytest.mark.parametrize("delay", [0, 20])
async def test_a_kill_ends_what_hangs_at_once_or_when_it_has_been_ignored(delay: int, job: Job) -> None:
    story = on().hangs().ignores_kill(delay) if delay else on().hangs()
    with anyio.move_on_after(1000) as scope:
        await code(engine(story), job)
    assert scope.cancelled_caught
    assert anyio.current_time() == 1000 + delay


async def test_a_kill_is_ignored_only_by_those_that_are_told_to(job: Job) -> None:
    two = engine(on(attempt=1).hangs().ignores_kill(20), on(attempt=2).hangs())
    with anyio.move_on_after(10):
        await code(two, job, attempt=2)
    assert anyio.current_time() == 10


# ---- Which execution does it ----


async def test_the_first_entry_that_is_for_an_execution_decides(job: Job) -> None:
    told = engine(
        on(attempt=2, partition=1).exits(21),
        on(attempt=2).exits(20),
        on(partition=1).exits(1),
        on(job="j-9").exits(9),
    )
    assert await code(told, job, execution_id="a", attempt=1, partition_index=0) == 0
    assert await code(told, job, execution_id="b", attempt=2, partition_index=0) == 20
    assert await code(told, job, execution_id="c", attempt=2, partition_index=1) == 21
    assert await code(told, job, execution_id="d", attempt=1, partition_index=1) == 1
    assert await code(told, job, execution_id="e", attempt=3, partition_index=1) == 1
    assert await code(told, job, execution_id="f", job_id="j-9") == 9


async def test_offers_are_counted_however_often_they_are_made(job: Job) -> None:
    told = engine(on(offer=2).exits(2), on(offer=3).exits(3))
    tasks = [evolve(job.task, execution_id=name) for name in "abc"]
    for task in (tasks[0], tasks[1], tasks[0], tasks[1]):
        assert await told.check(task) is None
    assert [(await told.run(task, job.io)).exit_code for task in reversed(tasks)] == [3, 2, 0]


async def test_a_refusal_names_its_reason_and_whether_it_lasts(job: Job) -> None:
    told = engine(on(offer=1).refuses("no room"), on(offer=2).refuses("never", lasting=True), on().exits(4))
    refusals = [await told.check(evolve(job.task, execution_id=name)) for name in "abc"]
    assert refusals[0] == Refusal("", Check.ENGINE, "docker", "no room", "the plan says so", lasting=False)
    assert refusals[1] == Refusal("", Check.ENGINE, "docker", "never", "the plan says so", lasting=True)
    assert refusals[2] is None


async def test_what_the_plan_does_not_name_is_left_to_the_functions(job: Job) -> None:
    refusal = Refusal("", Check.ENGINE, "x", "y")

    async def behave(task: Task, io: TaskIO) -> int:
        return 5

    told = SimulatedEngine(
        "docker", plan=[on(attempt=2).exits(2)], behaviour=behave, check=lambda task: refusal
    )
    assert await told.check(job.task) is refusal
    assert await code(told, job, execution_id="a") == 5
    assert await code(told, job, execution_id="b", attempt=2) == 2


async def test_a_behaviour_may_be_given_arguments(job: Job) -> None:
    async def behave(code: int, task: Task, io: TaskIO) -> int:
        return code

    assert await code(SimulatedEngine("docker", behaviour=partial(behave, 6)), job) == 6


# ---- Plans that make no sense ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: on(attempt=0),
        lambda: on(partition=-1),
        lambda: on(offer=0),
        lambda: on(attempt=True),
        lambda: on(job=3),  # type: ignore[arg-type]
        lambda: on().runs(0),
        lambda: on().runs(float("inf")),
        lambda: on().runs(float("nan")),
        lambda: on().runs("1"),  # type: ignore[arg-type]
        lambda: on().prepares(-1),
        lambda: on().runs(1).prepares(1),
        lambda: on().ignores_kill(0),
        lambda: on().ignores_kill(1).ignores_kill(1),
        lambda: on().exits(2**32),
        lambda: on().exits(True),
        lambda: on().exits(0).exits(1),
        lambda: on().hangs().exits(1),
        lambda: on().fails("a").runs(1),
        lambda: on().breaks("a").prints("b"),
        lambda: on().fails(""),
        lambda: on().breaks("\0"),
        lambda: on().refuses("a").exits(0),
        lambda: on().runs(1).refuses("a"),
        lambda: on().ignores_kill(1).refuses("a"),
        lambda: on().refuses("a").ignores_kill(1),
        lambda: on().refuses(""),
        lambda: on().prints("a", to="log"),  # type: ignore[arg-type]
        lambda: on().prints(3),  # type: ignore[arg-type]
        lambda: on().writes("counts", "../a"),
        lambda: on().writes("counts", "/a"),
        lambda: on().writes("counts", ""),
        lambda: on().writes("counts", "a", 3),  # type: ignore[arg-type]
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(make: Callable[[], Entry]) -> None:
    with pytest.raises(InvalidSpecError):
        make()


def test_a_plan_names_every_problem() -> None:
    plan: Any = [on().exits(0), "attempt 1 fails", on(attempt=1), on(attempt=2).exits(1)]
    with pytest.raises(InvalidSpecError) as raised:
        SimulatedEngine("docker", plan=plan)
    assert [(problem.path, problem.message.split(",")[0][:20]) for problem in raised.value.problems] == [
        ("plan[1]", "'attempt 1 fails' is"),
        ("plan[2]", "it does not say what"),
        ("plan[2]", "it is never reached"),
        ("plan[3]", "it is never reached"),
    ]


def test_an_entry_for_less_may_come_before_one_for_more() -> None:
    SimulatedEngine(
        "docker", plan=[on(attempt=1, partition=2).exits(1), on(attempt=1).exits(2), on().exits(3)]
    )


def test_entries_are_values() -> None:
    begun = on(attempt=1).runs(1)
    assert begun.exits(2) == on(attempt=1).runs(1).exits(2) != begun
    assert len({begun, on(attempt=1).runs(1)}) == 1
