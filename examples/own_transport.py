"""A transport of your own: sockets in a folder, between processes of a user. `docs/how-to/your-own-transport.md` explains it."""

import pickle
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
from anyio.abc import ByteSendStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

import bacalhau_sdk as bac
from bacalhau_sdk.abc import Envelope, Opener, Transport


class SocketTransport(anyio.AsyncContextManagerMixin, Transport):
    def __init__(self, folder: Path, *parties: str) -> None:
        self._folder, self._parties = folder, parties
        self._here = bac.MemoryTransport()  # for what has arrived, and for the streams that are served here

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        async with AsyncExitStack() as closing, anyio.create_task_group() as tasks:
            for party in self._parties:
                listener = await anyio.create_unix_listener(self._folder / party, mode=0o600)
                closing.push_async_callback(listener.aclose)
                tasks.start_soon(listener.serve, partial(self._answer, party))
            yield self
            tasks.cancel_scope.cancel()

    async def _send(self, envelope: Envelope) -> None:
        async with await anyio.connect_unix(self._folder / envelope.recipient) as stream:
            await put(stream, envelope)

    def _receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        return self._here.receive(party)

    def _serve(self, party: str, opener: Opener) -> None:
        self._here.serve(party, opener)

    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        async with await anyio.connect_unix(self._folder / party) as stream:
            await put(stream, (ref, offset))
            buffered = BufferedByteReceiveStream(stream)
            while (chunk := await get(buffered)) is not None:
                yield chunk

    async def _answer(self, party: str, stream: SocketStream) -> None:
        with suppress(Exception):  # a stream that breaks has no end, which its reader sees
            async with stream, anyio.create_task_group() as tasks:
                request = await get(BufferedByteReceiveStream(stream))
                if isinstance(request, Envelope):
                    await self._here.send(request)
                    return
                tasks.start_soon(stop_when_closed, stream, tasks.cancel_scope)
                async with aclosing(self._here.open(party, *request)) as chunks:
                    async for chunk in chunks:
                        await put(stream, chunk)
                await put(stream, None)


async def stop_when_closed(stream: SocketStream, scope: anyio.CancelScope) -> None:
    # Whoever reads a stream sends no more, so that what can be read is the end.
    await anyio.wait_readable(stream.extra(SocketAttribute.raw_socket))
    scope.cancel()


async def put(stream: ByteSendStream, item: object) -> None:
    data = pickle.dumps(item)
    await stream.send(len(data).to_bytes(4, "big") + data)


async def get(stream: BufferedByteReceiveStream) -> Any:
    size = int.from_bytes(await stream.receive_exactly(4), "big")
    return pickle.loads(await stream.receive_exactly(size))
