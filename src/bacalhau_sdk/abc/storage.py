"""The ports for data: what fetches inputs, and what publishes results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import final

from ..errors import BacalhauError, TransientError
from ..model.data import Source
from ..model.execution import Location
from ..model.problems import printable_lines

__all__ = ["Publisher", "Storage"]


class Storage(ABC):
    """Fetches inputs of certain schemes.

    Guarantee: after `fetch`, ``into`` is a private copy, a file or a folder as the source is, with no link that leads out of
    it, no device, FIFO or socket. When it raises or is cancelled, ``into`` may hold a part, which the caller removes.

    Attributes:
        schemes: The schemes of sources that it fetches.
    """

    schemes: Sequence[str] = ()

    @final
    async def fetch(self, source: Source, into: Path) -> None:
        """Copy what a source names to ``into``, whose parent exists and which does not.

        Raises:
            InputError: It cannot be had, and no other try would help.
            TransientError: It could not be had this time. A foreign exception becomes one of these.
        """
        try:
            await self._fetch(source, into)
        except BacalhauError:
            raise
        except Exception as error:
            raise TransientError(
                f"the input {source} could not be fetched: {printable_lines(error)}"
            ) from error

    @abstractmethod
    async def _fetch(self, source: Source, into: Path) -> None:
        """Copy a source; see `fetch`."""


class Publisher(ABC):
    """Puts the results of an execution where they stay.

    Guarantee: the results are visible as a whole or not at all; once `publish` has returned they can be read at the location;
    when it raises or is cancelled, nothing is visible.
    """

    @final
    async def publish(self, directory: Path, name: str) -> Location:
        """Take over a folder of results.

        Args:
            directory: The folder; it is the publisher's from now on.
            name: A relative path, unique to the execution, for publishers that name what they keep.

        Raises:
            TransientError: It could not be done this time. A foreign exception becomes one of these.
        """
        try:
            return await self._publish(directory, name)
        except BacalhauError:
            raise
        except Exception as error:
            raise TransientError(f"the results could not be published: {printable_lines(error)}") from error

    @final
    async def discard(self, location: Location) -> None:
        """Remove what was published; nothing happens if it is gone already.

        Raises:
            TransientError: It could not be done this time. A foreign exception becomes one of these.
        """
        try:
            await self._discard(location)
        except BacalhauError:
            raise
        except Exception as error:
            raise TransientError(
                f"the results at {location.path} could not be removed: {printable_lines(error)}"
            ) from error

    @abstractmethod
    async def _publish(self, directory: Path, name: str) -> Location:
        """Take over a folder; see `publish`."""

    @abstractmethod
    async def _discard(self, location: Location) -> None:
        """Remove what was published; see `discard`."""
