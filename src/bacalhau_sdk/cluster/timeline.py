"""A picture of what ran where and when, as SVG."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

from attrs import field, frozen

from ..errors import DestinationError
from ..model.data import PathLike
from ..model.display import COLOURS, counted, duration, element, moment, themes, visible
from ..model.execution import Execution
from ..model.problems import shown
from ..model.record import JobRecord
from ..model.timeline import Mark, Phase, Span, marks_of, outcome_of, publishing_times, spans_of
from .orchestrator import JobView

__all__ = ["Timeline", "timeline_of"]

EXECUTIONS_MAX = 1000
LANES_MAX = 200
_WIDTH, _LEFT, _RIGHT, _TOP = 960, 150, 912, 62
_AXIS, _LEGEND = 24, 46
_ROOMY = 60
"""Up to so many lanes are drawn with room for texts."""
_CHARACTER = 6.2
"""Pixels that a character of the small font takes, at most for nearly all of them."""
_LABEL_MAX = 20

_CSS = """
.bacalhau-timeline{max-width:100%;height:auto;font:11px system-ui,sans-serif}
.bacalhau-timeline text{fill:COLOR(text)}
.bacalhau-timeline .bac-head{font-size:13px;font-weight:600}
.bacalhau-timeline .bac-small{font-size:10px;fill:COLOR(muted)}
.bacalhau-timeline .bac-inside{font-size:9px;fill:COLOR(page)}
.bacalhau-timeline .bac-page{fill:COLOR(page);stroke:COLOR(line)}
.bacalhau-timeline .bac-grid{stroke:COLOR(line);stroke-width:1}
.bacalhau-timeline .bac-mark{fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}
.bacalhau-timeline .bac-disc{stroke-width:1}
.bacalhau-timeline .bac-clip{overflow:hidden}
"""
# How high a phase is drawn, in parts of the bar, and in which colour: it can be told without seeing colours.
_PHASES = {
    Phase.OFFERED: (0.2, "offered"),
    Phase.PREPARING: (0.55, "preparing"),
    Phase.RUNNING: (1.0, "running"),
    Phase.PUBLISHING: (0.55, "publishing"),
}
# The path of a mark, relative to the middle of it, in pixels.
_MARKS = {
    Mark.REFUSED: ("m0-4l4 4l-4 4l-4-4z", "offered"),
    Mark.COMPLETED: ("m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "publishing"),
    Mark.NON_ZERO_EXIT: ("m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z", "failed"),
    Mark.FAILED: ("m-3.5-3.5l7 7m0-7l-7 7", "failed"),
    Mark.CANCELLED: ("m-3.5-3.5h7v7h-7z", "text"),
    Mark.TIMED_OUT: ("m-3.5-4h7l-7 8h7z", "timed-out"),
    Mark.FENCED: ("m-2-4.5v9m4-9v9", "failed"),
    Mark.LIVE: ("m-2.5-4l5 4l-5 4", "running"),
}
_FILLED = frozenset({Mark.COMPLETED})
_MARK_WIDTH = 11.0

_PARTS_OF_SECONDS = tuple(digit * 10.0**power for power in range(-3, 1) for digit in (1, 2, 5))
_MINUTES_AND_HOURS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@frozen
class _Bar:
    """One execution as it is drawn: how far it reaches, in pixels, and in which lane of its node."""

    execution: Execution
    spans: tuple[Span, ...]
    left: float
    right: float
    lane: int = 0


@frozen
class Timeline:
    """What ran where and when: nodes down, time across; `Job.timeline` and `Cluster.timeline` make it.

    In a notebook it shows itself. Each bar is an execution; its height and colour are those of its phase, a mark at its end says
    how it ended, ``#2`` is a second attempt, and a mouse over it shows the details. What is not over yet is drawn up to now. At
    most 1,000 executions are drawn, in at most 200 lanes: those that are not over, then those that ended last; the picture says
    how many of how many.

    Attributes:
        title: What it is of.
        begin: The left edge, in seconds of the cluster's clock (Unix time by default).
        end: The right edge: the last end, or now while something is not over yet.
        executions: What is drawn, in the order in which they were made.
        nodes: The nodes that have a line although nothing was ever offered to them.
    """

    title: str
    begin: float
    end: float
    executions: tuple[Execution, ...]
    nodes: tuple[str, ...] = ()
    _published: Mapping[str, float] = field(factory=dict[str, float], repr=False, alias="published")

    @property
    def svg(self) -> str:
        """The picture, as the text of an SVG file without scripts and without anything that would have to be fetched."""
        return _Drawing(self).svg()

    def save(self, path: str | PathLike) -> Path:
        """Write the picture into an SVG file, whole or not at all; blocking. A file of that name is replaced, a link followed.

        Args:
            path: The file, in a folder that exists.

        Returns:
            The file.

        Raises:
            DestinationError: It cannot be written there.
        """
        try:
            target = Path(path)
            file = Path(
                os.path.realpath(target)
            )  # what a link leads to; one that leads in a circle stays one
            if os.path.lexists(file) and not file.is_file():
                raise ValueError("it is no file")
            text = self.svg.encode()
            part = file.with_name(f".{uuid.uuid4().hex}.part")  # a name that nobody else has
            try:
                part.write_bytes(text)
                part.replace(file)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise
        except (OSError, TypeError, ValueError) as error:
            raise DestinationError(
                f"the timeline cannot be written to {shown(path)}: {getattr(error, 'strerror', None) or error}",
                hint="give the path of a file, in a folder that exists and can be written",
            ) from error
        return target

    def published_at(self, execution: Execution) -> float | None:
        """Return since when the results of an execution were published, or None if that is not known."""
        return self._published.get(execution.id)

    def _repr_html_(self) -> str:
        return self.svg


def timeline_of(title: str, views: Iterable[JobView], nodes: Iterable[str], now: float) -> Timeline:
    """Make the timeline of some jobs, from the first submit to the last end.

    Args:
        title: What it is of.
        views: The jobs.
        nodes: The nodes that have a line in any case.
        now: In seconds of the cluster's clock.
    """
    seen = list(views)
    records = [view.record for view in seen]
    executions = [execution for view in seen for execution in view.executions.values()]
    both: list[JobRecord | Execution] = [*records, *executions]
    ends = [each.ended_at for each in both if each.ended_at is not None]
    live = not all(each.state.terminal for each in both)
    return Timeline(
        title=title,
        begin=min((record.created_at for record in records), default=now),
        end=max((now, *ends)) if live or not ends else max(ends),
        executions=tuple(sorted(executions, key=lambda execution: execution.created_at)),
        nodes=tuple(nodes),
        published=publishing_times(event for view in seen for event in view.events),
    )


class _Drawing:
    """Places the bars of a timeline, and draws them."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._several_jobs = len({execution.job_id for execution in timeline.executions}) > 1
        chosen = sorted(timeline.executions, key=_urgency, reverse=True)[:EXECUTIONS_MAX]
        begins = [execution.created_at for execution in chosen]
        whole = len(chosen) == len(timeline.executions)
        self._begin = timeline.begin if whole else min(begins, default=timeline.begin)
        self._length = max(timeline.end - self._begin, 0.001)
        self._lanes: dict[str, list[list[_Bar]]] = {}
        self._drawn = 0
        count = self._place(chosen)
        for node in timeline.nodes:
            if node not in self._lanes and count < LANES_MAX:
                self._lanes[node] = [[]]
                count += 1
        order = {node: index for index, node in enumerate(timeline.nodes)}
        self._nodes = sorted(self._lanes, key=lambda node: (order.get(node, len(order)), node))
        self._pitch = 18.0 if count <= _ROOMY else 10.0
        self._bottom = _TOP + max(1, count) * self._pitch + 4 * max(0, len(self._nodes) - 1)

    def svg(self) -> str:
        """Return the picture."""
        height = self._bottom + _AXIS + _LEGEND
        left_out = len(self._timeline.executions) - self._drawn
        summary = f"{visible(self._timeline.title)}: {counted(len(self._timeline.executions), 'execution')}"
        root = element(
            "svg",
            element("style", themes(".bacalhau-timeline") + _css()),
            element("rect", class_="bac-page", x=0.5, y=0.5, width=_WIDTH - 1, height=height - 1, rx=6),
            element("text", visible(self._timeline.title, 110), class_="bac-head", x=14, y=23),
            element("text", self._span_text(left_out), class_="bac-small", x=14, y=40),
            *self._axis(),
            *self._rows(),
            *_legend(self._bottom + _AXIS + 14),
            xmlns="http://www.w3.org/2000/svg",
            class_="bacalhau-timeline tex2jax_ignore mathjax_ignore",
            role="img",
            aria_label=summary,
            width=_WIDTH,
            height=height,
            viewBox=f"0 0 {_WIDTH} {height:.0f}",
        )
        return ET.tostring(root, encoding="unicode")

    def _place(self, chosen: Iterable[Execution]) -> int:
        """Give each execution the first lane of its node in which it covers nothing, and return how many lanes there are.

        From the end of time: where there are no more lanes, it is what ended long ago that has none.
        """
        begins: dict[str, list[float]] = {}
        count = 0
        for execution in chosen:
            bar = self._bar(execution)
            taken = begins.setdefault(execution.node, [])
            lane = next((index for index, begin in enumerate(taken) if bar.right <= begin), len(taken))
            if lane == len(taken):
                if count >= LANES_MAX:
                    continue
                count += 1
                taken.append(0)
                self._lanes.setdefault(execution.node, []).append([])
            taken[lane] = bar.left
            self._lanes[execution.node][lane].insert(0, bar)
            self._drawn += 1
        for lanes in self._lanes.values():
            lanes.sort(key=lambda lane: (lane[0].execution.created_at, lane[0].execution.partition_index))
        return count

    def _bar(self, execution: Execution) -> _Bar:
        published = self._timeline.published_at(execution)
        spans = spans_of(execution, published, self._timeline.end)
        attempt = _CHARACTER * len(_attempt(execution))
        right = self._x(spans[-1].end) + _MARK_WIDTH * (len(marks_of(execution)) + 0.5) + attempt
        return _Bar(execution, spans, self._x(spans[0].begin) - _MARK_WIDTH / 2, right)

    def _x(self, time: float) -> float:
        share = (time - self._begin) / self._length
        return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, share))

    def _span_text(self, left_out: int) -> str:
        text = f"{duration(self._timeline.end - self._begin)} from {moment(self._begin)}"
        if left_out:
            total = counted(len(self._timeline.executions), "execution")
            text += f"; {self._drawn:,} of {total} are drawn: those not over, then the last to end"
        return text

    def _axis(self) -> list[ET.Element]:
        found: list[ET.Element] = []
        step = _step(self._length)
        for index in range(int(self._length / step) + 1):
            x = self._x(self._begin + index * step)
            found += (
                element("line", class_="bac-grid", x1=x, y1=_TOP - 6, x2=x, y2=self._bottom),
                element(
                    "text",
                    duration(index * step),
                    class_="bac-small",
                    x=x,
                    y=self._bottom + 15,
                    text_anchor="middle",
                ),
            )
        return found

    def _rows(self) -> list[ET.Element]:
        found: list[ET.Element] = []
        top: float = _TOP
        for node in self._nodes:
            lanes = self._lanes[node]
            if node != self._nodes[0]:
                found.append(element("line", class_="bac-grid", x1=8, y1=top - 2, x2=_WIDTH - 8, y2=top - 2))
            label = element("title", visible(node))
            at = top + self._pitch / 2 + 4
            text = element("text", label, visible(node, _LABEL_MAX), x=0, y=15)
            found.append(_clipped(text, 14, at - 15, _LEFT - 20))
            for lane in lanes:
                found += (self._execution(bar, top + self._pitch / 2) for bar in lane)
                top += self._pitch
            top += 4
        if not self._nodes:
            found.append(
                element("text", "nothing was offered to a node yet", class_="bac-small", x=14, y=_TOP + 13)
            )
        return found

    def _execution(self, bar: _Bar, middle: float) -> ET.Element:
        """Draw one execution: its phases, then its marks, then its attempt."""
        thickness = self._pitch - 6
        drawn = [element("title", self._details(bar))]
        for span in bar.spans:
            left, width = self._x(span.begin), self._x(span.end) - self._x(span.begin)
            part, colour = _PHASES[span.phase]
            if width >= 0.3:
                high = thickness * part
                place = {"x": left, "y": middle - high / 2, "width": width, "height": high}
                drawn.append(element("rect", class_=f"bac-{colour}", **place))
            if span.phase is Phase.RUNNING and (text := self._inside(bar.execution, width)):
                inside = element("text", text, class_="bac-inside", x=0, y=15)
                drawn.append(_clipped(inside, left + 4, middle - 11.8, width - 8))
        x = self._x(bar.spans[-1].end) + _MARK_WIDTH / 2
        for mark in marks_of(bar.execution):
            drawn.append(_mark(mark, x, middle))
            x += _MARK_WIDTH
        if attempt := _attempt(bar.execution):
            drawn.append(element("text", attempt, class_="bac-small", x=x - 4, y=middle + 3.5))
        return element("g", *drawn)

    def _inside(self, execution: Execution, width: float) -> str:
        """Return what is written on the bar, as far as there is room: the job, or the partition if they are all of one."""
        room = int((width - 8) / _CHARACTER)
        if self._pitch <= 10 or room < 4:
            return ""
        name = execution.job_id if self._several_jobs else f"partition {execution.partition_index}"
        return visible(name, room)

    def _details(self, bar: _Bar) -> str:
        execution = bar.execution
        which = f"partition {execution.partition_index}, attempt {execution.attempt}"
        job, node = visible(execution.job_id, 80), visible(execution.node, 80)
        lines = [f"job {job}, {which}, on node {node}"]
        for span in bar.spans:
            since = duration(span.begin - self._begin)
            lines.append(f"{span.phase.value} from {since} for {duration(span.end - span.begin)}")
        outcome = outcome_of(execution)
        ended = " and ".join(mark.value for mark in marks_of(execution))
        return "\n".join((*lines, f"{ended}: {visible(outcome)}" if outcome else ended))


