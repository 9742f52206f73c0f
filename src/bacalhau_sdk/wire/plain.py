"""JSON text to plain values; what cannot be a value of a document becomes one that no field takes, so that its path is known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

from attrs import frozen

from ..errors import DocumentSyntaxError, Problem

__all__ = [
    "ELEMENTS_MAX",
    "FEWER_HINT",
    "SIZE_MAX",
    "Unreadable",
    "has_too_many",
    "mapping",
    "read_json",
    "syntax",
    "too_many",
    "whole_number",
]

SIZE_MAX = 10_000_000
"""Characters of a document at most: the original's server takes 10 MB."""
ELEMENTS_MAX = 20_000
"""Keys and values of a document at most: what is wrong with one of them costs far more memory and time than its characters."""
FEWER_HINT = "give many files as one folder, and long lists in a file"
"""What can be done about more of them."""

_DIGITS_MAX = 20  # 64 bits have 19, and a sign


@frozen
class Unreadable:
    """Stands in the place of something that no document may have.

    Attributes:
        what: What is wrong with it.
    """

    what: str

    def __repr__(self) -> str:
        """Return what is wrong, for it may be inside of what a message shows."""
        return self.what


def syntax(message: str, hint: str = "") -> DocumentSyntaxError:
    """Make the error for a text that cannot be read."""
    return DocumentSyntaxError([Problem("", message)], hint=hint)


def too_many() -> DocumentSyntaxError:
    """Make the error for a document that has more keys and values than are read."""
    return syntax(f"the document has more than {ELEMENTS_MAX} keys and values", FEWER_HINT)


def has_too_many(value: object) -> bool:
    """Say whether plain values have more keys and values in them than are read; it looks no further than that."""
    count, pending = 1, [value]
    while pending and count <= ELEMENTS_MAX:
        each = pending.pop()
        if isinstance(each, dict):
            inner = [*cast("dict[str, object]", each).values()]
            count += len(inner)  # the keys
        elif isinstance(each, list):
            inner = cast("list[object]", each)
        else:
            continue
        count += len(inner)
        pending += inner
    return count > ELEMENTS_MAX


def mapping(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return the pairs as a mapping in which a key that came twice has no readable value."""
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = Unreadable("the key is given twice") if key in found else value
    return found


def whole_number(digits: str, base: int = 10) -> int | Unreadable:
    """Return a number, or what says that it is too large; Python's own limit is in the thousands of digits."""
    return int(digits, base) if len(digits) <= _DIGITS_MAX else Unreadable("the number is too large")


def _constant(name: str) -> Unreadable:
    return Unreadable(f"{name} is no number of JSON")


def read_json(text: str) -> object:
    """Read JSON.

    Raises:
        DocumentSyntaxError: It is none, is nested too deeply, or has too many keys and values.
    """
    try:
        value: object = json.loads(
            text, object_pairs_hook=mapping, parse_int=whole_number, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise syntax(f"this is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise syntax("the JSON is nested too deeply") from None
    if has_too_many(value):
        raise too_many()
    return value
