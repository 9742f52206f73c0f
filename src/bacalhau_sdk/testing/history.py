"""What happened in a run, simulated or real, as a list that can be judged and written out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from ..model.frozenmap import FrozenMap

__all__ = ["History", "HistoryEntry"]

Detail = str | int | float | bool | None


@frozen
class HistoryEntry:
    """One thing that happened; the kinds and their fields are in ``docs/explanation/guarantees.md``.

    Attributes:
        time: When, in seconds of the run's clock.
        kind: What.
        job_id: The job that it happened to, or empty.
        execution_id: The execution, or empty.
        node: The node, or empty.
        state: The state that was recorded or returned, or empty.
        partition_index: Which partition, or None.
        attempt: Which try, or None.
        detail: What else belongs to the kind.
    """

    time: float
    kind: str
    job_id: str = ""
    execution_id: str = ""
    node: str = ""
    state: str = ""
    partition_index: int | None = None
    attempt: int | None = None
    detail: FrozenMap[str, Detail] = field(factory=FrozenMap[str, Detail], converter=FrozenMap[str, Detail])

    def to_json(self) -> str:
        """Return the entry as one line of JSON, without the fields that are empty."""
        values = {
            "time": self.time,
            "kind": self.kind,
            "job_id": self.job_id,
            "execution_id": self.execution_id,
            "node": self.node,
            "state": self.state,
            "partition_index": self.partition_index,
            "attempt": self.attempt,
            "detail": dict(self.detail),
        }
        return json.dumps({key: value for key, value in values.items() if value not in ("", None, {})})

    @classmethod
    def from_json(cls, line: str) -> HistoryEntry:
        """Return the entry that a line of JSON stands for.

        Raises:
            ValueError: The line is no JSON.
            TypeError: It has other fields than an entry.
        """
        return cls(**json.loads(line))


class History:
    """The entries of a run, in the order in which they happened.

    Args:
        entries: The first ones.
    """

    def __init__(self, entries: Iterable[HistoryEntry] = ()) -> None:
        self._entries = list(entries)

    def add(self, entry: HistoryEntry) -> None:
        """Add what has just happened."""
        self._entries.append(entry)

    def __iter__(self) -> Iterator[HistoryEntry]:
        """Iterate over the entries."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def to_jsonl(self) -> str:
        """Return all entries, one JSON object a line."""
        return "".join(f"{entry.to_json()}\n" for entry in self._entries)

    @classmethod
    def from_jsonl(cls, text: str) -> History:
        """Return the history that was written out.

        Raises:
            ValueError: A line is no JSON.
            TypeError: An entry has unknown fields.
        """
        return cls(HistoryEntry.from_json(line) for line in text.splitlines() if line.strip())
