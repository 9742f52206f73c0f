"""Jobs and their executions, live: in a terminal by rich, in a notebook as a table. Needs the extra ``progress``."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, cast
from xml.etree.ElementTree import Element

import anyio
from attrs import frozen

from .. import Cluster, Job, JobState
from ..abc import ExecutionState, JobEvent
from ..cluster.job import distinct, elapsed
from ..errors import ClusterClosedError, ClusterFailedError, MissingExtraError
from ..model.display import card, counted, duration, element, state_badge, table, visible
from ..model.problems import invalid, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["progress"]

_ROWS_MAX = 20
_CELL_MAX = 60
_WIDTH_MAX = 10_000
_PAUSE = 0.1
"""Seconds between two drawings at least: many things may happen at once."""
_TICK = 1.0
"""Seconds after which the times are drawn anew although nothing has happened."""
_log = logging.getLogger("bacalhau_sdk")
_COLUMNS = ("job", "state", "done", "executions", "nodes", "time")
_STYLES = {
    JobState.RUNNING: "blue",
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.TIMED_OUT: "magenta",
}
_WORDS = {
    ExecutionState.ASK_FOR_BID: "offered",
    ExecutionState.BID_ACCEPTED: "preparing",
    ExecutionState.RUNNING: "running",
    ExecutionState.PUBLISHING: "publishing",
}


@asynccontextmanager
async def progress(
    what: Cluster | Job | Iterable[Job], *, console: Console | None = None
) -> AsyncGenerator[None]:
    """Show jobs and their executions live while the block runs, and leave the last state there.

    Of a cluster, the jobs that have not ended yet and those that are submitted in the block. In a terminal what the block prints
    appears above; in a notebook the table is part of the output of the cell; anywhere else (a file, a pipe) it is written once,
    at the end. Nothing is waited for: leaving or cancelling the block leaves the jobs alone. What the block raises leaves it as
    itself. When the display has a fault (its file is closed, nobody reads the pipe), one warning in the log has it, nothing more
    is drawn, and the block goes on. No thread is used: the drawing takes milliseconds of the event loop, ten times a second at
    most. At most 20 jobs have a line, those that are not over first; a last line says how many more there are.

    Args:
        what: A cluster, a job, or several jobs.
        console: Where to; None is rich's own choice: the standard output, or the notebook.

    Raises:
        MissingExtraError: rich is not installed.
        InvalidSpecError: ``what`` is none of these.
        ClusterClosedError: The cluster is not open.
        ClusterFailedError: The machinery has failed.
    """
    display = _display(console)
    drawing = _Drawing(await _Watched.of(what), display)
    raised: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        try:
            with drawing:
                if display.live:
                    tasks.start_soon(_follow, drawing)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await drawing.draw()
        except BaseException as error:  # noqa: BLE001 - raised again below, as itself and not in a group
            raised = error
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised


@frozen
class _Row:
    """What is shown of one job."""

    job: str
    state: JobState
    texts: tuple[str, ...]


class _Watched:
    """The jobs that are shown: given ones, or those of a cluster."""

    def __init__(self, cluster: Cluster | None, jobs: Iterable[Job], over: frozenset[str]) -> None:
        self._cluster = cluster
        self._jobs = list(jobs)
        self._over = over

    @classmethod
    async def of(cls, what: object) -> _Watched:
        """Take what `progress` was given."""
        if isinstance(what, Cluster):
            return cls(what, (), frozenset(job.id for job in await what.jobs() if job.state.terminal))
        several = isinstance(what, Iterable)
        jobs = [*cast("Iterable[object]", what)] if several else [what]
        for job in jobs:
            if not isinstance(job, Job):
                raise invalid(f"{shown(job)} is neither a Cluster nor a Job of bacalhau_sdk itself", "what")
        return cls(None, distinct(cast("list[Job]", jobs)), frozenset())

    def streams(self) -> list[AsyncIterator[JobEvent]]:
        """Return where it is heard that something has happened."""
        return [self._cluster.events()] if self._cluster is not None else [job.events() for job in self._jobs]

    async def rows(self) -> list[_Row]:
        """Return what is to be shown now."""
        if self._cluster is not None:
            with suppress(ClusterClosedError, ClusterFailedError):  # what is known already is shown then
                self._jobs = [job for job in await self._cluster.jobs() if job.id not in self._over]
        ended = [job for job in self._jobs if job.state.terminal]
        live = [job for job in self._jobs if not job.state.terminal][:_ROWS_MAX]
        room = _ROWS_MAX - len(live)
        chosen = {*live, *(ended[-room:] if room else ())}
        return [_row(job) for job in self._jobs if job in chosen]

    def summary(self) -> str:
        """Return how many jobs there are in which state."""
        counts = Counter(job.state for job in self._jobs)
        states = ", ".join(f"{counts[state]:,} {state.value}" for state in JobState if counts[state])
        return f"{counted(len(self._jobs), 'job')}: {states}" if states else "no job yet"

    def more(self) -> str:
        """Return how many jobs have no row; empty if each has one."""
        left = len(self._jobs) - _ROWS_MAX
        return f"and {counted(left, 'more job')}" if left > 0 else ""


def _row(job: Job) -> _Row:
    executions = job.executions
    completed = {each.partition_index for each in executions if each.state is ExecutionState.COMPLETED}
    partitions = max(job.spec.count, len({each.partition_index for each in executions}))
    counts = Counter(_WORDS[each.state] for each in executions if each.state in _WORDS)
    said = [f"{counts[word]:,} {word}" for word in _WORDS.values() if counts[word]]
    attempt = max((each.attempt for each in executions), default=1)
    if attempt > 1:
        said.append(f"attempt {attempt}")
    nodes = sorted({each.node for each in executions if not each.state.terminal or job.state.terminal})
    texts = (
        f"{len(completed):,}/{partitions:,}",
        ", ".join(said),
        ", ".join(nodes),
        duration(elapsed(job)),
    )
    return _Row(job.id, job.state, texts)


class _Display(Protocol):
    """Where rows are shown."""

    @property
    def live(self) -> bool:
        """Whether anybody sees more than the last state."""
        ...

    def start(self) -> None:
        """Begin to draw."""
        ...

    def stop(self) -> None:
        """Draw no more, whatever has become of the start."""
        ...

    def show(self, rows: Sequence[_Row], summary: str, more: str) -> None:
        """Draw the rows in place of those before, between a first line and a last one, which may be empty."""
        ...


class _Terminal:
    """A table of rich; drawn by whoever calls, not by a thread of rich."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self.live: bool = console.is_terminal and not console.is_dumb_terminal
        self._console = console
        self._drawn = Live(console=console, auto_refresh=False)

    def start(self) -> None:
        if self.live:
            self._drawn.start()

    def stop(self) -> None:
        if self.live:
            self._drawn.stop()
        else:
            self._console.print(self._drawn.get_renderable(), crop=False)

    def show(self, rows: Sequence[_Row], summary: str, more: str) -> None:
        from rich.table import Table
        from rich.text import Text

        drawn = Table(*_COLUMNS, title=Text(summary), title_justify="left", box=None, pad_edge=False)
        drawn.caption, drawn.caption_justify = Text(more) if more else None, "left"
        for column in drawn.columns:
            column.overflow = "ellipsis"
        for row in rows:
            state = Text(row.state.value, style=_STYLES.get(row.state, ""))
            texts = (Text(visible(text, _CELL_MAX)) for text in row.texts)
            drawn.add_row(Text(visible(row.job)), state, *texts)
        if (
            not self.live
        ):  # who searches a file for an id must find it: no line is folded, however narrow the console
            drawn.width = max(_needed(self._console, drawn), len(summary), len(more))
        self._drawn.update(drawn, refresh=self.live)


