"""Transports that break one promise each, and the check that catches it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable

import anyio
import pytest
from attrs import evolve

from bacalhau_sdk.abc import Envelope, Transport
from bacalhau_sdk.errors import TransportError
from bacalhau_sdk.testing.checks import TRANSPORT_CHECKS, Check, MakeEnds
from bacalhau_sdk.transports.memory import MemoryTransport
from tests.testing.checks.broken import cases, catches
from tests.testing.checks.kits import one


class ForgetsTheSequence(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        await super()._send(evolve(envelope, sequence=0))


class MakesFloats(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        await super()._send(evolve(envelope, sequence=float(envelope.sequence)))  # type: ignore[arg-type]


class LosesLargeOnes(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        if len(str(envelope)) < 50_000:
            await super()._send(envelope)


class SendsToAll(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        for party in ("edge", "orchestrator"):
            self._mailbox(party).put_nowait(envelope)


class WaitsForTheParty(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        while envelope.recipient not in self._receiving:
            await anyio.sleep(0.01)
        await super()._send(envelope)


class HasRoomForFew(MemoryTransport):
    def __init__(self) -> None:
        super().__init__()
        self._room = 100

    async def _send(self, envelope: Envelope) -> None:
        while not self._room:
            await anyio.sleep(0.01)
        self._room -= 1
        await super()._send(envelope)


class ReceivesOnce(MemoryTransport):
    def __init__(self) -> None:
        super().__init__()
        self._received = False

    async def _receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        if self._received:
            raise TransportError(f"{party} received already")
        self._received = True
        while True:
            yield await self._mailbox(party).get()


class EndsWhenCancelled(MemoryTransport):
    async def _receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        try:
            while True:
                yield await self._mailbox(party).get()
        except anyio.get_cancelled_exc_class():
            return


class Streams(MemoryTransport):
    """Opens streams; those below do it wrongly."""

    def chunks(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        return super()._open(party, ref, offset)


class LosesChunks(Streams):
    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        number = 0
        async for chunk in self.chunks(party, ref, offset):
            number += 1
            if number != 5:
                yield chunk


class Swaps(Streams):
    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        chunks = [chunk async for chunk in self.chunks(party, ref, offset)]
        for chunk in reversed(chunks):
            yield chunk


class ForgetsTheOffset(Streams):
    def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        return self.chunks(party, ref, 0)


class ShortensTheReference(Streams):
    def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        return self.chunks(party, ref[:100], offset)


class ShowsTheWhole(Streams):
    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        yield b"".join([chunk async for chunk in self.chunks(party, ref, offset)])


class MixesStreams(Streams):
    def __init__(self) -> None:
        super().__init__()
        self._ref = ""

    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        self._ref = ref
        await anyio.sleep(0.01)
        async for chunk in self.chunks(party, self._ref, offset):
            yield chunk


class EndsWhatIsNotThere(Streams):
    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        if party in self._openers:
            async for chunk in self.chunks(party, ref, offset):
                yield chunk


class EndsWhatBreaks(Streams):
    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        chunks = self.chunks(party, ref, offset)
        yield await anext(chunks)
        try:
            async for chunk in chunks:
                yield chunk
        except (TransportError, RuntimeError):
            return


class KeepsOpeners(Streams):
    def __init__(self) -> None:
        super().__init__()
        self._kept: list[AsyncGenerator[bytes, None]] = []

    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        self._kept.append(self._openers[party](ref, offset))
        async for chunk in self._kept[-1]:
            yield chunk


BROKEN: dict[str, list[tuple[Callable[[], Transport], str]]] = {
    "envelopes arrive unchanged": [
        (ForgetsTheSequence, "was never sent"),
        (MakesFloats, "was never sent"),
        (LosesLargeOnes, "it was not done after 1 seconds"),
    ],
    "an envelope arrives only at its recipient": [(SendsToAll, "arrived at the orchestrator")],
    "sending to nobody returns": [(WaitsForTheParty, "it was not done after 1 seconds")],
    "sending does not wait for the receiver": [
        (WaitsForTheParty, "it was not done after 1 seconds"),
        (HasRoomForFew, "it was not done after 1 seconds"),
    ],
    "a party that left can receive again": [(ReceivesOnce, "TransportError: edge received already")],
    "receiving can be cancelled": [(EndsWhenCancelled, "receiving ended although")],
    "a stream arrives whole and in order": [
        (LosesChunks, "bytes were read from offset 0"),
        (Swaps, "they differ from byte 0 on"),
    ],
    "a stream is opened as it was asked for": [
        (ForgetsTheOffset, "was read as b'logs"),
        (ShortensTheReference, "was read as b'xxx"),
    ],
    "a chunk arrives before the next one is there": [(ShowsTheWhole, "it was not done after 1 seconds")],
    "streams are not mixed": [(MixesStreams, "is another one")],
    "what is not there cannot be opened": [(EndsWhatIsNotThere, "without a TransportError")],
    "a stream that breaks does not end as if it was whole": [(EndsWhatBreaks, "without a TransportError")],
    "closing a stream closes it where it is served": [(KeepsOpeners, "is still held open")],
}


@pytest.mark.parametrize(("check", "make", "seen"), cases(TRANSPORT_CHECKS, BROKEN))
async def test_it_is_caught(check: Check[MakeEnds], make: Callable[[], Transport], seen: str) -> None:
    await catches(check, one(make), seen, limit=1 if "after 1 seconds" in seen else math.inf)
