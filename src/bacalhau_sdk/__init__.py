"""Bacalhau as a library: compute over data, composed from Python objects, running inside your own process."""

from __future__ import annotations

import logging

from . import errors
from .abc.executor import Executor
from .cluster.cluster import Cluster
from .cluster.job import Job
from .cluster.node import Node
from .cluster.result import Output, Result
from .errors import (
    BacalhauError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    NoMatchingNodeError,
    NonZeroExitError,
)
from .executors.function import FunctionExecutor, FunctionTask
from .executors.wasm import WasmExecutor
from .model.data import Input, LogEntry
from .model.job import JobSpec, JobState, RetryPolicy, Timeouts
from .model.network import Network
from .model.platform import Platform
from .model.resources import Resources
from .model.selector import Selector
from .stores.memory import MemoryStore
from .transports.memory import MemoryTransport

__all__ = [
    "BacalhauError",
    "Cluster",
    "Executor",
    "FunctionExecutor",
    "FunctionTask",
    "Input",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobSpec",
    "JobState",
    "JobTimeoutError",
    "LogEntry",
    "MemoryStore",
    "MemoryTransport",
    "Network",
    "NoMatchingNodeError",
    "Node",
    "NonZeroExitError",
    "Output",
    "Platform",
    "Resources",
    "Result",
    "RetryPolicy",
    "Selector",
    "Timeouts",
    "WasmExecutor",
    "errors",
]

logging.getLogger("bacalhau_sdk").addHandler(logging.NullHandler())
