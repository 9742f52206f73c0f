"""One small frozen mapping, so that specs are hashable."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import TypeVar

__all__ = ["FrozenMap"]

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V]):
    """An immutable, hashable, picklable mapping; it keeps its order and equals mappings of the same items."""

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._items = dict(items)
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        """Return the value of a key.

        Raises:
            KeyError: The key is not there.
        """
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, in their order."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        """Say whether the key is there."""
        return key in self._items

    def keys(self) -> KeysView[K]:
        """Return the keys."""
        return self._items.keys()

    def values(self) -> ValuesView[V]:
        """Return the values."""
        return self._items.values()

    def items(self) -> ItemsView[K, V]:
        """Return the pairs."""
        return self._items.items()

    def __eq__(self, other: object) -> bool:
        """Compare the items, whatever their order."""
        return self._items == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        """Hash the items, whatever their order."""
        if self._hash is None:
            self._hash = hash(frozenset(self._items.items()))
        return self._hash

    def __repr__(self) -> str:
        """Return the items as a dict shows them."""
        return f"{self._items!r}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the items only: a hash of text differs between processes."""
        return type(self), (self._items,)
