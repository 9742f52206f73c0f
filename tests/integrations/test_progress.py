"""The live display of jobs: in a terminal, in a file, in a notebook."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from types import ModuleType

import anyio
import pytest
from anyio.abc import TaskStatus
from rich.console import Console

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.cluster.timeline import Timeline
from bacalhau_sdk.errors import ClusterClosedError, InvalidSpecError, MissingExtraError
from bacalhau_sdk.integrations.progress import progress
from bacalhau_sdk.testing import Entry, on
from tests.model.markup import harmless

SPEC = bac.JobSpec.docker("busybox:1.37", "true")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Give each test a clock of its own."""
    return testing.virtual_backend(request.param)


class Screen(io.StringIO):
    """What a console writes, and every state that it has shown."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.console = Console(
            file=self,
            force_terminal=terminal,
            force_interactive=terminal,
            width=120,
            height=40,
            legacy_windows=False,
        )

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.getvalue())

    @property
    def drawings(self) -> list[str]:
        """Every drawing, the last one as it stays."""
        return [f"job {drawing}" for drawing in re.split(r"^job ", self.text, flags=re.MULTILINE)[1:]]


def cluster(*plan: Entry) -> testing.VirtualCluster:
    return testing.VirtualCluster([bac.Node("edge", [testing.SimulatedEngine("docker", plan=plan)])])


async def test_a_terminal_shows_jobs_as_they_go() -> None:
    screen = Screen(terminal=True)
    patient = bac.RetryPolicy(max_attempts=2)
    story = (
        on(job="a").prepares(5).runs(20),
        on(job="b", attempt=1).runs(3).fails("oh"),
        on(job="b").runs(50),
    )
    async with cluster(*story) as c, progress(c, console=screen.console):
        first = await c.submit(SPEC, "a")
        await c.submit(bac.JobSpec.docker("busybox:1.37", count=2, retry=patient), "b")
        await first.wait()
        await anyio.sleep(2)
        before_the_end = len(screen.drawings)
        await (await c.job("b")).wait()
    drawings = screen.drawings
    assert before_the_end > 5
    assert any("1 preparing" in drawing for drawing in drawings)
    assert any("2 running" in drawing for drawing in drawings)
    assert any("attempt 2" in drawing for drawing in drawings)
    assert "2 jobs: 2 COMPLETED" in screen.text
    assert re.search(r"^a +COMPLETED +1/1 +edge +25 s\s*$", drawings[-1], re.MULTILINE)
    assert re.search(
        r"^b +COMPLETED +2/2 +attempt 2 +edge +54 s", drawings[-1].replace("54.1", "54"), re.MULTILINE
    )
    assert (
        screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    )  # the cursor is back


async def test_what_happens_is_drawn_at_once_and_the_time_every_second() -> None:
    screen = Screen(terminal=True)
    async with cluster(on().runs(100)) as c, progress(c, console=screen.console):
        await anyio.sleep(0.4)
        job = await c.submit(SPEC, "j-1")
        await anyio.sleep(0.3)
        assert "1 running" in screen.drawings[-1]
        await anyio.sleep(50)
        assert re.search(r"RUNNING +0/1 +1 running +edge +(49|50)(\.\d)? s", screen.drawings[-1])
        await job.cancel()


async def test_a_file_gets_the_last_state_once() -> None:
    screen = Screen(terminal=False)
    async with cluster(on().runs(100)) as c, progress(c, console=screen.console):
        await c.run(SPEC)
        assert screen.getvalue() == ""
    assert "\x1b" not in screen.getvalue()
    assert screen.text.count("1 job: 1 COMPLETED") == 1
    assert len(screen.drawings) == 1


async def test_a_narrow_file_of_ascii_gets_whole_lines_and_a_last_line_end() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    async with cluster() as c, progress(c, console=Console(file=file, width=40)):
        job, long = await c.submit(SPEC), await c.submit(SPEC, "j" * 63)
        await job.wait()
        await long.wait()
    file.flush()
    text = raw.getvalue().decode()
    summary, head, *lines = [line.split() for line in text.splitlines()]
    assert " ".join(summary) == "2 jobs: 2 COMPLETED"
    assert head == ["job", "state", "done", "executions", "nodes", "time"]
    assert [line[:4] for line in lines] == [[each, "COMPLETED", "1/1", "edge"] for each in (job.id, long.id)]
    assert text.endswith("\n")


async def test_only_what_is_live_or_new_is_shown_of_a_cluster() -> None:
    screen = Screen(terminal=False)
    async with cluster(on(job="live").hangs()) as c:
        await (await c.submit(SPEC, "old")).wait()
        live = await c.submit(SPEC, "live")
        async with progress(c, console=screen.console):
            await (await c.submit(SPEC, "new")).wait()
        await live.cancel()
    assert [line.split()[0] for line in screen.drawings[0].splitlines()[1:] if line.strip()] == [
        "live",
        "new",
    ]


async def test_given_jobs_are_shown_whatever_their_state() -> None:
    screen = Screen(terminal=True)
    async with cluster(on(job="b").runs(10)) as c:
        first, second = await c.submit(SPEC, "a"), await c.submit(SPEC, "b")
        await c.submit(SPEC, "other")
        await first.wait()
        async with progress((first, second), console=screen.console):
            await second.wait()
        one = Screen(terminal=False)
        async with progress(second, console=one.console):
            pass
    assert "2 jobs: 2 COMPLETED" in screen.text
    assert "other" not in screen.text
    assert "1 job: 1 COMPLETED" in one.text


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_job_that_is_given_twice_counts_once(terminal: bool) -> None:
    screen = Screen(terminal=terminal)
    async with cluster() as c, cluster() as other:
        job, namesake = await c.submit(SPEC, "a"), await other.submit(SPEC, "a")
        await job.wait()
        await namesake.wait()
        async with progress([job, await c.job("a"), job, namesake], console=screen.console):
            pass
    assert "2 jobs: 2 COMPLETED" in screen.text
    assert screen.drawings[-1].count("1/1") == 2


async def test_many_jobs_have_a_line_each_up_to_a_limit() -> None:
    screen = Screen(terminal=False)
    async with cluster(on(job="live").hangs()) as c:
        async with progress(c, console=screen.console):
            live = await c.submit(SPEC, "live")
            for number in range(40):
                await (await c.submit(SPEC, f"j-{number}")).wait()
        await live.cancel()
    *lines, last = [line.split() for line in screen.drawings[0].splitlines()[1:] if line.strip()]
    assert "41 jobs: 1 RUNNING, 40 COMPLETED" in screen.text
    assert [line[0] for line in lines] == ["live", *(f"j-{number}" for number in range(21, 40))]
    assert " ".join(last) == "and 21 more jobs"


async def test_leaving_waits_for_nothing_and_leaves_the_jobs_alone() -> None:
    async with cluster(on().runs(100)) as c:
        async with progress(c, console=Screen(terminal=True).console):
            job = await c.submit(SPEC)
        assert anyio.current_time() < 1
        assert await job.wait() is bac.JobState.COMPLETED


@pytest.mark.parametrize("terminal", [True, False])
async def test_cancelling_leaves_the_jobs_alone_and_the_last_state_there(terminal: bool) -> None:
    screen = Screen(terminal=terminal)
    async with cluster(on().runs(100)) as c:
        job = await c.submit(SPEC)
        with anyio.move_on_after(30) as scope:
            async with progress(c, console=screen.console):
                await job.wait()
        assert scope.cancelled_caught
        assert anyio.current_time() == 30
        assert re.search(r"RUNNING +0/1 +1 running +edge +30 s", screen.drawings[-1])
        assert await job.wait() is bac.JobState.COMPLETED


@pytest.mark.parametrize("terminal", [True, False])
async def test_what_the_block_raises_leaves_it_as_itself(terminal: bool) -> None:
    error = LookupError("mine")
    async with cluster() as c:
        with pytest.raises(LookupError) as raised:
            async with progress(c, console=Screen(terminal=terminal).console):
                await anyio.sleep(3)
                raise error
    assert raised.value is error


async def test_a_cluster_may_close_inside_the_block() -> None:
    screen, other = Screen(terminal=True), Screen(terminal=True)
    c = cluster(on().runs(100))
    close, closed = anyio.Event(), anyio.Event()

    async def owner(*, task_status: TaskStatus[bac.Job]) -> None:
        async with c:
            task_status.started(await c.submit(SPEC))
            await close.wait()
        closed.set()

    async with anyio.create_task_group() as tasks:
        job = await tasks.start(owner)
        async with progress(c, console=screen.console), progress(job, console=other.console):
            await anyio.sleep(5)
            close.set()
            await closed.wait()
            await anyio.sleep(5)
    for each in (screen, other):
        assert "1 job: 1 RUNNING" in each.text
        assert re.search(r"CANCELLED +0/1 +edge +5(\.\d+)? s", each.drawings[-1])
    with pytest.raises(ClusterClosedError):
        async with progress(c, console=screen.console):
            pass


async def test_no_thread_draws() -> None:
    before = set(threading.enumerate())
    during: set[threading.Thread] = set()
    async with cluster(on().runs(5)) as c, progress(c, console=Screen(terminal=True).console):
        await c.run(SPEC)
        during |= set(threading.enumerate())
    assert during <= before


class Broken(Screen):
    """A display that has a fault from some moment on."""

    fault: BaseException | None = None

    def write(self, text: str) -> int:
        if self.fault is not None:
            raise self.fault
        return super().write(text)


@pytest.fixture(params=[RuntimeError("no display"), OSError("no space"), ValueError("closed")], ids=repr)
def fault(request: pytest.FixtureRequest) -> Exception:
    return request.param  # type: ignore[no-any-return]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


STOPPED = "progress is not shown any more: the display has a fault"


@pytest.mark.parametrize("begins", [0, 1, 5], ids=["before the block", "in it", "when it ends"])
@pytest.mark.parametrize("terminal", [True, False])
async def test_a_fault_of_the_display_concerns_neither_the_block_nor_the_jobs(
    terminal: bool, begins: int, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    screen = Broken(terminal=terminal)
    async with cluster(on().runs(5)) as c:
        job = await c.submit(SPEC)
        screen.fault = fault if begins == 0 else None
        async with progress(c, console=screen.console):
            await anyio.sleep(begins)
            screen.fault = fault
            assert await job.wait() is bac.JobState.COMPLETED
    assert warnings_of(caplog) == [STOPPED]
    caplog.clear()
    screen.fault = None
    async with progress(job, console=screen.console):  # the console can be used again
        pass
    assert "1 job: 1 COMPLETED" in screen.text
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("terminal", [True, False])
async def test_what_the_block_raises_leaves_it_as_itself_although_the_display_has_a_fault(
    terminal: bool, fault: Exception
) -> None:
    screen, error = Broken(terminal=terminal), LookupError("mine")
    async with cluster() as c:
        with pytest.raises(LookupError) as raised:
            async with progress(c, console=screen.console):
                screen.fault = fault
                raise error
    assert raised.value is error
    assert error.__cause__ is None


@pytest.mark.parametrize("terminal", [True, False])
def test_a_program_goes_on_when_nobody_reads_what_it_shows(terminal: bool) -> None:
    """rich would end it: with `SystemExit`, from inside of what draws."""
    program = f"""
