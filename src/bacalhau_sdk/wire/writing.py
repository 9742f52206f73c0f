"""Spec to document; what the format has no words for is refused, field by field."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from ..errors import InexpressibleSpecError, InvalidSpecError, Problem
from ..model.data import BytesSource, Input, PathSource, Source, UrlSource
from ..model.job import DockerSpec, EngineSpec, JobSpec, JobType, RetryPolicy, Timeouts, WasmSpec
from ..model.network import Network, NetworkType
from ..model.paths import check_guest_path, normalise_guest_path
from ..model.problems import invalid, key_path, shown
from ..model.resources import Resources
from ..model.selector import Operator, Requirement
from .document import (
    Constraint,
    DockerEngine,
    DockerParams,
    EngineConfig,
    InlineParams,
    InlineSource,
    InputSource,
    IpfsParams,
    IpfsSource,
    Job,
    JobNetwork,
    JobResources,
    JobTimeouts,
    LocalParams,
    LocalSource,
    PublisherConfig,
    ResultPath,
    S3Params,
    S3Source,
    SourceConfig,
    Task,
    UrlParams,
    UrlSourceConfig,
    WasmEngine,
    WasmParams,
)
from .reading import ALONE, BUCKET, CID, ENV_REFERENCE, NAME_LABEL, NODE_LABELS, TASK_LABEL, TASK_NAME

__all__ = ["from_spec", "largest", "longest"]

_ENV_NAME = re.compile("[A-Z][A-Z0-9_]*")  # the original's rule for the variables of a task
_S3 = re.compile(rf"s3://(?P<bucket>{BUCKET.pattern})(/(?P<key>.+))?", re.DOTALL)
_NETWORKS: Mapping[NetworkType, Literal["None", "HTTP", "Bridge", "Host"]] = {
    NetworkType.NONE: "None",
    NetworkType.HTTP: "HTTP",
    NetworkType.BRIDGE: "Bridge",
    NetworkType.HOST: "Host",
}
_OPERATORS: Mapping[Operator, Literal["=", "!=", "in", "notin", "exists", "!", "gt", "lt"]] = {
    Operator.EQUALS: "=",
    Operator.NOT_EQUALS: "!=",
    Operator.IN: "in",
    Operator.NOT_IN: "notin",
    Operator.EXISTS: "exists",
    Operator.DOES_NOT_EXIST: "!",
    Operator.GREATER_THAN: "gt",
    Operator.LESS_THAN: "lt",
}
_LABELS_THERE = {ours: theirs for theirs, ours in NODE_LABELS.items()}
_UNITS: Mapping[str, int] = {
    "": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTPE", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTPE", 1)},
}


def from_spec(spec: JobSpec) -> Job:
    """Turn a spec into the document that asks for the same.

    Raises:
        InvalidSpecError: It is no spec.
        InexpressibleSpecError: It asks for what the format cannot say; every field that does is named.
    """
    if not isinstance(spec, JobSpec):
        raise invalid(f"{shown(spec)} is not a JobSpec: use JobSpec.wasm or JobSpec.docker", "spec")
    return _Writing(spec).document()


class _Writing:
    """Writes one spec, and gathers everything that cannot be said."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._problems: list[Problem] = []

    def document(self) -> Job:
        spec = self._spec
        self._check_retry(spec.retry)
        if spec.stdin is not None:
            self._refuse("stdin", "a job has no standard input there: use an input")
        labels = dict(spec.labels)
        name = self._name(labels, NAME_LABEL, "")
        task_name = self._name(labels, TASK_LABEL, TASK_NAME)
        inputs = [
            InputSource(Source=source, Target=target)
            for target, given in spec.inputs.items()
            if (source := self._input(given, key_path("inputs", target))) is not None
        ]
        lower, env = self._env(spec)
        engine = self._engine(spec.engine, lower, inputs)
        task = Task(
            Name=task_name,
            Engine=cast("EngineConfig", engine),  # when there is none, a problem was noted
            Publisher=PublisherConfig(Type="local"),
            Env=env or None,
            InputSources=inputs or None,
            ResultPaths=[ResultPath(Name=name, Path=path) for name, path in spec.outputs.items()] or None,
            Resources=self._resources(spec.resources),
            Network=self._network(spec.network),
            Timeouts=self._timeouts(spec.timeouts),
        )
        constraints = list(self._constraints(spec.selector.requirements))
        if spec.selector.preferences:
            self._refuse("selector.preferences", "there are no preferences there: use requirements")
        if self._problems:
            hint = "change the fields that are named, or keep the spec as Python code"
            raise InexpressibleSpecError(self._problems, hint=hint)
        return Job(
            Name=name or None,
            Type=spec.type.value,
            Priority=spec.priority or None,
            Count=None if spec.type in (JobType.OPS, JobType.DAEMON) else spec.count,
            Constraints=constraints or None,
            Labels=labels or None,
            Tasks=[task],
        )

    def _refuse(self, path: str, message: str) -> None:
        self._problems.append(Problem(path, message))

    def _check_retry(self, retry: RetryPolicy) -> None:
        usual = RetryPolicy()
        for name in ("max_attempts", "backoff", "retry_timeouts", "retry_nonzero_exit"):
            if getattr(retry, name) != getattr(usual, name):
                self._refuse(
                    f"retry.{name}", "a job has no policy of retries there, the server has one for all"
                )

    def _name(self, labels: dict[str, str], label: str, usual: str) -> str:
        """Take the name of the job or of its task out of the labels."""
        if label not in labels:
            return usual
        name = labels.pop(label)
        if name in ("", usual):
            self._refuse(key_path("labels", label), f"{shown(name)} is what a name is without the label")
        return name

    def _engine(self, engine: EngineSpec, lower: list[str], inputs: list[InputSource]) -> EngineConfig | None:
        match engine:
            case DockerSpec():
                if engine.platform is not None:
                    self._refuse("engine.platform", "the node chooses the platform of an image there")
                docker = DockerParams(
                    Image=engine.image,
                    Entrypoint=None if engine.entrypoint is None else list(engine.entrypoint),
                    Parameters=list(engine.args) or None,
                    EnvironmentVariables=lower or None,
                    WorkingDirectory=engine.working_directory,
                )
                return DockerEngine(Type="docker", Params=docker)
            case WasmSpec():
                wasm = WasmParams(
                    EntryModule=self._module(engine, inputs),
                    Entrypoint=engine.entry_point,
                    Parameters=list(engine.args) or None,
                )
                return WasmEngine(Type="wasm", Params=wasm)
            case _:
                self._refuse(
                    "engine", f"there is no engine {shown(engine.engine)} there: only docker and wasm"
                )
                return None

    def _module(self, engine: WasmSpec, inputs: list[InputSource]) -> str:
        """Return the Target of the module: of an input that it is already, or of one that is added."""
        alone = f"{ALONE}/{engine.name}"
        for target, given in self._spec.inputs.items():
            place = normalise_guest_path(target)
            if place == alone:
                self._refuse(key_path("inputs", target), "this is where the module goes: use another place")
            elif given.source == engine.module and place.rpartition("/")[2] == engine.name:
                return target
        if "/" in engine.name or not _is_place(alone):
            self._refuse("engine.name", f"{shown(engine.name)} is not the name of a file, which it is there")
        source = self._source(engine.module, "engine.module")
        if source is not None:
            inputs.append(InputSource(Source=source, Target=alone))
        return alone

    def _input(self, given: Input, path: str) -> SourceConfig | None:
        if given.writable:
            self._refuse(f"{path}.writable", "inputs are read-only there, or written to in their place")
        return self._source(given.source, f"{path}.source")

    def _source(self, source: Source, path: str) -> SourceConfig | None:
        match source:
            case BytesSource(data):
                kind = "wasm" if data.startswith(b"\0asm") else "octet-stream"
                url = f"data:application/{kind};base64,{b64encode(data).decode()}"
                return InlineSource(Type="inline", Params=InlineParams(URL=url))
            case PathSource(local):
                return LocalSource(
                    Type="localDirectory", Params=LocalParams(SourcePath=local, CreateAs="noCreate")
                )
            case UrlSource(url) if source.scheme in ("http", "https"):
                return UrlSourceConfig(Type="urlDownload", Params=UrlParams(URL=url))
            case UrlSource(url) if url.startswith("ipfs://") and CID.fullmatch(url[len("ipfs://") :]):
                return IpfsSource(Type="ipfs", Params=IpfsParams(CID=url[len("ipfs://") :]))
            case UrlSource(url) if found := _S3.fullmatch(url):
                return S3Source(Type="s3", Params=S3Params(Bucket=found["bucket"], Key=found["key"]))
            case _:
                known = "https://..., ipfs://CID and s3://bucket/key"
                self._refuse(path, f"{shown(source.url)} has no kind of source there: they are {known}")
                return None

    def _env(self, spec: JobSpec) -> tuple[list[str], dict[str, str]]:
        """Return the variables that only a container can have, and the others."""
        docker = isinstance(spec.engine, DockerSpec)
        lower: list[str] = []
        env: dict[str, str] = {}
        for name, value in spec.env.items():
            if value.startswith(ENV_REFERENCE):
                self._refuse(key_path("env", name), f"{shown(value)} would be a variable of the node there")
            if value and _ENV_NAME.fullmatch(name):
                env[name] = value
            elif docker:
                lower.append(f"{name}={value}")
            else:
                self._refuse(key_path("env", name), "names are upper case there, and no value is empty")
        return lower, env

    def _resources(self, resources: Resources) -> JobResources | None:
        if resources.gpu == "all":
            self._refuse("resources.gpu", "there is no 'all' there: name a number")
        if resources == Resources():
            return None
        return JobResources(
            CPU=_cores(resources.cpu) if resources.cpu else None,
            Memory=_size(resources.memory) if resources.memory else None,
            Disk=_size(resources.disk) if resources.disk else None,
            GPU=str(resources.gpu) if resources.gpu else None,
        )

    def _network(self, network: Network) -> JobNetwork:
        return JobNetwork(Type=_NETWORKS[network.type], Domains=list(network.domains) or None)

    def _timeouts(self, timeouts: Timeouts) -> JobTimeouts | None:
        if timeouts == Timeouts():
            return None
        return JobTimeouts(
            ExecutionTimeout=self._seconds(timeouts.execution, "timeouts.execution"),
            QueueTimeout=self._seconds(timeouts.queue, "timeouts.queue"),
            TotalTimeout=self._seconds(timeouts.total, "timeouts.total"),
        )

    def _seconds(self, seconds: float | None, path: str) -> int | None:
        if seconds is None:
            return None
        if not seconds.is_integer():
            self._refuse(path, f"{seconds:g} s: limits are whole seconds there")
        return int(seconds)

    def _constraints(self, requirements: Sequence[Requirement]) -> Iterator[Constraint]:
        for index, requirement in enumerate(requirements):
            key = requirement.key
            if key in NODE_LABELS:
                path = f"selector.requirements[{index}]"
                self._refuse(path, f"{key} is a label of every node there: here it is {NODE_LABELS[key]}")
            yield Constraint(
                Key=_LABELS_THERE.get(key, key),
                Operator=_OPERATORS[requirement.operator],
                Values=list(requirement.values) or None,
            )


