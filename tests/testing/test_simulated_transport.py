"""Messages that get lost, doubled and delayed, links that are cut."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
import pytest

from bacalhau_sdk.abc import Envelope, ExecutionState
from bacalhau_sdk.errors import InvalidSpecError, TransportError
from bacalhau_sdk.model.message import AcknowledgeExecution, CancelExecution, ExecutionUpdate
from bacalhau_sdk.testing import LinkFault, MessageFault, SimulatedTransport, link, messages

HUB = "orchestrator"


def cancel(number: int, recipient: str = "edge") -> Envelope:
    return Envelope(HUB, recipient, CancelExecution(f"e-{number}"))


def update(number: int, sender: str = "edge") -> Envelope:
    return Envelope(sender, HUB, ExecutionUpdate(f"e-{number}", ExecutionState.RUNNING))


async def arrivals(
    transport: SimulatedTransport, party: str = "edge", until: float = 1000
) -> list[tuple[float, str]]:
    """Return what arrives until a time, and when."""
    found: list[tuple[float, str]] = []
    with anyio.move_on_after(until - anyio.current_time()):
        async with aclosing(transport.receive(party)) as envelopes:
            async for envelope in envelopes:
                name: str = getattr(envelope.message, "execution_id", "")
                found.append((anyio.current_time(), name))
    return found


async def send(transport: SimulatedTransport, count: int, *, every: float = 0) -> None:
    for number in range(count):
        await transport.send(cancel(number))
        await anyio.sleep(every)


# ---- Messages ----


async def test_without_a_plan_everything_arrives_once_and_in_order() -> None:
    transport = SimulatedTransport()
    await send(transport, 100)
    assert await arrivals(transport) == [(0, f"e-{number}") for number in range(100)]
    assert transport.story == []


async def test_a_chance_of_1_loses_all_that_the_entry_is_for() -> None:
    transport = SimulatedTransport([messages("CancelExecution", recipient="edge").lost(1)])
    await transport.send(cancel(1))
    await transport.send(cancel(2, recipient="rack"))
    await transport.send(Envelope(HUB, "edge", AcknowledgeExecution("e-3")))
    await transport.send(update(4))
    assert await arrivals(transport, "edge") == [(0, "e-3")]
    assert transport.story == ["0.000 s: CancelExecution e-1 from orchestrator to edge: lost"]


async def test_an_entry_may_be_for_a_sender() -> None:
    transport = SimulatedTransport([messages(sender="edge").lost(1)])
    await transport.send(update(1, "edge"))
    await transport.send(update(2, "rack"))
    assert await arrivals(transport, HUB) == [(0, "e-2")]


async def test_a_chance_is_one() -> None:
    kept: list[list[str]] = []
    for seed in (1, 1, 2):
        transport = SimulatedTransport([messages().lost(0.3)], seed=seed)
        await send(transport, 500)
        kept.append([name for _, name in await arrivals(transport, until=anyio.current_time() + 1)])
        assert len(kept[-1]) + len(transport.story) == 500
    assert kept[0] == kept[1] != kept[2]
    assert 300 < len(kept[0]) < 400


async def test_doubled_messages_arrive_twice() -> None:
    transport = SimulatedTransport([messages().doubled(1)])
    await send(transport, 2)
    assert await arrivals(transport) == [(0, "e-0"), (0, "e-0"), (0, "e-1"), (0, "e-1")]
    assert transport.story[0] == "0.000 s: CancelExecution e-0 from orchestrator to edge: doubled"


async def test_delayed_messages_are_passed_by_others() -> None:
    transport = SimulatedTransport([messages("CancelExecution").delayed(1, 5, 5)])
    await transport.send(cancel(1))
    await transport.send(Envelope(HUB, "edge", AcknowledgeExecution("e-2")))
    assert await arrivals(transport) == [(0, "e-2"), (5, "e-1")]
    assert transport.story == ["0.000 s: CancelExecution e-1 from orchestrator to edge: delayed by 5.000 s"]


async def test_delays_lie_in_their_range_and_change_the_order() -> None:
    transport = SimulatedTransport([messages().delayed(0.5, 2, 4)], seed=3)
    await send(transport, 200)
    came = await arrivals(transport)
    times = [time for time, _ in came]
    assert len(came) == 200
    assert times == sorted(times)
    assert all(time == 0 or 2 <= time <= 4 for time in times)
    assert 60 < times.count(0) < 140
    late = [name for time, name in came if time]
    assert late != sorted(late, key=lambda name: int(name[2:]))


async def test_a_copy_has_a_delay_of_its_own() -> None:
    transport = SimulatedTransport([messages().doubled(1).delayed(1, 1, 100)])
    await transport.send(cancel(1))
    (first, _), (second, _) = await arrivals(transport)
    assert first != second


async def test_who_waits_already_gets_what_is_due_sooner() -> None:
    transport = SimulatedTransport(
        [messages("CancelExecution").delayed(1, 50, 50), messages("AcknowledgeExecution").delayed(1, 5, 5)]
    )
    found: list[tuple[float, str]] = []

    async def receive() -> None:
        found.extend(await arrivals(transport))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.sleep(1)
        await transport.send(cancel(1))
        await anyio.sleep(1)
        await transport.send(Envelope(HUB, "edge", AcknowledgeExecution("e-2")))
    assert found == [(7, "e-2"), (51, "e-1")]


async def test_every_entry_has_its_say() -> None:
    transport = SimulatedTransport([messages().delayed(1, 1, 1), messages(recipient="edge").delayed(1, 2, 2)])
    await transport.send(cancel(1))
    assert await arrivals(transport) == [(3, "e-1")]


async def test_an_entry_has_its_time_counted_from_the_first_use() -> None:
    await anyio.sleep(100)
    transport = SimulatedTransport([messages().lost(1).between(3, 6)])
    await send(transport, 9, every=1)
    assert [name for _, name in await arrivals(transport)] == ["e-0", "e-1", "e-2", "e-6", "e-7", "e-8"]
    assert transport.story[0].startswith("3.000 s: ")


async def test_one_party_receives_once_at_a_time() -> None:
    transport = SimulatedTransport()
    async with aclosing(transport.receive("edge")) as first:
        await transport.send(cancel(1))
        await anext(first)
        with pytest.raises(TransportError, match="receives already"):
            await anext(transport.receive("edge"))


# ---- Links ----


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        pytest.param(link("edge").cut(3, 6), {3, 4, 5}, id="for a time"),
        pytest.param(link(HUB, "edge").cut(6), {6, 7, 8}, id="for good"),
        pytest.param(link("edge").cut(), set(range(9)), id="from the beginning"),
        pytest.param(link(HUB, "edge").cut(3, 6, one_way=True), {3, 4, 5}, id="this way"),
        pytest.param(link("edge", HUB).cut(3, 6, one_way=True), set[int](), id="the other way"),
        pytest.param(link("edge").flaps(2, 1, 8), {1, 2, 5, 6}, id="now and then"),
        pytest.param(link("rack").cut(), set[int](), id="another link"),
    ],
)
async def test_nothing_passes_a_link_that_is_cut(fault: LinkFault, lost: set[int]) -> None:
    transport = SimulatedTransport([fault])
    await send(transport, 9, every=1)
    assert [name for _, name in await arrivals(transport)] == [f"e-{n}" for n in range(9) if n not in lost]
    assert len(transport.story) == len(lost)
    assert all("lost, for the link is cut" in line for line in transport.story)


def stream(*waits: float) -> Callable[[str, int], AsyncGenerator[bytes, None]]:
    """Open a stream that sends a chunk after each wait; after one of 0 without letting anybody else run."""

    async def opener(ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        for wait in waits:
            if wait:
                await anyio.sleep(wait)
            yield f"{ref}{offset}".encode()

    return opener


async def read(transport: SimulatedTransport) -> list[tuple[float, bytes]]:
    """Return the chunks with their times, and an ``end`` if the stream does not break."""
    found: list[tuple[float, bytes]] = []
    try:
        async with aclosing(transport.open("edge", "x", 7)) as chunks:
            async for chunk in chunks:
                found += [(anyio.current_time(), chunk)]
    except TransportError:
        return found
    return [*found, (anyio.current_time(), b"end")]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(link("edge").cut(), [], id="at the start"),
        pytest.param(link("edge").cut(5), [(1, b"x7"), (4, b"x7")], id="in a wait"),
        pytest.param(link("edge", HUB).cut(5, one_way=True), [(1, b"x7"), (4, b"x7")], id="one way"),
        pytest.param(link(HUB, "edge").cut(5, 6, one_way=True), [(1, b"x7"), (4, b"x7")], id="for a moment"),
        pytest.param(link("edge").flaps(2, 2), [(1, b"x7")], id="the first of many"),
        pytest.param(
            link("rack").cut(), [(1, b"x7"), (4, b"x7"), (104, b"x7"), (104, b"end")], id="elsewhere"
        ),
        pytest.param(
            link("edge").cut(104.5), [(1, b"x7"), (4, b"x7"), (104, b"x7"), (104, b"end")], id="too late"
        ),
    ],
)
async def test_streams_break_with_their_link(fault: LinkFault, expected: list[tuple[float, bytes]]) -> None:
    transport = SimulatedTransport([fault])
    transport.serve("edge", stream(1, 3, 100))
    assert await read(transport) == expected
    if (anyio.current_time(), b"end") in expected:
        assert transport.story == []
    else:
        # It breaks when the link does, not when something would have come.
        assert anyio.current_time() == fault.start
        assert transport.story == [f"{fault.start:.3f} s: x of edge: broken, for the link is cut"]


async def test_a_stream_can_be_opened_again_when_the_link_is_whole() -> None:
    transport = SimulatedTransport([link("edge").flaps(2, 0, 5)])
    transport.serve("edge", stream(1, 0.5))
    assert await read(transport) == []
    await anyio.sleep(2)
    assert await read(transport) == [(3, b"x7"), (3.5, b"x7"), (3.5, b"end")]
    await anyio.sleep(2)
    assert len(await read(transport)) == 3


async def test_nothing_is_read_from_a_link_that_is_cut_even_if_it_is_there_at_once() -> None:
    transport = SimulatedTransport([link("edge").cut(3)])
    transport.serve("edge", stream(3, 0, 0))
    assert await read(transport) == []
    await anyio.sleep(1)
    assert await read(transport) == []
    transport = SimulatedTransport([link("edge").cut(3)])
    transport.serve("edge", stream(0, 0))
    assert await read(transport) == [(4, b"x7"), (4, b"x7"), (4, b"end")]
    await anyio.sleep(3)
    assert await read(transport) == []


async def test_a_party_that_serves_nothing_is_named() -> None:
    with pytest.raises(TransportError, match="edge serves no streams"):
        await anext(SimulatedTransport().open("edge", "x"))


@pytest.mark.parametrize(
    ("fault", "time", "expected"),
    [
        (link("edge").cut(5, 9), 0, 5),
        (link("edge").cut(5, 9), 7, 7),
        (link("edge").cut(5, 9), 9, math.inf),
        (link("edge").flaps(2, 5, 12), 6.5, 6.5),
        (link("edge").flaps(2, 5, 12), 7, 9),
        (link("edge").flaps(2, 5, 12), 11, math.inf),
        (link("edge").cut(), 10**6, 10**6),
    ],
)
def test_the_next_cut(fault: LinkFault, time: float, expected: float) -> None:
    assert fault.next_cut(time) == expected


# ---- Plans that make no sense ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: messages("Heartbeats"),
        lambda: messages().lost(0),
        lambda: messages().lost(1.1),
        lambda: messages().doubled(-0.1),
        lambda: messages().lost("often"),  # type: ignore[arg-type]
        lambda: messages().delayed(0.5, 3, 2),
        lambda: messages().delayed(0.5, -1, 2),
        lambda: messages().delayed(0.5, 1, math.inf),
        lambda: messages().delayed(0, 1, 2),
        lambda: messages().between(5, 5),
        lambda: messages().between(-1, 5),
        lambda: link("edge", "edge"),
        lambda: link("edge").cut(5, 4),
        lambda: link("edge").cut(True, 4),
        lambda: link("edge").flaps(0),
        lambda: link("edge").flaps(math.inf),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(make: Callable[[], MessageFault | LinkFault]) -> None:
    with pytest.raises(InvalidSpecError):
        make()


@pytest.mark.parametrize("fault", [messages(), messages("Heartbeat").between(1, 2), link("edge"), "lost"])
def test_an_entry_that_says_nothing_is_refused(fault: object) -> None:
    with pytest.raises(InvalidSpecError, match=r"plan\[1\]: .* does not say what goes wrong"):
        SimulatedTransport([messages().lost(1), fault])  # type: ignore[list-item]
