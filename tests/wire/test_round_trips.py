"""What is written is read as the same spec, and what the original has written is read and written with the same meaning."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from attrs import evolve
from hypothesis import given, settings

import bacalhau_sdk as bac
from bacalhau_sdk.model.data import BytesSource, PathSource, UrlSource
from bacalhau_sdk.model.job import JobSpec, WasmSpec
from bacalhau_sdk.wire import dump_job, load_job
from tests.wire.documents import CAPTURES, VALIDATOR, Document, captured, docker, expressible, wasm


@given(expressible())
def test_what_is_written_as_json_is_read_as_the_same_spec(spec: JobSpec) -> None:
    text = dump_job(spec)
    assert load_job(text) == spec
    assert dump_job(load_job(text)) == text
    assert list(VALIDATOR.iter_errors(json.loads(text))) == []


@settings(max_examples=50)
@given(expressible())
def test_what_is_written_as_yaml_is_read_as_the_same_spec(spec: JobSpec) -> None:
    assert load_job(dump_job(spec, format="yaml")) == spec


# ---- Captures ----

SERVER_WROTE = ("ID", "Meta", "State", "Version", "Revision", "CreateTime", "ModifyTime")


def meaning(document: Document) -> Document:
    """Return what a document asks for: without what a server wrote, what is empty, and the ways to say the same."""

    def without_empty(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: without_empty(each) for key, each in value.items()}
            return {key: each for key, each in kept.items() if each not in (None, "", [], {})}
        return [without_empty(each) for each in value] if isinstance(value, list) else value

    made = without_empty({key: value for key, value in document.items() if key not in SERVER_WROTE})
    made.pop("Namespace", None)  # there is only "default"
    if not made.get("Priority"):
        made.pop("Priority", None)  # 0 is what is not said
    (task,) = made["Tasks"]
    task["Publisher"] = {"Type": "local"}  # results come back, whether a publisher is named or not
    network = task.get("Network", {"Type": "Default"})
    task["Network"] = {**network, "Type": network["Type"].replace("Default", "None")}
    resources = task["Resources"]
    resources["Memory"] = resources["Memory"].upper()
    resources["CPU"] = {"0.1": "100m"}.get(resources["CPU"], resources["CPU"])
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", captured())
def test_a_captured_job_is_read_and_written_with_the_same_meaning(name: str) -> None:
    document = captured()[name]
    spec = load_job(json.dumps(document))
    written = json.loads(dump_job(spec))
    assert meaning(written) == meaning(document)
    assert load_job(json.dumps(written)) == spec
    assert list(VALIDATOR.iter_errors(document)) == []


def test_there_are_captures_of_both_engines() -> None:
    assert len(captured()) >= 9
    assert {each["Tasks"][0]["Engine"]["Type"] for each in captured().values()} == {"docker", "wasm"}


def test_the_captured_docker_job_is_the_spec_that_it_says() -> None:
    assert load_job(json.dumps(captured()["docker_put-0"])) == JobSpec.docker(
        "127.0.0.1:5000/busybox:bench",
        "sh",
        "-c",
        "echo out; echo err >&2; echo data > /outputs/file.txt; exit 3",
        outputs={"outputs": "/outputs"},
        resources=bac.Resources("100m", "64MB"),
        labels={"bacalhau.org/name": "cap-docker"},
    )


def test_the_captured_wasm_job_is_the_spec_that_it_says() -> None:
    spec = load_job(json.dumps(captured()["wasm_put-0"]))
    assert isinstance(spec.engine, WasmSpec)
    assert isinstance(spec.engine.module, BytesSource)
    assert spec.engine.module.data.startswith(b"\0asm")
    assert spec == JobSpec.wasm(
        spec.engine.module.data,
        inputs={"/app/main.wasm": spec.engine.module.data},
        outputs={"outputs": "/outputs"},
        env={"GREETING": "hi"},
        resources=bac.Resources("100m", "64MB"),
        labels={"suite": "capture", "bacalhau.org/name": "cap-wasm"},
    )


async def test_a_captured_job_runs_here() -> None:
    spec = load_job(json.dumps(captured()["wasm_put-0"]))
    async with bac.Cluster() as cluster:
        result = await cluster.run(spec)
    logged = json.loads((CAPTURES / "wasm_get_job_include.json").read_text())["response"]["Executions"][
        "Items"
    ]
    assert result.stdout == logged[0]["RunOutput"]["Stdout"] == "hello\n"


# ---- Ways to say the same ----


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (docker(Network={"Type": "Full"}), docker(Network={"Type": "Host"})),
        (docker(Network={"Type": "Default"}), docker()),
        (docker(Network={"Type": " none "}), docker(Network={"Type": "None", "Ports": []})),
        (docker(Publisher={"Type": "noop"}), docker(Publisher={"Type": "LOCAL", "Params": {}})),
        (docker(Publisher={"Type": ""}), docker(Publisher=None)),
        (docker(Resources={"CPU": "0.5", "GPU": ""}), docker(Resources={"CPU": "500m", "GPU": "0"})),
        (docker(Timeouts={"QueueTimeout": 0}), docker(Timeouts={})),
        (docker(Meta={}, Env={}, InputSources=[], ResultPaths=None), docker()),
        (docker() | {"Namespace": "default", "Meta": {"bacalhau.org/requester.id": "x"}}, docker()),
        (docker() | {"Name": "", "Priority": 0, "Count": 1, "Constraints": []}, docker()),
        ({"type": "batch", "tasks": docker()["Tasks"]}, docker()),
        (
            docker(Engine={"type": " Docker", "params": {"image": "busybox:1.37", "parameters": []}}),
            docker(),
        ),
        (
            wasm(Engine={"Type": "wasm", "Params": {"EntryModule": "m.wasm", "EntryPoint": "_start"}}),
            wasm(),
        ),
        (
            docker(Env={"A": "1"}),
            docker(
                Engine=docker()["Tasks"][0]["Engine"]
                | {"Params": {"Image": "busybox:1.37", "EnvironmentVariables": ["A=1"]}}
            ),
        ),
        (
            docker() | {"Constraints": [{"Key": "a", "Operator": "==", "Values": ["b"]}]},
            docker() | {"Constraints": [{"Key": "a", "Operator": "=", "Values": ["b"]}]},
        ),
    ],
)
def test_these_ask_for_the_same(one: Document, other: Document) -> None:
    assert load_job(json.dumps(one)) == load_job(json.dumps(other))


def test_the_variables_of_a_container_win_over_those_of_the_task() -> None:
    params = {"Image": "a", "EnvironmentVariables": ["A=2", "b=", "C=x=y"]}
    document = docker(Engine={"Type": "docker", "Params": params}, Env={"A": "1", "Z": "3"})
    assert load_job(json.dumps(document)).env == {"A": "2", "b": "", "C": "x=y", "Z": "3"}


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,a%20b", b"a b"),
        ("data:,", b""),
        ("DATA:text/plain;charset=utf-8;BASE64,aGk=", b"hi"),
        ("data:;base64,aGk%3D", b"hi"),
        ("data:text/plain,é", "é".encode()),
    ],
)
def test_data_urls(url: str, data: bytes) -> None:
    source = {"Target": "/in", "Source": {"Type": "inline", "Params": {"URL": url}}}
    assert load_job(json.dumps(docker(InputSources=[source]))).inputs["/in"].source == BytesSource(data)


@pytest.mark.parametrize(
    ("kind", "params", "source"),
    [
        ("localDirectory", {"SourcePath": "a/b", "ReadWrite": False}, PathSource("a/b")),
        ("local", {"sourcepath": "/a", "CreateAs": "noCreate"}, PathSource("/a")),
        ("URLDownload", {"URL": "https://x/y"}, UrlSource("https://x/y")),
        ("ipfs", {"CID": "bafy"}, UrlSource("ipfs://bafy")),
        ("s3", {"Bucket": "b", "Key": "k/*", "Region": ""}, UrlSource("s3://b/k/*")),
        ("s3", {"Bucket": "b", "Key": ""}, UrlSource("s3://b")),
    ],
)
def test_sources(kind: str, params: Document, source: object) -> None:
    given_input = {"Target": "/in", "Source": {"Type": kind, "Params": params}}
    assert load_job(json.dumps(docker(InputSources=[given_input]))).inputs["/in"].source == source


def test_the_labels_of_every_node_have_their_names_on_both_sides() -> None:
    spec = JobSpec.docker("a", selector="os = linux, arch in (amd64), name = n, size > 2, !x")
    constraints = json.loads(dump_job(spec))["Constraints"]
    assert {each["Key"]: each["Operator"] for each in constraints} == {
        "os_type": "=",
        "os_arch": "in",
        "name": "=",
        "size": "gt",
        "x": "!",
    }
    assert load_job(dump_job(spec)) == spec


def test_the_names_of_the_job_and_of_its_task_are_labels() -> None:
    document = changed_names = docker() | {"Name": "n", "Labels": {"a": "b"}}
    changed_names["Tasks"][0]["Name"] = "t"
    spec = load_job(json.dumps(document))
    assert spec.labels == {"a": "b", "bacalhau.org/name": "n", "bacalhau.org/task": "t"}
    written = json.loads(dump_job(spec))
    assert (written["Name"], written["Tasks"][0]["Name"], written["Labels"]) == ("n", "t", {"a": "b"})


def test_a_module_of_its_own_is_no_input_and_one_that_is_an_input_stays_one() -> None:
    alone = JobSpec.wasm(b"\0asm", inputs={"/data": b"x"})
    targets = [each["Target"] for each in json.loads(dump_job(alone))["Tasks"][0]["InputSources"]]
    assert targets == ["/data", "/bacalhau.module/main.wasm"]
    assert list(load_job(dump_job(alone)).inputs) == ["/data"]
    both = JobSpec.wasm("bin/tool.wasm", inputs={"/app/tool.wasm": "bin/tool.wasm"})
    task = json.loads(dump_job(both))["Tasks"][0]
    assert [each["Target"] for each in task["InputSources"]] == ["/app/tool.wasm"]
    assert task["Engine"]["Params"]["EntryModule"] == "/app/tool.wasm"
    assert load_job(dump_job(both)) == both
    other = JobSpec.wasm("bin/tool.wasm", inputs={"/app/tool.wasm": "elsewhere/tool.wasm"})
    task = json.loads(dump_job(other))["Tasks"][0]
    assert [each["Target"] for each in task["InputSources"]] == [
        "/app/tool.wasm",
        "/bacalhau.module/tool.wasm",
    ]
    assert load_job(dump_job(other)) == other


def test_a_path_is_not_made_where_it_is_missing() -> None:
    (source,) = json.loads(dump_job(JobSpec.docker("a", inputs={"/in": "x"})))["Tasks"][0]["InputSources"]
    assert source["Source"] == {
        "Type": "localDirectory",
        "Params": {"SourcePath": "x", "CreateAs": "noCreate"},
    }


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1"),
        (1000, "1KB"),
        (1024, "1024"),
        (1024**2, "1MiB"),
        (1_000_001, "1000001"),
        (8 * 1024**3, "8GiB"),
        (2**63 - 1, str(2**63 - 1)),
    ],
)
def test_sizes_are_written_exactly(size: int, text: str) -> None:
    spec = JobSpec.docker("a", resources=bac.Resources(memory=size))
    assert json.loads(dump_job(spec))["Tasks"][0]["Resources"] == {"Memory": text}
    assert load_job(dump_job(spec)) == spec


async def test_the_spec_of_a_submitted_job_can_be_written(tmp_path: Any) -> None:
    module = (CAPTURES.parents[1] / "guests" / "hello.wasm").read_bytes()
    async with bac.Cluster() as cluster:
        job = await cluster.submit(JobSpec.wasm(module, inputs={"/in": str(tmp_path)}))
        await job.wait()
    again = load_job(dump_job(job.spec))
    source = again.inputs["/in"].source
    assert isinstance(source, PathSource)
    assert source.folder is None
    assert evolve(source, folder=True) == job.spec.inputs["/in"].source


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_a_document_may_begin_with_a_byte_order_mark_and_space(format: Literal["json", "yaml"]) -> None:
    spec = JobSpec.docker("a")
    assert load_job("\ufeff\n\n" + dump_job(spec, format)) == spec
