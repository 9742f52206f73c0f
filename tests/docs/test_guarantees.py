"""Every promise names the tests that hold it, and those exist; the same for known bugs, faults and threats."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = PROJECT / "docs" / "explanation"
TESTING = PROJECT / "src" / "bacalhau_sdk" / "testing"
NAMED = re.compile(r"`([\w/]+\.py)::([\w:]+)`")


@cache
def known_tests(path: Path) -> frozenset[str]:
    """Return the tests of a file, a method as ``Class::test``; none when there is no such file."""
    if not path.is_file():
        return frozenset()
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + each.name
            for each in members
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
        }
    return frozenset(found)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    text = (PAGES / page).read_text()
    assert f"\n## {heading}\n" in text, f"{page} has no heading {heading!r}"
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert rows, f"{heading!r} has no table"
    assert {len(row) for row in rows} == {len(lines[0].strip("|").split("|"))}, "each row has all cells"
    return rows


def missing(rows: list[list[str]], column: int) -> list[str]:
    """Return the tests that a column names and that are not there."""
    return [
        f"{file}::{name}"
        for row in rows
        for file, name in NAMED.findall(row[column])
        if name not in known_tests(PROJECT / "tests" / file)
    ]


def names_in(folder: str, pattern: str) -> set[str]:
    """Return the strings in the source of the testing package that are like a pattern."""
    return {
        node.value
        for path in TESTING.glob(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(pattern, node.value)
    }


PROMISES = rows_of("guarantees.md", "Each sentence and its test")
BUGS = rows_of("differences.md", "Known bugs of the original (reliability §2a)")
THREATS = [
    *rows_of("threat-model.md", "What a WASM module in a thread cannot do"),
    *rows_of("threat-model.md", "What comes from outside"),
]
FAULTS = rows_of("differences.md", "Faults (reliability §4)")


def test_every_sentence_has_a_row_and_every_row_is_of_a_sentence() -> None:
    text = (PAGES / "guarantees.md").read_text().partition("\n## The event log of a run\n")[0]
    sentences = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert sentences == list(range(1, len(sentences) + 1)), "they are numbered, and never numbered anew"
    labels = [re.fullmatch(r"(\d+)([a-z]?) .+", row[0]) for row in PROMISES]
    assert all(labels), "a row begins with the number of its sentence"
    parts = [(int(label[1]), label[2]) for label in labels if label]
    assert sorted(set(parts)) == parts, "in their order, each part once"
    assert {number for number, _ in parts} == set(sentences)


def test_the_tests_of_the_sentences_exist() -> None:
    assert [row[0] for row in PROMISES if not NAMED.search(row[1])] == []
    assert missing(PROMISES, 1) == []


def test_the_tests_of_the_threat_model_exist() -> None:
    assert [row[0] for row in THREATS if not NAMED.search(row[1])] == []
    assert missing(THREATS, 1) == []


def test_the_invariants_and_the_rules_of_the_sentences_exist() -> None:
    invariants = names_in("simulation/*.py", r"[A-Z]\d+")
    rules = names_in("checker*.py", r"[a-z]+(-[a-z]+)+")
    assert {name for row in PROMISES for name in re.findall(r"[A-Z]\d+", row[2])} <= invariants
    assert {name for row in PROMISES for name in re.findall(r"`([^`]+)`", row[3])} <= rules


def test_every_known_bug_and_every_fault_has_a_row_with_its_test_or_what_it_waits_for() -> None:
    for rows, letter, count in ((BUGS, "B", 25), (FAULTS, "F", 48)):
        ids = [name for row in rows for name in row[0].split(", ")]
        assert ids == [f"{letter}{number}" for number in range(1, count + 1)]
        assert [row[0] for row in rows if not NAMED.search(row[3]) and "open: waits for" not in row[3]] == []
        assert missing(rows, 3) == []


def test_every_test_of_a_known_bug_or_a_fault_is_in_the_tables() -> None:
    for path in (PROJECT / "tests" / "reliability").glob("test_*.py"):
        file = f"reliability/{path.name}"
        named = {name for row in (*BUGS, *FAULTS) for found, name in NAMED.findall(row[3]) if found == file}
        assert known_tests(path) <= named, f"of {file}"