def largest(spec: JobSpec) -> str:
    """Return the path of the field that has the most bytes."""
    sources = {f"{key_path('inputs', target)}.source": given.source for target, given in spec.inputs.items()}
    if isinstance(spec.engine, WasmSpec):
        sources["engine.module"] = spec.engine.module
    sizes = {path: len(source.data) for path, source in sources.items() if isinstance(source, BytesSource)}
    return max(sizes, key=lambda path: sizes[path], default="")


def longest(spec: JobSpec) -> str:
    """Return the path of the field that has the most items."""
    counts = {
        "inputs": len(spec.inputs),
        "outputs": len(spec.outputs),
        "env": len(spec.env),
        "labels": len(spec.labels),
        "network.domains": len(spec.network.domains),
        "selector": sum(1 + len(each.values) for each in spec.selector.requirements),
    }
    if isinstance(spec.engine, DockerSpec | WasmSpec):
        counts["engine.args"] = len(spec.engine.args)
    return max(counts, key=lambda path: counts[path])


def _is_place(path: str) -> bool:
    try:
        return normalise_guest_path(check_guest_path(path)) == path
    except InvalidSpecError:
        return False


def _cores(cpu: float) -> str:
    return f"{int(cpu)}" if cpu.is_integer() else f"{round(cpu * 1000)}m"


def _size(size: int) -> str:
    """Write a size exactly, in the unit that makes it shortest."""
    exact = [f"{size // factor}{unit}" for unit, factor in _UNITS.items() if size % factor == 0]
    return min(exact, key=len)