def _needed(console: Console, drawn: Table) -> int:
    """Return how wide a table is when nothing in it is folded."""
    return console.measure(drawn, options=console.options.update(max_width=_WIDTH_MAX)).maximum


class _Handle(Protocol):
    """What IPython gives for something that is displayed."""

    def update(self, obj: object, *, raw: bool) -> None: ...


class _Notebook:
    """The output of a cell, drawn anew in its place; rich itself would need ipywidgets there, and knows no themes."""

    live = True

    def __init__(self) -> None:
        self._shown: _Handle | None = None

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def show(self, rows: Sequence[_Row], summary: str, more: str) -> None:
        cells: list[tuple[Element | str, ...]] = [
            (row.job, state_badge(row.state.value), *row.texts) for row in rows
        ]
        rest = [element("div", more, class_="bac-note")] if more else []
        html = card([element("strong", summary)], table(_COLUMNS, cells, numbers=("done", "time")), *rest)
        bundle = {"text/html": html, "text/plain": summary}
        if self._shown is None:
            display: Callable[..., _Handle] = importlib.import_module("IPython.display").display
            self._shown = display(bundle, raw=True, display_id=True)
        else:
            self._shown.update(bundle, raw=True)


def _display(console: Console | None) -> _Display:
    try:
        import rich
    except ImportError as error:
        raise MissingExtraError(
            f"progress needs rich: {error}", extra="progress", hint="pip install 'bacalhau-sdk[progress]'"
        ) from error
    where = rich.get_console() if console is None else console
    return _Notebook() if where.is_jupyter else _Terminal(where)


class _Drawing:
    """What is drawn of jobs. A fault of the display ends the drawing and nothing else."""

    def __init__(self, watched: _Watched, display: _Display) -> None:
        self.watched = watched
        self._display = display
        self._failed = False

    def __enter__(self) -> None:
        with self._contained():
            self._display.start()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with self._contained():
            self._display.stop()

    async def draw(self) -> bool:
        """Draw what is to be seen now, and return whether there is any sense in another drawing."""
        if not self._failed:
            with self._contained():
                rows = await self.watched.rows()
                self._display.show(rows, self.watched.summary(), self.watched.more())
        return not self._failed

    @contextmanager
    def _contained(self) -> Generator[None]:
        try:
            yield
        # A stranger's file may raise anything; and where nobody reads the pipe, rich would end the program.
        except (Exception, SystemExit):  # noqa: BLE001
            if not self._failed:
                _log.warning("progress is not shown any more: the display has a fault", exc_info=True)
            self._failed = True


async def _follow(drawing: _Drawing) -> None:
    """Draw again and again, when something has happened or a second has passed."""
    streams: list[AsyncIterator[JobEvent]] = []
    with suppress(ClusterClosedError, ClusterFailedError):
        streams = drawing.watched.streams()
    if not streams:
        return
    happened = anyio.Event()

    async def listen(events: AsyncIterator[JobEvent]) -> None:
        with suppress(ClusterClosedError, ClusterFailedError):  # whoever waits for a job hears of it
            async for _ in events:
                happened.set()

    async with anyio.create_task_group() as listeners:
        for events in streams:
            listeners.start_soon(listen, events)
        while await drawing.draw():
            await anyio.sleep(_PAUSE)
            with anyio.move_on_after(_TICK):
                await happened.wait()
            happened = anyio.Event()
        listeners.cancel_scope.cancel()
