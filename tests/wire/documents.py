"""What the tests of the wire format share: captured documents, small ones, the schema, and specs that can be written down."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st
from jsonschema import Draft7Validator

import bacalhau_sdk.wire
from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.data import BytesSource, PathSource, UrlSource
from bacalhau_sdk.model.job import JobOptions, JobSpec, JobType, Timeouts, WasmSpec
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.paths import check_guest_path, normalise_guest_path
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Operator, Requirement, Selector

CAPTURES = Path(__file__).parent / "captures"
SCHEMA_FILE = Path(bacalhau_sdk.wire.__file__).parent / "job.schema.json"
SCHEMA = json.loads(SCHEMA_FILE.read_text())
VALIDATOR = Draft7Validator(SCHEMA)

Document = dict[str, Any]
Steps = tuple[str | int, ...]


def captured() -> dict[str, Document]:
    """Return every job of the captures, by the capture and its place there, but the one that the server refused."""
    found: dict[str, Document] = {}
    for path in sorted(CAPTURES.glob("*.json")):
        capture = json.loads(path.read_text())
        body, response = capture["request"]["body"] or {}, capture["response"]
        if path.stem != "put_invalid":
            jobs = [body.get("Job"), response.get("Job"), *response.get("Items", [])]
            found |= {f"{path.stem}-{index}": job for index, job in enumerate(jobs) if job}
    return found


def docker(**task: Any) -> Document:
    """Return a small Docker job whose task has further keys."""
    engine = {"Type": "docker", "Params": {"Image": "busybox:1.37"}}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, **task}]}


def wasm(**task: Any) -> Document:
    """Return a small WASM job whose task has further keys."""
    engine = {"Type": "wasm", "Params": {"EntryModule": "/m.wasm"}}
    source = {"Target": "/m.wasm", "Source": {"Type": "localDirectory", "Params": {"SourcePath": "m.wasm"}}}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, "InputSources": [source], **task}]}


def changed(document: Document, path: str | Steps, value: object) -> Document:
    """Return a copy in which the value at ``Tasks/0/Engine`` or the like is another one; a `Gone` takes it away."""
    made: Document = copy.deepcopy(document)
    steps = (
        tuple(int(step) if step.isdecimal() else step for step in path.split("/"))
        if isinstance(path, str)
        else path
    )
    owner: Any = made
    for step in steps[:-1]:
        owner = owner[step]
    if value is not Gone:
        owner[steps[-1]] = value
    elif isinstance(owner, list) or steps[-1] in owner:
        owner.pop(cast("Any", steps[-1]))
    return made


class Gone:
    """Stands for a key that is not there."""


# ---- Specs that can be written down ----

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_some = _texts.filter(bool)
_names = st.from_regex(r"[a-z]([0-9][a-z0-9]{0,6})?", fullmatch=True)  # no device of Windows is called so
_label_keys = st.from_regex(
    r"([a-z]{1,5}\.[a-z]{2}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,6}[A-Za-z0-9])?", fullmatch=True
)
_label_values = st.from_regex(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,6}[A-Za-z0-9])?)?", fullmatch=True)
_sources = (
    st.binary(max_size=20).map(BytesSource)
    | _some.filter(bool).map(PathSource)
    | _texts.map(lambda text: UrlSource(f"https://example.com/{text}"))
    | st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True).map(lambda cid: UrlSource(f"ipfs://{cid}"))
    | st.from_regex(r"s3://[a-z0-9.-]{3,9}(/[a-zé/*]{1,6})?", fullmatch=True).map(UrlSource)
)
_targets = st.from_regex(r"/{0,2}(in|data|é)(/[a-z.]{1,4}|/){0,2}", fullmatch=True)
_requirements = st.builds(
    lambda key, operator, values, number: Requirement(
        key,
        operator,
        {
            Operator.EXISTS: [],
            Operator.DOES_NOT_EXIST: [],
            Operator.IN: values,
            Operator.NOT_IN: values,
            Operator.GREATER_THAN: [number],
            Operator.LESS_THAN: [number],
        }.get(operator, values[:1]),
    ),
    (_label_keys | st.sampled_from(["os", "arch", "name"])).filter(lambda key: not key.startswith("os_")),
    st.sampled_from(Operator),
    st.lists(_label_values, min_size=1, max_size=3),
    st.integers(0, 10**18).map(str),
)
_resources = st.builds(
    Resources,
    st.floats(0, 10**6),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**31),
)
_networks = st.sampled_from(["none", "bridge", "host"]).map(Network) | st.lists(
    st.sampled_from(["example.com", ".b.org", "1.2.3.4", "::1"]), max_size=3
).map(lambda domains: Network("http", domains))
_seconds = st.none() | st.integers(0, 2**31)
_timeouts = st.builds(
    lambda queue, execution, more: Timeouts(
        queue, execution, None if more is None else more + (queue or 0) + (execution or 0)
    ),
    *[_seconds] * 3,
)


def _is_file_name(name: str) -> bool:
    try:
        return normalise_guest_path(check_guest_path(f"/x/{name}")) == f"/x/{name}" and "/" not in name
    except InvalidSpecError:
        return False


@st.composite
def expressible(draw: st.DrawFn) -> JobSpec:
    """Draw a spec that Bacalhau v1 can say."""
    of_docker = draw(st.booleans())
    env_names = r"[A-Za-z_][A-Za-z0-9_]{0,6}" if of_docker else r"[A-Z][A-Z0-9_]{0,6}"
    env_values = (_texts if of_docker else _some).filter(lambda text: not text.startswith("env:"))
    kind = draw(st.sampled_from(JobType))
    labels = draw(st.dictionaries(_label_keys, _label_values, max_size=3))
    for label, value in (("bacalhau.org/name", "my-job"), ("bacalhau.org/task", "first")):
        labels |= {label: value} if draw(st.booleans()) else {}
    targets = draw(st.lists(_targets, max_size=3, unique_by=normalise_guest_path))
    options = JobOptions(
        inputs={target: draw(_sources) for target in targets},  # type: ignore[misc]
        outputs={name: f"/out/{name}" for name in draw(st.lists(_names, max_size=3, unique=True))},
        env=draw(st.dictionaries(st.from_regex(env_names, fullmatch=True), env_values, max_size=3)),
        resources=draw(_resources),
        network=draw(_networks),
        timeouts=draw(_timeouts),
        selector=Selector(draw(st.lists(_requirements, max_size=3))),
        count=draw(st.integers(0, 10_000)) if kind in (JobType.BATCH, JobType.SERVICE) else None,
        type=kind,
        priority=draw(st.integers(-(2**31), 2**31)),
        labels=labels,
    )
    arguments = draw(st.lists(_texts, max_size=3))
    if of_docker:
        entrypoint = draw(st.none() | st.lists(_texts, max_size=2))
        folder = draw(st.none() | st.just("/work"))
        return JobSpec.docker(
            "host:5000/a/b:c", *arguments, entrypoint=entrypoint, working_directory=folder, **options
        )
    name = draw(_some.filter(_is_file_name) | st.sampled_from(["a.wasm", "main.wasm"]))
    return JobSpec(WasmSpec(draw(_sources), arguments, draw(_some), name), **options)
