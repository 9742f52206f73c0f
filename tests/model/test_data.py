"""Sources, inputs and log entries."""

from __future__ import annotations

import pickle
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from bacalhau_sdk.errors import InvalidSpecError, ResultsGoneError
from bacalhau_sdk.model.data import (
    BytesSource,
    Input,
    LogEntry,
    PathSource,
    Source,
    UrlSource,
    to_input,
    to_source,
)
from tests.model.hostile import Twisted


class Output:
    """An object with a path, as the output of another job is."""

    def __fspath__(self) -> str:
        return "https://not/a/url"


class Gone:
    def __fspath__(self) -> str:
        raise ResultsGoneError("gone")


@pytest.mark.parametrize(
    ("value", "source", "scheme"),
    [
        ("books/", PathSource("books/"), "path"),
        ("/abs", PathSource("/abs"), "path"),
        ("C:\\data", PathSource("C:\\data"), "path"),
        ("C://data", PathSource("C://data"), "path"),
        ("s3:/x", PathSource("s3:/x"), "path"),
        ("://x", PathSource("://x"), "path"),
        ("a/b://c", PathSource("a/b://c"), "path"),
        ("https://x/y", UrlSource("https://x/y"), "https"),
        ("S3://bucket/key", UrlSource("S3://bucket/key"), "s3"),
        ("git+ssh://x", UrlSource("git+ssh://x"), "git+ssh"),
        ("ipfs://", UrlSource("ipfs://"), "ipfs"),
        (b"", BytesSource(b""), "bytes"),
        (b"\xff\0", BytesSource(b"\xff\0"), "bytes"),
        (bytearray(b"a"), BytesSource(b"a"), "bytes"),
        (memoryview(b"abc")[::2], BytesSource(b"ac"), "bytes"),
        (PurePosixPath("a/b"), PathSource("a/b"), "path"),
        (PureWindowsPath("a/b"), PathSource("a\\b"), "path"),
        (Path("x"), PathSource("x"), "path"),
        (Output(), PathSource("https://not/a/url"), "path"),
        (UrlSource("https://x"), UrlSource("https://x"), "https"),
    ],
)
def test_sources(value: Any, source: Source, scheme: str) -> None:
    assert to_source(value) == source == Input(value).source
    assert to_source(value).scheme == scheme
    assert to_input(value) == Input(source, writable=False)
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, [], {}, object(), "", "a\0", "\ud800", Path, Twisted(), Input("x"), "https://\0"]
)
def test_sources_that_are_none(value: Any) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Input(value)
    assert [problem.path for problem in caught.value.problems] == ["source"]
    with pytest.raises(InvalidSpecError):
        to_source(value)


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (PathSource, 1, "path"),
        (PathSource, "", "path"),
        (PathSource, "a\0", "path"),
        (BytesSource, "text", "data"),
        (BytesSource, bytearray(b"a"), "data"),
        (UrlSource, "no-scheme", "url"),
        (UrlSource, None, "url"),
        (UrlSource, "https://\ud800", "url"),
    ],
)
def test_sources_check_their_field(kind: Any, value: Any, path: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        kind(value)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("value", [None, 1, "no", []])
def test_writable_is_a_flag(value: Any) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Input("x", writable=value)
    assert [problem.path for problem in caught.value.problems] == ["writable"]


def test_the_error_of_an_output_that_is_gone_passes_through() -> None:
    with pytest.raises(ResultsGoneError):
        to_source(Gone())


def test_bytes_are_copied_and_not_shown() -> None:
    data = bytearray(b"secret")
    view: Any = memoryview(data)
    source = to_source(view)
    data[:] = b"public"
    assert source == BytesSource(b"secret")
    assert (str(source), repr(source)) == ("6 bytes", "BytesSource(data=<6 bytes>)")


def test_an_input_is_kept_as_it_is() -> None:
    given = Input("x", writable=True)
    assert to_input(given) is given
    assert hash(given) == hash(Input(PathSource("x"), True))


@pytest.mark.parametrize(("data", "text"), [(b"", ""), ("é".encode(), "é"), (b"a\xff\0", "a\ufffd\0")])
def test_log_entries_have_text(data: bytes, text: str) -> None:
    assert LogEntry(0, 1, "stdout", 0.0, data).text == text
