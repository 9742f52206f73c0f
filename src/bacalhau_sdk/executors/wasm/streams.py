"""Brings what a guest writes to its standard streams into a sink, live."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from ...abc.executor import ByteSink

__all__ = ["PIPES_HAVE_PATHS", "FileStream", "GuestStream", "PipeStream", "open_stream"]

_CHUNK = 1 << 18
_TAIL_SECONDS = 0.05
_DESCRIPTORS = Path("/dev/fd")
PIPES_HAVE_PATHS: bool = _DESCRIPTORS.exists()
"""Whether a pipe can be opened by a name; not on Windows."""


def open_stream(sink: ByteSink, scratch: Path, name: str) -> GuestStream:
    """Open one standard stream of one guest: a pipe where pipes have paths, else a file in ``scratch``."""
    if PIPES_HAVE_PATHS:
        return PipeStream(sink)
    return FileStream(sink, scratch / name)


class GuestStream(ABC):
    """One standard stream of one guest, and the way of its bytes into a sink.

    In this order: `pump`, beside the guest; `stop`, once the guest is dead; `finish`, once `pump` has ended.

    Attributes:
        path: What wasmtime opens for writing.
        midline: Whether what was written last is no end of a line.
    """

    path: str
    midline: bool = False

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._pumping = CancelScope(shield=True)
        self._draining: CancelScope | None = None
        self._hurried = False

    async def pump(self) -> None:
        """Bring over what is written until `stop` is called.

        Ignores the cancellation of the scopes around it: a guest that blocks on a full pipe cannot be killed,
        so the stream must be read until the guest is dead.
        """
        with self._pumping:
            while True:
                await self._more()
                if not self._hurried:
                    with CancelScope() as self._draining:
                        await self._sink.drain()

    def hurry(self) -> None:
        """From now on do not wait for the sink: somebody waits for the guest's death."""
        self._hurried = True
        if self._draining is not None:
            self._draining.cancel()

    def stop(self) -> None:
        """End `pump`: the guest is dead."""
        self._pumping.cancel()

    @abstractmethod
    async def finish(self) -> None:
        """Bring over what is left, without waiting for the sink, and release all; ignores cancellation."""

    @abstractmethod
    async def _more(self) -> None:
        """Wait for bytes and write them."""

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self.midline = not data.endswith(b"\n")


class PipeStream(GuestStream):
    """A stream through a pipe, which wasmtime opens by its ``/dev/fd`` name: no thread, nothing on disk.

    The death of the guest ends the stream, and not the end of the file: a process that was forked meanwhile
    may hold the writing end open for as long as it lives.
    """

    def __init__(self, sink: ByteSink) -> None:
        super().__init__(sink)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.path: str = str(_DESCRIPTORS / str(self._writer))

    async def finish(self) -> None:
        """Bring over what is left, and close the pipe."""
        os.close(self._writer)
        try:
            while self._take():
                pass
        finally:
            os.close(self._reader)

    async def _more(self) -> None:
        await anyio.wait_readable(self._reader)
        self._take()

    def _take(self) -> bool:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._write(data)
        return bool(data)


class FileStream(GuestStream):
    """A stream through a file that is read as it grows, for systems whose pipes have no path.

    What the guest writes stays on disk, beyond every cap of the sink, until the scratch folder goes.
    """

    def __init__(self, sink: ByteSink, path: Path) -> None:
        super().__init__(sink)
        self.path: str = str(path)
        self._offset = 0
        self._limiter = CapacityLimiter(1)

    async def finish(self) -> None:
        """Bring over what is left."""
        with CancelScope(shield=True):
            while await self._take():
                pass

    async def _more(self) -> None:
        if not await self._take():
            await anyio.sleep(_TAIL_SECONDS)

    async def _take(self) -> bool:
        data = await to_thread.run_sync(self._read, limiter=self._limiter)
        if data:
            self._write(data)
            self._offset += len(data)
        return bool(data)

    def _read(self) -> bytes:
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self._offset)
                return file.read(_CHUNK)
        except FileNotFoundError:  # the guest has not begun
            return b""