def _urgency(execution: Execution) -> tuple[bool, float]:
    """Return by what it is decided which executions are drawn where not all can be: what is not over, then what ended last."""
    return not execution.state.terminal, max(execution.created_at, execution.ended_at or 0.0)


def _css() -> str:
    """Return the CSS of the drawing; each colour twice, for viewers that know no properties."""
    css = _CSS.replace("\n", "")
    for name in COLOURS:
        css += f".bacalhau-timeline rect.bac-{name}{{fill:COLOR({name})}}"
        css += f".bacalhau-timeline .bac-mark.bac-{name}{{stroke:COLOR({name})}}"
        css += f".bacalhau-timeline .bac-disc.bac-{name}{{fill:COLOR({name})}}"
    for name, (light, _) in COLOURS.items():
        for use in ("fill", "stroke"):
            css = css.replace(f"{use}:COLOR({name})", f"{use}:{light};{use}:var(--bac-{name})")
    return css


def _legend(top: float) -> list[ET.Element]:
    found: list[ET.Element] = []
    x = 14.0
    for phase, (part, colour) in _PHASES.items():
        high = 12 * part
        place = {"x": x, "y": top - 4 - high / 2, "width": 18.0, "height": high}
        found.append(element("rect", class_=f"bac-{colour}", **place))
        found.append(element("text", phase.value, class_="bac-small", x=x + 23, y=top))
        x += 36 + _CHARACTER * len(phase.value)
    x = 14.0
    for mark in Mark:
        found.append(_mark(mark, x + 5, top + 14.5))
        found.append(element("text", mark.value, class_="bac-small", x=x + 14, y=top + 18))
        x += 30 + _CHARACTER * len(mark.value)
    found.append(element("text", "#2  second attempt", class_="bac-small", x=x, y=top + 18))
    return found


def _clipped(text: ET.Element, x: float, y: float, width: float) -> ET.Element:
    """Keep a text to its place, however wide its characters are; a clip path would have to be referred to."""
    return element("svg", text, class_="bac-clip", x=x, y=y, width=width, height=20)


def _mark(mark: Mark, x: float, y: float) -> ET.Element:
    path, colour = _MARKS[mark]
    disc = " bac-disc" if mark in _FILLED else ""
    return element("path", class_=f"bac-mark{disc} bac-{colour}", d=f"M{x:.1f} {y:.1f}{path}")


def _attempt(execution: Execution) -> str:
    return f"#{execution.attempt}" if execution.attempt > 1 else ""


def _step(length: float) -> float:
    """Return the distance of the ticks in seconds: a round one, of which there are at most eight."""
    for step in (*_PARTS_OF_SECONDS, *_MINUTES_AND_HOURS):
        if length / step <= 8:
            return step
    days = 1
    while length / (86400 * days) > 8:
        days *= 2
    return 86400.0 * days
