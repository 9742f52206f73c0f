"""What a job is: an engine and its program, inputs, outputs, limits, and where it may run."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, ClassVar, TypedDict, TypeGuard, TypeVar, Unpack, cast

from attrs import field, frozen

from .data import BytesSource, Input, PathLike, Source, to_input, to_source
from .frozenmap import FrozenMap
from .network import Network
from .paths import check_guest_path, check_output_name, check_targets
from .platform import Platform
from .problems import (
    Problems,
    invalid,
    is_number,
    is_text,
    key_path,
    printable,
    several,
    shown,
    to_flag,
    under,
)
from .resources import Resources
from .selector import Selector, check_label_key, check_label_value

__all__ = [
    "DockerSpec",
    "EngineSpec",
    "FunctionSpec",
    "JobOptions",
    "JobSpec",
    "JobState",
    "JobType",
    "RetryPolicy",
    "Timeouts",
    "WasmSpec",
]

T = TypeVar("T")

COUNT_MAX = 10_000
ATTEMPTS_MAX = 1000
PRIORITY_MAX = 2**31
SECONDS_MAX = 2**63 // 10**9  # 292 years, what 63 bits of nanoseconds hold
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED_ENV = "BACALHAU_"
# The grammar of a reference in the OCI distribution specification: [host[:port]/]path[:tag][@digest].
_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::\d+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PATH_PART}(?:/{_PATH_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
_IMAGE_LENGTH_MAX = 512
# What could be given in place of something of the wrong type, by field.
_EXAMPLES: Mapping[str, str] = {
    "inputs": "{'/inputs': 'books/'}",
    "outputs": "{'counts': '/outputs'}",
    "env": "{'MODE': 'fast'}",
    "labels": "{'team': 'maps'}",
    "resources": "Resources(cpu=2, memory='4GiB')",
    "network": "Network('http', ['example.com'])",
    "timeouts": "Timeouts(execution=60)",
    "retry": "RetryPolicy(max_attempts=3)",
}


class JobType(enum.Enum):
    """How many executions a job has, and when it ends."""

    BATCH = "batch"
    OPS = "ops"
    SERVICE = "service"
    DAEMON = "daemon"


class JobState(enum.Enum):
    """Where a job stands; the last four are terminal and never change."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT})


