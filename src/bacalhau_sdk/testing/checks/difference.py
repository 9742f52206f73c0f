"""Where two values that should be the same differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs

from ...model.problems import key_path, shown

__all__ = ["difference"]


def difference(path: str, one: object, other: object) -> tuple[str, str, str] | None:
    """Return the path to the first difference, and what is there on each side, shortened; None if there is none.

    Values that are equal, but of another type, such as 1 and 1.0, differ.
    """
    if _same(one, other):
        return None
    if type(one) is type(other):
        for part, mine, its in _parts(path, one, other):
            if found := difference(part, mine, its):
                return found
        if isinstance(one, str | bytes) and shown(one) == shown(other):
            begin = _first(one, cast("str | bytes", other))
            return f"{path}[{begin}:]", shown(one[begin:]), shown(cast("str | bytes", other)[begin:])
    return path, shown(one), shown(other)


def _same(one: object, other: object) -> bool:
    return one == other and repr(one) == repr(other)


def _parts(path: str, one: object, other: object) -> Iterator[tuple[str, object, object]]:
    """Return what both of two values of the same type are made of, with the path to it."""
    kind = type(one)
    if attrs.has(kind):
        for field in attrs.fields(kind):
            if field.eq:
                yield f"{path}.{field.name}", getattr(one, field.name), getattr(other, field.name)
    elif isinstance(one, Mapping):
        left, right = cast("Mapping[object, object]", one), cast("Mapping[object, object]", other)
        for key in left:
            if key in right:
                yield key_path(path, key), left[key], right[key]
    elif isinstance(one, tuple | list):
        pairs = zip(cast("Sequence[object]", one), cast("Sequence[object]", other), strict=False)
        for index, (mine, its) in enumerate(pairs):
            yield f"{path}[{index}]", mine, its


def _first(one: str | bytes, other: str | bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))
