"""The synchronous face: the same verbs, who owns what, and what an interrupt does."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import blocking
from bacalhau_sdk.abc import EngineInfo, Executor, RunResult, Task, TaskIO
from bacalhau_sdk.errors import (
    BlockingCallError,
    ClusterClosedError,
    ClusterFailedError,
    EngineError,
    InvalidSpecError,
    JobNotFoundError,
    MultipleResultsError,
    StoreError,
)
from tests.blocking.interrupts import ROOT, interrupt
from tests.cluster.test_scopes import BrokenStore

T = TypeVar("T")
HELLO = bac.JobSpec.function("hello", outputs={"out": "/out"})
STUCK = bac.JobSpec.function("stuck")
FAR = 60.0


async def until(event: threading.Event) -> None:
    """Wait for what another thread sets."""
    while not event.is_set():
        await anyio.sleep(0.001)


class Workloads:
    """What the functions of a cluster do, and what the test knows of them."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.dead = threading.Event()
        self.release = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.call: Callable[[], object] = int
        self.error: BaseException | None = None

    async def hello(self, task: bac.FunctionTask) -> None:
        task.stdout.write(b"one\ntwo\n")
        await anyio.Path(task.outputs["out"], "file").write_text("text")

    async def stuck(self, task: bac.FunctionTask) -> None:
        try:
            self.running.set()
            await until(self.go)
            self.call()
            await until(self.release)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.dead.set()

    def nodes(self) -> list[bac.Node]:
        functions = bac.FunctionExecutor({"hello": self.hello, "stuck": self.stuck})
        return [bac.Node("n", [functions], resources=bac.Resources(cpu=4, memory="1GiB", disk="1GiB"))]


@pytest.fixture
def workloads() -> Workloads:
    return Workloads()


@pytest.fixture
def cluster(workloads: Workloads) -> Iterator[blocking.Cluster]:
    made = blocking.Cluster(workloads.nodes())
    yield made
    made.close()


def ended(cluster: blocking.Cluster) -> Callable[[], None]:
    """Return a function that waits for the end of a cluster, and does not keep it."""
    queue = cluster._engine._thread.when_ended()
    return lambda: queue.get(timeout=FAR)


# ---- The verbs ----


