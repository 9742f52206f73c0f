"""The log of an execution: every byte comes back, live and afterwards, and no more than the cap is kept."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from unittest import mock

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.storage import log as module
from bacalhau_sdk.storage.log import LINE_MAX, STREAM_CAP, ExecutionLog, LogFrame, decode_frames

HANG = 60


class Clock:
    """Goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 1
        return self.time


class Kept:
    """A log, and the task that flushes it, as on a node."""

    def __init__(self, path: Path, cap: int = STREAM_CAP) -> None:
        self.signals = 0
        self.flushing = anyio.Event()
        self.log = ExecutionLog(path, Clock().now, self._signal, cap)

    def _signal(self) -> None:
        self.signals += 1
        self.flushing.set()

    async def flush(self) -> None:
        while True:
            await self.flushing.wait()
            self.flushing = anyio.Event()
            await self.log.flush()


@asynccontextmanager
async def kept(path: Path, cap: int = STREAM_CAP) -> AsyncIterator[ExecutionLog]:
    """Give a log that is flushed."""
    keeper = Kept(path, cap)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.flush)
        yield keeper.log
        tasks.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def quiet(path: Path) -> ExecutionLog:
    """A log that nobody flushes but the test."""
    return Kept(path).log


async def frames(log: ExecutionLog, offset: int = 0) -> list[LogFrame]:
    """Read a log to its end."""
    found: list[LogFrame] = []
    buffer = bytearray()
    with anyio.fail_after(HANG):
        async for chunk in log.read(offset):
            buffer += chunk
            found += decode_frames(buffer)
    assert not buffer
    return found


async def streams(log: ExecutionLog) -> tuple[bytes, bytes]:
    """Return what is written at the end."""
    with tempfile.TemporaryDirectory() as folder:
        await to_thread.run_sync(log.write_streams, Path(folder))
        return Path(folder, "stdout").read_bytes(), Path(folder, "stderr").read_bytes()


def lines(found: list[LogFrame], stream: str = "stdout") -> list[tuple[bytes, bool]]:
    return [(frame.data, frame.ended) for frame in found if frame.stream == stream]


def whole(found: list[LogFrame], stream: str = "stdout") -> bytes:
    return b"".join(data + b"\n" * ended for data, ended in lines(found, stream))


async def written(log: ExecutionLog, *chunks: bytes) -> list[tuple[bytes, bool]]:
    """Write to stdout, and return the lines."""
    for chunk in chunks:
        log.stdout.write(chunk)
    await log.close()
    assert await streams(log) == (b"".join(chunks), b"")
    return lines(await frames(log))


# ---- Lines ----


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([b""], [], id="an empty write"),
        pytest.param([b"a\n"], [(b"a", True)], id="a line"),
        pytest.param([b"a"], [(b"a", False)], id="no end"),
        pytest.param([b"a\nb"], [(b"a", True), (b"b", False)], id="the last has no end"),
        pytest.param(
            [b"a", b"b", b"\n", b"c\nd", b"e\n"], [(b"ab", True), (b"c", True), (b"de", True)], id="pieces"
        ),
        pytest.param(
            [b"\n\n", b"\na\n\n"], [(b"", True)] * 3 + [(b"a", True), (b"", True)], id="empty lines"
        ),
        pytest.param(
            [b"a\r\nb\r", b"\nc\rd\n"], [(b"a\r", True), (b"b\r", True), (b"c\rd", True)], id="returns"
        ),
        pytest.param([b"\0\n\xff\xfe\0"], [(b"\0", True), (b"\xff\xfe\0", False)], id="no text"),
        pytest.param([b"\x1b[31mred\x1b[0m\n"], [(b"\x1b[31mred\x1b[0m", True)], id="colours"),
        pytest.param(
            ["\u2028\u0085\v\f".encode() + b"\n"], [("\u2028\u0085\v\f".encode(), True)], id="other ends"
        ),
    ],
)
async def test_lines(chunks: list[bytes], expected: list[tuple[bytes, bool]], quiet: ExecutionLog) -> None:
    assert await written(quiet, *chunks) == expected


