"""Transports that break one promise each, and the check that catches it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import evolve

from bacalhau_sdk.abc import Envelope, Transport
from bacalhau_sdk.errors import TransportError
from bacalhau_sdk.testing.checks import TRANSPORT_CHECKS, Check, CheckFailedError, MakeEnds
from bacalhau_sdk.transports.memory import MemoryTransport
from tests.testing.checks.broken import HasTasks, cases, catches
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


class LosesAll(MemoryTransport):
    async def _send(self, envelope: Envelope) -> None:
        await anyio.sleep(0)


class LosesAfterAnError(MemoryTransport):
    sent = 0

    async def _send(self, envelope: Envelope) -> None:
        self.sent += 1
        if self.sent == 1:
            raise ConnectionError("not connected yet")
        await anyio.sleep(0)


class CannotSend(MemoryTransport):
    """Has a typing error."""

    async def _send(self, envelope: Envelope) -> None:
        raise AttributeError("'Peer' object has no attribute 'sendd'")


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
        (LosesLargeOnes, "it was not done after 1 seconds: Envelope(sender='edge', recipient='orc"),
        (LosesAll, "it was not done after 1 seconds: Envelope(sender='edge', recipient='orc"),
        (LosesAfterAnError, "it was not done after 1 seconds: Envelope(sender='edge', recipient='orc"),
        (CannotSend, "each send has raised AttributeError: 'Peer' object has no attribute 'sendd'"),
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


async def test_what_is_missing_is_told_and_what_sending_raised() -> None:
    with pytest.raises(
        CheckFailedError, match=r"execution_id='e-0'\), sequence=0\) has not arrived at edge\n"
    ):
        await REACHES_ONE(one(LosesAll), limit=0.5)
    missing = r"has not arrived at edge, sending has raised ConnectionError: not connected yet"
    with pytest.raises(CheckFailedError, match=missing):
        await REACHES_ONE(one(LosesAfterAnError), limit=0.5)


async def test_a_transport_that_cannot_send_is_given_up_with_its_error() -> None:
    with pytest.raises(CheckFailedError, match="has not arrived at edge: for 5 seconds") as raised:
        await REACHES_ONE(one(CannotSend), limit=math.inf)
    assert isinstance(raised.value.__cause__, TransportError)
    assert isinstance(raised.value.__cause__.__cause__, AttributeError)


# ---- What a transport may do ----


class Late(HasTasks, MemoryTransport):
    """Delivers after the time in which the checks send again."""

    async def _send(self, envelope: Envelope) -> None:
        self.tasks.start_soon(self._later, envelope)

    async def _later(self, envelope: Envelope) -> None:
        await anyio.sleep(0.3)
        await super()._send(envelope)


class OneBehind(MemoryTransport):
    """Delivers an envelope when the next one is sent."""

    _last: Envelope | None = None

    async def _send(self, envelope: Envelope) -> None:
        last, self._last = self._last, envelope
        if last is not None:
            await super()._send(last)


class ConnectsSlowly(MemoryTransport):
    """Cannot send in its first second."""

    _since = math.nan

    async def _send(self, envelope: Envelope) -> None:
        now = anyio.current_time()
        if math.isnan(self._since):
            self._since = now
        if now < self._since + 1:
            raise ConnectionError("not connected yet")
        await super()._send(envelope)


REACHES_ONE = next(check for check in TRANSPORT_CHECKS if "only at its recipient" in check.name)
OF_ENVELOPES = TRANSPORT_CHECKS[:6]


@asynccontextmanager
async def late() -> AsyncGenerator[tuple[Transport, Transport], None]:
    async with Late() as transport:
        yield transport, transport


@pytest.mark.parametrize(
    "make", [late, one(OneBehind), one(ConnectsSlowly)], ids=["late", "one behind", "connects slowly"]
)
@pytest.mark.parametrize("check", OF_ENVELOPES, ids=str)
async def test_what_a_transport_may_do_is_not_held_against_it(check: Check[MakeEnds], make: MakeEnds) -> None:
    await check(make)