def test_a_job_from_its_submission_to_its_results(cluster: blocking.Cluster, tmp_path: Path) -> None:
    job = cluster.submit(HELLO, "first")
    assert [entry.text for entry in job.logs()] == ["one", "two"]
    assert job.wait() is job.state is bac.JobState.COMPLETED
    result = job.result()
    result.outputs["out"].copy_to(tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "text"
    assert [each.stdout for each in job.results()] == [result.stdout] == ["one\ntwo\n"]
    assert [event.message for event in job.events()][-1] == "job is COMPLETED"
    assert (job.id, job.spec.engine, len(job.executions)) == ("first", HELLO.engine, 1)
    assert "job first is COMPLETED" in str(job.explain())
    assert cluster.job("fir").id == "first"
    assert [each.id for each in cluster.jobs()] == ["first"]
    assert [node.name for node in cluster.nodes()] == ["n"]
    assert cluster.explain(HELLO).candidates == ("n",)
    assert cluster.run(HELLO).stdout == "one\ntwo\n"
    assert next(cluster.events()).job_id == "first"
    for picture in (job, cluster.jobs(), job.timeline(), cluster.timeline()):
        assert "first" in picture._repr_html_()
    assert ">n<" in cluster.nodes()._repr_html_()
    assert (repr(cluster), repr(job)) == ("<blocking Cluster: n; 2 jobs>", "<Job first: COMPLETED>")


def test_a_node_is_drained_and_resumed(cluster: blocking.Cluster, workloads: Workloads) -> None:
    cluster.drain("n")
    job = cluster.submit(STUCK)
    assert job.state is bac.JobState.QUEUED
    cluster.resume("n")
    assert workloads.running.wait(FAR)
    assert job.cancel("enough") is bac.JobState.CANCELLED
    assert workloads.dead.is_set()
    with pytest.raises(bac.JobCancelledError, match="enough"):
        job.result()


def test_what_goes_wrong_is_raised_as_it_is(cluster: blocking.Cluster) -> None:
    with pytest.raises(JobNotFoundError):
        cluster.job("none")
    with pytest.raises(InvalidSpecError, match="job_id"):
        cluster.submit(HELLO, "NO")
    with pytest.raises(bac.JobFailedError, match="asked for the function 'none'"):
        cluster.run(bac.JobSpec.function("none"))
    with pytest.raises(InvalidSpecError):
        blocking.Cluster([bac.Node("n", []), bac.Node("n", [])])


@pytest.mark.parametrize("verb", ["wait", "result", "results"])
def test_a_wait_may_have_an_end_and_leaves_the_job_running(
    cluster: blocking.Cluster, workloads: Workloads, verb: str
) -> None:
    job = cluster.submit(STUCK)
    with pytest.raises(
        TimeoutError, match=rf"job {job.id} has not ended after 0\.01 s; it goes on"
    ) as caught:
        getattr(job, verb)(timeout=0.01)
    assert not isinstance(caught.value, bac.JobTimeoutError)
    assert workloads.running.wait(FAR)
    assert job.state is bac.JobState.RUNNING
    workloads.release.set()
    assert job.wait(timeout=FAR) is bac.JobState.COMPLETED


@pytest.mark.parametrize("timeout", ["60", True, math.nan])
def test_the_end_of_a_wait_is_a_number_of_seconds(cluster: blocking.Cluster, timeout: Any) -> None:
    job = cluster.submit(HELLO)
    with pytest.raises(InvalidSpecError, match=r"timeout: .* is not a number of seconds"):
        job.wait(timeout=timeout)
    for far in (math.inf, 10**300):
        assert job.wait(timeout=far) is bac.JobState.COMPLETED


def test_one_result_of_several_is_refused_before_the_job_has_ended(
    cluster: blocking.Cluster, workloads: Workloads
) -> None:
    job = cluster.submit(bac.JobSpec.function("stuck", count=2))
    with pytest.raises(MultipleResultsError):
        job.result(timeout=FAR)
    assert not job.state.terminal
    workloads.release.set()
    assert len(job.results(timeout=FAR)) == 2


def test_streams_may_be_left_and_read_again(cluster: blocking.Cluster) -> None:
    job = cluster.submit(HELLO)
    for entry in job.logs():
        assert entry.text == "one"
        break
    assert [entry.text for entry in job.logs()] == ["one", "two"]
    events = job.events()
    first = next(events)
    assert [first, *events] == list(job.events())
    with pytest.raises(StopIteration):
        next(events)


# ---- Opening and closing ----


def test_it_opens_at_the_first_call_and_closes_once(workloads: Workloads) -> None:
    cluster = blocking.Cluster(workloads.nodes())
    threads = set(threading.enumerate())
    job = cluster.submit(STUCK)
    assert workloads.running.wait(FAR)
    cluster.close()
    assert workloads.dead.is_set()
    assert job.state is job.wait() is bac.JobState.CANCELLED
    cluster.close()
    for call in (cluster.jobs, cluster.nodes, lambda: cluster.submit(HELLO), lambda: next(job.logs())):
        with pytest.raises(ClusterClosedError):
            call()
    left = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in left:
        thread.join(FAR)  # they have answered, and are about to end
    assert threads.issuperset(threading.enumerate())


def test_closing_one_that_was_never_used() -> None:
    cluster = blocking.Cluster([])
    cluster.close()
    with pytest.raises(ClusterClosedError):
        cluster.jobs()


def test_results_in_a_folder_of_the_user_outlive_it(workloads: Workloads, tmp_path: Path) -> None:
    with blocking.Cluster(workloads.nodes(), data_dir=tmp_path) as cluster:
        job = cluster.submit(HELLO)
        job.wait()
    assert job.result().stdout == "one\ntwo\n"


def test_the_end_of_the_block_cancels_what_has_not_ended(
    workloads: Workloads, caplog: pytest.LogCaptureFixture
) -> None:
    with blocking.Cluster(workloads.nodes()) as cluster:
        job = cluster.submit(STUCK)
        assert workloads.running.wait(FAR)
    assert workloads.dead.is_set()
    assert job.state is bac.JobState.CANCELLED
    assert f"cancels 1 job: {job.id}" in caplog.text


def test_what_the_block_raises_leaves_it_as_itself(workloads: Workloads) -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught, blocking.Cluster(workloads.nodes()) as cluster:
        cluster.submit(STUCK)
        raise error
    assert caught.value is error
    assert caught.value.__cause__ is None


class Broken(Executor):
    """An engine that cannot be used, or a node that dies of it."""

    engine = "function"

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def _probe(self) -> EngineInfo:
        if self.error is not None:
            raise self.error
        return EngineInfo(self.engine)

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        raise SystemError("the node dies")


def test_a_cluster_that_cannot_be_opened_says_so_at_each_call() -> None:
    nodes = [bac.Node("n", [Broken(EngineError("no such engine here"))])]
    cluster = blocking.Cluster(nodes)
    for _ in range(2):
        with pytest.raises(EngineError, match="no such engine here"):
            cluster.jobs()
    cluster.close()
    with (
        pytest.raises(EngineError, match="no such engine here"),
        blocking.Cluster([bac.Node("n", [Broken(EngineError("no such engine here"))])]),
    ):
        pytest.fail("it does not open")


def test_a_fault_of_the_machinery_is_raised_where_the_block_ends(workloads: Workloads) -> None:
    store = BrokenStore(OSError("disk full"), bac.JobState.COMPLETED)
    with (
        pytest.raises(ClusterFailedError, match="disk full") as caught,
        blocking.Cluster(workloads.nodes(), store=store) as cluster,
    ):
        over = ended(cluster)
        with pytest.raises(ClusterFailedError, match="disk full"):
            cluster.submit(HELLO, "doomed").wait()
        over()
    assert isinstance(caught.value.__cause__, StoreError)


@pytest.mark.parametrize("error", [SystemExit("no licence"), KeyboardInterrupt()])
def test_what_ends_its_event_loop_is_raised_where_the_block_ends(error: BaseException) -> None:
    with (
        pytest.raises(ClusterFailedError, match=type(error).__name__) as caught,
        blocking.Cluster([bac.Node("n", [Broken(error)])]) as cluster,
    ):
        cluster.jobs()
    assert caught.value.__cause__ is error


def test_one_that_is_forgotten_is_closed(workloads: Workloads) -> None:
    cluster = blocking.Cluster(workloads.nodes())
    job = cluster.submit(STUCK)
    assert workloads.running.wait(FAR)
    over = ended(cluster)
    del cluster
    gc.collect()
    assert not workloads.dead.is_set(), "one of its jobs is still there"
    del job
    gc.collect()
    over()
    assert workloads.dead.is_set()


# ---- Owning a job ----


def test_an_owned_job_is_waited_for(cluster: blocking.Cluster) -> None:
    with cluster.submit(HELLO) as job:
        pass
    assert job.state is bac.JobState.COMPLETED


def test_an_owned_job_is_cancelled_when_its_block_raises(
    cluster: blocking.Cluster, workloads: Workloads
) -> None:
    with pytest.raises(LookupError), cluster.submit(STUCK) as job:
        assert workloads.running.wait(FAR)
        raise LookupError
    assert workloads.dead.is_set()
    assert job.state is bac.JobState.CANCELLED


# ---- Threads and event loops ----


def test_several_threads_use_one_cluster_and_several_clusters(workloads: Workloads) -> None:
    results: list[str] = []

    def work(cluster: blocking.Cluster) -> None:
        results.extend(cluster.run(HELLO).stdout for _ in range(3))

    with blocking.Cluster(workloads.nodes()) as one, blocking.Cluster(Workloads().nodes()) as other:
        threads = [threading.Thread(target=work, args=(each,)) for each in (one, other) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FAR)
        assert (len(one.jobs()), len(other.jobs())) == (9, 9)
    assert results == ["one\ntwo\n"] * 18


def test_a_thread_that_waits_hears_of_the_end_of_the_cluster(
    cluster: blocking.Cluster, workloads: Workloads
) -> None:
    job = cluster.submit(STUCK)
    states: list[bac.JobState] = []
    thread = threading.Thread(target=lambda: states.append(job.wait()))
    thread.start()
    assert workloads.running.wait(FAR)
    cluster.close()
    thread.join(FAR)
    assert states == [bac.JobState.CANCELLED]


async def test_it_works_where_an_event_loop_runs(workloads: Workloads) -> None:
    with blocking.Cluster(workloads.nodes()) as cluster:
        assert cluster.run(HELLO).stdout == "one\ntwo\n"


def test_a_call_in_its_own_thread_is_refused_because_it_would_never_end(
    cluster: blocking.Cluster, workloads: Workloads
) -> None:
    for call in (cluster.jobs, cluster.close):
        workloads.call = call
        with pytest.raises(bac.NonZeroExitError, match="would wait for itself for ever"):
            cluster.run(STUCK)
        assert isinstance(workloads.error, BlockingCallError)


def test_a_fork_has_no_thread_that_would_answer(
    cluster: blocking.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.jobs()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        for call in (cluster.jobs, cluster.close):
            with pytest.raises(BlockingCallError, match="forked"):
                call()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_block_that_is_left_in_a_fork_closes_nothing(workloads: Workloads) -> None:
    child, left = -1, 1
    try:
        with blocking.Cluster(workloads.nodes()) as cluster, cluster.submit(HELLO):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: there are threads
                child = os.fork()
            if child == 0:
                raise LookupError("of the child")
            assert os.waitpid(child, 0)[1] == 0
            assert cluster.run(HELLO).stdout == "one\ntwo\n"
    except LookupError:
        left = 0
    finally:
        if child == 0:
            os._exit(left)


# ---- Interrupts ----


@pytest.fixture
def interrupt_main() -> Iterator[Callable[[], None]]:
    """Return a function that interrupts the main thread, as Ctrl-C does."""
    main = threading.main_thread().ident
    assert main == threading.get_ident()
    # A test run in the background of a shell ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupted(workloads: Workloads, interrupt_main: Callable[[], None]) -> Workloads:
    """Return workloads of which one interrupts the main thread when it is told to go."""
    workloads.go.clear()
    workloads.call = interrupt_main
    return workloads


@pytest.mark.parametrize("verb", ["wait", "result", "results", "logs", "events"])
def test_an_interrupt_of_a_wait_leaves_the_job_running(
    cluster: blocking.Cluster, interrupted: Workloads, verb: str
) -> None:
    job = cluster.submit(STUCK)
    with pytest.raises(KeyboardInterrupt):
        interrupted.go.set()
        for _ in getattr(job, verb)():
            pass
    assert not interrupted.dead.is_set()
    interrupted.release.set()
    assert job.wait() is bac.JobState.COMPLETED


def _run(cluster: blocking.Cluster, go: threading.Event) -> None:
    go.set()
    cluster.run(STUCK)


def _own(cluster: blocking.Cluster, go: threading.Event) -> None:
    thread = cluster._engine._thread
    hand_over = thread.hand_over

    def handing_over(*arguments: Any, **options: Any) -> None:
        hand_over(*arguments, **options)
        go.set()  # an interrupt at the very entry of `__exit__` is one that came too early

    with cluster.submit(STUCK):
        thread.hand_over = handing_over  # type: ignore[method-assign]


def _own_and_wait(cluster: blocking.Cluster, go: threading.Event) -> None:
    with cluster.submit(STUCK) as job:
        go.set()
        job.wait()


Owner = Callable[[blocking.Cluster, threading.Event], None]
OWNERS: list[Owner] = [_run, _own, _own_and_wait]


@pytest.mark.parametrize("own", OWNERS)
def test_an_interrupt_of_an_owner_cancels_first(
    cluster: blocking.Cluster, interrupted: Workloads, own: Owner
) -> None:
    with pytest.raises(KeyboardInterrupt):
        own(cluster, interrupted.go)
    assert interrupted.dead.is_set()
    (job,) = cluster.jobs()
    assert job.state is bac.JobState.CANCELLED


def test_what_is_dropped_before_it_has_begun_is_begun_and_cancelled() -> None:
    seen: list[str] = []

    async def leave() -> None:
        seen.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")  # as an owner then cancels its job

    request = blocking._Request(leave)
    request.dropped = True
    anyio.run(request.perform, None)
    assert seen == ["begun", "cancelled"]
    assert request.answer.get(timeout=FAR) == ([], None)


def test_an_interrupt_in_the_block_of_a_cluster_cancels_first(interrupted: Workloads) -> None:
    with pytest.raises(KeyboardInterrupt), blocking.Cluster(interrupted.nodes()) as cluster:
        job = cluster.submit(STUCK)
        interrupted.go.set()
        job.wait()
    assert interrupted.dead.is_set()


@pytest.mark.parametrize("own", OWNERS)
def test_a_second_interrupt_does_not_wait(interrupt_main: Callable[[], None], own: Owner) -> None:
    let_die, go = threading.Event(), threading.Event()

    async def stubborn(task: bac.FunctionTask) -> None:
        await until(go)
        try:
            interrupt_main()
            await anyio.sleep_forever()
        finally:
            interrupt_main()
            with anyio.CancelScope(shield=True):
                await until(let_die)

    with blocking.Cluster([bac.Node("n", [bac.FunctionExecutor({"stuck": stubborn})])]) as cluster:
        with pytest.raises(KeyboardInterrupt):
            own(cluster, go)
        (job,) = cluster.jobs()
        assert not job.state.terminal
        let_die.set()
        assert job.wait() is bac.JobState.CANCELLED, "the first one is still in force"


@pytest.mark.parametrize(
    ("kind", "double"), [("blocking", False), ("blocking", True), ("asyncio", False), ("trio", False)]
)
def test_a_program_that_is_interrupted_at_any_moment_ends(kind: str, double: bool) -> None:
    count = interrupt(kind, 5, double=double, seed=1)
    assert (count.hangs, count.processes, count.folders_after) == ([], 0, 0)


OPEN = """
from tests.blocking.interrupted import *
cluster = blocking.Cluster(nodes())
job = cluster.submit(LOOP)
next(job.events())
"""
OPENING = """
import threading
from tests.blocking.interrupted import *
from tests.blocking.test_blocking import Broken

class Slow(Broken):
    async def _probe(self):
        begun.set()
        await anyio.sleep_forever()

begun = threading.Event()
cluster = blocking.Cluster([bac.Node("n", [Slow(OSError())])])
threading.Thread(target=cluster.jobs, daemon=True).start()
begun.wait()
"""


@pytest.mark.parametrize("program", [OPEN, OPENING], ids=["open", "opening"])
def test_an_interpreter_that_exits_with_it_open_ends(tmp_path: Path, program: str) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, check=False, timeout=FAR, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not list(tmp_path.glob("bacalhau-*"))
