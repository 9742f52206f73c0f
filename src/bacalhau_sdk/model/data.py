"""What goes into a job: sources of bytes, and what becomes of them on the node."""

from __future__ import annotations

import re
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import Attribute, field, frozen

from .problems import invalid, is_text, shown, under

__all__ = [
    "BytesSource",
    "Input",
    "LogEntry",
    "PathLike",
    "PathSource",
    "Source",
    "UrlSource",
    "local_path",
    "to_input",
    "to_source",
]

# At least two characters: "C://data" is a path of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*", re.DOTALL)


def _check_path(_: object, attribute: Attribute[Any], value: object) -> None:
    if not is_text(value) or not value:
        raise invalid(f"{shown(value)} is not a path: a text without NUL and lone surrogates", attribute.name)


def _check_bytes(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bytes):
        raise invalid(f"{shown(value)} is not bytes", attribute.name)


def _check_url(_: object, attribute: Attribute[Any], value: object) -> None:
    if not is_text(value) or not _SCHEME.fullmatch(value):
        raise invalid(f"{shown(value)} is not a URL such as 'https://example.com/data'", attribute.name)


def _check_flag(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise invalid(f"{shown(value)} is not True or False", attribute.name)


@runtime_checkable
class PathLike(Protocol):
    """Anything with a path of the file system: a `pathlib.Path`, an output of another job."""

    def __fspath__(self) -> str:
        """Return the path."""
        ...


@frozen
class PathSource:
    """A file or folder of the machine that submits.

    Attributes:
        path: The path; absolute once submitted.
        folder: Whether it was a folder when it was submitted, or None before that.
    """

    path: str = field(validator=_check_path)
    folder: bool | None = None
    scheme = "path"

    def __str__(self) -> str:
        """Return the path."""
        return self.path


@frozen
class BytesSource:
    """Bytes that travel with the spec."""

    data: bytes = field(validator=_check_bytes, repr=lambda data: f"<{len(data)} bytes>")
    scheme = "bytes"

    def __str__(self) -> str:
        """Return how many bytes there are."""
        return f"{len(self.data)} bytes"


@frozen
class UrlSource:
    """Something that a storage of the node fetches: ``https://``, ``s3://``, ``ipfs://``, ..."""

    url: str = field(validator=_check_url)

    @property
    def scheme(self) -> str:
        """The scheme of the URL, in lower case, which names the storage that is needed."""
        return self.url.partition("://")[0].lower()

    def __str__(self) -> str:
        """Return the URL."""
        return self.url


Source: TypeAlias = PathSource | BytesSource | UrlSource
"""Where an input comes from."""


def to_source(value: str | bytes | PathLike | Source) -> Source:
    """Turn what a user writes into a source: a ``str`` is a path unless it has a ``scheme://``.

    Raises:
        InvalidSpecError: The value is of another type, empty, or has a NUL character or a lone surrogate.
    """
    if isinstance(value, PathSource | BytesSource | UrlSource):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return BytesSource(bytes(value))
    text = _path_text(value)
    return UrlSource(text) if isinstance(value, str) and _SCHEME.fullmatch(text) else PathSource(text)


def local_path(value: object, field: str) -> str:
    """Return the path of a folder of this machine that is to be written to.

    Raises:
        InvalidSpecError: It is none, or a URL; the error names the field.
    """
    find_path = None if isinstance(value, str) else getattr(type(value), "__fspath__", None)
    text = value if find_path is None else find_path(value)
    if not is_text(text) or not text or _SCHEME.fullmatch(text):
        raise invalid(
            f"{shown(value)} is not a folder of this machine: give its path; '.' is this one", field
        )
    return text


def _path_text(value: object) -> str:
    """Return a text, or the path of an object that has one, as `os.fspath` would."""
    find_path = None if isinstance(value, str) else getattr(type(value), "__fspath__", None)
    text = value if find_path is None else find_path(value)
    if not isinstance(text, str):
        raise invalid(f"{shown(value)} is not a source: give a path, a URL or bytes")
    if not text:
        raise invalid("'' is not a path: give a file or folder; b'' is an empty file, '.' this folder")
    if not is_text(text):
        raise invalid(
            f"{shown(text)} has a NUL character or a lone surrogate: rename the file, or give its bytes"
        )
    return text


def _source(value: str | bytes | PathLike | Source) -> Source:
    return under("source", lambda: to_source(value))


@frozen
class Input:
    """A source and how the job sees it.

    Attributes:
        source: A path, URL or bytes.
        writable: Whether the job gets a private copy that it may change; the copy is thrown away. Otherwise
            the input is read-only.

    Raises:
        InvalidSpecError: From the constructor, for a source that is none.
    """

    source: Source = field(converter=_source)
    writable: bool = field(default=False, validator=_check_flag)


def to_input(value: str | bytes | PathLike | Source | Input) -> Input:
    """Turn what a user writes into an input, read-only unless it says otherwise.

    Raises:
        InvalidSpecError: The value is no input.
    """
    return value if isinstance(value, Input) else Input(to_source(value))


@frozen
class LogEntry:
    """One line of a workload's output, without its end.

    Lines longer than 64 KiB are split, on a character boundary.

    Attributes:
        partition_index: The partition that wrote it.
        attempt: The try that wrote it, from 1.
        stream: ``"stdout"`` or ``"stderr"``.
        time: When it was read, in seconds of the cluster's clock (Unix time by default).
        data: The bytes of the line; ``text`` is the line as text.
    """

    partition_index: int
    attempt: int
    stream: str
    time: float
    data: bytes

    @property
    def text(self) -> str:
        """The line as text; bytes that are no UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")