@pytest.mark.parametrize("size", [LINE_MAX - 1, LINE_MAX])
async def test_a_line_of_64_kib_is_whole(size: int, quiet: ExecutionLog) -> None:
    assert await written(quiet, b"x" * size + b"\n", b"y" * size) == [
        (b"x" * size, True),
        (b"y" * size, False),
    ]


async def test_a_longer_line_is_split(quiet: ExecutionLog) -> None:
    line = b"x" * LINE_MAX
    assert await written(quiet, b"x" * (2 * LINE_MAX + 1) + b"\ny\n" + line, b"x") == [
        (line, False),
        (line, False),
        (b"x", True),
        (b"y", True),
        (line, False),
        (b"x", False),
    ]


@pytest.mark.parametrize("character", ["é", "€", "𝄞"])
@pytest.mark.parametrize("shift", range(4))
async def test_a_long_line_is_split_between_characters(
    character: str, shift: int, quiet: ExecutionLog
) -> None:
    text = "x" * shift + character * LINE_MAX
    parts = [data for data, _ in await written(quiet, text.encode())]
    assert "".join(part.decode() for part in parts) == text
    assert all(LINE_MAX - 4 < len(part) <= LINE_MAX for part in parts[:-1])


async def test_what_is_no_text_is_split_at_64_kib(quiet: ExecutionLog) -> None:
    assert [len(data) for data, _ in await written(quiet, b"\x80" * (2 * LINE_MAX))] == [LINE_MAX, LINE_MAX]


async def test_one_enormous_line_and_a_flood_of_empty_ones(path: Path) -> None:
    """Both in one write of a whole cap, as an untrusted workload would do."""
    log = Kept(path, 16 << 20).log
    log.stdout.write(b"x" * (1 << 26))
    log.stderr.write(b"\n" * (1 << 26))
    await log.close()
    assert await streams(log) == (b"x" * (16 << 20), b"\n" * (16 << 20))
    assert path.stat().st_size <= 2 * (16 << 20) * 1.1
    assert log.stdout.truncated
    assert log.stderr.truncated


def expected_lines(data: bytes, longest: int) -> list[tuple[bytes, bool]]:
    """Split the plain way."""
    found: list[tuple[bytes, bool]] = []
    *ended, last = data.split(b"\n")
    for index, line in enumerate([*ended, last]):
        while len(line) > longest:
            cut = next((at for at in range(longest, longest - 4, -1) if line[at] & 0xC0 != 0x80), longest)
            found.append((line[:cut], False))
            line = line[cut:]
        if line or index < len(ended):
            found.append((line, index < len(ended)))
    return found


written_by_workloads = (
    st.binary(max_size=30)
    | st.lists(st.sampled_from([b"\n", b"\r\n", b"\0", "é€𝄞".encode(), b"x" * 9, b"\x80" * 9])).map(b"".join)
    | st.text(max_size=20).map(str.encode)
)


