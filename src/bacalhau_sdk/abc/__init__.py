"""What you may plug in: the ports, each with its guarantee, and the values that they speak in."""

from __future__ import annotations

from ..model.data import BytesSource, Input, PathSource, Source, UrlSource
from ..model.evaluation import Explanation
from ..model.execution import (
    Execution,
    ExecutionState,
    Failure,
    FailureKind,
    Location,
    Outcome,
    RunResult,
    Task,
)
from ..model.job import DockerSpec, EngineSpec, FunctionSpec, JobType, WasmSpec
from ..model.message import Envelope
from ..model.network import NetworkType
from ..model.node import Check, EngineInfo, NodeInfo, NodeState, Refusal
from ..model.platform import PlatformSupport
from ..model.record import Batch, JobEvent, JobRecord, Snapshot
from .clock import Clock
from .executor import ByteSink, Executor, TaskIO
from .storage import Publisher, Storage
from .store import JobStore
from .transport import Opener, Transport

__all__ = [
    "Batch",
    "ByteSink",
    "BytesSource",
    "Check",
    "Clock",
    "DockerSpec",
    "EngineInfo",
    "EngineSpec",
    "Envelope",
    "Execution",
    "ExecutionState",
    "Executor",
    "Explanation",
    "Failure",
    "FailureKind",
    "FunctionSpec",
    "Input",
    "JobEvent",
    "JobRecord",
    "JobStore",
    "JobType",
    "Location",
    "NetworkType",
    "NodeInfo",
    "NodeState",
    "Opener",
    "Outcome",
    "PathSource",
    "PlatformSupport",
    "Publisher",
    "Refusal",
    "RunResult",
    "Snapshot",
    "Source",
    "Storage",
    "Task",
    "TaskIO",
    "Transport",
    "UrlSource",
    "WasmSpec",
]
