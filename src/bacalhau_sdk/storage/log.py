"""The log of an execution: its lines in the order in which they came, in a file that many may read while it grows."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import anyio
from attrs import frozen

from ..host.threads import run_blocking

__all__ = ["LINE_MAX", "STREAM_CAP", "ExecutionLog", "LogFrame", "decode_frames"]

_log = logging.getLogger("bacalhau_sdk")

STREAM_CAP = 64 * 1024 * 1024
"""Bytes of each stream that are kept, by default (design §3)."""
LINE_MAX = 64 * 1024
"""Bytes after which a line is split (design §3)."""
_READ_SIZE = 256 * 1024
_HIGH_WATER = 1024 * 1024
_BINARY = getattr(os, "O_BINARY", 0)  # on Windows alone
_STREAMS = ("stdout", "stderr")
# The stream, the time, and the length of the data.
_HEADER = struct.Struct(">BdI")


@frozen
class LogFrame:
    """One line of a stream, or a part of one that is longer than `LINE_MAX`.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``.
        time: When it was complete, in seconds of the cluster's clock.
        data: The bytes, without the line feed at the end; a carriage return before it is kept.
        ended: Whether a line feed followed.
    """

    stream: str
    time: float
    data: bytes
    ended: bool


def decode_frames(buffer: bytearray) -> Iterator[LogFrame]:
    """Take the whole records off the front of a buffer, and return their lines."""
    for stream, time, data in _take_records(buffer):
        *lines, part = data.split(b"\n")
        for line in lines:
            yield LogFrame(stream, time, line, ended=True)
        if part:
            yield LogFrame(stream, time, part, ended=False)


def _take_records(buffer: bytearray) -> Iterator[tuple[str, float, bytes]]:
    """Take the whole records off the front of a buffer: lines of one stream with their ends, or a part of one line."""
    position = 0
    while len(buffer) - position >= _HEADER.size:
        stream, time, length = _HEADER.unpack_from(buffer, position)
        start = position + _HEADER.size
        if len(buffer) < start + length:
            break
        position = start + length
        yield _STREAMS[stream], time, bytes(buffer[start:position])
    del buffer[:position]


class _Stream:
    """One stream of a workload: cuts bytes into records, and counts them against the cap."""

    def __init__(self, log: ExecutionLog, name: str, cap: int) -> None:
        self.truncated: bool = False
        self._log = log
        self._name = name
        self._left = cap
        self._partial = bytearray()

    def write(self, data: bytes) -> None:
        """Take some bytes; what passes the cap, or comes when the log has been closed, is dropped."""
        if len(data) > self._left:
            self.truncated = True
            data = data[: self._left]
        self._left -= len(data)
        self._partial += data
        position = 0
        # Never one line after the other: a workload can write 64 Mi of them at once.
        while position < len(self._partial):
            end = self._partial.rfind(b"\n", position, position + LINE_MAX + 1) + 1
            if end == 0:
                if len(self._partial) - position <= LINE_MAX:
                    break
                end = self._cut(position + LINE_MAX)
            self._log.append(self._name, self._partial[position:end])
            position = end
        del self._partial[:position]

    async def drain(self) -> None:
        """Wait until most of what was written has reached the file."""
        await self._log.drain()

    def finish(self) -> None:
        """Take the last line, which has no end; nothing is taken from now on."""
        if self._partial:
            self._log.append(self._name, self._partial)
            self._partial = bytearray()
        self._left = 0

    def fail(self) -> None:
        """Lose what has not been kept, and take nothing from now on."""
        self.truncated = True
        self._partial = bytearray()
        self._left = 0

    def _cut(self, end: int) -> int:
        """Return where to cut a line at the latest at ``end``: between two characters."""
        for cut in range(end, end - 4, -1):
            if self._partial[cut] & 0xC0 != 0x80:
                return cut
        return end  # no UTF-8


class ExecutionLog:
    """Takes what a workload writes, and gives it to readers from the start, live, until it is closed.

    Writing never waits for a reader, and never fails: if the file cannot be written, both streams count as truncated, and
    `write_streams` raises. One task calls `flush` whenever it is signalled; readers see what was flushed. All but `write_streams`
    belongs into the event loop's thread.

    Args:
        path: The file; made when there is something to keep.
        now: The cluster's clock.
        cap: Bytes of each stream that are kept.
        signal: Called when there is something to flush.
    """

    def __init__(
        self, path: Path, now: Callable[[], float], signal: Callable[[], None], cap: int = STREAM_CAP
    ) -> None:
        self.path = path
        self.stdout: _Stream = _Stream(self, "stdout", cap)
        self.stderr: _Stream = _Stream(self, "stderr", cap)
        self.size: int = 0
        self._now = now
        self._signal = signal
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._closed = False
        self._failure: OSError | None = None
        self._flushing = anyio.Lock()
        self._changed = anyio.Event()

    def append(self, stream: str, data: bytes | bytearray) -> None:
        """Take whole lines of a stream, or a part of one line."""
        record = _HEADER.pack(_STREAMS.index(stream), self._now(), len(data)) + data
        if not self._pending:
            self._signal()
        self._pending.append(record)
        self._pending_size += len(record)

    async def drain(self) -> None:
        """Wait until less than a megabyte is waiting to be flushed."""
        while self._pending_size > _HIGH_WATER and not self._closed:
            await self._changed.wait()

    async def flush(self) -> None:
        """Write what is waiting to the file, and let readers see it; a cancellation loses nothing of it."""
        async with self._flushing:
            if not self._pending:
                return
            count, data = len(self._pending), b"".join(self._pending)
            try:
                await run_blocking(_write, self.path, self.size, data)
                self.size += len(data)
                del self._pending[:count]
                self._pending_size -= len(data)
            except OSError as error:
                self._fail(error)
            finally:
                if self._pending:
                    # What came meanwhile did not signal, for something was waiting already.
                    self._signal()
            self._notify()

    async def close(self) -> None:
        """Take the last lines, flush, and let readers come to their end."""
        self.stdout.finish()
        self.stderr.finish()
        await self.flush()
        self._closed = True
        self._notify()

    async def read(self, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Return the encoded log from an offset in bytes, following it until it is closed.

        Raises:
            OSError: The file cannot be read any more.
        """
        while True:
            changed = self._changed
            if offset < self.size:
                chunk = await run_blocking(_read, self.path, offset, min(_READ_SIZE, self.size - offset))
                offset += len(chunk)
                yield chunk
            elif self._closed:
                return
            else:
                await changed.wait()

    def write_streams(self, folder: Path) -> None:
        """Write ``stdout`` and ``stderr`` into a folder, byte for byte; blocking. The log must have been closed.

        Raises:
            OSError: They cannot be written, or the log could not be.
        """
        if self._failure is not None:
            raise self._failure
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            if not self.size:
                return
            buffer = bytearray()
            with self.path.open("rb") as log:
                while chunk := log.read(_READ_SIZE):
                    buffer += chunk
                    for stream, _, data in _take_records(buffer):
                        (stdout if stream == "stdout" else stderr).write(data)

    def _fail(self, error: OSError) -> None:
        _log.warning("the log %s cannot be written: %s", self.path, error)
        self._failure = error
        self._pending, self._pending_size = [], 0
        self.stdout.fail()
        self.stderr.fail()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def _write(path: Path, offset: int, data: bytes) -> None:
    # At the offset: what an attempt that failed or was cancelled has left there is written over.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | _BINARY, 0o666), "wb") as log:
        log.seek(offset)
        log.write(data)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as log:
        log.seek(offset)
        chunk = log.read(size)
    if not chunk:
        raise OSError(f"{path} has been cut to {offset} bytes or less")
    return chunk
