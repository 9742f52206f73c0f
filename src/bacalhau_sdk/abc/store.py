"""The port for records: where jobs and executions are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from ..errors import BacalhauError, StoreError
from ..model.problems import printable_lines
from ..model.record import Batch, Snapshot

__all__ = ["JobStore"]


class JobStore(ABC):
    """Keeps records.

    Guarantee: once `commit` has returned, all of the batch is kept, and a later `load` has it; when it raises, the cluster
    stops, since nothing may rest on a change that is perhaps not kept. Calls are never concurrent.
    """

    @final
    async def commit(self, batch: Batch) -> None:
        """Keep all records of a batch, or none of them.

        Raises:
            StoreError: It could not be done. A foreign exception becomes one of these.
        """
        try:
            await self._commit(batch)
        except BacalhauError:
            raise
        except Exception as error:
            raise StoreError(f"the store could not keep a batch: {printable_lines(error)}") from error

    @final
    async def load(self) -> Snapshot:
        """Return everything that is kept.

        Raises:
            StoreError: It could not be read. A foreign exception becomes one of these.
        """
        try:
            return await self._load()
        except BacalhauError:
            raise
        except Exception as error:
            raise StoreError(f"the store could not be read: {printable_lines(error)}") from error

    @abstractmethod
    async def _commit(self, batch: Batch) -> None:
        """Keep a batch; see `commit`."""

    @abstractmethod
    async def _load(self) -> Snapshot:
        """Return what is kept; see `load`."""
