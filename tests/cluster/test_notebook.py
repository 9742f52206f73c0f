"""What a notebook shows of jobs and results, and the timeline of a cluster and of a job."""

from __future__ import annotations

import os
import pickle
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.cluster import result as result_module
from bacalhau_sdk.cluster.job import Jobs
from bacalhau_sdk.cluster.result import Output, ResultFolder
from bacalhau_sdk.cluster.timeline import EXECUTIONS_MAX, LANES_MAX, Timeline
from bacalhau_sdk.errors import ClusterClosedError, DestinationError
from bacalhau_sdk.model.display import visible
from bacalhau_sdk.model.execution import Execution, ExecutionState, Failure, FailureKind, Outcome
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.node import Check, Refusal
from bacalhau_sdk.model.record import Batch, JobRecord
from bacalhau_sdk.model.timeline import spans_of
from bacalhau_sdk.testing import Entry, link, on
from tests.model.markup import HOSTILE, harmless

SVG = "{http://www.w3.org/2000/svg}"
SPEC = bac.JobSpec.docker("busybox:1.37", "true")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Give each test a clock of its own."""
    return testing.virtual_backend(request.param)


def node(name: str, *plan: Entry) -> bac.Node:
    return bac.Node(name, [testing.SimulatedEngine("docker", ["linux/amd64"], plan=plan)])


def execution(
    number: int = 0, state: ExecutionState = ExecutionState.COMPLETED, **changes: object
) -> Execution:
    fields: dict[str, object] = {
        "id": f"e-{number}",
        "job_id": f"j-{number}",
        "partition_index": 0,
        "attempt": 1,
        "node": "rack",
        "node_revision": 1,
        "state": state,
        "created_at": float(number),
        "modified_at": 0.0,
        "accepted_at": number + 1.0,
        "started_at": number + 2.0,
        "ended_at": number + 5.0 if state.terminal else None,
    }
    return Execution(**(fields | changes))  # type: ignore[arg-type]


def bars(svg: str) -> dict[str, ET.Element]:
    """Return the drawing of each execution by its text."""
    return {group[0].text or "": group for group in ET.fromstring(svg).iter(f"{SVG}g")}


def classes(group: ET.Element) -> list[str]:
    return [part.attrib["class"] for part in group[1:]]


# ---- Jobs ----


async def test_a_job_shows_its_executions() -> None:
    told = node("edge", on(attempt=1).runs(5).fails("the disk is full"), on(attempt=2).runs(90).exits(4))
    async with testing.VirtualCluster([told]) as cluster:
        spec = bac.JobSpec.docker("busybox:1.37", "sh", "-c", "x < y", retry=bac.RetryPolicy(max_attempts=2))
        job = await cluster.submit(spec, "j-1")
        before = harmless(job._repr_html_())
        await job.wait()
        after = harmless(job._repr_html_())
    assert "job j-1 PENDING" in before
    assert "docker: busybox:1.37 sh -c x < y" in before
    assert "job j-1 COMPLETED" in after
    assert "01edgeFAILED0 s5 sthe disk is full" in after
    assert re.search(r"02edgeCOMPLETED\d\.\d+ s|02edgeCOMPLETED6 s", after)
    assert "1 min 30 sexit code 4" in after


async def test_jobs_are_a_tuple_that_shows_a_table() -> None:
    async with testing.VirtualCluster([node("edge", on(job="b").hangs())]) as cluster:
        first = await cluster.submit(SPEC, "a")
        await first.wait()
        second = await cluster.submit(bac.JobSpec.docker("busybox:1.37", count=2), "b")
        await anyio.sleep(5)
        jobs = await cluster.jobs()
        shown = harmless(jobs._repr_html_())
        assert isinstance(jobs, tuple)
        assert [job.id for job in jobs] == ["a", "b"]
        assert "2 jobs: 1 RUNNING, 1 COMPLETED" in shown
        assert "aCOMPLETEDdocker: busybox:1.37 true1" in shown
        assert "bRUNNINGdocker: busybox:1.37 (2 partitions)2" in shown
        await second.cancel()
        many = harmless(Jobs([first] * 60)._repr_html_())
    assert "60 jobs" in many
    assert "the last 50 are shown" in many
    assert "0 jobs" in harmless(Jobs()._repr_html_())


async def test_a_job_of_many_executions_shows_the_last_ones() -> None:
    async with testing.VirtualCluster([node("edge")]) as cluster:
        job = await cluster.submit(bac.JobSpec.docker("busybox:1.37", count=200), "j-1")
        await job.wait()
        html = job._repr_html_()
    assert "the last 50 of 200 executions" in harmless(html)
    assert len(html) < 30_000


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_store_full_of_hostile_texts_is_shown_as_texts(text: str) -> None:
    """Nothing that a store, a node or a user says becomes markup: not in tables, and not in a drawing."""
    refusal = Refusal(text, Check.ENGINE, text, text, text)
    failure = Outcome(failure=Failure(FailureKind.PERMANENT, text, text, text))
    argument = re.sub("[\0\ud800-\udfff]", "", text)  # a spec takes neither
    record = JobRecord(
        text, bac.JobSpec.docker("busybox:1.37", argument), bac.JobState.FAILED, 0.0, 9.0, 9.0, reason=text
    )
    mine = {"job_id": text, "node": text}
    kept = (
        execution(1, ExecutionState.FAILED, id=text, outcome=failure, fenced=True, **mine),
        execution(2, ExecutionState.ASK_FOR_BID_REJECTED, refusals=(refusal,), **mine),
    )
    store = bac.MemoryStore()
    await store.commit(Batch((record,), kept))
    async with testing.VirtualCluster([node("edge")], store=store) as cluster:
        [job] = jobs = await cluster.jobs()
        drawings = [(await job.timeline()).svg, (await cluster.timeline())._repr_html_()]
        tables = [job._repr_html_(), jobs._repr_html_(), (await job.explain())._repr_html_()]
    for markup in (*drawings, *tables):
        assert visible(text, 20).rstrip("…") in harmless(markup)
        assert len(markup) < 30_000


# ---- Results ----


@pytest.mark.parametrize("text", HOSTILE)
def test_a_result_shows_hostile_output_as_text(text: str, tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, lambda: False)
    made = result_module.Result(
        job_id=text,
        partition_index=0,
        attempt=2,
        node=text,
        exit_code=3,
        stdout=text,
        stderr=f"{text}\n{text}",
        stdout_truncated=True,
        stderr_truncated=False,
        outputs=FrozenMap({text: Output(text, folder)}),
        created_at=0.0,
        started_at=1.0,
        ended_at=91.0,
        folder=folder,
    )
    html = made._repr_html_()
    shown = harmless(html)
    assert len(html) < 40_000
    assert "exit code 3" in shown
    assert "attempt 2" in shown
    assert "took 1 min 30 s, ended 91 s" in shown
    assert re.search(r"stdout(, the end of it)?; what the workload wrote was cut off", shown)
    assert f"{visible(text)}gone: it lay in the private folder" in shown


async def test_a_result_shows_where_its_outputs_are_for_as_long_as_they_are_there(tmp_path: Path) -> None:
    spec = bac.JobSpec.docker("busybox:1.37", outputs={"counts": "/out"})
    for kept in (None, tmp_path):
        async with testing.VirtualCluster(
            [node("edge", on().prints("12 words\n"))], data_dir=kept
        ) as cluster:
            result = await cluster.run(spec)
            path = str(result.outputs["counts"].path)
            assert path in harmless(result._repr_html_())
        after = harmless(result._repr_html_())
        assert "12 words" in after
        assert "stderr" not in after
        assert (path in after) == (kept is not None)


def test_a_result_of_many_outputs_says_how_many_are_not_shown(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, lambda: True)
    outputs = FrozenMap({f"out-{number}": Output(f"out-{number}", folder) for number in range(60)})
    streams = ("", "", False, False)
    many = result_module.Result("j", 0, 1, "edge", 0, *streams, outputs, 0.0, 1.0, 2.0, folder)
    shown = harmless(many._repr_html_())
    assert "the first 50 of 60 outputs" in shown
    assert "out-49" in shown
    assert "out-50" not in shown
    few = result_module.Result("j", 0, 1, "edge", 0, *streams, FrozenMap(), 0.0, 1.0, 2.0, folder)
    assert "the first" not in harmless(few._repr_html_())


# ---- Timelines ----


async def test_a_timeline_shows_what_ran_where_and_how_it_ended() -> None:
    nodes = [
        node("rack", on(attempt=1).prepares(10).runs(20).fails("the disk is full"), on().runs(30).exits(3)),
        node("slow", on(offer=1).refuses("only on Sundays"), on().hangs()),
        node("edge", on().runs(500)),
        bac.Node("idle", [testing.SimulatedEngine("wasm")]),
    ]
    patient = bac.RetryPolicy(max_attempts=2, backoff=100)
    transport = testing.SimulatedTransport([link("edge").cut(60)])

    def spec(where: str, limit: float | None = None) -> bac.JobSpec:
        return bac.JobSpec.docker(
            "busybox:1.37",
            selector=bac.Selector(f"name = {where}"),
            retry=patient if where == "rack" else bac.RetryPolicy(),
            timeouts=bac.Timeouts(execution=limit),
        )

    async with testing.VirtualCluster(nodes, transport=transport) as cluster:
        told = await cluster.submit(spec("rack"), "told")
        await cluster.submit(spec("slow", 50), "late")
        lost = await cluster.submit(spec("edge"), "lost")
        await anyio.sleep(200)
        dropped = await cluster.submit(spec("slow"), "dropped")
        await anyio.sleep(10)
        await dropped.cancel()
        await cluster.submit(spec("slow"), "alive")
        await anyio.sleep(40)
        assert (told.state, lost.state) == (bac.JobState.COMPLETED, bac.JobState.FAILED)
        timeline = await cluster.timeline()
        of_one = await told.timeline()
    drawn = bars(timeline.svg)
    ended = {text.splitlines()[-1]: classes(group)[-2:] for text, group in drawn.items()}
    found = {text.splitlines()[0]: text for text in drawn}
    assert timeline.nodes == ("rack", "slow", "edge", "idle")
    assert timeline.title == "4 nodes, 5 jobs"
    assert (timeline.begin, timeline.end) == (0, 250)
    assert ended["failed: the disk is full"] == ["bac-clip", "bac-mark bac-failed"]
    assert any(text.startswith("refused: node slow: engine") for text in ended)
    assert ended["timed out"][-1] == "bac-mark bac-timed-out"
    assert ended["cancelled"][-1] == "bac-mark bac-text"
    assert ended["not over yet"][-1] == "bac-mark bac-running"
    assert any(text.startswith("failed and fenced") for text in ended)
    second = next(text for text in found if "job told, partition 0, attempt 2" in text)
    assert drawn[found[second]][-1].text == "#2"
    assert ended["exit code not 0: exit code 3"] == ["bac-mark bac-failed", "bac-small"]
    first = found["job told, partition 0, attempt 1, on node rack"]
    assert first.splitlines()[1:4] == [
        "offered from 0 s for 0 s",
        "preparing from 0 s for 10 s",
        "running from 10 s for 20 s",
    ]
    shown = harmless(timeline.svg)
    assert "4 nodes, 5 jobs4 min 10 s from 0 s" in shown
    for name in timeline.nodes:
        assert name in shown
    assert {execution.job_id for execution in of_one.executions} == {"told"}
    assert "idle" not in harmless(of_one._repr_html_())


async def test_a_live_job_is_drawn_up_to_now_and_an_ended_one_to_its_end() -> None:
    async with testing.VirtualCluster([node("edge", on().runs(100))]) as cluster:
        job = await cluster.submit(SPEC, "j-1")
        await anyio.sleep(40)
        live = await job.timeline()
        await job.wait()
        await anyio.sleep(1000)
        over = await job.timeline()
    assert (live.end, over.end) == (40, 100)
    assert [text.splitlines()[-2:] for text in bars(live.svg)] == [
        ["running from 0 s for 40 s", "not over yet"]
    ]
    assert [text.splitlines()[-1] for text in bars(over.svg)] == ["completed: exit code 0"]
    assert (await job.timeline()).svg == over.svg  # also when the cluster has closed
    with pytest.raises(ClusterClosedError):
        await cluster.timeline()


async def test_nothing_yet_is_a_timeline_too() -> None:
    async with testing.VirtualCluster([node("edge")]) as cluster:
        assert "1 node, 0 jobs" in harmless((await cluster.timeline()).svg)
        spec = bac.JobSpec.docker(
            "busybox:1.37", selector=bac.Selector("zone = dc"), timeouts=bac.Timeouts(queue=500)
        )
        job = await cluster.submit(spec)
        await anyio.sleep(10)
        shown = harmless((await job.timeline()).svg)
    assert "nothing was offered to a node yet" in shown


def test_a_phase_has_a_height_of_its_own_as_well_as_a_colour() -> None:
    whole = Timeline("t", 0, 6, (execution(),), published={"e-0": 4.0})
    [group] = bars(whole.svg).values()
    rects = [part for part in group if part.tag == f"{SVG}rect"]
    assert [part.attrib["class"] for part in rects] == [
        "bac-offered",
        "bac-preparing",
        "bac-running",
        "bac-publishing",
    ]
    assert len({part.attrib["height"] for part in rects[:3]}) == 3
    lefts = [float(part.attrib["x"]) for part in rects]
    ends = [left + float(part.attrib["width"]) for left, part in zip(lefts, rects, strict=True)]
    assert lefts[1:] == pytest.approx(ends[:-1], abs=0.11)


def test_marks_can_be_told_by_their_shape() -> None:
    every = (
        execution(0),
        execution(1, outcome=Outcome(exit_code=1)),
        execution(2, ExecutionState.FAILED),
        execution(3, ExecutionState.CANCELLED),
        execution(4, ExecutionState.TIMED_OUT),
        execution(5, ExecutionState.ASK_FOR_BID_REJECTED),
        execution(6, ExecutionState.RUNNING),
        execution(7, ExecutionState.FAILED, fenced=True),
    )
    drawn = bars(Timeline("t", 0, 12, every).svg).values()
    last = [next(part for part in reversed(group) if part.tag == f"{SVG}path") for group in drawn]
    shapes = {re.sub(r"^M[-\d. ]+", "", part.attrib["d"]) for part in last}
    assert len(shapes) == len(every)


def test_clocks_that_differ_draw_no_phase_backwards() -> None:
    odd = execution(0, created_at=10.0, accepted_at=9.0, started_at=30.0, ended_at=20.0)
    assert [(span.begin, span.end) for span in spans_of(odd, None, 99)] == [(10, 10), (10, 20), (20, 20)]
    early = execution(0, state=ExecutionState.RUNNING, created_at=10.0, accepted_at=12.0, started_at=11.0)
    assert [(span.begin, span.end) for span in spans_of(early, None, 15)] == [(10, 11), (11, 11), (11, 15)]


def test_bars_of_one_lane_do_not_touch() -> None:
    short = tuple(
        execution(number, created_at=number * 7.0, ended_at=number * 7.0 + 6) for number in range(300)
    )
    lanes: defaultdict[str, list[float]] = defaultdict(list)
    for group in bars(Timeline("t", 0, 2200, short).svg).values():
        mark = next(part for part in group if part.tag == f"{SVG}path")
        x, y = re.findall(r"[\d.]+", mark.attrib["d"])[:2]
        lanes[y].append(float(x))
    gaps = [after - before for lane in lanes.values() for before, after in pairwise(sorted(lane))]
    assert sum(map(len, lanes.values())) == 300
    assert min(gaps) >= 11  # a mark is 8 wide


def thousands() -> Iterator[tuple[Execution, ...]]:
    yield tuple(execution(number) for number in range(5000))
    yield tuple(execution(number, created_at=0.0, node=f"node-{number}") for number in range(5000))
    yield tuple(execution(0, id=f"e-{number}", created_at=0.0, fenced=True) for number in range(5000))
    long = "<&\"'\ud800" * 500
    yield tuple(execution(number, job_id=long, node=long, attempt=2, fenced=True) for number in range(5000))


@pytest.mark.parametrize("executions", list(thousands()), ids=["in a row", "nodes", "at once", "long names"])
def test_thousands_of_executions_are_bounded(executions: tuple[Execution, ...]) -> None:
    svg = Timeline("t", 0, 6000, executions, tuple(f"node-{number}" for number in range(5000))).svg
    drawn = ET.fromstring(svg).findall(f"{SVG}g")
    assert 0 < len(drawn) <= EXECUTIONS_MAX
    assert len(svg) < 1_500_000
    height = float(ET.fromstring(svg).attrib["height"])
    assert height < 200 + LANES_MAX * 14
    said = "; {:,} of 5,000 executions are drawn: those not over, then the last to end"
    assert said.format(len(drawn)) in harmless(svg)


def test_what_is_not_over_is_drawn_whatever_is_left_out() -> None:
    live = execution(0, ExecutionState.RUNNING)
    others = tuple(execution(number) for number in range(1, 3000))
    drawn = bars(Timeline("t", 0, 6000, (live, *others)).svg)
    assert any(text.startswith("job j-0,") for text in drawn)
    assert any(text.startswith("job j-2999,") for text in drawn)
    assert not any(text.startswith("job j-1,") for text in drawn)


def test_what_is_not_over_has_a_lane_whatever_else_wants_one() -> None:
    ended = tuple(execution(number, node=f"old-{number}") for number in range(LANES_MAX))
    live = tuple(
        execution(number, ExecutionState.RUNNING, node=f"new-{number}") for number in range(1000, 1050)
    )
    svg = Timeline("t", 0, 1100, (*ended, *live)).svg
    drawn = {text.partition(",")[0] for text in bars(svg)}
    latest = ended[len(live) :]
    assert drawn == {f"job {execution.job_id}" for execution in (*live, *latest)}
    assert "; 200 of 250 executions are drawn: those not over, then the last to end" in harmless(svg)


def test_where_even_what_is_not_over_has_no_room_the_latest_is_drawn() -> None:
    live = tuple(execution(number, ExecutionState.RUNNING, node=f"n-{number}") for number in range(300))
    drawn = {text.partition(",")[0] for text in bars(Timeline("t", 0, 400, live).svg)}
    assert drawn == {f"job j-{number}" for number in range(300 - LANES_MAX, 300)}


def test_the_lanes_of_a_node_are_in_the_order_in_which_they_begin() -> None:
    ends = (90.0, 40.0, 95.0)
    three = tuple(execution(number, ended_at=end, partition_index=number) for number, end in enumerate(ends))
    after = execution(3, created_at=60.0, accepted_at=61.0, started_at=62.0, ended_at=80.0)
    drawn = bars(Timeline("t", 0, 100, (*three, after)).svg)
    marks = (next(part for part in group if part.tag == f"{SVG}path") for group in drawn.values())
    heights = [float(re.findall(r"[\d.]+", mark.attrib["d"])[1]) for mark in marks]
    assert [text.split(",")[0] for text in drawn] == ["job j-0", "job j-1", "job j-3", "job j-2"]
    assert heights[0] < heights[1] == heights[2] < heights[3]


@pytest.mark.parametrize("seconds", [0, 0.0004, 1, 59, 61, 3599, 90_000, 86400 * 800, 1e12])
def test_the_axis_has_a_handful_of_round_ticks(seconds: float) -> None:
    root = ET.fromstring(Timeline("t", 0, seconds, ()).svg)
    ticks = [part.text for part in root.iter(f"{SVG}text") if part.attrib.get("text-anchor") == "middle"]
    assert ticks[0] == "0 s"
    assert len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)
    assert len(ticks) >= 2


# ---- Saving ----


def test_a_saved_timeline_is_the_picture(tmp_path: Path) -> None:
    timeline = Timeline("t", 0, 6, (execution(),))
    target = tmp_path / "run.svg"
    target.write_text("an older one")
    assert timeline.save(str(target)) == target
    assert target.read_text(encoding="utf-8") == timeline.svg == timeline._repr_html_()
    assert [path.name for path in tmp_path.iterdir()] == ["run.svg"]
    assert ET.parse(target).getroot().tag == f"{SVG}svg"


def test_saving_touches_no_other_file_and_takes_every_name_that_a_file_may_have(tmp_path: Path) -> None:
    mine, other = tmp_path / ".run.svg.part", tmp_path / "other"
    mine.write_text("mine")
    other.touch()
    for name in ("run.svg", "x" * 251 + ".svg"):
        saved = Timeline("t", 0, 6, ()).save(tmp_path / name)
        assert saved.stat().st_mode == other.stat().st_mode  # as the user's umask has it
    assert mine.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


def test_several_may_save_the_same_file(tmp_path: Path) -> None:
    target = tmp_path / "run.svg"
    timelines = [Timeline(f"t-{number}", 0, 6, ()) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for saved in threads.map(lambda number: timelines[number % 4].save(target), range(200)):
            assert saved == target
    assert target.read_text() in {timeline.svg for timeline in timelines}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "path",
    ["no/such/folder/x.svg", ".", "", "a\0b", "\ud800.svg", "x" * 300, "file/x.svg", 5, None, object()],
)
def test_a_path_that_cannot_be_written_is_said_so(
    path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DestinationError, match="the timeline cannot be written to ") as raised:
        Timeline("t", 0, 6, ()).save(path)  # type: ignore[arg-type]
    assert "folder that exists" in raised.value.hint
    assert str(raised.value).replace("\n", "").isprintable()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_links_in_a_circle_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DestinationError, match="the timeline cannot be written to "):
        Timeline("t", 0, 6, ()).save(tmp_path / "a")
    assert {entry.name for entry in tmp_path.iterdir() if entry.is_symlink()} == {"a", "b"}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "it")
    with pytest.raises(DestinationError, match="it is no file"):
        Timeline("t", 0, 6, ()).save(tmp_path / "it")
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]
    assert not (tmp_path / "it").is_file()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    for _ in range(2):  # the file is new, then old
        Timeline("t", 0, 6, ()).save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert "<svg" in (tmp_path / "file").read_text()


def test_a_timeline_is_a_value() -> None:
    timeline = Timeline("t", 0, 6, (execution(),), published={"e-0": 4.0})
    again = pickle.loads(pickle.dumps(timeline))
    assert again == timeline
    assert again.svg == timeline.svg
