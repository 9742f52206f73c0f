"""Checks of transports."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeAlias

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field

from ...abc.transport import Transport
from ...errors import TransportError
from ...model.message import ORCHESTRATOR, CancelExecution, Envelope
from ...model.problems import shown
from .check import WATCH, BrokenPromiseError, Check, Promises, awaiting, expect
from .records import envelopes

__all__ = ["TRANSPORT_CHECKS", "MakeEnds"]

MakeEnds: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[Transport, Transport]]]
"""Gives, for a block, the transport of the party ``"orchestrator"`` and that of ``"edge"``; it may be the same one."""

_EDGE = "edge"
_AGAIN = 0.25
"""Seconds after which what may have been lost is sent again."""

_HOPELESS = 5.0
"""Seconds of nothing but errors after which sending is given up; before that, an end may still be about to connect."""

_CLOSED = 3.0
"""Seconds within which the end of a stream is known where it is served."""

_UNCHANGED = "an envelope arrives unchanged or not at all"
_RELIABLE = "Streams are live, and reliable up to the point where they break"
_TOLD = f"{_RELIABLE}, which is told from their end"
_note: Promises[MakeEnds] = Promises()


# ---- Envelopes ----


@_note(Transport, _UNCHANGED)
async def _envelopes_arrive_unchanged(make: MakeEnds) -> None:
    to_hub, to_edge = envelopes()
    async with make() as (hub, edge):
        for sender, receiver, party, sent in ((edge, hub, ORCHESTRATOR, to_hub), (hub, edge, _EDGE, to_edge)):
            known = {repr(envelope) for envelope in sent}
            for came in await _exchange(sender, receiver, party, sent):
                expect(
                    came in sent and repr(came) in known,
                    f"{shown(came)} arrived at {party} and was never sent",
                )


@_note(Transport, "Return what arrives for a party from now on")
async def _an_envelope_arrives_only_at_its_recipient(make: MakeEnds) -> None:
    sent = [Envelope(ORCHESTRATOR, _EDGE, CancelExecution(f"e-{number}")) for number in range(20)]
    strangers: list[Envelope] = []

    async def listen(hub: Transport) -> None:
        async with aclosing(hub.receive(ORCHESTRATOR)) as arriving:
            strangers.append(await anext(arriving))

    async with make() as (hub, edge), anyio.create_task_group() as tasks:
        tasks.start_soon(listen, hub)
        await _exchange(hub, edge, _EDGE, sent)
        await anyio.sleep(WATCH)
        tasks.cancel_scope.cancel()
    expect(not strangers, f"{shown(strangers[:1])} arrived at the orchestrator")


@_note(Transport, "returning says nothing about arrival")
async def _sending_to_nobody_returns(make: MakeEnds) -> None:
    async with make() as (hub, _):
        for number in range(50):
            await _send(hub, Envelope(ORCHESTRATOR, "nobody", CancelExecution(f"e-{number}")))


@_note(Transport, "returning says nothing about arrival")
async def _sending_does_not_wait_for_the_receiver(make: MakeEnds) -> None:
    to_hub, _ = envelopes()
    async with make() as (_, edge):
        for _ in range(20):
            for envelope in to_hub:
                await _send(edge, envelope)


@_note(Transport, "Close it when it is left early.")
async def _a_party_that_left_can_receive_again(make: MakeEnds) -> None:
    sent: list[Envelope] = []
    async with make() as (hub, edge):
        for number in range(3):
            earlier = tuple(sent)  # of which a copy may be on its way still
            sent.append(Envelope(ORCHESTRATOR, _EDGE, CancelExecution(f"e-{number}")))
            await _exchange(hub, edge, _EDGE, sent[-1:], earlier)


@_note(Transport, "Return what arrives for a party from now on")
async def _receiving_can_be_cancelled(make: MakeEnds) -> None:
    async with make() as (hub, _):
        with anyio.move_on_after(0.05) as scope:
            async with aclosing(hub.receive(ORCHESTRATOR)) as arriving:
                async for envelope in arriving:
                    expect(False, f"{shown(envelope)} arrived and was never sent")
            expect(False, "receiving ended although the transport is open")
        expect(scope.cancelled_caught, "receiving swallowed a cancellation")


# ---- Streams ----


@_note(Transport, _RELIABLE)
async def _a_stream_arrives_whole_and_in_order(make: MakeEnds) -> None:
    data = bytes(range(256)) * 8192
    sizes = (0, 1, 7, 65536, 1000, 300_000, len(data))

    async def opener(_ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        place = offset
        for size in sizes:
            yield data[place : place + size]
            place += size

    async with make() as (hub, edge):
        edge.serve(_EDGE, opener)
        for offset in (0, 1, 100_000, len(data)):
            read = await _read(hub, _EDGE, "logs/e-1", offset)
            expect(
                read == data[offset:],
                f"{len(read)} bytes were read from offset {offset}, {_compare(read, data[offset:])}",
            )


@_note(Transport, "a reference and an offset in bytes")
async def _a_stream_is_opened_as_it_was_asked_for(make: MakeEnds) -> None:
    asked: list[tuple[str, int]] = []

    async def opener(ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        asked.append((ref, offset))
        yield f"{ref} {offset}".encode()

    wanted = [("logs/e-1", 0), ("logs/e-ä b", 1), ("x" * 200, 2**40)]
    async with make() as (hub, edge):
        for opening, serving, party in ((hub, edge, _EDGE), (edge, hub, ORCHESTRATOR)):
            asked.clear()
            serving.serve(party, opener)
            for ref, offset in wanted:
                read = await _read(opening, party, ref, offset)
                expect(read == f"{ref} {offset}".encode(), f"{ref!r} from {offset} was read as {read!r}")
            expect(asked == wanted, f"{wanted} was asked for, the opener of {party} was called with {asked}")


@_note(Transport, _RELIABLE)
async def _a_chunk_arrives_before_the_next_one_is_there(make: MakeEnds) -> None:
    arrived = [anyio.Event() for _ in range(3)]

    async def opener(_ref: str, _offset: int) -> AsyncGenerator[bytes, None]:
        for event in arrived:
            yield b"line\n"
            await event.wait()

    async with make() as (hub, edge):
        edge.serve(_EDGE, opener)
        read = b""
        async with aclosing(hub.open(_EDGE, "logs/e-1")) as chunks:
            async for chunk in chunks:
                read += chunk
                for event in arrived[: len(read) // 5]:
                    event.set()
        expect(read == b"line\n" * 3, f"three lines were read as {read!r}")


@_note(Transport, _RELIABLE)
async def _streams_are_not_mixed(make: MakeEnds) -> None:
    async def opener(ref: str, _offset: int) -> AsyncGenerator[bytes, None]:
        for _ in range(50):
            await checkpoint()
            yield ref.encode() * 100

    async with make() as (hub, edge), anyio.create_task_group() as tasks:
        edge.serve(_EDGE, opener)

        async def read(name: str) -> None:
            expect(await _read(hub, _EDGE, name) == name.encode() * 5000, f"the stream {name} is another one")

        for number in range(8):
            tasks.start_soon(read, str(number))


@_note(Transport, "the party or the stream is not there")
async def _what_is_not_there_cannot_be_opened(make: MakeEnds) -> None:
    async def opener(ref: str, _offset: int) -> AsyncGenerator[bytes, None]:
        if ref != "logs/e-1":
            raise TransportError(f"{_EDGE} has no stream {ref}")
        yield b"line\n"

    async with make() as (hub, edge):
        await _breaks(hub, _EDGE, "a stream of a party that serves none")
        edge.serve(_EDGE, opener)
        await _breaks(hub, "nobody", "a stream of a party that is not there")
        await _breaks(hub, _EDGE, "a stream that is not there", ref="logs/e-2")
        expect(
            await _read(hub, _EDGE, "logs/e-1") == b"line\n",
            "a stream that is there could not be read afterwards",
        )


@_note(Transport, _TOLD)
async def _a_stream_that_breaks_does_not_end_as_if_it_was_whole(make: MakeEnds) -> None:
    async def opener(ref: str, _offset: int) -> AsyncGenerator[bytes, None]:
        yield b"line\n"
        if ref == "refused":
            raise TransportError("the log is gone")
        raise RuntimeError("a fault of whoever serves it")

    async with make() as (hub, edge):
        edge.serve(_EDGE, opener)
        for ref in ("refused", "fault"):
            await _breaks(hub, _EDGE, "a stream whose opener raises", ref=ref, before=b"line\n")


@_note(Transport, "closing an iteration of `open` closes that of the opener")
async def _closing_a_stream_closes_it_where_it_is_served(make: MakeEnds) -> None:
    open_ones = _Open()
    async with make() as (hub, edge):
        edge.serve(_EDGE, open_ones.opener)
        async with aclosing(hub.open(_EDGE, "left")) as chunks:
            async for _ in chunks:
                break
        await open_ones.none("a reader has left early")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, hub, _EDGE, "cancelled")
            await open_ones.some()
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        await open_ones.none("a reader was cancelled")


TRANSPORT_CHECKS: tuple[Check[MakeEnds], ...] = tuple(_note)
"""The promises of `bacalhau_sdk.abc.Transport`; each is called with a function that returns an async context manager, which gives
two ends: the transport that the party ``"orchestrator"`` uses, and the one of ``"edge"``; one transport may be both."""


@define
class _Open:
    """Counts the iterations of an opener that never end by themselves."""

    count: int = 0
    begun: anyio.Event = field(factory=anyio.Event)
    changed: anyio.Event = field(factory=anyio.Event)

    async def opener(self, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        self.count += 1
        self.begun.set()
        try:
            yield b"line\n"
            await anyio.sleep_forever()
        finally:
            self.count -= 1
            self.begun = anyio.Event()
            self.changed.set()

    async def some(self) -> None:
        await self.begun.wait()

    async def none(self, when: str) -> None:
        with anyio.move_on_after(_CLOSED):
            while self.count:
                self.changed = anyio.Event()
                await self.changed.wait()
        expect(not self.count, f"after {when}, what the opener yields is still held open")


async def _exchange(
    sender: Transport,
    receiver: Transport,
    party: str,
    sent: Sequence[Envelope],
    earlier: Sequence[Envelope] = (),
) -> list[Envelope]:
    """Send envelopes, again and again, until each has arrived; return all that has arrived, also of what was sent earlier."""
    came: list[Envelope] = []
    missing = list(sent)
    sending = _Sending(sender)

    async def send() -> None:
        while True:
            for envelope in tuple(missing):
                await sending.send(envelope)
            await anyio.sleep(_AGAIN)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        async with aclosing(receiver.receive(party)) as arriving:
            with awaiting(lambda: f"{shown(missing[0])} has not arrived at {party}{sending.trouble}"):
                async for envelope in arriving:
                    came.append(envelope)
                    expect(
                        envelope in sent or envelope in earlier,
                        f"{shown(envelope)} arrived at {party} and was never sent",
                    )
                    if envelope in missing:
                        missing.remove(envelope)
                    if not missing:
                        break
                else:
                    expect(False, f"receiving ended before {shown(missing[0])} had arrived")
        tasks.cancel_scope.cancel()
    return came


@define
class _Sending:
    """Sends by a transport, and gives up when nothing comes of it but errors."""

    transport: Transport
    failing_since: float = math.inf
    trouble: str = ""

    async def send(self, envelope: Envelope) -> None:
        error = await _send(self.transport, envelope)
        if error is None:
            self.failing_since = math.inf
            return
        self.trouble = f", sending has raised {_words(error)}"
        self.failing_since = min(self.failing_since, now := anyio.current_time())
        if now - self.failing_since >= _HOPELESS:
            raise BrokenPromiseError(
                f"{shown(envelope)} has not arrived at {envelope.recipient}: for {_HOPELESS:g} seconds, each send "
                f"has raised {_words(error)}"
            ) from error


def _words(error: TransportError) -> str:
    """Return type and words of an error; of the foreign one that the port has made this of, if it has."""
    foreign = error.__cause__
    first = foreign if foreign is not None and str(error).endswith(f": {foreign}") else error
    return f"{type(first).__name__}: {first}"


async def _send(transport: Transport, envelope: Envelope) -> TransportError | None:
    """Send; that it cannot even be tried, which is returned, is as good as lost."""
    try:
        await transport.send(envelope)
    except TransportError as error:
        await checkpoint()
        return error
    return None


async def _read(transport: Transport, party: str, ref: str, offset: int = 0) -> bytes:
    async with aclosing(transport.open(party, ref, offset)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def _breaks(
    transport: Transport, party: str, what: str, *, ref: str = "logs/e-1", before: bytes = b""
) -> None:
    """See that a stream breaks with an error, and what came before."""
    read = b""
    try:
        async with aclosing(transport.open(party, ref)) as chunks:
            async for chunk in chunks:
                read += chunk
    except TransportError:
        expect(before.startswith(read), f"{what} gave {read!r}, the opener yields {before!r}")
        return
    expect(False, f"{what} was read to its end, as {read!r}, without a TransportError")


def _compare(read: bytes, whole: bytes) -> str:
    if len(read) != len(whole):
        return f"and there are {len(whole)}"
    first = next(
        (place for place, (one, other) in enumerate(zip(read, whole, strict=True)) if one != other), math.nan
    )
    return f"and they differ from byte {first} on"
