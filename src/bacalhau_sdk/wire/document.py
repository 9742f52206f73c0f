"""The job document of Bacalhau v1, key by key, as far as a `JobSpec` can hold it.

The classes are the one source of what is read, what is written, and of the JSON Schema: a field is a key, its metadata are
keywords of JSON Schema for it, and its description there is the one below. A key that is marked `Unsupported` is one of Bacalhau
that a spec has no place for; it may be there when it says nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from attrs import field, frozen

from ..model.job import COUNT_MAX, PRIORITY_MAX

__all__ = [
    "AnyCase",
    "Constraint",
    "DockerEngine",
    "DockerParams",
    "EngineConfig",
    "InlineParams",
    "InlineSource",
    "InputSource",
    "IpfsParams",
    "IpfsSource",
    "Job",
    "JobNetwork",
    "JobResources",
    "JobStatus",
    "JobTimeouts",
    "LocalParams",
    "LocalSource",
    "PublisherConfig",
    "ResultPath",
    "S3Params",
    "S3Source",
    "SourceConfig",
    "Task",
    "Unsupported",
    "UrlParams",
    "UrlSourceConfig",
    "WasmEngine",
    "WasmParams",
]


@frozen
class Unsupported:
    """Marks a key that must be absent, null or empty; or, of one of some texts, that the others are Bacalhau's, but not ours.

    Attributes:
        reason: Why a spec has no place for it, and what there is instead.
    """

    reason: str


@frozen
class AnyCase:
    """Marks one of some texts that the original takes in any case of letters and with space around it."""


def _whole(least: int, most: int) -> dict[str, object]:
    return {"minimum": least, "maximum": most}


_SECONDS = _whole(0, 2**63 - 1)
_RESERVED_KEYS: dict[str, object] = {"propertyNames": {"pattern": "^bacalhau\\.org/"}}


@frozen(kw_only=True)
class DockerParams:
    """What a container runs.

    Attributes:
        Image: The image: [registry/]name[:tag][@digest].
        Entrypoint: Replaces the image's ENTRYPOINT.
        Parameters: Replace the image's CMD.
        EnvironmentVariables: More variables, each NAME=value; they win over those of the task.
        WorkingDirectory: An absolute path inside the container.
    """

    Image: str
    Entrypoint: list[str] | None = None
    Parameters: list[str] | None = None
    EnvironmentVariables: list[str] | None = None
    WorkingDirectory: str | None = None


@frozen(kw_only=True)
class DockerEngine:
    """Runs a container.

    Attributes:
        Type: The name of the engine.
        Params: Its parameters.
    """

    Type: Literal["docker"]
    Params: DockerParams


@frozen(kw_only=True)
class WasmParams:
    """What a WASM job runs.

    Attributes:
        EntryModule: The Target of the input that is the module.
        Entrypoint: The exported function that is called; _start when left out.
        Parameters: The arguments of the program.
        ImportModules: Must be empty: a module here imports nothing but WASI.
    """

    EntryModule: str
    Entrypoint: str | None = None
    Parameters: list[str] | None = None
    ImportModules: Annotated[None, Unsupported("a module imports nothing but WASI here: link them")] = None


@frozen(kw_only=True)
class WasmEngine:
    """Runs a WASM module.

    Attributes:
        Type: The name of the engine.
        Params: Its parameters.
    """

    Type: Literal["wasm"]
    Params: WasmParams


EngineConfig: TypeAlias = DockerEngine | WasmEngine


@frozen(kw_only=True)
class InlineParams:
    """Data that is in the document.

    Attributes:
        URL: A data: URL of one file.
    """

    URL: str = field(metadata={"pattern": "^[Dd][Aa][Tt][Aa]:"})


@frozen(kw_only=True)
class InlineSource:
    """A file that is in the document.

    Attributes:
        Type: The name of the kind of source.
        Params: Its parameters.
    """

    Type: Literal["inline"]
    Params: InlineParams


@frozen(kw_only=True)
class UrlParams:
    """Data of a web server.

    Attributes:
        URL: An http: or https: URL.
    """

    URL: str = field(metadata={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})


@frozen(kw_only=True)
class UrlSourceConfig:
    """A file that is downloaded.

    Attributes:
        Type: The name of the kind of source.
        Params: Its parameters.
    """

    Type: Literal["urlDownload"]
    Params: UrlParams


@frozen(kw_only=True)
class IpfsParams:
    """Data of IPFS.

    Attributes:
        CID: The content identifier.
    """

    CID: str = field(metadata={"pattern": "^[A-Za-z0-9]+$"})


@frozen(kw_only=True)
class IpfsSource:
    """A file or folder of IPFS.

    Attributes:
        Type: The name of the kind of source.
        Params: Its parameters.
    """

    Type: Literal["ipfs"]
    Params: IpfsParams


_S3_ONLY = "an input from S3 is a bucket and a key, nothing else"


@frozen(kw_only=True)
class S3Params:
    """Data of an object store.

    Attributes:
        Bucket: The name of the bucket.
        Key: An object, or the beginning of the names of several.
        Filter: Must be empty.
        Region: Must be empty.
        Endpoint: Must be empty.
        VersionID: Must be empty.
        ChecksumSHA256: Must be empty.
        Partition: Must be empty.
    """

    Bucket: str = field(metadata={"pattern": "^[A-Za-z0-9._-]+$"})
    Key: str | None = None
    Filter: Annotated[None, Unsupported(_S3_ONLY)] = None
    Region: Annotated[None, Unsupported(_S3_ONLY)] = None
    Endpoint: Annotated[None, Unsupported(_S3_ONLY)] = None
    VersionID: Annotated[None, Unsupported(_S3_ONLY)] = None
    ChecksumSHA256: Annotated[None, Unsupported(_S3_ONLY)] = None
    Partition: Annotated[None, Unsupported(_S3_ONLY)] = None


@frozen(kw_only=True)
class S3Source:
    """Objects of an object store.

    Attributes:
        Type: The name of the kind of source.
        Params: Its parameters.
    """

    Type: Literal["s3"]
    Params: S3Params


@frozen(kw_only=True)
class LocalParams:
    """Data of the machine.

    Attributes:
        SourcePath: The path of a file or folder; a relative one counts from where the job is submitted.
        ReadWrite: Must be false: a job never writes to its inputs.
        CreateAs: What to do when the path does not exist: nothing, which is an error then.
    """

    SourcePath: str = field(metadata={"minLength": 1})
    ReadWrite: Annotated[
        None, Unsupported("a job never writes to its inputs: use Input(path, writable=True) for a copy")
    ] = None
    CreateAs: Annotated[Literal["noCreate"], Unsupported("a path that does not exist is an error")] | None = (
        None
    )


@frozen(kw_only=True)
class LocalSource:
    """A file or folder of the machine.

    Attributes:
        Type: The name of the kind of source.
        Params: Its parameters.
    """

    Type: Literal["localDirectory", "local"]
    Params: LocalParams


SourceConfig: TypeAlias = InlineSource | UrlSourceConfig | IpfsSource | S3Source | LocalSource


@frozen(kw_only=True)
class InputSource:
    """What goes into the job.

    Attributes:
        Source: Where it comes from.
        Alias: Must be empty: the Target is its name.
        Target: Where the job sees it, read-only.
    """

    Source: SourceConfig
    Alias: Annotated[None, Unsupported("an input has no alias here: its Target is its name")] = None
    Target: str


@frozen(kw_only=True)
class ResultPath:
    """A folder that comes back.

    Attributes:
        Name: The name under which it comes back.
        Path: The folder that the job writes to.
    """

    Name: str
    Path: str


@frozen(kw_only=True)
class PublisherConfig:
    """Where results go: they always come back to who runs the job.

    Attributes:
        Type: The name of the kind of publisher.
        Params: Must be empty.
    """

    Type: Annotated[
        Literal["local", "noop", ""], AnyCase(), Unsupported("results come back to who runs the job")
    ] = ""
    Params: Annotated[None, Unsupported("results come back without parameters")] = None


@frozen(kw_only=True)
class JobResources:
    """What a node must have free.

    Attributes:
        CPU: Cores, such as 2, 0.5 or 500m.
        Memory: A size, such as 512MB or 8GiB.
        Disk: A size.
        GPU: A whole number.
    """

    CPU: str | None = None
    Memory: str | None = None
    Disk: str | None = None
    GPU: str | None = field(default=None, metadata={"pattern": r"^\s*[0-9]*\s*$"})


@frozen(kw_only=True)
class JobNetwork:
    """What the job may reach.

    Attributes:
        Type: Default is None here: what is not asked for is not given.
        Domains: With HTTP: the domains and addresses that it may reach.
        Ports: Must be empty: nothing reaches in.
    """

    Type: Annotated[Literal["None", "Default", "HTTP", "Bridge", "Host", "Full"], AnyCase()] | None = None
    Domains: list[str] | None = None
    Ports: Annotated[None, Unsupported("a job may reach out, nothing reaches in")] = None


@frozen(kw_only=True)
class JobTimeouts:
    """How long it may take, in whole seconds; 0 sets no limit.

    Attributes:
        ExecutionTimeout: From the start of the workload to its end.
        QueueTimeout: From submit to the first accepted bid.
        TotalTimeout: From submit to the end; at least the others together.
    """

    ExecutionTimeout: int | None = field(default=None, metadata=_SECONDS)
    QueueTimeout: int | None = field(default=None, metadata=_SECONDS)
    TotalTimeout: int | None = field(default=None, metadata=_SECONDS)


@frozen(kw_only=True)
class Constraint:
    """A condition on the labels of a node.

    Attributes:
        Key: The key of the label.
        Operator: How its value is compared.
        Values: None for exists and !, one or more for in and notin, else exactly one.
    """

    Key: str
    Operator: Literal["=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt"]
    Values: list[str] | None = None


@frozen(kw_only=True)
class Task:
    """The program of the job, and what it needs.

    Attributes:
        Name: The name of the task.
        Engine: The program.
        Publisher: Where results go.
        Env: Environment variables.
        Meta: Must be empty: labels are for the user.
        InputSources: What goes in.
        ResultPaths: The folders that come back.
        Resources: What a node must have free.
        Network: What it may reach.
        Timeouts: How long it may take.
    """

    Name: str
    Engine: EngineConfig
    Publisher: PublisherConfig | None = None
    Env: dict[str, str] | None = None
    Meta: Annotated[None, Unsupported("use Labels")] = None
    InputSources: list[InputSource] | None = None
    ResultPaths: list[ResultPath] | None = None
    Resources: JobResources | None = None
    Network: JobNetwork | None = None
    Timeouts: JobTimeouts | None = None


@frozen(kw_only=True)
class JobStatus:
    """Where a job stood when a server wrote the document.

    Attributes:
        StateType: The name of the state.
        Message: Why.
        Details: More about it.
    """

    StateType: str
    Message: str | None = None
    Details: dict[str, str] | None = None


@frozen(kw_only=True)
class Job:
    """A job of Bacalhau v1, as far as this library can run it.

    Attributes:
        ID: Written by a server; no part of what is asked.
        Name: A name; it becomes the label bacalhau.org/name.
        Namespace: There is one only.
        Type: How many executions a job has, and when it ends.
        Priority: Higher goes first.
        Count: How many partitions; 1 when left out, or every matching node for ops and daemon.
        Constraints: Which nodes may run it.
        Meta: Written by a server; use Labels.
        Labels: For the user.
        Tasks: Exactly one.
        State: Written by a server; no part of what is asked.
        Version: Written by a server; no part of what is asked.
        Revision: Written by a server; no part of what is asked.
        CreateTime: Written by a server; no part of what is asked.
        ModifyTime: Written by a server; no part of what is asked.
    """

    ID: str | None = None
    Name: str | None = None
    Namespace: (
        Annotated[
            Literal["default", ""], Unsupported("there are no namespaces: a cluster belongs to its program")
        ]
        | None
    ) = None
    Type: Literal["batch", "ops", "service", "daemon"]
    Priority: int | None = field(default=None, metadata=_whole(-PRIORITY_MAX, PRIORITY_MAX))
    Count: int | None = field(default=None, metadata=_whole(0, COUNT_MAX))
    Constraints: list[Constraint] | None = None
    Meta: dict[str, str] | None = field(default=None, metadata=_RESERVED_KEYS)
    Labels: dict[str, str] | None = None
    Tasks: list[Task] = field(metadata={"minItems": 1, "maxItems": 1})
    State: JobStatus | None = None
    Version: int | None = None
    Revision: int | None = None
    CreateTime: int | None = None
    ModifyTime: int | None = None
