"""YAML: what a person writes is read, and nothing that could do harm or be read in two ways."""

from __future__ import annotations

import json
import reprlib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bacalhau_sdk as bac
from bacalhau_sdk.errors import DocumentError, DocumentSyntaxError, InexpressibleSpecError, MissingExtraError
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.wire import dump_job, load_job
from bacalhau_sdk.wire.yaml import read_yaml, write_yaml
from tests.wire.documents import captured, docker

JOB = """\
Name: hello
Type: batch
Count: 2
Tasks:
  - Name: main
    Engine:
      Type: docker
      Params:
        Image: busybox:1.37
        Parameters: [sh, -c, "echo 15"]   # a comment
    Env: {DATE: 2026-01-02, SWITCH: on, EMPTY: ""}
    Timeouts:
      TotalTimeout: 0x3c
    Network: ~
"""


def test_what_a_person_writes_is_read() -> None:
    assert load_job(JOB) == JobSpec.docker(
        "busybox:1.37",
        "sh",
        "-c",
        "echo 15",
        count=2,
        env={"DATE": "2026-01-02", "SWITCH": "on", "EMPTY": ""},
        timeouts=bac.Timeouts(total=60),
        labels={"bacalhau.org/name": "hello"},
    )


@pytest.mark.parametrize("name", captured())
def test_a_captured_job_is_the_same_as_yaml(name: str) -> None:
    document = captured()[name]
    assert load_job(write_yaml(document)) == load_job(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("True", True),
        ("false", False),
        ("tRue", "tRue"),
        ("~", None),
        ("", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-02", "2026-01-02"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("'5'", "5"),
        ('"\\u00e9"', "é"),
        ("|\n  a\n  b", "a\nb\n"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    read = read_yaml(f"key: {text}\n")
    assert read == {"key": value}
    assert isinstance(read, dict)
    assert type(read["key"]) is type(value)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("hello", "document.invalid", ""),
        ("- a\n- b\n", "document.invalid", ""),
        ("# nothing\n", "document.syntax", ""),
        ("---\n", "document.invalid", ""),
        (f"{JOB}---\n{JOB}", "document.syntax", ""),
        (f"%YAML 1.1\n---\n{JOB}", "document.syntax", ""),
        (JOB.replace("Count: 2", "Count: [2"), "document.syntax", ""),
        (JOB.replace("Count: 2", "\tCount: 2"), "document.syntax", ""),
        (JOB.replace("Count: 2", "Count: '2'"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", "Count: two"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", "Count: .nan"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", f"Count: {'9' * 5000}"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", f"Count: 0x{'9' * 5000}"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", "Type: ops"), "document.invalid", "Type"),
        (JOB.replace("Count: 2", "Count: !!int 2"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", "Count: &count 2"), "document.invalid", "Count"),
        (JOB.replace("Count: 2", "Count: *count"), "document.invalid", "Count"),
        (JOB.replace("hello", "!!python/object/apply:os.system [ls]"), "document.invalid", "Name"),
        (JOB.replace("hello", "!Name hello"), "document.invalid", "Name"),
        (JOB.replace("    Env: {", "    Env: {A: 1, "), "document.invalid", "Tasks[0].Env.A"),
        (JOB.replace("    Env: {", "    Env: {A: x, A: y, "), "document.invalid", "Tasks[0].Env.A"),
        (JOB.replace("Count: 2", "? [a]\n: 2"), "document.syntax", ""),
        (JOB.replace("Count: 2", "!!str Count: 2"), "document.syntax", ""),
        (JOB.replace("Count: 2", "<<: {Count: 2}"), "document.invalid", "<<"),
        (JOB.replace("hello", '"\\U99999999"'), "document.syntax", ""),
        (JOB.replace("hello", "\x01"), "document.syntax", ""),
        (BOMB, "document.invalid", "Type"),
        ("a: " + "[" * 100_000, "document.syntax", ""),
        ("a: " + "[" * 40 + "]" * 40, "document.syntax", ""),
        ("a: " + "[" * 5000 + "]" * 5000, "document.syntax", ""),
        ("a:\n" + "\n".join(" " * n + "- b:" for n in range(1, 100)), "document.syntax", ""),
        ("a: [" + "x, " * 100_000, "document.syntax", ""),
        ("a: b\n" * 190_000, "document.syntax", ""),
        ("#" * 1_000_001 + "\n" + JOB, "document.syntax", ""),
    ],
    ids=reprlib.repr,
)
def test_a_yaml_that_is_refused(text: str, code: str, field: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_job(text)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.message.isprintable()


def test_a_character_that_yaml_has_no_place_for_is_shown_with_its_place() -> None:
    with pytest.raises(DocumentSyntaxError, match=r"has the character '\\x01' in line 2, column 8") as caught:
        load_job("Name: é\r\nCount: \x012\n")
    assert "escape in double quotes" in caught.value.hint


def test_what_is_no_yaml_says_where() -> None:
    with pytest.raises(DocumentSyntaxError, match=r"line 4"):
        load_job(JOB.replace("Count: 2", "Count: [2"))


WORDS = [
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "n",
    "null",
    "~",
    "TRUE",
    "1",
    "0777",
    "0x1",
    "1e3",
    "1_0",
    "1:30",
    "2026-01-02",
]


@given(st.sampled_from([*WORDS, "", " a ", "a: b", "- a", "#", "'", '"', "\x85", "\u2028", "\ufeff", "a\nb"]))
def test_a_text_stays_a_text_for_every_reader(text: str) -> None:
    yaml = write_yaml({"key": text, "list": [text]})
    assert read_yaml(yaml) == {"key": text, "list": [text]}
    assert text not in WORDS or yaml.startswith(f'key: "{text}"\n')


def test_a_document_that_is_too_large_is_not_written() -> None:
    spec = JobSpec.docker("a", inputs={"/a": b"x" * 800_000})
    with pytest.raises(InexpressibleSpecError, match="or use JSON") as caught:
        dump_job(spec, "yaml")
    assert caught.value.field == "inputs./a.source"
    assert load_job(dump_job(spec)) == spec


# ---- Without the extra ----


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)


@pytest.mark.parametrize("use", [lambda: load_job(JOB), lambda: dump_job(JobSpec.docker("a"), "yaml")])
def test_without_the_extra_yaml_is_an_error_that_names_it(use: Any, no_extra: None) -> None:
    with pytest.raises(MissingExtraError, match="ruamel") as caught:
        use()
    assert caught.value.extra == "yaml"
    assert "pip install 'bacalhau-sdk[yaml]'" in caught.value.hint


def test_without_the_extra_json_is_read_and_written(no_extra: None) -> None:
    assert dump_job(load_job("\ufeff" + json.dumps(docker())))


def test_the_extra_is_imported_when_it_is_used() -> None:
    code = "import sys, bacalhau_sdk.wire as w; w.load_job(sys.argv[1]); assert 'ruamel' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, json.dumps(docker())], check=True)
