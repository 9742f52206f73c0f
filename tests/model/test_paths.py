"""Paths inside a job, and names that become folders (H6, H7, H8 of the hostile inputs)."""

from __future__ import annotations

from typing import Any

import pytest

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.paths import (
    check_guest_path,
    check_job_id,
    check_output_name,
    check_targets,
    normalise_guest_path,
)
from bacalhau_sdk.model.problems import Problems
from tests.model.hostile import cells

NO_TEXT: list[Any] = [None, 1, b"/a", ["/a"], "\ud800", "a\0b", "", "x" * 4097]


def ident(value: object) -> str:
    return repr(value)[:24]


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("a", "/a"),
        ("a/b/", "/a/b"),
        ("/a//b/./c", "/a/b/c"),
        ("//a", "/a"),
        ("///a", "/a"),
        (".", "/"),
        ("/..a/b..", "/..a/b.."),
        ("/process", "/process"),
        ("/a/proc", "/a/proc"),
        ("/with space é", "/with space é"),
        ("x" * 4096, "/" + "x" * 4096),
    ],
)
def test_guest_paths(path: str, normal: str) -> None:
    assert check_guest_path(path) == path
    assert normalise_guest_path(path) == normal


@pytest.mark.parametrize(
    "path",
    [
        *NO_TEXT,
        *cells(
            r"""
            ..  /..  ../x  /a/../b  a/..  a\b  ..\x  C:\x  /proc  proc  /proc/self/fd/8  //proc  ///proc/1  /./proc  proc/
            /sys  /sys/fs  /dev  /dev/null  dev
            """
        ),
    ],
    ids=ident,
)
def test_guest_paths_that_are_none(path: Any) -> None:
    with pytest.raises(InvalidSpecError):
        check_guest_path(path)


@pytest.mark.parametrize(
    "name", [*cells("a  counts  A-b_c.d  .hidden  é  结果  a b  console  com10"), "x" * 255]
)
def test_output_names(name: str) -> None:
    assert check_output_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *NO_TEXT,
        *cells(
            r"""
            ../../x  /abs  a/../..  a/b  a\b  .  ..  a.  a:b  a*  a?  a"  <  a|b  con  CON.txt  nul  Com1  lpt9.log
            stdout  STDERR  exitCode  exitcode
            """
        ),
        *("a ", " ", "a\n", "a\u202eb", "\x9f", "é" * 128, "x" * 256),
    ],
    ids=ident,
)
def test_output_names_that_are_none(name: Any) -> None:
    with pytest.raises(InvalidSpecError):
        check_output_name(name)


@pytest.mark.parametrize(
    "job_id", ["a", "0", "j-1", "x" * 63, "0a1b2c3d-0000-4000-8000-000000000000", "console"]
)
def test_job_ids(job_id: str) -> None:
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id",
    [
        *NO_TEXT,
        *cells("../../x  a/b  con  nul  com1  -a  a-  A  a b  a.b  a_b  é  😀  .  ٣"),
        *("x" * 64, "a\u202eb", "a\n"),
    ],
    ids=ident,
)
def test_job_ids_that_are_none(job_id: Any) -> None:
    with pytest.raises(InvalidSpecError):
        check_job_id(job_id)


@pytest.mark.parametrize(
    ("inputs", "outputs", "paths"),
    [
        ([], {}, []),
        (["/", "/a", "/a/b", "c"], {"o": "/o", "p": "/a/c"}, []),
        (["/a", "a"], {}, ["inputs.a"]),
        (["/a", "//a", "/a/."], {}, ["inputs.//a", "inputs./a/."]),
        (["/", "."], {}, ["inputs.."]),
        ([], {"o": "/"}, ["outputs.o"]),
        ([], {"o": "//"}, ["outputs.o"]),
        ([], {"o": "relative"}, ["outputs.o"]),
        (["/a"], {"o": "/a/"}, ["outputs.o"]),
        (["a"], {"o": "//a"}, ["outputs.o"]),
        ([], {"o": "/a", "p": "/a"}, ["outputs.p"]),
        ([], {"o": "/a", "p": "/a/b"}, ["outputs.p"]),
        ([], {"o": "/a/b", "p": "/a"}, ["outputs.p"]),
        ([], {"o": "/ab", "p": "/a"}, []),
        ([], {"o": "/a", "O": "/b"}, ["outputs.O"]),
        ([], {"stra\u00dfe": "/a", "STRASSE": "/b"}, ["outputs.STRASSE"]),
        ([], {"\u00e9": "/a", "e\u0301": "/b"}, ["outputs.e\u0301"]),
        (
            ["/a", "a"],
            {"o": "/a", "O": "x", "p": "/b/c", "q": "/b"},
            ["inputs.a", *(f"outputs.{n}" for n in "oOOq")],
        ),
    ],
)
def test_targets_that_meet(inputs: list[str], outputs: dict[str, str], paths: list[str]) -> None:
    problems = Problems()
    check_targets(inputs, outputs.items(), problems)
    found: list[str] = []
    if problems:
        with pytest.raises(InvalidSpecError) as caught:
            problems.check()
        found = [problem.path for problem in caught.value.problems]
    assert found == paths