import sys
import anyio
from rich.console import Console
import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.integrations.progress import progress

async def main():
    console = Console(force_terminal={terminal}, width=100)
    async with testing.VirtualCluster([bac.Node("edge", [testing.SimulatedEngine("docker")])]) as c:
        async with progress(c, console=console):
            job = await c.submit(bac.JobSpec.docker("a"))
            await anyio.sleep(3)
        sys.stderr.write(job.state.value)

testing.run(main)
"""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "COMPLETED")


async def test_a_drawing_makes_no_timeline_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is half of the work for a job of many partitions."""
    made: list[bac.Job] = []
    original = bac.Job.timeline

    async def timeline(job: bac.Job) -> Timeline:
        made.append(job)
        return await original(job)

    monkeypatch.setattr(bac.Job, "timeline", timeline)
    screen = Screen(terminal=True)
    async with cluster(on().runs(10)) as c, progress(c, console=screen.console):
        await c.run(SPEC)
    assert "10 s" in screen.drawings[-1]
    assert made == []


async def test_what_is_shown_is_no_markup_and_no_escape() -> None:
    screen = Screen(terminal=True)
    async with cluster(on().hangs()) as c:
        job = await c.submit(SPEC, "j-1")
        await anyio.sleep(1)
        record = job._view.record
        job._view.record = type(record)(
            "[red]\x1b]0;owned\x07[/nothing]",
            record.spec,
            record.state,
            record.created_at,
            record.modified_at,
        )
        async with progress(job, console=screen.console):
            pass
        job._view.record = record
        await job.cancel()
    assert r"[red]\x1b]0;owned\x07[/nothing]" in screen.text
    assert "\x1b]" not in screen.getvalue()
    assert "\x07" not in screen.getvalue()


