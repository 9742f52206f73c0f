"""One row of the tables of wrong input: what is given, and what the library says to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

from attrs import frozen

from bacalhau_sdk import errors
from bacalhau_sdk.errors import BacalhauError, InvalidSpecError

LENGTH_MAX = 1200  # characters of a message: about a screen of a terminal
CONTROL, RIGHT_TO_LEFT, SURROGATE = "bell\a\x1b[31m", "abc\u202egpj.exe", "half\ud800"
HUGE = 10**5000  # more digits than Python writes


@frozen
class Row:
    """Something wrong, and how it is refused.

    Attributes:
        name: What is wrong, in words; with the name of its table the id of its test.
        give: Does it. In a table of values, takes nothing and makes the value; in one of jobs, takes a `Site`, and is awaited.
        field: ``field`` of the error: the argument or the field of the spec that is to blame.
        says: A part of the message: what is wrong.
        todo: A part of what the user is told to do: of the hint, or of the message where there is none, which only an
            `InvalidSpecError` may do.
        error: The type of the error.
        code: Its stable code; of a `JobFailedError`, ``failure_code``.
    """

    name: str
    give: Callable[..., Any]
    field: str
    says: str
    todo: str
    error: type[BacalhauError] = InvalidSpecError
    code: str = "spec.invalid"

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def check(self, error: BaseException) -> None:
        """See that an error is the one of this row, and fit to be read."""
        assert type(error) is self.error, f"{type(error).__name__}: {error}"
        found = getattr(error, "failure_code", "") or error.code
        assert (found, error.field) == (self.code, self.field), str(error)
        assert self.says in error.message, str(error)
        assert self.todo, "a row says what is to be done"
        told = error.hint or (error.message if self.error is InvalidSpecError else "")
        assert self.todo in told, str(error)
        assert str(error).startswith(error.message)
        assert error.hint in str(error)
        assert str(error).replace("\n", " ").isprintable(), ascii(str(error))
        assert len(str(error)) < LENGTH_MAX, f"{len(str(error))} characters"


class Unshowable:
    """An object that raises whatever is done with it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError("leave me alone")

    __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __len__ = __index__ = __float__ = _refuse


class BytesPath:
    """An object whose path is no text."""

    def __fspath__(self) -> bytes:
        return b"/bytes"


NAN, INFINITY = math.nan, math.inf
FAILED = errors.JobFailedError
