"""The port for messages and streams between parties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeAlias, TypeVar, final

from ..errors import BacalhauError, TransportError
from ..model.message import Envelope
from ..model.problems import printable_lines

__all__ = ["Opener", "Transport"]

T = TypeVar("T")

Opener: TypeAlias = Callable[[str, int], AsyncGenerator[bytes, None]]
"""Opens a stream of its party: a reference and an offset in bytes to chunks of bytes."""


class Transport(ABC):
    """Carries envelopes between parties, and opens their streams.

    Guarantee: an envelope arrives unchanged or not at all. It may be lost, doubled, reordered or delayed: whoever sends must be
    able to send again, and whoever receives must bear to receive twice. Streams are live, and reliable up to the point where they
    break, which is told from their end; closing an iteration of `open` closes that of the opener.
    """

    @final
    async def send(self, envelope: Envelope) -> None:
        """Send an envelope towards its recipient; returning says nothing about arrival.

        Raises:
            TransportError: It could not even be tried. A foreign exception becomes one of these.
        """
        try:
            await self._send(envelope)
        except BacalhauError:
            raise
        except Exception as error:
            raise TransportError(
                f"a message to {envelope.recipient} could not be sent: {printable_lines(error)}"
            ) from error

    @final
    async def receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        """Return what arrives for a party from now on; one iteration a party. Close it when it is left early.

        Raises:
            TransportError: While iterating: nothing more can arrive. A foreign exception becomes one of these.
        """
        async with _translated(self._receive(party), f"messages for {party}") as envelopes:
            async for envelope in envelopes:
                yield envelope

    @final
    def serve(self, party: str, opener: Opener) -> None:
        """Let others open streams of a party."""
        self._serve(party, opener)

    @final
    async def open(self, party: str, ref: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Return a stream of a party from an offset in bytes; close the iteration when it is left early.

        Raises:
            TransportError: While iterating: the party or the stream is not there. A foreign exception becomes one of these.
        """
        async with _translated(self._open(party, ref, offset), f"{ref} of {party}") as chunks:
            async for chunk in chunks:
                yield chunk

    @abstractmethod
    async def _send(self, envelope: Envelope) -> None:
        """Send an envelope; see `send`."""

    @abstractmethod
    def _receive(self, party: str) -> AsyncGenerator[Envelope, None]:
        """Return what arrives; see `receive`."""

    @abstractmethod
    def _serve(self, party: str, opener: Opener) -> None:
        """Register an opener; see `serve`."""

    @abstractmethod
    def _open(self, party: str, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Open a stream; see `open`."""


@asynccontextmanager
async def _translated(
    items: AsyncGenerator[T, None], what: str
) -> AsyncGenerator[AsyncGenerator[T, None], None]:
    """Iterate over what a transport yields, and close it; a foreign exception becomes a `TransportError`."""
    try:
        async with aclosing(items):
            yield items
    except BacalhauError:
        raise
    except Exception as error:
        raise TransportError(f"{what} cannot be read: {printable_lines(error)}") from error