@given(
    st.lists(st.tuples(st.booleans(), written_by_workloads, st.booleans()), max_size=12),
    st.integers(0, 80),
    st.integers(4, 12),
)
async def test_any_bytes_in_any_pieces_come_back(
    writes: list[tuple[bool, bytes, bool]], cap: int, longest: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(module, "LINE_MAX", longest):
        log = Kept(Path(folder, "log"), cap).log
        total = {"stdout": b"", "stderr": b""}
        for to_stdout, data, flush in writes:
            total["stdout" if to_stdout else "stderr"] += data
            (log.stdout if to_stdout else log.stderr).write(data)
            if flush:
                await log.flush()
        await log.close()
        found = await frames(log)
        for name, stream in (("stdout", log.stdout), ("stderr", log.stderr)):
            assert lines(found, name) == expected_lines(total[name][:cap], longest)
            assert stream.truncated == (len(total[name]) > cap)
        assert await streams(log) == (total["stdout"][:cap], total["stderr"][:cap])
        times = [frame.time for frame in found]
        assert times == sorted(times)


@given(st.binary(max_size=200), st.lists(st.integers(1, 40)))
async def test_records_that_come_in_any_pieces_are_the_same(data: bytes, pieces: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Kept(Path(folder, "log")).log
        log.stdout.write(data)
        log.stderr.write(data[::-1])
        await log.close()
        encoded = b"".join([chunk async for chunk in log.read()])
        found: list[LogFrame] = []
        buffer = bytearray()
        for size in [*pieces, len(encoded)]:
            buffer += encoded[:size]
            encoded = encoded[size:]
            found += decode_frames(buffer)
        assert found == await frames(log)


async def test_the_order_of_both_streams_and_the_times_are_kept(quiet: ExecutionLog) -> None:
    for number in range(10):
        stream = quiet.stderr if number % 3 else quiet.stdout
        stream.write(b"%d\n" % number)
        if number % 4 == 0:
            await quiet.flush()
    await quiet.close()
    found = await frames(quiet)
    assert [frame.data for frame in found] == [b"%d" % number for number in range(10)]
    assert [frame.stream for frame in found] == ["stderr" if number % 3 else "stdout" for number in range(10)]
    assert [frame.time for frame in found] == [float(number) for number in range(1, 11)]


# ---- The cap ----


@pytest.mark.parametrize("more", [-1, 0, 1, 1000])
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_exactly_the_cap_is_kept_of_each_stream(more: int, size: int, path: Path) -> None:
    cap = 1000
    log = Kept(path, cap).log
    data = bytes(range(250)) * 10
    for start in range(0, cap + more, size):
        log.stdout.write(data[start : min(start + size, cap + more)])
    log.stderr.write(b"other")
    await log.close()
    assert await streams(log) == (data[: min(cap, cap + more)], b"other")
    assert log.stdout.truncated == (more > 0)
    assert not log.stderr.truncated


async def test_a_stream_of_no_bytes_is_not_truncated(path: Path) -> None:
    log = Kept(path, 0).log
    log.stdout.write(b"")
    assert not log.stdout.truncated
    log.stdout.write(b"x")
    assert log.stdout.truncated
    await log.close()
    assert await streams(log) == (b"", b"")
    assert not path.exists()


async def test_the_disk_takes_little_more_than_the_cap(path: Path) -> None:
    cap = 1 << 20
    async with kept(path, cap) as log:
        for _ in range(100):
            log.stdout.write(b"\n" * LINE_MAX)
            log.stderr.write(b"x" * LINE_MAX)
            await log.drain()
        await log.close()
        assert 2 * cap <= path.stat().st_size <= 2 * cap * 1.1
        assert await streams(log) == (b"\n" * cap, b"x" * cap)


# ---- Readers ----


async def test_readers_before_during_and_after_see_the_same(path: Path) -> None:
    found: list[bytes] = []

    async def read(log: ExecutionLog) -> None:
        found.append(whole(await frames(log)))

    data = [b"%d\n" % number for number in range(2000)]
    async with kept(path) as log, anyio.create_task_group() as tasks:
        tasks.start_soon(read, log)
        for number, line in enumerate(data):
            log.stdout.write(line)
            if number % 100 == 0:
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(read, log)
        await log.close()
        tasks.start_soon(read, log)
    assert found == [b"".join(data)] * 22


async def test_a_line_is_seen_while_the_workload_runs(path: Path) -> None:
    async with kept(path) as log, aclosing(log.read()) as chunks:
        for number in range(5):
            log.stdout.write(b"%d\nx" % number)
            with anyio.fail_after(HANG):
                seen = bytearray(await anext(chunks))
            assert b"%d" % number in next(iter(decode_frames(seen))).data


async def test_a_reader_takes_its_time_and_the_workload_does_not_wait(path: Path) -> None:
    data = b"x" * 1000 + b"\n"
    async with kept(path) as log, aclosing(log.read()) as chunks:
        log.stdout.write(data)
        seen = bytearray(await anext(chunks))
        for _ in range(3000):
            log.stdout.write(data)
            await log.drain()
        await log.close()
        async for chunk in chunks:
            seen += chunk
        assert [frame.data + b"\n" for frame in decode_frames(seen)] == [data] * 3001


async def test_a_reader_may_begin_at_an_offset(quiet: ExecutionLog) -> None:
    quiet.stdout.write(b"a\n")
    await quiet.flush()
    offset = quiet.size
    quiet.stdout.write(b"b\n")
    await quiet.flush()
    quiet.stdout.write(b"c")
    await quiet.close()
    assert lines(await frames(quiet, offset)) == [(b"b", True), (b"c", False)]
    assert await frames(quiet, quiet.size) == []
    assert await frames(quiet, quiet.size + 100) == []


async def test_a_chunk_is_never_large(quiet: ExecutionLog) -> None:
    quiet.stdout.write(b"x" * (1 << 20))
    await quiet.close()
    assert max([len(chunk) async for chunk in quiet.read()]) <= 1 << 18


async def test_closing_ends_readers_that_wait(path: Path) -> None:
    ended: list[int] = []

    async def read(log: ExecutionLog) -> None:
        ended.append(len(await frames(log)))

    async with kept(path) as log, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(read, log)
        await anyio.wait_all_tasks_blocked()
        assert ended == []
        await log.close()
        with anyio.fail_after(HANG):
            while len(ended) < 5:
                await anyio.sleep(0)
    assert ended == [0] * 5


async def test_a_reader_that_leaves_takes_nobody_along(path: Path) -> None:
    async with kept(path) as log, aclosing(log.read()) as chunks:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(frames, log)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        log.stdout.write(b"x\n")
        assert await anext(chunks)
        await chunks.aclose()
        log.stdout.write(b"y\n")
        await log.close()
        assert lines(await frames(log)) == [(b"x", True), (b"y", True)]


async def test_a_reader_of_a_file_that_went_is_told(path: Path, quiet: ExecutionLog) -> None:
    quiet.stdout.write(b"x\n")
    await quiet.close()
    path.write_bytes(b"")
    with anyio.fail_after(HANG), pytest.raises(OSError, match=str(path)):
        await frames(quiet)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await frames(quiet)


# ---- Flushing ----


async def test_small_writes_are_written_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Kept(path)
    sizes: list[int] = []
    write = module._write

    def counted(path: Path, offset: int, data: bytes) -> None:
        sizes.append(len(data))
        write(path, offset, data)

    monkeypatch.setattr(module, "_write", counted)
    for number in range(1000):
        keeper.log.stdout.write(b"%d\n" % number)
        keeper.log.stderr.write(b"x")
    assert keeper.signals == 1
    await keeper.log.flush()
    await keeper.log.flush()
    assert sizes == [keeper.log.size]
    keeper.log.stdout.write(b"more\n")
    assert keeper.signals == 2
    await keeper.log.close()
    assert await streams(keeper.log) == (
        b"".join(b"%d\n" % number for number in range(1000)) + b"more\n",
        b"x" * 1000,
    )
    assert len(sizes) == 2


@contextmanager
def held_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Hold every write to a file from when it has begun until it may end."""
    begun, end = threading.Event(), threading.Event()
    write = module._write

    def held(path: Path, offset: int, data: bytes) -> None:
        begun.set()
        assert end.wait(HANG)
        write(path, offset, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", held)
        yield begun, end


async def until(event: threading.Event) -> None:
    with anyio.fail_after(HANG):
        while not event.is_set():
            await anyio.sleep(0)


async def test_what_comes_during_a_write_is_flushed_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(path) as log, aclosing(log.read()) as chunks:
        with held_writes(monkeypatch) as (begun, end):
            log.stdout.write(b"a\n")
            await until(begun)
            log.stdout.write(b"b\n")
            end.set()
            seen = bytearray()
            with anyio.fail_after(HANG):
                while b"b" not in seen:
                    seen += await anext(chunks)
        assert [frame.data for frame in decode_frames(seen)] == [b"a", b"b"]


async def test_draining_waits_until_the_file_has_nearly_all(quiet: ExecutionLog) -> None:
    passed = False

    async def drain() -> None:
        nonlocal passed
        await quiet.drain()
        passed = True

    quiet.stdout.write(b"x" * 500_000 + b"\n")
    with anyio.fail_after(HANG):
        await quiet.drain()
    quiet.stderr.write(b"x" * 600_000 + b"\n")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        assert not passed
        await quiet.flush()
    assert passed


async def test_a_slow_disk_holds_back_who_drains(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drained = anyio.Event()

    async def work(log: ExecutionLog) -> None:
        for _ in range(40):
            log.stdout.write(b"x" * LINE_MAX)
            await log.drain()
        drained.set()

    async with kept(path) as log, anyio.create_task_group() as tasks:
        with held_writes(monkeypatch) as (begun, end):
            tasks.start_soon(work, log)
            await until(begun)
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            assert not drained.is_set()
            assert log._pending_size < 2 << 20
            end.set()
            with anyio.fail_after(HANG):
                await drained.wait()
            await log.close()
        assert await streams(log) == (b"x" * LINE_MAX * 40, b"")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_flush_that_is_cancelled_loses_nothing(
    quiet: ExecutionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_writes(monkeypatch) as (begun, end):
        quiet.stdout.write(b"a\n")
        task = asyncio.create_task(quiet.flush())
        await until(begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        quiet.stdout.write(b"b\n")
        end.set()
        await quiet.close()
    assert await streams(quiet) == (b"a\nb\n", b"")
    assert lines(await frames(quiet)) == [(b"a", True), (b"b", True)]


async def test_a_flush_that_is_cancelled_before_it_begins_is_signalled_again(path: Path) -> None:
    keeper = Kept(path)
    keeper.log.stdout.write(b"a\n")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await keeper.log.flush()
    assert scope.cancelled_caught
    assert keeper.signals >= 1
    keeper.flushing = anyio.Event()
    keeper.log.stdout.write(b"b\n")
    await keeper.log.close()
    assert await streams(keeper.log) == (b"a\nb\n", b"")


# ---- The end ----


async def test_without_output_there_are_two_empty_files(path: Path, quiet: ExecutionLog) -> None:
    await quiet.close()
    await quiet.close()
    assert await streams(quiet) == (b"", b"")
    assert await frames(quiet) == []
    assert not path.exists()


async def test_what_comes_after_the_end_is_dropped(path: Path, quiet: ExecutionLog) -> None:
    quiet.stdout.write(b"a")
    await quiet.close()
    before = path.read_bytes()
    quiet.stdout.write(b"b\n")
    quiet.stderr.write(b"c\n")
    await quiet.flush()
    await quiet.drain()
    assert path.read_bytes() == before
    assert await streams(quiet) == (b"a", b"")


async def test_what_could_not_be_written_is_truncated(tmp_path: Path) -> None:
    log = Kept(tmp_path / "missing/log").log
    log.stdout.write(b"a\nb")
    await log.close()
    assert log.stdout.truncated
    assert log.stderr.truncated
    assert await frames(log) == []
    with pytest.raises(FileNotFoundError):
        await streams(log)


async def test_a_full_disk_fails_the_log_and_nothing_else(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with kept(path) as log, anyio.create_task_group() as tasks:
        tasks.start_soon(frames, log)
        log.stdout.write(b"kept\n")
        await log.flush()
        size = log.size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            for _ in range(100):
                log.stdout.write(b"x" * LINE_MAX)
                log.stderr.write(b"half a line")
                with anyio.fail_after(HANG):
                    await log.drain()
            await log.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert lines(await frames(log)) == [(b"kept", True)]
        assert log.stdout.truncated
        assert log.stderr.truncated
        with pytest.raises(OSError, match="File too large"):
            await streams(log)
    assert [record.message for record in caplog.records] == [
        f"the log {path} cannot be written: [Errno 27] File too large"
    ]
