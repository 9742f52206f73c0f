"""Specs: what they take, what they refuse and under which path, and that they are values."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.data import BytesSource, Input, PathSource, UrlSource
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import (
    DockerSpec,
    EngineSpec,
    FunctionSpec,
    JobOptions,
    JobSpec,
    JobState,
    JobType,
    RetryPolicy,
    Timeouts,
    WasmSpec,
)
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.platform import Platform
from bacalhau_sdk.model.problems import Problems
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Requirement, Selector
from tests.model.hostile import VALUES, anything, cells, complains_about, outcome

DIGEST = "sha256:" + "0123456789abcdef" * 4


def paths_of(make: Callable[[], object]) -> list[str]:
    """Return the paths of the problems of a spec that cannot be made."""
    with pytest.raises(InvalidSpecError) as caught:
        make()
    return [problem.path for problem in caught.value.problems]


def function(**options: Any) -> JobSpec:
    """Make the spec of a function job."""
    return JobSpec.function("f", **options)


# ------------------------------------------------------------------------------------------------ the original's tables


@pytest.mark.parametrize("kind", ["batch", "service", "ops", "daemon"])
@pytest.mark.parametrize("given_count", [None, 0, 1, 2, 10_000, -1, 10_001, 10**9, True, 1.0, "1"])
def test_table_b_count_by_type(kind: str, given_count: Any) -> None:
    everywhere = kind in ("ops", "daemon")
    counts = {None: 0, 0: 0, 1: 0} if everywhere else {None: 1, 0: 0, 1: 1, 2: 2, 10_000: 10_000}
    if type(given_count) in (int, type(None)) and given_count in counts:
        assert function(type=kind, count=given_count).count == counts[given_count]
    else:
        assert paths_of(lambda: function(type=kind, count=given_count)) == ["count"]


@pytest.mark.parametrize(
    "name", cells("VALID_VAR  TEST_VAR  lowercase  _  a1  PATH  LD_PRELOAD  DOCKER_HOST")
)
def test_table_e_names_of_variables(name: str) -> None:
    assert function(env={name: "v"}).env == {name: "v"}


@pytest.mark.parametrize(
    "name",
    [
        *cells("INVALID NAME  INVALID@NAME  1VAR  BACALHAU_TEST  BACALHAU_  bacalhau_x  A=B  é  A-B  ٣A"),
        *("", "A=B\nC", "A\n", "a\0b", "\ud800", None, 1, b"A"),
    ],
)
def test_table_e_names_that_are_none(name: Any) -> None:
    (path,) = paths_of(lambda: function(env={"GOOD": "v", name: "v", "FINE": ""}))
    assert path.startswith("env.")
    assert path == f"env.{name}" or repr(name)[:20] in path


def test_table_e_only_our_prefix_is_reserved() -> None:
    assert len(function(env={"BACALHAU": "", "MY_BACALHAU_X": "", "BACALHAUX_": ""}).env) == 3


@pytest.mark.parametrize("value", ["", "a=b", "with\nlines", "env:HOME", "é", "x" * 10**7])
def test_values_of_variables_are_literal(value: str) -> None:
    assert function(env={"A": value}).env["A"] == value


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        # Table R, and fractions.
        ({}, (None, None, None)),
        ({"queue": 20, "execution": 15, "total": 40}, (20.0, 15.0, 40.0)),
        ({"queue": 20, "execution": 15, "total": 35}, (20.0, 15.0, 35.0)),
        ({"queue": 0, "execution": 0, "total": 0}, (None, None, None)),
        ({"queue": 20, "execution": 15}, (20.0, 15.0, None)),
        ({"queue": 20, "execution": 15, "total": 0}, (20.0, 15.0, None)),
        ({"total": 30}, (None, None, 30.0)),
        ({"queue": None, "execution": 1}, (None, 1.0, None)),
        ({"queue": 0.1, "execution": 0.2, "total": 0.3}, (0.1, 0.2, 0.3)),
        ({"execution": 9_223_372_036}, (None, 9_223_372_036.0, None)),
    ],
)
def test_table_r_timeouts(arguments: dict[str, Any], values: tuple[float | None, ...]) -> None:
    timeouts = Timeouts(**arguments)
    assert (timeouts.queue, timeouts.execution, timeouts.total) == values
    assert function(timeouts=timeouts).timeouts == timeouts


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"execution": -1}, ["execution"]),
        ({"queue": -1}, ["queue"]),
        ({"total": -1}, ["total"]),
        ({"total": 9_223_372_037}, ["total"]),
        ({"queue": 15, "execution": 20, "total": 30}, ["total"]),
        ({"queue": 31, "total": 30}, ["total"]),
        ({"queue": -1, "execution": "1", "total": 1e300}, ["queue", "execution", "total"]),
        ({"queue": -1, "execution": 2, "total": 1}, ["queue", "total"]),
    ],
)
def test_table_r_timeouts_that_are_none(arguments: dict[str, Any], paths: list[str]) -> None:
    assert paths_of(lambda: Timeouts(**arguments)) == paths


@pytest.mark.parametrize(
    ("make", "paths"),
    [
        # The original's rules for a submission that have a place here.
        (lambda: function(type="cron"), ["type"]),
        (lambda: function(type=""), ["type"]),
        (lambda: function(type="Batch"), ["type"]),
        (lambda: function(count=-1), ["count"]),
        (lambda: function(type="ops", count=2), ["count"]),
        (lambda: function(inputs={"": "x"}), ["inputs.''"]),
        (lambda: function(inputs={"/a": "x", "/a/": "y"}), ["inputs./a/"]),
        (lambda: function(inputs={"/a": ""}), ["inputs./a"]),
        (lambda: function(outputs={"": "/o"}), ["outputs.''"]),
        (lambda: function(outputs={"o": "relative"}), ["outputs.o"]),
        (lambda: function(outputs={"o": ""}), ["outputs.o"]),
        (lambda: function(outputs={"o": "/o", "p": "/o"}), ["outputs.p"]),
        (lambda: function(inputs={"/a": "x"}, outputs={"o": "/a"}), ["outputs.o"]),
        (lambda: function(selector="zone in ()"), ["selector"]),
        (lambda: function(selector="!"), ["selector"]),
        (lambda: function(labels={"a b": "c", "d": "e f"}), ["labels.a b", "labels.d"]),
        (lambda: function(labels={"-": "-"}), ["labels.-", "labels.-"]),
        (lambda: function(env={"1A": "\0"}), ["env.1A", "env.1A"]),
        (lambda: JobSpec.docker(" "), ["engine.image"]),
        (lambda: JobSpec.docker("a", working_directory="rel"), ["engine.working_directory"]),
        (lambda: JobSpec.docker("a", working_directory="/proc/self/fd/8"), ["engine.working_directory"]),
        (lambda: JobSpec.wasm("m.wasm", entry_point=""), ["engine.entry_point"]),
        (lambda: JobSpec.function(""), ["engine.name"]),
        (lambda: JobSpec(WasmSpec(b"", name="a\0b")), ["engine.name"]),
        (lambda: function(priority=2**31 + 1), ["priority"]),
        (lambda: function(priority=-(2**31) - 1), ["priority"]),
        (lambda: RetryPolicy(1001), ["max_attempts"]),
    ],
)
def test_rules(make: Callable[[], JobSpec], paths: list[str]) -> None:
    assert paths_of(make) == paths


def test_a_message_is_short_however_much_is_wrong() -> None:
    with pytest.raises(InvalidSpecError, match=r"; and 9,990 more$") as caught:
        JobSpec.docker("a", env={f"no name {number}": "" for number in range(10_000)})
    assert len(caught.value.problems) == 10_000
    assert len(str(caught.value)) < 2000


def test_all_problems_of_a_spec_are_reported_at_once() -> None:
    wrong: dict[str, Any] = {
        "inputs": {"/a": 1, "/..": "x"},
        "outputs": {"stdout": "/o", "p": "o"},
        "env": {"1": "", "A": None},
        "stdin": 5,
        "resources": "lots",
        "network": "host",
        "timeouts": 5,
        "retry": 3,
        "selector": "a b, c d",
        "count": -1,
        "type": "cron",
        "priority": "high",
        "labels": {"-": ""},
    }
    paths = [
        "inputs./a",
        "inputs./..",
        "outputs.stdout",
        "outputs.p",
        "type",
        "env.1",
        "env.A",
        "stdin",
        "resources",
    ]
    paths += ["network", "timeouts", "retry", "selector", "selector", "count", "priority", "labels.-"]
    docker = [
        "engine.platform",
        "engine.image",
        "engine.args[0]",
        "engine.entrypoint[1]",
        "engine.working_directory",
    ]
    number: Any = 5
    assert sorted(
        paths_of(
            lambda: JobSpec.docker(
                "B C", number, entrypoint=["sh", number], platform="linux", working_directory="x", **wrong
            )
        )
    ) == sorted([*docker, *paths])
    assert sorted(paths_of(lambda: JobSpec.wasm(number, number, entry_point=number, **wrong))) == sorted(
        ["engine.module", "engine.args[0]", "engine.entry_point", *paths]
    )
    assert sorted(paths_of(lambda: JobSpec(number, **wrong))) == sorted(["engine", *paths])


# ------------------------------------------------------------------------------------------------------- hostile values

# For each field: how to put a value there, and the hostile values that are a fair value of it.
FIELDS: dict[str, tuple[Callable[[Any], object], set[str]]] = {
    "engine": (JobSpec, set()),
    "engine.image": (JobSpec.docker, set()),
    "engine.args": (lambda v: JobSpec(DockerSpec("a", args=v)), {"empty", "1 MB"}),
    "engine.args[0]": (lambda v: JobSpec.docker("a", v), {"empty", "1 MB"}),
    "engine.entrypoint": (lambda v: JobSpec.docker("a", entrypoint=v), {"null", "empty", "1 MB"}),
    "engine.entrypoint[0]": (lambda v: JobSpec.docker("a", entrypoint=[v]), {"empty", "1 MB"}),
    "engine.platform": (lambda v: JobSpec.docker("a", platform=v), {"null"}),
    "engine.working_directory": (lambda v: JobSpec.docker("a", working_directory=v), {"null"}),
    "engine.module": (JobSpec.wasm, {"bytes", "1 MB"}),
    "engine.args[1]": (lambda v: JobSpec.wasm(b"", "a", v), {"empty", "1 MB"}),
    "engine.entry_point": (lambda v: JobSpec.wasm(b"", entry_point=v), {"1 MB"}),
    "engine.name": (JobSpec.function, {"1 MB"}),
    "engine.args[2]": (lambda v: JobSpec.function("f", "a", "b", v), {"empty", "1 MB"}),
    "inputs": (lambda v: function(inputs=v), set()),
    "inputs./in": (lambda v: function(inputs={"/in": v}), {"bytes", "1 MB"}),
    "outputs": (lambda v: function(outputs=v), set()),
    "outputs.o": (lambda v: function(outputs={"o": v}), set()),
    "env": (lambda v: function(env=v), set()),
    "env.A": (lambda v: function(env={"A": v}), {"empty", "1 MB"}),
    "stdin": (lambda v: function(stdin=v), {"null", "bytes", "1 MB"}),
    "resources": (lambda v: function(resources=v), set()),
    "network": (lambda v: function(network=v), set()),
    "timeouts": (lambda v: function(timeouts=v), set()),
    "retry": (lambda v: function(retry=v), set()),
    "selector": (lambda v: function(selector=v), {"empty"}),
    "count": (lambda v: function(count=v), {"null"}),
    "type": (lambda v: function(type=v), set()),
    "priority": (lambda v: function(priority=v), {"-1"}),
    "labels": (lambda v: function(labels=v), set()),
    "labels.a": (lambda v: function(labels={"a": v}), {"empty"}),
    "cpu": (lambda v: Resources(cpu=v), set()),
    "memory": (lambda v: Resources(memory=v), set()),
    "disk": (lambda v: Resources(disk=v), set()),
    "gpu": (lambda v: Resources(gpu=v), set()),
    "domains": (lambda v: Network("http", v), set()),
    "domains[0]": (lambda v: Network("http", [v]), set()),
    "queue": (lambda v: Timeouts(queue=v), {"null"}),
    "execution": (lambda v: Timeouts(execution=v), {"null"}),
    "total": (lambda v: Timeouts(total=v), {"null"}),
    "max_attempts": (lambda v: RetryPolicy(max_attempts=v), set()),
    "backoff": (lambda v: RetryPolicy(backoff=v), set()),
    "retry_timeouts": (lambda v: RetryPolicy(retry_timeouts=v), {"True"}),
    "retry_nonzero_exit": (lambda v: RetryPolicy(retry_nonzero_exit=v), {"True"}),
    "prefer": (lambda v: Selector("", prefer=v), {"empty"}),
    "os": (lambda v: Platform(v, "amd64"), set()),
    "architecture": (lambda v: Platform("linux", v), set()),
    "variant": (lambda v: Platform("linux", "arm", v), {"empty"}),
    "source": (Input, {"bytes", "1 MB"}),
    "writable": (lambda v: Input("x", writable=v), {"True"}),
    "module": (lambda v: WasmSpec(v), {"bytes", "1 MB"}),
    "platform": (lambda v: DockerSpec("a", platform=v), {"null"}),
}
KEYS: dict[str, Callable[[Any], JobSpec]] = {
    "inputs": lambda key: function(inputs={key: b""}),
    "outputs": lambda key: function(outputs={key: "/o"}),
    "env": lambda key: function(env={key: ""}),
    "labels": lambda key: function(labels={key: ""}),
}


@pytest.mark.parametrize("name", [*VALUES])
@pytest.mark.parametrize("path", [*FIELDS])
def test_a_hostile_value_is_refused_by_the_name_of_its_field(path: str, name: str) -> None:
    make, fair = FIELDS[path]
    if name in fair:
        assert make(VALUES[name]) is not None
    else:
        with pytest.raises(InvalidSpecError) as caught:
            make(VALUES[name])
        assert complains_about(caught.value, path)


@pytest.mark.parametrize("path", [*FIELDS])
@given(value=anything)
def test_a_field_takes_a_value_or_refuses_it_by_name(path: str, value: Any) -> None:
    made = outcome(lambda: FIELDS[path][0](value))
    if isinstance(made, InvalidSpecError):
        assert complains_about(made, path)
    else:
        again = pickle.loads(pickle.dumps(made))
        assert again == made
        assert hash(again) == hash(made)


@pytest.mark.parametrize("path", [*KEYS])
@given(key=st.text() | st.none() | st.integers() | st.binary() | st.tuples(st.text()))
@example(key="\ud800")
@example(key="a\0b")
@example(key="x" * 10**6)
@example(key="a\nb")
@example(key=float("nan"))
def test_a_key_is_taken_or_refused_by_name(path: str, key: Any) -> None:
    made = outcome(lambda: KEYS[path](key))
    assert complains_about(made, path) if isinstance(made, InvalidSpecError) else key in getattr(made, path)


@pytest.mark.parametrize(
    "names", [("Privileged",), ("PidMode", "CapAdd"), ("security_opt",), ("Inputs",), ("",)]
)
@pytest.mark.parametrize(
    "make",
    [partial(JobSpec.docker, "a"), partial(JobSpec.wasm, b""), function, partial(JobSpec, FunctionSpec("f"))],
)
def test_an_unknown_field_is_refused_by_name(make: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSpecError, match="is no field of a JobSpec") as caught:
        make(**dict.fromkeys(names, True))
    assert [problem.path for problem in caught.value.problems] == sorted(names)


@pytest.mark.parametrize("make", [JobSpec, JobSpec.docker, JobSpec.wasm, JobSpec.function])
def test_a_missing_program_is_a_type_error(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize(
    "image",
    [
        *cells(
            """
            busybox  busybox:1.37  library/busybox  docker.io/library/busybox:latest  localhost:5000/a/b  a__b/c.d-e
            Registry.Example.COM/team/tool:v1  [::1]:5000/x  127.0.0.1/x  gcr.io/a/b/c/d
            """
        ),
        *(f"busybox@{DIGEST}", f"h:1/a:t@{DIGEST}", DIGEST, "a:" + "t" * 128, "a/" * 255 + "aa"),
    ],
)
def test_images(image: str) -> None:
    engine = JobSpec.docker(image).engine
    assert isinstance(engine, DockerSpec)
    assert engine.image == image


@pytest.mark.parametrize(
    "image",
    [
        *cells(
            """
            --privileged  --privileged/x  -v/:/x  -v  ;rm -rf  a;rm -rf /  a b  $(id)  `id`  BusyBox  a/BusyBox  /a  a/  a//b
            a:  a:b:c  a:-t  a@  @  a@sha256:bad  ../a  a/../b  a..b  a___b  .a  a.  é  😀  https://a/b  host:port/a  host:/a
            """
        ),
        *(
            "",
            " ",
            "a\nb",
            "a\0",
            "a:" + "t" * 129,
            "x" * 513,
            "a/" * 2500,
            "a" * 5000 + "!",
            "a-" * 250 + "!",
        ),
        *(f"a@{DIGEST}0", f"a@{DIGEST.upper()}", f"a@{DIGEST.replace('a', 'g')}"),
    ],
    ids=lambda image: repr(image)[:24],
)
def test_images_that_are_none(image: str) -> None:
    assert paths_of(lambda: JobSpec.docker(image)) == ["engine.image"]


# ---------------------------------------------------------------------------------------------------- what is taken, how


def test_the_defaults_ask_for_nothing() -> None:
    spec = function()
    assert spec == JobSpec(FunctionSpec("f"))
    assert [spec.inputs, spec.outputs, spec.env, spec.labels] == [FrozenMap()] * 4
    assert (spec.stdin, spec.count, spec.type, spec.priority) == (None, 1, JobType.BATCH, 0)
    assert (spec.resources, spec.network, spec.timeouts) == (Resources(), Network(), Timeouts())
    assert (spec.retry, spec.selector) == (RetryPolicy(max_attempts=1), Selector())


def test_every_field_is_kept() -> None:
    given_fields: JobOptions = {
        "inputs": {
            "/in": "books/",
            "b": b"x",
            "/c": Path("c"),
            "/d": "s3://b/k",
            "/e": Input("e", writable=True),
        },
        "outputs": {"counts": "/outputs"},
        "env": {"A": ""},
        "stdin": "in.txt",
        "resources": Resources(cpu=1),
        "network": Network("http", ".example.com"),
        "timeouts": Timeouts(total=5),
        "retry": RetryPolicy(3, 0.5, retry_timeouts=True),
        "selector": "zone = dc",
        "count": 3,
        "type": "service",
        "priority": -7,
        "labels": {"x.io/team": "a"},
    }
    spec = function(**given_fields)
    assert (
        set(given_fields)
        == set(JobOptions.__annotations__)
        == {each.name for each in attrs.fields(JobSpec)} - {"engine"}
    )
    assert spec.inputs == {
        "/in": Input(PathSource("books/")),
        "b": Input(BytesSource(b"x")),
        "/c": Input(PathSource("c")),
        "/d": Input(UrlSource("s3://b/k")),
        "/e": Input(PathSource("e"), writable=True),
    }
    assert [*spec.inputs] == ["/in", "b", "/c", "/d", "/e"]
    assert [spec.outputs, spec.env, spec.labels] == [{"counts": "/outputs"}, {"A": ""}, {"x.io/team": "a"}]
    assert (spec.stdin, spec.resources, spec.network) == (
        PathSource("in.txt"),
        Resources(1),
        Network("http", ".example.com"),
    )
    assert (spec.timeouts, spec.retry) == (Timeouts(total=5), RetryPolicy(3, 0.5, retry_timeouts=True))
    assert (spec.selector, spec.count, spec.type, spec.priority) == (
        Selector("zone = dc"),
        3,
        JobType.SERVICE,
        -7,
    )
    assert [function(priority=each).priority for each in (-(2**31), 2**31)] == [-(2**31), 2**31]
    for name in given_fields:
        assert function(**{name: given_fields[name]}) != function()  # type: ignore[literal-required]
        assert function(**{name: getattr(spec, name)}) == function(**{name: given_fields[name]})  # type: ignore[literal-required]


@pytest.mark.parametrize(
    ("make", "engine"),
    [
        (lambda: JobSpec.docker("a"), DockerSpec("a", (), None, None, None)),
        (lambda: JobSpec.docker("a", "sh", "-c", ""), DockerSpec("a", ["sh", "-c", ""])),
        (lambda: JobSpec.docker("a", entrypoint="sh"), DockerSpec("a", entrypoint=("sh",))),
        (
            lambda: JobSpec.docker("a", entrypoint=iter(["sh", "-c"])),
            DockerSpec("a", entrypoint=("sh", "-c")),
        ),
        (lambda: JobSpec.docker("a", entrypoint=[]), DockerSpec("a", entrypoint=())),
        (
            lambda: JobSpec.docker("a", platform="Linux/aarch64"),
            DockerSpec("a", platform=Platform("linux", "arm64")),
        ),
        (lambda: JobSpec.docker("a", working_directory="/w"), DockerSpec("a", working_directory="/w")),
        (
            lambda: JobSpec.wasm("dir/m.wasm", "x"),
            WasmSpec(PathSource("dir/m.wasm"), ("x",), "_start", "m.wasm"),
        ),
        (lambda: JobSpec.wasm(PurePosixPath("d/m.wasm")), WasmSpec(PathSource("d/m.wasm"), name="m.wasm")),
        (lambda: JobSpec.wasm("C:\\d\\m.wasm"), WasmSpec("C:\\d\\m.wasm", name="m.wasm")),
        (lambda: JobSpec.wasm("https://x/m.wasm"), WasmSpec("https://x/m.wasm", name="m.wasm")),
        (lambda: JobSpec.wasm(b"\0asm"), WasmSpec(b"\0asm", (), "_start", "main.wasm")),
        (lambda: JobSpec.wasm("dir/"), WasmSpec("dir/", name="main.wasm")),
        (lambda: JobSpec.wasm("m", entry_point="go"), WasmSpec("m", entry_point="go", name="m")),
        (lambda: JobSpec.function("f", "x", "y"), FunctionSpec("f", ["x", "y"])),
    ],
)
def test_programs(make: Callable[[], JobSpec], engine: EngineSpec) -> None:
    assert make().engine == engine
    assert make() == JobSpec(engine)
    assert (
        make().engine.engine
        == {DockerSpec: "docker", WasmSpec: "wasm", FunctionSpec: "function"}[type(engine)]
    )


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        (DockerSpec("a"), None),
        (DockerSpec("a", platform="linux/arm64/v8"), Platform("linux", "arm64")),
        (WasmSpec(b""), None),
        (FunctionSpec("f"), None),
    ],
)
def test_only_an_image_wants_a_platform(engine: EngineSpec, wanted: Platform | None) -> None:
    assert engine.wanted_platform == wanted


def test_an_engine_of_somebody_else_checks_itself() -> None:
    @attrs.frozen
    class OddSpec(EngineSpec):
        engine: ClassVar[str] = "odd"
        number: int

        def check(self, problems: Problems) -> None:
            if self.number % 2 == 0:
                problems.add("engine.number", "is even")

    assert JobSpec(OddSpec(1)).engine == OddSpec(1)
    assert paths_of(lambda: JobSpec(OddSpec(2), count=-1)) == ["engine.number", "count"]


@pytest.mark.parametrize(
    "policy",
    [RetryPolicy(), RetryPolicy(1000, 0, retry_timeouts=True, retry_nonzero_exit=True), RetryPolicy(2, 0.5)],
)
def test_retry_policies(policy: RetryPolicy) -> None:
    again = RetryPolicy(
        policy.max_attempts,
        policy.backoff,
        retry_timeouts=policy.retry_timeouts,
        retry_nonzero_exit=policy.retry_nonzero_exit,
    )
    assert again == policy


def test_all_problems_of_a_retry_policy_are_reported_at_once() -> None:
    no: Any = "no"
    assert paths_of(lambda: RetryPolicy(0, -1, retry_timeouts=no, retry_nonzero_exit=no)) == [
        "max_attempts",
        "backoff",
        "retry_timeouts",
        "retry_nonzero_exit",
    ]


@pytest.mark.parametrize("state", JobState)
def test_four_states_are_terminal(state: JobState) -> None:
    assert state.terminal is (state.value in {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


# ------------------------------------------------------------------------------------------------------- specs are values

WHOLE = """JobSpec.docker(
    "busybox:1.37", "sh", "-c", "true", entrypoint=["/bin/sh"], platform="linux/arm", working_directory="/w",
    inputs={"/a": "books/", "/b": b"x", "/c": "s3://b/k", "/d": Input("e", writable=True)},
    outputs={"o": "/o", "p": "/p"}, env={"A": "1", "B": "2"}, stdin=b"in", resources=Resources("500m", "1GB", 5, "all"),
    network=Network("http", [".example.com", "10.0.0.1"]), timeouts=Timeouts(1, 2, 3), retry=RetryPolicy(2),
    selector=Selector("a in (b, c), !d, e > 5", prefer="f"), count=2, type="service", priority=1, labels={"x": "y", "z": ""},
)"""
IMPORTS = """
from bacalhau_sdk.model.data import Input
from bacalhau_sdk.model.job import JobSpec, RetryPolicy, Timeouts
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Selector
"""


def whole() -> JobSpec:
    """Make a spec with something in every field."""
    spec = eval(WHOLE, globals())  # so that another interpreter can make it as well
    assert isinstance(spec, JobSpec)
    return spec


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_spec_is_equal_after_a_journey_through_another_interpreter(seed: str) -> None:
    spec = whole()
    assert hash(spec) == hash(whole())  # and the hash is cached before it travels
    code = f"""{IMPORTS}
