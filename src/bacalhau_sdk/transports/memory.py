"""Messages within this process: the values themselves are handed over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..abc.transport import Opener, Transport
from ..errors import TransportError
from ..host.channel import Channel
from ..model.message import Envelope

__all__ = ["MemoryTransport"]


class MemoryTransport(Transport):
    """Carries envelopes in this process: in order, and each once. What nobody receives yet is kept until somebody does."""

    def __init__(self) -> None:
        self._mail: dict[str, Channel[Envelope]] = {}
        self._openers: dict[str, Opener] = {}
        self._receiving: set[str] = set()

    async def _send(self, envelope: Envelope) -> None:
        self._mailbox(envelope.recipient).put_nowait(envelope)

    async def _receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        if party in self._receiving:
            raise TransportError(
                f"{party} receives already: a transport serves one cluster at a time",
                field="transport",
                hint="give each cluster a transport of its own",
            )
        self._receiving.add(party)
        mailbox = self._mailbox(party)
        try:
            while True:
                yield await mailbox.get()
        finally:
            self._receiving.discard(party)
            self._mail.pop(party, None)
            self._openers.pop(party, None)

    def _serve(self, party: str, opener: Opener) -> None:
        self._openers[party] = opener

    async def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        opener = self._openers.get(party)
        if opener is None:
            raise TransportError(f"{party} serves no streams here, so {ref} cannot be read")
        async with aclosing(opener(ref, offset)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _mailbox(self, party: str) -> Channel[Envelope]:
        return self._mail.setdefault(party, Channel())
