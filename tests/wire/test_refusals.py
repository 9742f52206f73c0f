"""What is refused, when a job is loaded and when one is written: with which code, and at which path."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bacalhau_sdk as bac
from bacalhau_sdk.errors import (
    DocumentError,
    InexpressibleSpecError,
    InvalidDocumentError,
    InvalidSpecError,
    UnsupportedDocumentError,
)
from bacalhau_sdk.model.data import Input
from bacalhau_sdk.model.job import EngineSpec, JobSpec, RetryPolicy, Timeouts, WasmSpec
from bacalhau_sdk.model.selector import Requirement
from bacalhau_sdk.wire import dump_job, load_job
from bacalhau_sdk.wire.plain import ELEMENTS_MAX
from bacalhau_sdk.wire.yaml import write_yaml
from tests.wire.documents import CAPTURES, VALIDATOR, Document, Gone, Steps, captured, changed, docker, wasm

T = "Tasks/0"
P = f"{T}/Engine/Params"


def refused(text: Any) -> DocumentError:
    """Return the error of a text that is no job; its message is fit to be read."""
    with pytest.raises(DocumentError) as caught:
        load_job(text)
    error = caught.value
    assert error.problems
    assert error.field == error.problems[0].path
    assert len(error.message) < 3000
    assert error.message.isprintable()
    return error


def source(kind: str, **params: Any) -> list[Document]:
    return [{"Target": "/in", "Source": {"Type": kind, "Params": params}}]


# ---- Structure: these are no documents by the schema either ----

STRUCTURE: list[tuple[Document, str, Any, str, str]] = [
    # document, path of what is changed, to what; code, field
    (docker(), "Type", Gone, "document.invalid", "Type"),
    (docker(), "Type", None, "document.invalid", "Type"),
    (docker(), "Type", "Batch", "document.invalid", "Type"),
    (docker(), "Type", 1, "document.invalid", "Type"),
    (docker(), "Count", "3", "document.invalid", "Count"),
    (docker(), "Count", True, "document.invalid", "Count"),
    (docker(), "Count", 1.5, "document.invalid", "Count"),
    (docker(), "Count", -1, "document.invalid", "Count"),
    (docker(), "Count", 10_001, "document.invalid", "Count"),
    (docker(), "Count", 10**30, "document.invalid", "Count"),
    (docker(), "Priority", "high", "document.invalid", "Priority"),
    (docker(), "Priority", 2**40, "document.invalid", "Priority"),
    (docker(), "Labels", ["a"], "document.invalid", "Labels"),
    (docker(), "Labels", {"a": 1}, "document.invalid", "Labels.a"),
    (docker(), "Labels", {"a": None}, "document.invalid", "Labels.a"),
    (docker(), "Bla", 1, "document.invalid", "Bla"),
    (docker(), "Job", {}, "document.invalid", "Job"),
    (docker(), "a\nb", 1, "document.invalid", r"'a\nb'"),
    (docker(), "Tasks", Gone, "document.invalid", "Tasks"),
    (docker(), "Tasks", [], "document.invalid", "Tasks"),
    (docker(), "Tasks", {}, "document.invalid", "Tasks"),
    (docker(), "Tasks", "main", "document.invalid", "Tasks"),
    (docker(), "Tasks", [None], "document.invalid", "Tasks[0]"),
    (docker(), "Tasks", docker()["Tasks"] * 2, "document.unsupported", "Tasks[1]"),
    (docker(), "Namespace", "team", "document.unsupported", "Namespace"),
    (docker(), "Meta", {"a": "b"}, "document.unsupported", "Meta.a"),
    (docker(), "State", "Running", "document.invalid", "State"),
    (docker(), "State", {"StateType": 3}, "document.invalid", "State.StateType"),
    (docker(), "Version", "1", "document.invalid", "Version"),
    (docker(), "Version", True, "document.invalid", "Version"),
    (docker(), "Constraints", [{"Key": "a"}], "document.invalid", "Constraints[0].Operator"),
    (docker(), "Constraints", [{"Key": "a", "Operator": "~"}], "document.invalid", "Constraints[0].Operator"),
    (docker(), "Constraints", [{"Key": 1, "Operator": "="}], "document.invalid", "Constraints[0].Key"),
    (docker(), f"{T}/Name", Gone, "document.invalid", "Tasks[0].Name"),
    (docker(), f"{T}/Name", None, "document.invalid", "Tasks[0].Name"),
    (docker(), f"{T}/Command", "ls", "document.invalid", "Tasks[0].Command"),
    (docker(), f"{T}/Meta", {"a": "b"}, "document.unsupported", "Tasks[0].Meta"),
    (docker(), f"{T}/Engine", Gone, "document.invalid", "Tasks[0].Engine"),
    (docker(), f"{T}/Engine", "docker", "document.invalid", "Tasks[0].Engine"),
    (docker(), f"{T}/Engine/Type", Gone, "document.invalid", "Tasks[0].Engine.Type"),
    (docker(), f"{T}/Engine/Type", 5, "document.invalid", "Tasks[0].Engine.Type"),
    (docker(), f"{T}/Engine/Type", "noop", "document.unsupported", "Tasks[0].Engine.Type"),
    (docker(), f"{T}/Engine/Type", "wasm", "document.invalid", "Tasks[0].Engine.Params.EntryModule"),
    (docker(), P, Gone, "document.invalid", "Tasks[0].Engine.Params"),
    (docker(), f"{P}/Image", Gone, "document.invalid", "Tasks[0].Engine.Params.Image"),
    (docker(), f"{P}/Image", 5, "document.invalid", "Tasks[0].Engine.Params.Image"),
    (docker(), f"{P}/Platform", "linux/arm64", "document.invalid", "Tasks[0].Engine.Params.Platform"),
    (docker(), f"{P}/Parameters", "ls -l", "document.invalid", "Tasks[0].Engine.Params.Parameters"),
    (docker(), f"{P}/Parameters", ["ls", 5], "document.invalid", "Tasks[0].Engine.Params.Parameters[1]"),
    (docker(), f"{P}/Entrypoint", [None], "document.invalid", "Tasks[0].Engine.Params.Entrypoint[0]"),
    (
        wasm(),
        f"{P}/ImportModules",
        ["a.wasm"],
        "document.unsupported",
        "Tasks[0].Engine.Params.ImportModules",
    ),
    (wasm(), f"{P}/EntryModule", {"Source": {}}, "document.invalid", "Tasks[0].Engine.Params.EntryModule"),
    (docker(), f"{T}/Env", [], "document.invalid", "Tasks[0].Env"),
    (docker(), f"{T}/Env", {"A": 5}, "document.invalid", "Tasks[0].Env.A"),
    (docker(), f"{T}/Publisher", {"Type": "s3"}, "document.unsupported", "Tasks[0].Publisher.Type"),
    (docker(), f"{T}/Publisher", "local", "document.invalid", "Tasks[0].Publisher"),
    (
        docker(),
        f"{T}/Publisher",
        {"Type": "local", "Params": {"a": 1}},
        "document.unsupported",
        "Tasks[0].Publisher.Params",
    ),
    (docker(), f"{T}/Resources", {"CPU": 1}, "document.invalid", "Tasks[0].Resources.CPU"),
    (docker(), f"{T}/Resources", {"GPU": "all"}, "document.invalid", "Tasks[0].Resources.GPU"),
    (docker(), f"{T}/Network", "None", "document.invalid", "Tasks[0].Network"),
    (docker(), f"{T}/Network", {"Type": "VPN"}, "document.invalid", "Tasks[0].Network.Type"),
    (
        docker(),
        f"{T}/Network",
        {"Type": "Bridge", "Ports": [{"Name": "http"}]},
        "document.unsupported",
        "Tasks[0].Network.Ports",
    ),
    (
        docker(),
        f"{T}/Timeouts",
        {"QueueTimeout": 1.5},
        "document.invalid",
        "Tasks[0].Timeouts.QueueTimeout",
    ),
    (docker(), f"{T}/Timeouts", {"TotalTimeout": -1}, "document.invalid", "Tasks[0].Timeouts.TotalTimeout"),
    (docker(), f"{T}/ResultPaths", [{"Name": "a"}], "document.invalid", "Tasks[0].ResultPaths[0].Path"),
    (
        docker(),
        f"{T}/InputSources",
        [{"Target": "/a"}],
        "document.invalid",
        "Tasks[0].InputSources[0].Source",
    ),
    (
        docker(),
        f"{T}/InputSources",
        [{**source("ipfs", CID="a")[0], "Alias": "data"}],
        "document.unsupported",
        "Tasks[0].InputSources[0].Alias",
    ),
    (
        docker(),
        f"{T}/InputSources",
        [{"Source": source("ipfs", CID="a")[0]["Source"]}],
        "document.invalid",
        "Tasks[0].InputSources[0].Target",
    ),
    *(
        (docker(), f"{T}/InputSources", sources, code, f"Tasks[0].InputSources[0].Source.{field}")
        for sources, code, field in [
            (source("s3PreSigned", PreSignedURL="x"), "document.unsupported", "Type"),
            (source("nfs"), "document.unsupported", "Type"),
            (source("s3", Key="k"), "document.invalid", "Params.Bucket"),
            (source("s3", Bucket="a/b"), "document.invalid", "Params.Bucket"),
            (source("s3", Bucket="b", Region="eu-west-1"), "document.unsupported", "Params.Region"),
            (
                source("s3", Bucket="b", Partition={"Type": "object"}),
                "document.unsupported",
                "Params.Partition",
            ),
            (source("localDirectory"), "document.invalid", "Params.SourcePath"),
            (source("localDirectory", SourcePath=""), "document.invalid", "Params.SourcePath"),
            (
                source("localDirectory", SourcePath="/a", ReadWrite=True),
                "document.unsupported",
                "Params.ReadWrite",
            ),
            (
                source("localDirectory", SourcePath="/a", CreateAs="dir"),
                "document.unsupported",
                "Params.CreateAs",
            ),
            (source("ipfs", CID="a/b"), "document.invalid", "Params.CID"),
            (source("urlDownload", URL="ftp://x"), "document.invalid", "Params.URL"),
            (source("inline", URL="hello"), "document.invalid", "Params.URL"),
        ]
    ),
]


@pytest.mark.parametrize(("document", "path", "value", "code", "field"), STRUCTURE)
def test_a_structure_that_is_refused(
    document: Document, path: str, value: Any, code: str, field: str
) -> None:
    assert list(VALIDATOR.iter_errors(document)) == []
    load_job(json.dumps(document))
    made = changed(document, path, value)
    error = refused(json.dumps(made))
    assert (error.code, error.field) == (code, field)
    assert list(VALIDATOR.iter_errors(made)) != []


# ---- Values: what a schema of types does not say ----

VALUES: list[tuple[Document, str, Any, str, str]] = [
    (docker(), "Name", "my job", "document.unsupported", "Name"),
    (docker(), f"{T}/Name", "x" * 64, "document.unsupported", "Tasks[0].Name"),
    (docker(), "Labels", {"🐟": "a"}, "document.invalid", "Labels.🐟"),
    (docker(), "Labels", {"a": "b c"}, "document.invalid", "Labels.a"),
    (
        docker() | {"Name": "a"},
        "Labels",
        {"bacalhau.org/name": "b"},
        "document.invalid",
        "Labels.bacalhau.org/name",
    ),
    (docker() | {"Type": "ops"}, "Count", 2, "document.invalid", "Count"),
    (docker(), f"{P}/Image", "--privileged", "document.invalid", "Tasks[0].Engine.Params.Image"),
    (docker(), f"{P}/Parameters", ["a\0"], "document.invalid", "Tasks[0].Engine.Params.Parameters[0]"),
    (
        docker(),
        f"{P}/Entrypoint",
        ["a", "\ud800"],
        "document.invalid",
        "Tasks[0].Engine.Params.Entrypoint[1]",
    ),
    (docker(), f"{P}/WorkingDirectory", "a", "document.invalid", "Tasks[0].Engine.Params.WorkingDirectory"),
    (
        docker(),
        f"{P}/EnvironmentVariables",
        ["A=1", "B"],
        "document.invalid",
        "Tasks[0].Engine.Params.EnvironmentVariables[1]",
    ),
    (
        docker(),
        f"{P}/EnvironmentVariables",
        ["A=1", "BACALHAU_X=2"],
        "document.invalid",
        "Tasks[0].Engine.Params.EnvironmentVariables[1]",
    ),
    (wasm(), f"{P}/EntryModule", "/other.wasm", "document.invalid", "Tasks[0].Engine.Params.EntryModule"),
    (wasm(), f"{P}/Entrypoint", "", "document.invalid", "Tasks[0].Engine.Params.Entrypoint"),
    (wasm(), f"{P}/Parameters", ["\0"], "document.invalid", "Tasks[0].Engine.Params.Parameters[0]"),
    (docker(), f"{T}/Env", {"A B": "1"}, "document.invalid", "Tasks[0].Env.A B"),
    (docker(), f"{T}/Env", {"BACALHAU_JOB_TYPE": "x"}, "document.invalid", "Tasks[0].Env.BACALHAU_JOB_TYPE"),
    (docker(), f"{T}/Env", {"TOKEN": "env:HOST_TOKEN"}, "document.unsupported", "Tasks[0].Env.TOKEN"),
    (docker(), f"{T}/Resources", {"CPU": "many"}, "document.invalid", "Tasks[0].Resources.CPU"),
    (docker(), f"{T}/Resources", {"Memory": "1,5GB"}, "document.invalid", "Tasks[0].Resources.Memory"),
    (docker(), f"{T}/Resources", {"Disk": "-1"}, "document.invalid", "Tasks[0].Resources.Disk"),
    (
        docker(),
        f"{T}/Network",
        {"Type": "Host", "Domains": ["a.com"]},
        "document.invalid",
        "Tasks[0].Network.Domains",
    ),
    (
        docker(),
        f"{T}/Network",
        {"Type": "HTTP", "Domains": ["a.com", "1.2.3.0/24"]},
        "document.invalid",
        "Tasks[0].Network.Domains[1]",
    ),
    (
        docker(),
        f"{T}/Timeouts",
        {"ExecutionTimeout": 15, "QueueTimeout": 20, "TotalTimeout": 30},
        "document.invalid",
        "Tasks[0].Timeouts.TotalTimeout",
    ),
    (
        docker(),
        f"{T}/Timeouts",
        {"QueueTimeout": 2**62},
        "document.invalid",
        "Tasks[0].Timeouts.QueueTimeout",
    ),
    (docker(), "Constraints", [{"Key": "a", "Operator": "in"}], "document.invalid", "Constraints[0]"),
    (
        docker(),
        "Constraints",
        [{"Key": "os", "Operator": "=", "Values": ["linux"]}],
        "document.unsupported",
        "Constraints[0].Key",
    ),
    (
        docker(),
        f"{T}/ResultPaths",
        [{"Name": "a", "Path": "/a"}, {"Name": "a", "Path": "/b"}],
        "document.invalid",
        "Tasks[0].ResultPaths[1].Name",
    ),
    (
        docker(),
        f"{T}/ResultPaths",
        [{"Name": "a", "Path": "/a"}, {"Name": "stdout", "Path": "/b"}],
        "document.invalid",
        "Tasks[0].ResultPaths[1]",
    ),
    (
        docker(),
        f"{T}/ResultPaths",
        [{"Name": "a", "Path": "a"}],
        "document.invalid",
        "Tasks[0].ResultPaths[0]",
    ),
    *(
        (docker(), f"{T}/InputSources", sources, code, f"Tasks[0].InputSources[{field}")
        for sources, code, field in [
            (source("ipfs", CID="a") * 2, "document.invalid", "1].Target"),
            (
                [*source("ipfs", CID="a"), {**source("ipfs", CID="b")[0], "Target": "in"}],
                "document.invalid",
                "1].Target",
            ),
            ([{**source("ipfs", CID="a")[0], "Target": "/proc/x"}], "document.invalid", "0].Target"),
            (source("inline", URL="data:"), "document.invalid", "0].Source.Params.URL"),
            (source("inline", URL="data:;base64,a"), "document.invalid", "0].Source.Params.URL"),
            (source("inline", URL="data:;base64,é"), "document.invalid", "0].Source.Params.URL"),
            (
                source("inline", URL="data:application/gzip;base64,aGk="),
                "document.unsupported",
                "0].Source.Params.URL",
            ),
            (source("localDirectory", SourcePath="\0"), "document.invalid", "0].Source.Params.SourcePath"),
            (source("s3", Bucket="b", Key="\0"), "document.invalid", "0].Source.Params.Key"),
        ]
    ),
]


@pytest.mark.parametrize(("document", "path", "value", "code", "field"), VALUES)
def test_a_value_that_is_refused(document: Document, path: str, value: Any, code: str, field: str) -> None:
    load_job(json.dumps(document))
    error = refused(json.dumps(changed(document, path, value)))
    assert (error.code, error.field) == (code, field)


# ---- Text ----

INSIDE = json.dumps(docker())


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "document.syntax", ""),
        (" \n", "document.syntax", ""),
        (b"{}", "document.syntax", ""),
        (None, "document.syntax", ""),
        ("{", "document.syntax", ""),
        ("[1, 2", "document.syntax", ""),
        ("{'Type': 'batch'}", "document.syntax", ""),
        (INSIDE + INSIDE, "document.syntax", ""),
        (INSIDE.replace("{", "{,", 1), "document.syntax", ""),
        ("[" * 100_000, "document.syntax", ""),
        ('{"a":' * 100_000, "document.syntax", ""),
        (INSIDE + " " * 10_000_000, "document.syntax", ""),
        ("[]", "document.invalid", ""),
        ("{}", "document.invalid", "Type"),
        (INSIDE.replace('"Type"', '"Type": "ops", "Type"', 1), "document.invalid", "Type"),
        (INSIDE.replace('"Type"', '"type": "ops", "Type"', 1), "document.invalid", "Type"),
        (
            INSIDE.replace('"Image"', '"Image": "a", "Image"'),
            "document.invalid",
            "Tasks[0].Engine.Params.Image",
        ),
        (
            INSIDE.replace('"Name"', '"Env": {"A": "1", "A": "1"}, "Name"'),
            "document.invalid",
            "Tasks[0].Env.A",
        ),
        (
            INSIDE.replace('"Name"', '"Meta": {"A": "1", "A": "1"}, "Name"'),
            "document.unsupported",
            "Tasks[0].Meta",
        ),
        (INSIDE.replace('"Name"', '"Meta": null, "Meta": null, "Name"'), "document.invalid", "Tasks[0].Meta"),
        (INSIDE.replace('"Type"', '"Count": NaN, "Type"', 1), "document.invalid", "Count"),
        (INSIDE.replace('"Type"', '"Count": -Infinity, "Type"', 1), "document.invalid", "Count"),
        (INSIDE.replace('"Type"', '"Count": 1e999, "Type"', 1), "document.invalid", "Count"),
        (INSIDE.replace('"Type"', f'"Count": {"9" * 10_000}, "Type"', 1), "document.invalid", "Count"),
        (INSIDE.replace('"Type"', f'"Priority": -{"9" * 30}, "Type"', 1), "document.invalid", "Priority"),
    ],
    ids=reprlib.repr,
)
def test_a_text_that_is_refused(text: Any, code: str, field: str) -> None:
    error = refused(text)
    assert (error.code, error.field) == (code, field)


def test_what_the_server_refused_is_refused_for_the_same_reasons() -> None:
    capture = json.loads((CAPTURES / "put_invalid.json").read_text())
    error = refused(json.dumps(capture["request"]["body"]["Job"]))
    assert error.code == "document.invalid"
    assert [problem.path for problem in error.problems] == ["Type", "Tasks"]
    assert capture["response"]["Message"] == "missing job type\nmissing job tasks"


def test_every_problem_is_reported_at_once_and_those_of_the_format_first() -> None:
    document = docker(Env={"A": 1}, Network={"Type": 1}) | {"Namespace": "x"}
    error = refused(json.dumps(document))
    assert type(error) is InvalidDocumentError
    assert [problem.path for problem in error.problems] == ["Tasks[0].Env.A", "Tasks[0].Network.Type"]
    document = docker(Env={"a b": "1"}, Timeouts={"QueueTimeout": 2**62}) | {"Priority": 2**40}
    paths = {problem.path for problem in refused(json.dumps(document)).problems}
    assert paths == {"Tasks[0].Env.a b", "Tasks[0].Timeouts.QueueTimeout", "Priority"}
    document = docker(Meta={"a": "b"}, Publisher={"Type": "s3"}) | {"Namespace": "x"}
    error = refused(json.dumps(document))
    assert type(error) is UnsupportedDocumentError
    assert len(error.problems) == 3
    assert error.hint


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"Job": docker()}, "the job is the value of its key 'Job'"),
        (docker(Env={"A": 5}), "put it in quotes"),
        (docker(Resources={"CPU": 0.5}), "put it in quotes"),
        (docker(Publisher={"Type": "ipfs"}), "submit the document to a Bacalhau server"),
    ],
)
def test_hints(document: Document, hint: str) -> None:
    assert hint in refused(json.dumps(document)).hint


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:,\ud800", "what follows the comma is not text that UTF-8 can write"),
        ("data:,%20\ud800", "what follows the comma is not text that UTF-8 can write"),
        ("data:;base64,\ud800", "what follows the comma is not base64"),
        ("data:;base64,a", "what follows the comma is not base64"),
    ],
)
def test_what_is_wrong_with_inline_data_is_said(url: str, message: str) -> None:
    document = docker(InputSources=source("inline", URL=url))
    assert [problem.message for problem in refused(json.dumps(document)).problems] == [message]


def test_what_cannot_be_read_is_shown_as_what_is_wrong_with_it() -> None:
    text = json.dumps(docker(Meta={"a": "b"})).replace('"b"', "NaN")
    assert "{'a': NaN is no number of JSON} has no place in a spec" in refused(text).message


# ---- Very many ----


def arguments(more: int = 0) -> JobSpec:
    """Return a spec whose document has as many keys and values as are read, and more."""
    return image_of(ELEMENTS_MAX - elements(dump_job(image_of(1))) + 1 + more)


def image_of(count: int) -> JobSpec:
    return JobSpec.docker("a", *["x"] * count)


def elements(text: str) -> int:
    """Return how many keys and values there are in a document."""

    def inside(value: Any) -> int:
        if isinstance(value, dict):
            return 1 + len(value) + sum(map(inside, value.values()))
        return 1 + sum(map(inside, value)) if isinstance(value, list) else 1

    return inside(json.loads(text))


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_what_has_as_many_elements_as_are_read_is_written_and_read(format: Any) -> None:
    assert elements(dump_job(arguments())) == ELEMENTS_MAX
    assert load_job(dump_job(arguments(), format)) == arguments()
    with pytest.raises(InexpressibleSpecError, match="more than 20000 keys and values") as caught:
        dump_job(arguments(1), format)
    assert caught.value.field == "engine.args"


@pytest.mark.parametrize(
    "text",
    [
        '{"Type": "batch", "Tasks": [' + "{}, " * 20_000 + "{}]}",
        '{"Type": "batch", "Labels": {' + ", ".join(f'"a{number}": 1' for number in range(10_000)) + "}}",
        dump_job(arguments()).replace('"x"', '"x", "x"', 1),
        write_yaml(json.loads(dump_job(arguments()).replace('"x"', '"x", "x"', 1))),
        "[" + "[], " * 20_000 + "[]]",
        "- []\n" * 20_000,
    ],
    ids=reprlib.repr,
)
def test_what_has_more_is_refused_before_anything_is_made_of_it(text: str) -> None:
    error = refused(text)
    assert (error.code, error.field, len(error.problems)) == ("document.syntax", "", 1)
    assert "more than 20000 keys and values" in error.message
    assert error.hint


@pytest.mark.parametrize("field", ["inputs", "outputs", "env", "labels", "network.domains", "selector"])
def test_the_field_that_has_the_most_is_named(field: str) -> None:
    names = [f"k{number}" for number in range(20_000)]
    options: dict[str, Any] = {
        "inputs": {f"/{name}": "ipfs://a" for name in names},
        "outputs": {name: f"/{name}" for name in names},
        "env": {name.upper(): "" for name in names},
        "labels": dict.fromkeys(names, "v"),
        "network.domains": bac.Network("http", [f"{name}.com" for name in names]),
        "selector": bac.Selector(
            [Requirement("zone", "in", names[at : at + 1000]) for at in range(0, 20_000, 1000)]
        ),
    }
    few = JobSpec.docker("a", "b", inputs={"/a": "b"}, outputs={"c": "/d"}, env={"E": "f"}, labels={"g": "h"})
    with pytest.raises(InexpressibleSpecError, match="keys and values") as caught:
        dump_job(attrs.evolve(few, **{field.partition(".")[0]: options[field]}))
    assert caught.value.field == field


# ---- Anything ----


def loaded(text: str) -> JobSpec | None:
    """Return the spec of a text, or None when it is refused as it should be."""
    try:
        return load_job(text)
    except DocumentError as error:
        found = error
    assert found.problems
    assert found.message.isprintable()
    return None


@given(st.text(st.characters()) | st.text("{}[]\":,&*!|>-? \n'#%@0a").map(lambda text: "a: " + text))
@example("a: &x [*x]")
@example("? [a]\n: b")
def test_no_text_raises_anything_else(text: str) -> None:
    loaded(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: Steps = ()) -> list[Steps]:
    """Return the path of everything in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in pairs for place in ((*path, key), *_places(each, (*path, key)))]


