"""Messages that get lost, doubled and delayed, and links that are cut, as a plan and a seed say."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import get_args

import anyio
from attrs import evolve, frozen

from ..errors import TransportError
from ..host.channel import Channel
from ..model.message import ORCHESTRATOR, Envelope, Message
from ..model.problems import Problems, invalid, is_number, several, shown, to_flag, under
from ..transports.memory import MemoryTransport
from .virtual import check_seed

__all__ = ["LinkFault", "MessageFault", "SimulatedTransport", "link", "messages"]

_KINDS = tuple(kind.__name__ for kind in get_args(Message))


@frozen
class MessageFault:
    """What happens to some messages, each by chance; `messages` makes one.

    A fault is a value; each method returns a new one. Each raises `InvalidSpecError` for an argument that makes no sense.
    """

    kinds: tuple[str, ...] = ()
    sender: str | None = None
    recipient: str | None = None
    start: float = 0.0
    end: float = math.inf
    loss: float = 0.0
    doubling: float = 0.0
    delay: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def lost(self, chance: float) -> MessageFault:
        """Lose each message with a chance above 0, up to 1."""
        return evolve(self, loss=_chance(chance, "lost"))

    def doubled(self, chance: float) -> MessageFault:
        """Deliver each message twice with a chance above 0, up to 1; the two are delayed independently."""
        return evolve(self, doubling=_chance(chance, "doubled"))

    def delayed(self, chance: float, least: float, most: float) -> MessageFault:
        """Deliver each message later with a chance above 0, up to 1, by ``least`` to ``most`` seconds, so that others pass it."""
        if not (is_number(least) and is_number(most) and 0 <= least <= most < math.inf):
            raise invalid(
                f"{shown(least)} to {shown(most)} is no range of seconds: give the smaller one first",
                "delayed",
            )
        return evolve(self, delay=_chance(chance, "delayed"), least=least, most=most)

    def between(self, start: float, end: float = math.inf) -> MessageFault:
        """Only from one time to another, in seconds since the transport was first used."""
        return evolve(self, start=start, end=_end(start, end))

    def is_for(self, envelope: Envelope, time: float) -> bool:
        """Say whether the fault is for a message that is sent now."""
        return (
            (not self.kinds or type(envelope.message).__name__ in self.kinds)
            and self.sender in (None, envelope.sender)
            and self.recipient in (None, envelope.recipient)
            and self.start <= time < self.end
        )


@frozen
class LinkFault:
    """When two parties cannot reach each other; `link` makes one.

    A fault is a value; each method returns a new one. Each raises `InvalidSpecError` for an argument that makes no sense.
    """

    first: str
    second: str
    start: float = 0.0
    end: float = 0.0
    period: float = math.inf
    one_way: bool = False

    def cut(self, start: float = 0.0, end: float = math.inf, *, one_way: bool = False) -> LinkFault:
        """Cut the link from one time to another, in seconds since the transport was first used.

        Args:
            start: When it breaks.
            end: When it is whole again.
            one_way: Whether only messages from the first party to the second are lost; streams break in any case.
        """
        flag = under("one_way", lambda: to_flag(one_way))
        return evolve(self, start=start, end=_end(start, end), one_way=flag)

    def flaps(
        self, every: float, start: float = 0.0, end: float = math.inf, *, one_way: bool = False
    ) -> LinkFault:
        """Cut the link for ``every`` seconds, leave it whole for as long, and so on; else as `cut`."""
        if not (is_number(every) and 0 < every < math.inf):
            raise invalid(f"{shown(every)} is not a number of seconds above 0", "flaps")
        return evolve(self.cut(start, end, one_way=one_way), period=every)

    def is_for(self, sender: str, recipient: str) -> bool:
        """Say whether the fault is for what one party sends to another."""
        return (sender, recipient) == (self.first, self.second) or (
            not self.one_way and (sender, recipient) == (self.second, self.first)
        )

    def is_cut(self, time: float) -> bool:
        """Say whether the link is cut at a time."""
        return self.start <= time < self.end and (time - self.start) % (2 * self.period) < self.period

    def next_cut(self, time: float) -> float:
        """Return the first time from ``time`` on at which the link is cut, or infinity."""
        if time >= self.end:
            return math.inf
        if time < self.start or self.is_cut(time):
            found = max(time, self.start)
        else:
            # It flaps, and is whole at the moment.
            found = self.start + math.ceil((time - self.start) / (2 * self.period)) * 2 * self.period
        return found if found < self.end else math.inf


def messages(*kinds: str, sender: str | None = None, recipient: str | None = None) -> MessageFault:
    """Begin an entry of the plan of a `SimulatedTransport`, for messages: ``messages("Heartbeat").lost(0.5)``.

    Args:
        kinds: The names of the types of messages, such as ``"AskForBid"`` or ``"ExecutionUpdate"``; none is every type.
        sender: The party that sends; a node's name, or ``"orchestrator"``; None is any.
        recipient: The party that they are for; None is any.

    Raises:
        InvalidSpecError: There are no messages of that type, or a party is no name.
    """
    for kind in kinds:
        if kind not in _KINDS:
            raise invalid(f"{shown(kind)} is no type of messages; those are {', '.join(_KINDS)}", "kinds")
    for name, party in (("sender", sender), ("recipient", recipient)):
        if party is not None and not isinstance(party, str):
            raise invalid(
                f"{shown(party)} is no name of a party: give a node's name, or 'orchestrator'", name
            )
    return MessageFault(kinds, sender, recipient)


def link(first: str, second: str = ORCHESTRATOR) -> LinkFault:
    """Begin an entry of the plan of a `SimulatedTransport`, for two parties: ``link("edge").cut(10, 60)``.

    Args:
        first: A node's name, or ``"orchestrator"``.
        second: The other party.

    Raises:
        InvalidSpecError: They are one party, or no names.
    """
    for name, party in (("first", first), ("second", second)):
        if not isinstance(party, str):
            raise invalid(
                f"{shown(party)} is no name of a party: give a node's name, or 'orchestrator'", name
            )
    if first == second:
        raise invalid(f"{shown(first)} has no link to itself: name two parties", "second")
    return LinkFault(first, second)


class SimulatedTransport(MemoryTransport):
    """A `MemoryTransport` on which a plan says what goes wrong.

    Every entry that is for a message has its say, in the order of the plan: it may be lost, doubled, delayed, or lost because the
    link of its parties is cut when it is sent. A stream cannot be opened, and breaks, while the link between its party and the
    orchestrator is cut. Times are seconds of the event loop since the transport was first used. The same seed and the same
    messages give the same faults.

    Args:
        plan: What goes wrong; `messages` and `link` begin an entry.
        seed: Of the chances.

    Attributes:
        story: What has gone wrong so far, one line each, in the order in which it did; for people.

    Raises:
        InvalidSpecError: An entry of the plan is none, or says nothing.
    """

    def __init__(self, plan: Iterable[MessageFault | LinkFault] = (), *, seed: int = 0) -> None:
        check_seed(seed)
        super().__init__()
        self.story: list[str] = []
        self._messages: list[MessageFault] = []
        self._links: list[LinkFault] = []
        self._chance = random.Random(seed)  # noqa: S311 - it need not be secret
        self._began: float | None = None
        problems = Problems()
        for index, fault in enumerate(several(plan)):
            if isinstance(fault, MessageFault) and (fault.loss or fault.doubling or fault.delay):
                self._messages.append(fault)
            elif isinstance(fault, LinkFault) and fault.end:
                self._links.append(fault)
            else:
                problems.add(
                    f"plan[{index}]",
                    f"{shown(fault)} does not say what goes wrong: messages().lost(0.1), say",
                )
        problems.check()

    @property
    def parties(self) -> frozenset[str]:
        """The parties that the plan names."""
        linked = {party for fault in self._links for party in (fault.first, fault.second)}
        named = {party for fault in self._messages for party in (fault.sender, fault.recipient)}
        return frozenset(linked | {party for party in named if party is not None})

    async def _send(self, envelope: Envelope) -> None:
        time = self._time()
        if any(
            fault.is_for(envelope.sender, envelope.recipient) and fault.is_cut(time) for fault in self._links
        ):
            self._tell(envelope, "lost, for the link is cut")
            return
        copies = 1
        faults = [fault for fault in self._messages if fault.is_for(envelope, time)]
        for fault in faults:
            if self._chance.random() < fault.loss:
                self._tell(envelope, "lost")
                return
            if self._chance.random() < fault.doubling:
                self._tell(envelope, "doubled")
                copies += 1
        for _ in range(copies):
            delay = sum(self._delay(fault) for fault in faults)
            if delay:
                self._tell(envelope, f"delayed by {delay:.3f} s")
            self._mailbox(envelope.recipient).put_late(anyio.current_time() + delay, envelope)

    def _delay(self, fault: MessageFault) -> float:
        if self._chance.random() < fault.delay:
            return self._chance.uniform(fault.least, fault.most)
        return 0.0

    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(super()._open(party, ref, offset)) as chunks:
            while (chunk := await self._before_cut(party, ref, chunks)) is not None:
                yield chunk

    async def _before_cut(self, party: str, ref: str, chunks: AsyncGenerator[bytes, None]) -> bytes | None:
        """Return the next chunk, or None after the last one, unless the link is cut before it is there.

        Raises:
            TransportError: It is cut.
        """
        left = self._next_cut(party) - self._time()
        if left > 0:
            with anyio.move_on_after(left):
                return await anext(chunks, None)
        self.story.append(f"{self._time():.3f} s: {ref} of {party}: broken, for the link is cut")
        raise TransportError(f"the link to {party} is cut, so {ref} cannot be read")

    def _next_cut(self, party: str) -> float:
        time = self._time()
        links = (fault for fault in self._links if {fault.first, fault.second} == {party, ORCHESTRATOR})
        return min((fault.next_cut(time) for fault in links), default=math.inf)

    def _mailbox(self, party: str) -> _Mailbox:
        """Return the channel of a party; all that this class ever makes are mailboxes."""
        mailbox = self._mail.get(party)
        if not isinstance(mailbox, _Mailbox):
            mailbox = self._mail[party] = _Mailbox()
        return mailbox

    def _time(self) -> float:
        """Return the seconds since the transport was first used."""
        now = anyio.current_time()
        if self._began is None:
            self._began = now
        return now - self._began

    def _tell(self, envelope: Envelope, what: str) -> None:
        message = envelope.message
        about = " ".join([type(message).__name__, getattr(message, "execution_id", "")]).rstrip()
        self.story.append(
            f"{self._time():.3f} s: {about} from {envelope.sender} to {envelope.recipient}: {what}"
        )


class _Mailbox(Channel[Envelope]):
    """A channel that holds back what is late."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[tuple[float, int, Envelope]] = []
        self._serial = itertools.count()
        self._waiting = anyio.CancelScope()

    def put_late(self, due: float, envelope: Envelope) -> None:
        """Add an envelope that can be taken when it is due."""
        heapq.heappush(self._late, (due, next(self._serial), envelope))
        self._waiting.deadline = min(self._waiting.deadline, due)

    async def get(self) -> Envelope:
        """Take the next envelope that is due, once there is one; a cancellation loses none."""
        while True:
            while self._late and self._late[0][0] <= anyio.current_time():
                self.put_nowait(heapq.heappop(self._late)[2])
            with anyio.CancelScope(deadline=self._late[0][0] if self._late else math.inf) as self._waiting:
                return await super().get()


def _chance(value: float, path: str) -> float:
    if not (is_number(value) and 0 < value <= 1):
        raise invalid(f"{shown(value)} is no chance above 0, up to 1", path)
    return value


def _end(start: float, end: float) -> float:
    """Return the end of a range of seconds.

    Raises:
        InvalidSpecError: The range is none.
    """
    if not (is_number(start) and is_number(end) and 0 <= start < end):
        raise invalid(
            f"{shown(start)} to {shown(end)} is no range of seconds: give the earlier one first", "start"
        )
    return end