# ---- In a notebook ----


class Cell:
    """Stands in for IPython: what the output of a cell shows, one state after the other."""

    def __init__(self) -> None:
        self.states: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        assert self.states == []
        self.states.append(bundle)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        assert self.states
        self.states.append(bundle)


async def test_a_notebook_shows_a_table_that_is_drawn_anew_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = Cell()
    module = ModuleType("IPython.display")
    module.display = cell.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    console = Console(file=io.StringIO(), force_jupyter=True)
    async with cluster(on().runs(10)) as c, progress(c, console=console):
        await c.submit(SPEC, "j-1")
        await anyio.sleep(2)
        await (await c.job("j-1")).wait()
    texts = [harmless(state["text/html"]) for state in cell.states]
    assert any("j-1RUNNING0/11 runningedge" in text for text in texts)
    assert texts[-1].startswith("1 job: 1 COMPLETED")
    assert "j-1COMPLETED1/1edge10 s" in texts[-1]
    assert cell.states[-1]["text/plain"] == "1 job: 1 COMPLETED"
    assert "more job" not in texts[-1]


async def test_a_notebook_hears_how_many_more_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    module = ModuleType("IPython.display")
    module.display = cell.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    async with cluster() as c:
        jobs = [await c.submit(SPEC) for _ in range(21)]
        async with progress(jobs, console=Console(file=io.StringIO(), force_jupyter=True)):
            pass
    assert "and 1 more job" in harmless(cell.states[-1]["text/html"])


# ---- What it is given ----


async def test_without_rich_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    async with cluster() as c:
        with pytest.raises(MissingExtraError, match="progress needs rich") as raised:
            async with progress(c):
                pass
    assert raised.value.hint == "pip install 'bacalhau-sdk[progress]'"
    assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize("what", [None, 5, "job", [None], [SPEC]])
async def test_what_is_neither_a_cluster_nor_a_job_is_refused(what: object) -> None:
    with pytest.raises(InvalidSpecError, match="is neither a Cluster nor a Job"):
        async with progress(what, console=Screen(terminal=False).console):  # type: ignore[arg-type]
            pass


async def test_no_job_at_all_is_said_so() -> None:
    screen = Screen(terminal=False)
    async with progress([], console=screen.console):
        await anyio.sleep(1)
    assert "no job yet" in screen.text
