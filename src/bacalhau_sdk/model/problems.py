"""Collects every problem of a value before one error reports them all."""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard, TypeVar, cast

from ..errors import InvalidSpecError, Problem

__all__ = [
    "Problems",
    "check_async_function",
    "first_failure",
    "invalid",
    "is_number",
    "is_text",
    "key_path",
    "printable",
    "printable_lines",
    "several",
    "shown",
    "shown_path",
    "to_flag",
    "under",
]

T = TypeVar("T")
F = TypeVar("F")

_SHOWN_LENGTH = 80
_PATH_LENGTH = 300
_WRAPPERS_MAX = 100
_LARGEST = math.nextafter(math.inf, 0)
_REPR, _PATH_REPR = reprlib.Repr(), reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _SHOWN_LENGTH
_PATH_REPR.maxstring = _PATH_LENGTH
# No file system, environment or encoding can carry these.
_NUL_OR_SURROGATE = re.compile("[\0\ud800-\udfff]")


def invalid(message: str, path: str = "") -> InvalidSpecError:
    """Make the error for one problem; the caller's path is put in front of ``path`` later."""
    return InvalidSpecError([Problem(path, message)])


def shown(value: object) -> str:
    """Write any value for a message: short, in printable characters, and without an exception of its own."""
    if isinstance(value, str | bytes | bytearray):
        value = value[: 2 * _SHOWN_LENGTH]
    try:
        return printable(_REPR.repr(value))  # a repr may be a stranger's
    except Exception:  # noqa: BLE001 - the repr of a stranger's object may raise anything, as may that of a huge int
        return f"<{type(value).__name__}>"


def shown_path(path: object) -> str:
    """Write a path for a message, in printable characters; it is cut only where nobody would read it."""
    return _PATH_REPR.repr(str(path))


def printable(words: object) -> str:
    """Return what a stranger says as one line that is fit for a terminal: what cannot be printed there is escaped."""
    text = str(words)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_lines(words: object) -> str:
    """Return what a stranger says as `printable` does, but lines stay lines."""
    return "\n".join(map(printable, str(words).replace("\r\n", "\n").split("\n")))


def key_path(path: str, key: object) -> str:
    """Return the path of an item of a mapping: ``env.PATH``; a key that is no short plain text is quoted."""
    plain = isinstance(key, str) and key.isprintable() and 0 < len(key) <= _SHOWN_LENGTH
    return f"{path}.{key if plain else shown(key)}"


def first_failure(error: BaseException) -> BaseException:
    """Return the first exception of a group, however deep, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return first_failure(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error


def is_text(value: object) -> TypeGuard[str]:
    """Say whether a value is a text without NUL and without lone surrogates."""
    return isinstance(value, str) and _NUL_OR_SURROGATE.search(value) is None


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a number that can be a float: not True, not False, not NaN, no whole number of 400 digits."""
    if isinstance(value, float):
        return not math.isnan(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def to_flag(value: object) -> bool:
    """Return a value that is True or False.

    Raises:
        InvalidSpecError: It is something else, however true.
    """
    if not isinstance(value, bool):
        raise invalid(f"{shown(value)} is not True or False")
    return value


def check_async_function(value: object) -> None:
    """See that what a value runs when it is called was written with ``async def``.

    It may be that function, a method, an object whose class has such a ``__call__``, or one of these in `functools.partial`, or
    in a decorator that uses `functools.wraps`. What a lambda or a plain function would return shows only when it is called.

    Raises:
        InvalidSpecError: It is something else.
    """
    call = value
    for _ in range(_WRAPPERS_MAX):
        if inspect.iscoroutinefunction(call):
            return
        if isinstance(call, partial):
            call = cast("partial[object]", call).func
        elif callable(wrapped := getattr(call, "__wrapped__", None)):
            call = wrapped
        elif inspect.isroutine(call):
            call = getattr(call, "__func__", None)
        else:
            call = type(call).__call__ if callable(call) else None
        if call is None:
            break
    raise invalid(
        f"{shown(value)} is not an async function: write 'async def' instead of a plain 'def' or a lambda, "
        "and functools.partial to give it arguments; what runs in a thread could not be stopped"
    )


def several(values: object) -> list[object]:
    """Return what an argument holds; a text, bytes, a mapping, or what has no iterator, counts as one."""
    if isinstance(values, str | bytes | Mapping):
        return [cast("object", values)]
    try:
        return list(cast("Iterable[object]", values))
    except TypeError:
        return [values]


def under(path: str, convert: Callable[[], T]) -> T:
    """Return what ``convert`` makes.

    Raises:
        InvalidSpecError: What ``convert`` raised, with ``path`` in front.
    """
    problems = Problems()
    made = problems.convert(path, convert, None)
    problems.check()
    return cast("T", made)


class Problems:
    """Gathers problems with the paths of their fields; `check` raises what was gathered."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __bool__(self) -> bool:
        """Say whether a problem was noted."""
        return bool(self._found)

    def add(self, path: str, message: str) -> None:
        """Note one problem."""
        self._found.append(Problem(path, message))

    @contextmanager
    def at(self, path: str) -> Generator[None]:
        """Note, under ``path``, the problems of an `InvalidSpecError` that the block raises."""
        try:
            yield
        except InvalidSpecError as error:
            for problem in error.problems:
                self.add(".".join(part for part in (path, problem.path) if part), problem.message)

    def convert(self, path: str, convert: Callable[[], T], fallback: F) -> T | F:
        """Return what ``convert`` makes, or the fallback once its problems are noted under ``path``."""
        with self.at(path):
            return convert()
        return fallback

    def check(self, hint: str = "") -> None:
        """Raise what was gathered.

        Raises:
            InvalidSpecError: At least one problem was noted.
        """
        if self._found:
            raise InvalidSpecError(self._found, hint=hint)