@frozen
class EngineSpec:
    """What an engine is to run; one subclass for each engine.

    Attributes:
        engine: The name of the engine, which a node must have.
    """

    engine: ClassVar[str] = ""

    def check(self, problems: Problems) -> None:
        """Note what is wrong with the fields."""

    @property
    def wanted_platform(self) -> Platform | None:
        """The platform that a node must be able to run, or None when any will do."""
        return None


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values as a tuple; what in it is no text is noted by `EngineSpec.check`."""
    return tuple(cast("list[str]", several(values)))


def _entrypoint(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else _texts(values)


def _platform(value: str | Platform | None) -> Platform | None:
    return None if value is None else under("platform", lambda: Platform.parse(value))


def _module(value: str | bytes | PathLike | Source) -> Source:
    return under("module", lambda: to_source(value))


def _check_texts(values: Iterable[object], path: str, problems: Problems) -> None:
    for index, value in enumerate(values):
        problems.convert(f"{path}[{index}]", partial(_text, value), "")


def _check_name(value: object, path: str, what: str, problems: Problems) -> None:
    if not is_text(value) or not value:
        problems.add(path, f"{shown(value)} is not the name of {what}")


@frozen
class DockerSpec(EngineSpec):
    """A container image and what to run in it.

    Attributes:
        image: ``[registry/]name[:tag][@digest]``.
        args: Replace the image's CMD; empty keeps it.
        entrypoint: Replaces the image's ENTRYPOINT; None keeps it.
        platform: Which platform of the image to run; None lets the node choose one that it can run.
        working_directory: Absolute, inside the container; None keeps the image's.
    """

    engine: ClassVar[str] = "docker"

    image: str
    args: tuple[str, ...] = field(default=(), converter=_texts)
    entrypoint: tuple[str, ...] | None = field(default=None, converter=_entrypoint)
    platform: Platform | None = field(default=None, converter=_platform)
    working_directory: str | None = None

    def check(self, problems: Problems) -> None:
        """Note what is wrong with the fields."""
        image = self.image
        if not isinstance(image, str) or len(image) > _IMAGE_LENGTH_MAX or not _IMAGE.fullmatch(image):
            example = "'busybox:1.37' or 'host:5000/team/tool@sha256:...'"
            problems.add("engine.image", f"{shown(image)} is not an image such as {example}")
        _check_texts(self.args, "engine.args", problems)
        _check_texts(self.entrypoint or (), "engine.entrypoint", problems)
        folder = self.working_directory
        with problems.at("engine.working_directory"):
            if folder is not None and not check_guest_path(folder).startswith("/"):
                raise invalid(f"{shown(folder)} is not an absolute path such as '/work'")

    @property
    def wanted_platform(self) -> Platform | None:
        """The platform that a node must be able to run, or None when any will do."""
        return self.platform


@frozen
class WasmSpec(EngineSpec):
    """A WASM module, a WASI preview 1 command, and its arguments.

    Attributes:
        module: Where the binary module is; its bytes once submitted.
        args: The arguments after the program's name.
        entry_point: The exported function that is called.
        name: The program's name, ``argv[0]``; the file name of the module, or ``main.wasm`` for bytes.
    """

    engine: ClassVar[str] = "wasm"

    module: Source = field(converter=_module)
    args: tuple[str, ...] = field(default=(), converter=_texts)
    entry_point: str = "_start"
    name: str = "main.wasm"

    def check(self, problems: Problems) -> None:
        """Note what is wrong with the fields."""
        _check_texts(self.args, "engine.args", problems)
        exported = "an exported function: a command has '_start'"
        _check_name(self.entry_point, "engine.entry_point", exported, problems)
        _check_name(self.name, "engine.name", "a program such as 'main.wasm'", problems)


@frozen
class FunctionSpec(EngineSpec):
    """An async function that a `FunctionExecutor` knows by name, and its arguments.

    Attributes:
        name: The name under which the executor has it.
        args: Its arguments, texts.
    """

    engine: ClassVar[str] = "function"

    name: str
    args: tuple[str, ...] = field(default=(), converter=_texts)

    def check(self, problems: Problems) -> None:
        """Note what is wrong with the fields."""
        _check_name(
            self.name,
            "engine.name",
            "a function: give the text that a FunctionExecutor has it under",
            problems,
        )
        _check_texts(self.args, "engine.args", problems)


def _seconds(value: object) -> float:
    if not (is_number(value) and 0 <= value <= SECONDS_MAX):
        raise invalid(f"{shown(value)} is not a number of seconds from 0 to {SECONDS_MAX}")
    return float(value)


def _limit(value: float | None, path: str, problems: Problems) -> float | None:
    return (problems.convert(path, lambda: _seconds(value), None) or None) if value is not None else None


def _whole(value: object, least: int, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


@frozen(init=False)
class Timeouts:
    """How long a job may take, in seconds; None, or 0 as in the original, sets no limit.

    Attributes:
        queue: From submit to the first accepted bid. A job that fits no known node waits for one as long, and not at all without.
        execution: From the moment an execution runs to the end of its workload; publishing is not counted.
        total: From submit to the end; at least ``queue`` and ``execution`` together.

    Raises:
        InvalidSpecError: From the constructor.
    """

    queue: float | None
    execution: float | None
    total: float | None
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(
        self, queue: float | None = None, execution: float | None = None, total: float | None = None
    ) -> None:
        problems = Problems()
        values = (
            _limit(queue, "queue", problems),
            _limit(execution, "execution", problems),
            _limit(total, "total", problems),
        )
        parts, whole = sum(value or 0 for value in values[:2]), values[2]
        if whole is not None and parts > whole and not math.isclose(parts, whole):
            problems.add(
                "total",
                f"execution and queue together ({parts:g} s) exceed total ({whole:g} s): give it at least that",
            )
        problems.check()
        self.__attrs_init__(*values)


@frozen(init=False)
class RetryPolicy:
    """How often, and how patiently, a partition is tried again after a fault of the infrastructure.

    Attributes:
        max_attempts: Tries of a partition in all; 1, the default, means no retry.
        backoff: Seconds before the second try; doubled before each further one, up to an hour, or as it is if it is more. Up to
            a tenth is added, so that what failed together does not come back together.
        retry_timeouts: Whether an execution that timed out is tried again as well.
        retry_nonzero_exit: Whether a non-zero exit code is tried again as well.

    Raises:
        InvalidSpecError: From the constructor.
    """

    max_attempts: int
    backoff: float
    retry_timeouts: bool
    retry_nonzero_exit: bool
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(
        self,
        max_attempts: int = 1,
        backoff: float = 1.0,
        *,
        retry_timeouts: bool = False,
        retry_nonzero_exit: bool = False,
    ) -> None:
        problems = Problems()
        if not _whole(max_attempts, 1, ATTEMPTS_MAX):
            problems.add(
                "max_attempts", f"{shown(max_attempts)} is not a number of tries from 1 to {ATTEMPTS_MAX}"
            )
        seconds = problems.convert("backoff", lambda: _seconds(backoff), 0.0)
        timeouts = problems.convert("retry_timeouts", lambda: to_flag(retry_timeouts), False)
        nonzero = problems.convert("retry_nonzero_exit", lambda: to_flag(retry_nonzero_exit), False)
        problems.check()
        self.__attrs_init__(max_attempts, seconds, timeouts, nonzero)


class JobOptions(TypedDict, total=False):
    """What `JobSpec.docker`, `JobSpec.wasm` and `JobSpec.function` take by name; see `JobSpec`."""

    inputs: Mapping[str, str | bytes | PathLike | Input]
    outputs: Mapping[str, str]
    env: Mapping[str, str]
    stdin: bytes | str | PathLike | Source | None
    resources: Resources
    network: Network
    timeouts: Timeouts
    retry: RetryPolicy
    selector: Selector | str
    count: int | None
    type: JobType | str
    priority: int
    labels: Mapping[str, str]


@frozen(init=False)
class JobSpec:
    """What is to be run, and under which conditions: a frozen, hashable, picklable value.

    Made by `JobSpec.wasm`, `JobSpec.function` or `JobSpec.docker`, which take the fields below by name.

    Attributes:
        engine: The program: a `WasmSpec`, `FunctionSpec`, `DockerSpec`, or another `EngineSpec`.
        inputs: ``{guest_path: source}``; a source is a ``str`` (a local path unless it has ``scheme://``), a
            path, ``bytes``, an `Input`, or the `Output` of another job. A relative guest path counts from the
            root; ``/`` is one too.
        outputs: ``{name: guest_path}``: folders that the job fills and that come back by name.
        env: Environment variables. Names are POSIX, those that begin with ``BACALHAU_`` are the system's.
        stdin: Bytes, a path, or None for an empty standard input.
        resources: What the node must have free.
        network: What the job may reach; nothing by default.
        timeouts: In seconds.
        retry: After faults of the infrastructure.
        selector: Which nodes; a text is parsed.
        count: How many partitions; None is 1 (0, meaning every matching node, for ``ops`` and ``daemon``).
        type: ``batch`` runs every partition to its end, once; ``ops`` runs once on every node that matches, and is
            not being drained, when it is first placed.
        priority: Higher goes first in the queue.
        labels: For the user; Kubernetes' rules for labels hold.

    Raises:
        InvalidSpecError: From the constructors: every problem at once, each with the path of its field.
    """

    engine: EngineSpec
    inputs: FrozenMap[str, Input]
    outputs: FrozenMap[str, str]
    env: FrozenMap[str, str]
    stdin: Source | None
    resources: Resources
    network: Network
    timeouts: Timeouts
    retry: RetryPolicy
    selector: Selector
    count: int
    type: JobType
    priority: int
    labels: FrozenMap[str, str]
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(self, engine: EngineSpec, **options: Unpack[JobOptions]) -> None:
        problems = Problems()
        for unknown in sorted(set(options) - set(JobOptions.__annotations__)):
            problems.add(printable(unknown), f"is no field of a JobSpec: {_similar_option(unknown)}")
        if not isinstance(engine, EngineSpec):
            problems.add(
                "engine",
                f"{shown(engine)} is no engine: make the spec with JobSpec.wasm, .function or .docker",
            )
        elif not engine.engine:
            name = type(engine).__name__
            problems.add("engine", f"{name} names no engine: set its class attribute 'engine'")
        else:
            engine.check(problems)
        inputs = _mapping(options.get("inputs", {}), "inputs", check_guest_path, to_input, problems)
        outputs = _mapping(
            options.get("outputs", {}), "outputs", check_output_name, check_guest_path, problems
        )
        check_targets(inputs, outputs.items(), problems)
        kind = problems.convert("type", lambda: _job_type(options.get("type", JobType.BATCH)), JobType.BATCH)
        stdin = options.get("stdin")
        self.__attrs_init__(
            engine,
            inputs,
            outputs,
            _mapping(options.get("env", {}), "env", _env_name, _text, problems),
            None if stdin is None else problems.convert("stdin", lambda: to_source(stdin), None),
            _instance(options.get("resources", Resources()), Resources, "resources", problems),
            _instance(options.get("network", Network()), Network, "network", problems),
            _instance(options.get("timeouts", Timeouts()), Timeouts, "timeouts", problems),
            _instance(options.get("retry", RetryPolicy()), RetryPolicy, "retry", problems),
            problems.convert("selector", lambda: _selector(options.get("selector", "")), Selector()),
            problems.convert("count", lambda: _count(options.get("count"), kind), 0),
            kind,
            problems.convert("priority", lambda: _priority(options.get("priority", 0)), 0),
            _mapping(options.get("labels", {}), "labels", check_label_key, check_label_value, problems),
        )
        problems.check()

    def options(self) -> JobOptions:
        """Return all fields but the engine, as the constructor takes them."""
        return JobOptions(
            inputs=self.inputs,
            outputs=self.outputs,
            env=self.env,
            stdin=self.stdin,
            resources=self.resources,
            network=self.network,
            timeouts=self.timeouts,
            retry=self.retry,
            selector=self.selector,
            count=self.count,
            type=self.type,
            priority=self.priority,
            labels=self.labels,
        )

    @classmethod
    def wasm(
        cls,
        module: str | bytes | PathLike,
        *args: str,
        entry_point: str = "_start",
        **options: Unpack[JobOptions],
    ) -> JobSpec:
        """Make the spec of a WASM job.

        Args:
            module: The path or the bytes of a binary module; read at submit.
            args: The arguments after ``argv[0]``.
            entry_point: The exported function to call; without parameters and results.
            options: The fields of `JobSpec`.

        Raises:
            InvalidSpecError: Something is wrong; every problem is named.
        """
        problems = Problems()
        source = problems.convert("engine.module", lambda: to_source(module), BytesSource(b""))
        name = "" if isinstance(source, BytesSource) else re.split(r"[/\\]", str(source))[-1]
        spec = WasmSpec(source, args, entry_point, name or "main.wasm")
        _check_others(problems, options, spec)
        return cls(spec, **options)

    @classmethod
    def function(cls, name: str, *args: str, **options: Unpack[JobOptions]) -> JobSpec:
        """Make the spec of a job that calls an async function of a `FunctionExecutor`.

        Args:
            name: The name that the executor gives to the function.
            args: Its arguments, texts.
            options: The fields of `JobSpec`.

        Raises:
            InvalidSpecError: Something is wrong; every problem is named.
        """
        return cls(FunctionSpec(name, args), **options)

    @classmethod
    def docker(
        cls,
        image: str,
        *args: str,
        entrypoint: Iterable[str] | None = None,
        platform: str | Platform | None = None,
        working_directory: str | None = None,
        **options: Unpack[JobOptions],
    ) -> JobSpec:
        """Make the spec of a Docker job.

        Args:
            image: ``[registry/]name[:tag][@digest]``.
            args: Replace the image's CMD.
            entrypoint: Replaces the image's ENTRYPOINT.
            platform: ``os/architecture[/variant]`` of the image to run; None lets the node choose.
            working_directory: Absolute, inside the container.
            options: The fields of `JobSpec`.

        Raises:
            InvalidSpecError: Something is wrong; every problem is named.
        """
        problems = Problems()
        wanted = problems.convert("engine", lambda: _platform(platform), None)
        spec = DockerSpec(image, args, entrypoint, wanted, working_directory)
        _check_others(problems, options, spec)
        return cls(spec, **options)


def _check_others(problems: Problems, options: JobOptions, engine: EngineSpec) -> None:
    """Raise the problems that were noted, if any, together with those of everything else."""
    if problems:
        with problems.at(""):
            JobSpec(engine, **options)
        problems.check()


def _mapping(
    values: object,
    path: str,
    check_key: Callable[[object], str],
    convert: Callable[[Any], T],
    problems: Problems,
) -> FrozenMap[str, T]:
    if not isinstance(values, Mapping):
        problems.add(path, f"{shown(values)} is not a mapping such as {_EXAMPLES[path]}")
        return FrozenMap()
    checked: dict[str, T] = {}
    for key, value in cast("Mapping[object, object]", values).items():
        where = key_path(path, key)
        name = problems.convert(where, partial(check_key, key), None)
        with problems.at(where):
            converted = convert(value)
            if name is not None:
                checked[name] = converted
    return FrozenMap(checked)


def _instance(value: object, kind: type[T], path: str, problems: Problems) -> T:
    if isinstance(value, kind):
        return value
    example = _EXAMPLES.get(path, f"what {kind.__name__}(...) makes")
    problems.add(path, f"{shown(value)} is not a {kind.__name__}: give {example}, or leave it out")
    return kind()


def _selector(value: Selector | str) -> Selector:
    if isinstance(value, Selector):
        return value
    if not isinstance(value, str):
        raise invalid(f"{shown(value)} is not a Selector, nor a text such as 'zone = dc'")
    return Selector(value)


def _job_type(value: JobType | str) -> JobType:
    if isinstance(value, JobType):
        return value
    try:
        return JobType(value if is_text(value) else "")
    except ValueError:
        known = ", ".join(kind.value for kind in JobType)
        raise invalid(f"{shown(value)} is not a job type: use one of {known}") from None


def _count(value: int | None, kind: JobType) -> int:
    everywhere = kind in (JobType.OPS, JobType.DAEMON)
    if value is None:
        return 0 if everywhere else 1
    if not _whole(value, 0, COUNT_MAX):
        raise invalid(f"{shown(value)} is not a number of partitions from 0 to {COUNT_MAX}")
    if everywhere and value > 1:
        raise invalid(f"{kind.value} jobs run once on every matching node, they take no count, got {value}")
    return 0 if everywhere else value


def _priority(value: int) -> int:
    if not _whole(value, -PRIORITY_MAX, PRIORITY_MAX):
        raise invalid(f"{shown(value)} is not an integer from -2**31 to 2**31")
    return value


def _env_name(name: object) -> str:
    if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
        raise invalid("is no name of a variable: use letters, digits and '_', and begin with no digit")
    if name.upper().startswith(_RESERVED_ENV):
        raise invalid(f"names that begin with {_RESERVED_ENV} are the system's: choose another")
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise invalid(f"{shown(value)} is not a text: {_how_to_text(value)}")
    if not is_text(value):
        raise invalid(
            f"{shown(value)} has a NUL character or a lone surrogate, which no program can be given: leave it out"
        )
    return value


def _how_to_text(value: object) -> str:
    match value:
        case None:
            return "leave it out"
        case bytes():
            return "decode() it, or give it as stdin or an input"
        case list() | tuple() | set() | dict():
            return "give its parts one by one"
        case _:
            return "make one of it with str()"


def _similar_option(name: str) -> str:
    """Say which fields there are that somebody may have meant by a name that none has."""
    if name in ("cpu", "memory", "disk", "gpu"):
        return f"write resources=Resources({name}=...)"
    if name in ("timeout", "queue_timeout", "execution_timeout"):
        return "write timeouts=Timeouts(execution=...)"
    similar = get_close_matches(name, JobOptions.__annotations__, 1)
    return (
        f"did you mean {similar[0]!r}?" if similar else f"those are {', '.join(JobOptions.__annotations__)}"
    )