@settings(max_examples=300)
@given(st.sampled_from([*captured().values(), docker(), wasm()]), st.data())
def test_no_mutated_document_raises_anything_else(document: Document, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(document) or [("Tasks",)]))
        mutation = data.draw(st.sampled_from(["value", "gone", "key", "nested"]))
        if mutation == "value":
            document = changed(document, place, data.draw(_json))
        elif mutation == "gone":
            document = changed(document, place, Gone)
        elif mutation == "key" and isinstance(place[-1], str):
            key = data.draw(st.sampled_from(["Type", "Params", "name", "TARGET", "x", "Meta", "Ports"]))
            document = changed(document, (*place[:-1], key), data.draw(_json))
        else:
            document = changed(document, place, [document])
    spec = loaded(json.dumps(document))
    assert spec is None or load_job(dump_job(spec)) == spec


@given(st.text(st.characters()), st.integers(0, 400), st.integers(0, 400))
def test_no_cut_or_spliced_text_raises_anything_else(text: str, start: int, end: int) -> None:
    for whole in (json.dumps(docker()), dump_job(JobSpec.docker("a", "b", env={"A": "b"}), "yaml")):
        loaded(whole[:start] + text + whole[end:])


# ---- Specs that Bacalhau v1 cannot say ----


@frozen
class QuantumSpec(EngineSpec):
    """An engine of somebody else."""

    engine: ClassVar[str] = "quantum"


