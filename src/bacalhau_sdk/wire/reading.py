"""Document to spec; whatever the spec complains about is said under the path of the document."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from ..errors import InvalidSpecError, Problem
from ..model.data import BytesSource, Input, PathSource, Source, UrlSource
from ..model.job import DockerSpec, EngineSpec, JobOptions, JobSpec, Timeouts, WasmSpec
from ..model.network import Network
from ..model.paths import normalise_guest_path
from ..model.problems import is_text, key_path, shown
from ..model.resources import Resources
from ..model.selector import Requirement, Selector, check_label_value
from .document import (
    Constraint,
    DockerEngine,
    InlineSource,
    IpfsSource,
    Job,
    JobNetwork,
    JobResources,
    JobTimeouts,
    LocalSource,
    S3Source,
    SourceConfig,
    Task,
    UrlSourceConfig,
    WasmEngine,
    WasmParams,
)
from .structure import Findings

__all__ = [
    "ALONE",
    "BUCKET",
    "CID",
    "ENV_REFERENCE",
    "NAME_LABEL",
    "NODE_LABELS",
    "TASK_LABEL",
    "TASK_NAME",
    "is_alone",
    "to_spec",
]

T = TypeVar("T")
F = TypeVar("F")

NAME_LABEL = "bacalhau.org/name"
TASK_LABEL = "bacalhau.org/task"
"""The labels that hold the names of a job and of its task, which a spec has no fields for."""
TASK_NAME = "main"
ALONE = "/bacalhau.module"
"""An input in this folder is the module and nothing else; any other one is an input of the program too."""
ENV_REFERENCE = "env:"
"""Begins a value of a variable that stands for a variable of the node."""
NODE_LABELS: Mapping[str, str] = {"os_type": "os", "os_arch": "arch"}
"""The labels that every node has, by their names there."""
CID = re.compile("[A-Za-z0-9]+")
_WEB = re.compile("https?://", re.IGNORECASE)
BUCKET = re.compile("[A-Za-z0-9._-]+")
_DATA_URL = re.compile(r"data:(?P<type>[^,]*?)(?P<base64>;base64)?,(?P<data>.*)", re.DOTALL | re.IGNORECASE)
_ARCHIVES = ("application/gzip", "application/x-gzip")

_TASK = "Tasks[0]"
_PARAMS = f"{_TASK}.Engine.Params"
_RESOURCES = {"cpu": "CPU", "memory": "Memory", "disk": "Disk", "gpu": "GPU"}
# Where in the document a field of the spec comes from; the paths of items are added as they are read.
_PLACES: Mapping[str, str] = {
    "type": "Type",
    "count": "Count",
    "priority": "Priority",
    "labels": "Labels",
    "env": f"{_TASK}.Env",
    "engine.image": f"{_PARAMS}.Image",
    "engine.entrypoint": f"{_PARAMS}.Entrypoint",
    "engine.entry_point": f"{_PARAMS}.Entrypoint",
    "engine.args": f"{_PARAMS}.Parameters",
    "engine.working_directory": f"{_PARAMS}.WorkingDirectory",
    "engine.name": f"{_PARAMS}.EntryModule",
    **{f"resources.{field}": f"{_TASK}.Resources.{key}" for field, key in _RESOURCES.items()},
    "network.type": f"{_TASK}.Network.Type",
    "network.domains": f"{_TASK}.Network.Domains",
    **{
        f"timeouts.{part}": f"{_TASK}.Timeouts.{part.title()}Timeout"
        for part in ("execution", "queue", "total")
    },
}


def to_spec(job: Job) -> JobSpec:
    """Turn a document into the spec that asks for the same.

    Raises:
        InvalidDocumentError: It breaks a rule; every problem is named.
        UnsupportedDocumentError: It asks for what a spec has no place for.
    """
    return _Reading(job).spec()


def is_alone(target: str, engine: EngineSpec) -> bool:
    """Say whether an input is the module of a WASM job and nothing that the program is to see."""
    return isinstance(engine, WasmSpec) and normalise_guest_path(target) == f"{ALONE}/{engine.name}"


class _Reading:
    """Reads one document, and gathers everything that is wrong with it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._findings = Findings()
        self._places = dict(_PLACES)

    def spec(self) -> JobSpec:
        job, findings = self._job, self._findings
        if not job.Tasks:
            self._wrong("Tasks", "is empty: a job has one task")
            findings.check()
        for index in range(1, len(job.Tasks)):
            self._refuse(f"Tasks[{index}]", "a job has one task here: submit a job for each")
        for key in job.Meta or {}:
            if not key.startswith("bacalhau.org/"):
                self._refuse(key_path("Meta", key), "only what a server wrote may be there: use Labels")
        task = job.Tasks[0]
        inputs = self._inputs(task)
        engine = self._engine(task, inputs)
        options = JobOptions(
            inputs={target: given for target, given in inputs.items() if not is_alone(target, engine)},
            outputs=self._outputs(task),
            env=self._env(task),
            resources=self._resources(task),
            network=self._network(task),
            timeouts=self._timeouts(task),
            selector=self._selector(job.Constraints or []),
            count=job.Count,
            type=job.Type,
            priority=job.Priority or 0,
            labels=self._labels(job, task),
        )
        spec = self._convert("", lambda: JobSpec(engine, **options), None)
        findings.check()
        assert spec is not None
        return spec

    def _convert(self, path: str, make: Callable[[], T], fallback: F) -> T | F:
        """Return what ``make`` makes, or the fallback once its problems are noted."""
        try:
            return make()
        except InvalidSpecError as error:
            for problem in error.problems:
                where = ".".join(part for part in (path, problem.path) if part)
                self._wrong(self._place(where), problem.message)
        return fallback

    def _place(self, path: str) -> str:
        """Return where in the document a field of the spec comes from: by the longest beginning that is known."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._places and path[end : end + 1] in ("", ".", "["):
                return self._places[path[:end]] + path[end:]
        return path

    def _refuse(self, path: str, message: str) -> None:
        self._findings.unsupported.append(Problem(path, message))

    def _wrong(self, path: str, message: str) -> None:
        self._findings.invalid.append(Problem(path, message))

    def _engine(self, task: Task, inputs: Mapping[str, Input]) -> EngineSpec:
        match task.Engine:
            case DockerEngine(Params=docker):
                return DockerSpec(
                    docker.Image, docker.Parameters or (), docker.Entrypoint, None, docker.WorkingDirectory
                )
            case WasmEngine(Params=wasm):
                return self._wasm(wasm, inputs)

    def _wasm(self, params: WasmParams, inputs: Mapping[str, Input]) -> WasmSpec:
        place = normalise_guest_path(params.EntryModule)
        module = next(
            (given.source for target, given in inputs.items() if normalise_guest_path(target) == place), None
        )
        if module is None:
            self._wrong(
                f"{_PARAMS}.EntryModule", f"{shown(params.EntryModule)} is not the Target of an input"
            )
        return WasmSpec(
            module or BytesSource(b""),
            params.Parameters or (),
            "_start" if params.Entrypoint is None else params.Entrypoint,
            place.rpartition("/")[2] or "main.wasm",
        )

    def _inputs(self, task: Task) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for index, given in enumerate(task.InputSources or []):
            where = f"{_TASK}.InputSources[{index}]"
            if given.Target in found:
                self._wrong(f"{where}.Target", f"{shown(given.Target)} is the Target of another input")
            self._places.setdefault(key_path("inputs", given.Target), f"{where}.Target")
            source = self._source(given.Source, f"{where}.Source.Params")
            found.setdefault(given.Target, Input(source))
        return found

    def _source(self, config: SourceConfig, where: str) -> Source:
        match config:
            case InlineSource(Params=inline):
                return self._inline(inline.URL, f"{where}.URL")
            case UrlSourceConfig(Params=web):
                good = _WEB.match(web.URL) is not None
                return self._checked(web.URL, good, "a URL of https or http", f"{where}.URL", UrlSource)
            case IpfsSource(Params=ipfs):
                good = CID.fullmatch(ipfs.CID) is not None
                url = f"ipfs://{ipfs.CID}"
                return self._checked(url, good, "a CID: letters and digits", f"{where}.CID", UrlSource)
            case S3Source(Params=s3):
                key = f"/{s3.Key}" if s3.Key else ""
                good = BUCKET.fullmatch(s3.Bucket) is not None
                part = "Key" if good else "Bucket"
                url = f"s3://{s3.Bucket}{key}"
                return self._checked(
                    url, good, "the name of a bucket or object", f"{where}.{part}", UrlSource
                )
            case LocalSource(Params=local):
                path = local.SourcePath
                return self._checked(path, path != "", "a path", f"{where}.SourcePath", PathSource)

    def _checked(self, text: str, good: bool, what: str, where: str, make: Callable[[str], Source]) -> Source:
        if good and is_text(text):
            return make(text)
        self._wrong(where, f"{shown(text)} is not {what}")
        return BytesSource(b"")

    def _inline(self, url: str, where: str) -> Source:
        found = _DATA_URL.fullmatch(url)
        if found is None:
            self._wrong(where, f"{shown(url)} is not a URL such as 'data:text/plain;base64,aGVsbG8='")
            return BytesSource(b"")
        if found["type"].partition(";")[0].strip().lower() in _ARCHIVES:
            self._refuse(where, "an archive would be unpacked there: inline data is one file here")
        try:
            data = unquote_to_bytes(found["data"]) if "%" in found["data"] else found["data"].encode()
            return BytesSource(b64decode(data, validate=True) if found["base64"] else data)
        except ValueError:
            expected = "base64" if found["base64"] else "text that UTF-8 can write"
            self._wrong(where, f"what follows the comma is not {expected}")
            return BytesSource(b"")

    def _outputs(self, task: Task) -> dict[str, str]:
        found: dict[str, str] = {}
        for index, given in enumerate(task.ResultPaths or []):
            where = f"{_TASK}.ResultPaths[{index}]"
            if given.Name in found:
                self._wrong(f"{where}.Name", f"{shown(given.Name)} is the Name of another result")
            self._places.setdefault(key_path("outputs", given.Name), where)
            found.setdefault(given.Name, given.Path)
        return found

    def _env(self, task: Task) -> dict[str, str]:
        found = dict(task.Env or {})
        places = {name: key_path(f"{_TASK}.Env", name) for name in found}
        variables = task.Engine.Params.EnvironmentVariables if isinstance(task.Engine, DockerEngine) else None
        for index, variable in enumerate(variables or []):
            name, equals, value = variable.partition("=")
            where = f"{_PARAMS}.EnvironmentVariables[{index}]"
            if not equals:
                self._wrong(where, f"{shown(variable)} is not NAME=value")
            found[name] = value
            places[name] = where
        for name, value in found.items():
            self._places[key_path("env", name)] = places[name]
            if value.startswith(ENV_REFERENCE):
                self._refuse(places[name], "a variable of the node is not forwarded: write its value")
        return found

    def _resources(self, task: Task) -> Resources:
        given = task.Resources or JobResources()
        gpu = (given.GPU or "0").strip()
        if not gpu.isdecimal():
            self._wrong(f"{_TASK}.Resources.GPU", f"{shown(given.GPU)} is not a whole number")
            gpu = "0"
        amounts = (given.CPU or 0, given.Memory or 0, given.Disk or 0, gpu)
        return self._convert("resources", lambda: Resources(*amounts), Resources())

    def _network(self, task: Task) -> Network:
        given = task.Network or JobNetwork()
        kind = "none" if given.Type in (None, "Default") else given.Type
        return self._convert("network", lambda: Network(kind, given.Domains or ()), Network())

    def _timeouts(self, task: Task) -> Timeouts:
        given = task.Timeouts or JobTimeouts()
        limits = (given.QueueTimeout, given.ExecutionTimeout, given.TotalTimeout)
        return self._convert("timeouts", lambda: Timeouts(*limits), Timeouts())

    def _selector(self, constraints: list[Constraint]) -> Selector:
        found: list[Requirement] = []
        for index, given in enumerate(constraints):
            where = f"Constraints[{index}]"
            if given.Key in NODE_LABELS.values():
                theirs = next(label for label, ours in NODE_LABELS.items() if ours == given.Key)
                self._refuse(
                    f"{where}.Key", f"{given.Key} is a label of every node here: there it is {theirs}"
                )
            key = NODE_LABELS.get(given.Key, given.Key)
            made = self._convert(where, partial(Requirement, key, given.Operator, given.Values or ()), None)
            found += [made] if made is not None else []
        return self._convert("selector", lambda: Selector(found), Selector())

    def _labels(self, job: Job, task: Task) -> dict[str, str]:
        labels = dict(job.Labels or {})
        names = {NAME_LABEL: (job.Name, "Name"), TASK_LABEL: (task.Name, f"{_TASK}.Name")}
        for label, (name, where) in names.items():
            if not name or (label, name) == (TASK_LABEL, TASK_NAME):
                continue
            if label in labels:
                self._wrong(key_path("Labels", label), f"{where} is kept in this label: leave it out")
            if self._label_value(name):
                labels[label] = name
            else:
                self._refuse(
                    where, f"{shown(name)} is kept in a label: at most 63 letters, digits, '-', '_', '.'"
                )
        return labels

    @staticmethod
    def _label_value(name: str) -> bool:
        try:
            return bool(check_label_value(name))
        except InvalidSpecError:
            return False