import pickle, sys
there = {WHOLE}
came = pickle.loads(sys.stdin.buffer.read())
assert came == there and hash(came) == hash(there) and {{came: 1}}[there] == 1
assert list(came.inputs) == list(there.inputs)
sys.stdout.buffer.write(pickle.dumps(came))
"""
    location = Path(sys.modules["bacalhau_sdk"].__path__[0]).parent
    output = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(spec),
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(location)},
        check=True,
        capture_output=True,
    ).stdout
    back = pickle.loads(output)
    assert back == spec
    assert hash(back) == hash(spec)
    assert copy.deepcopy(spec) == copy.copy(spec) == spec


def test_nothing_of_a_spec_can_be_changed() -> None:
    spec = whole()
    values: list[Any] = [
        spec,
        spec.engine,
        spec.resources,
        spec.network,
        spec.timeouts,
        spec.retry,
        spec.selector,
    ]
    values += [spec.selector.requirements[0], spec.stdin, spec.inputs["/d"], Platform("linux", "arm")]
    for value in values:
        hash(value)
        for field in attrs.fields(type(value)):
            with pytest.raises(AttributeError):
                setattr(value, field.name, None)
        with pytest.raises(AttributeError):
            value.another = None
    for mapping in (spec.inputs, spec.outputs, spec.env, spec.labels):
        assert isinstance(mapping, FrozenMap)


def test_what_was_passed_in_is_copied() -> None:
    data = bytearray(b"before")
    mappings: dict[str, Any] = {
        "inputs": {"/a": data},
        "outputs": {"o": "/o"},
        "env": {"A": "1"},
        "labels": {"a": "1"},
        "stdin": data,
    }
    entrypoint, domains, alternatives = ["sh"], ["a.com"], ["b"]

    def make() -> JobSpec:
        return JobSpec.docker(
            "a",
            entrypoint=entrypoint,
            network=Network("http", domains),
            selector=Selector([Requirement("a", "in", alternatives)]),
            **mappings,
        )

    spec, twin = make(), make()
    for mapping in mappings.values():
        mapping.clear()
    for values in (entrypoint, domains, alternatives):
        values.append("more.com")
    assert spec == twin
    assert spec.stdin == BytesSource(b"before")
    assert spec.inputs == {"/a": Input(b"before")}
    assert [spec.outputs, spec.env, spec.labels] == [{"o": "/o"}, {"A": "1"}, {"a": "1"}]
    assert make() != spec


@pytest.mark.parametrize("kind", [dict, FrozenMap, MappingProxyType])
def test_any_mapping_will_do(kind: Callable[[dict[str, str]], Mapping[str, str]]) -> None:
    assert function(env=kind({"A": "1", "B": "2"})) == function(env={"B": "2", "A": "1"})


def test_a_spec_of_no_engine_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="names no engine"):
        JobSpec(EngineSpec())