def image(**options: Any) -> JobSpec:
    return JobSpec.docker("a", **options)


def module(name: str, **options: Any) -> JobSpec:
    return JobSpec(WasmSpec(b"\0asm", name=name), **options)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (lambda: JobSpec.function("f"), ["engine"]),
        (lambda: JobSpec(QuantumSpec()), ["engine"]),
        (lambda: image(platform="linux/arm64"), ["engine.platform"]),
        (lambda: module("a/b.wasm"), ["engine.name"]),
        (lambda: module(".."), ["engine.name"]),
        (lambda: module("."), ["engine.name"]),
        (lambda: module("m", inputs={"bacalhau.module/m": b""}), ["inputs.bacalhau.module/m"]),
        (lambda: image(stdin=b""), ["stdin"]),
        (lambda: image(retry=RetryPolicy(2)), ["retry.max_attempts"]),
        (lambda: image(retry=RetryPolicy(backoff=5)), ["retry.backoff"]),
        (lambda: image(retry=RetryPolicy(retry_timeouts=True)), ["retry.retry_timeouts"]),
        (lambda: image(retry=RetryPolicy(retry_nonzero_exit=True)), ["retry.retry_nonzero_exit"]),
        (lambda: image(selector=bac.Selector("a", prefer="b")), ["selector.preferences"]),
        (lambda: image(selector="a, os_type = linux"), ["selector.requirements[1]"]),
        (
            lambda: image(timeouts=Timeouts(0.5, 1.5, 3.5)),
            ["timeouts.execution", "timeouts.queue", "timeouts.total"],
        ),
        (lambda: image(resources=bac.Resources(gpu="all")), ["resources.gpu"]),
        (lambda: image(env={"A": "env:B"}), ["env.A"]),
        (lambda: image(env={"a": "env:B"}), ["env.a"]),
        (lambda: module("m", env={"a": "b"}), ["env.a"]),
        (lambda: module("m", env={"A": ""}), ["env.A"]),
        (lambda: image(inputs={"/a": Input(b"", writable=True)}), ["inputs./a.writable"]),
        (lambda: image(inputs={"/a": "ftp://x"}), ["inputs./a.source"]),
        (lambda: image(inputs={"/a": "ipfs://cid/path"}), ["inputs./a.source"]),
        (lambda: image(inputs={"/a": "IPFS://cid"}), ["inputs./a.source"]),
        (lambda: image(inputs={"/a": "s3://bucket/"}), ["inputs./a.source"]),
        (lambda: image(labels={"bacalhau.org/name": ""}), ["labels.bacalhau.org/name"]),
        (lambda: image(labels={"bacalhau.org/task": "main"}), ["labels.bacalhau.org/task"]),
        (lambda: image(inputs={"/a": b"x" * 8_000_000, "/b": b""}), ["inputs./a.source"]),
        (lambda: JobSpec.wasm(b"x" * 8_000_000), ["engine.module"]),
        (lambda: image(stdin=b"", retry=RetryPolicy(2, 5)), ["retry.max_attempts", "retry.backoff", "stdin"]),
    ],
)
def test_a_spec_that_cannot_be_said(make: Callable[[], JobSpec], fields: list[str]) -> None:
    with pytest.raises(InexpressibleSpecError) as caught:
        dump_job(make())
    assert [problem.path for problem in caught.value.problems] == fields
    assert (caught.value.code, caught.value.field) == ("spec.inexpressible", fields[0])
    assert caught.value.hint


@pytest.mark.parametrize("spec", [None, {}, "spec", object()])
def test_what_is_no_spec_is_not_written(spec: Any) -> None:
    with pytest.raises(InvalidSpecError, match="is not a JobSpec"):
        dump_job(spec)


def test_there_are_two_formats() -> None:
    with pytest.raises(InvalidSpecError, match="'toml' is not a format"):
        dump_job(image(), format="toml")  # type: ignore[arg-type]
