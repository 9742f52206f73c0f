"""Bacalhau as a library: compute over data, composed from Python objects, running inside your own process.

Every name is imported when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import errors
    from .abc.executor import Executor
    from .cluster.cluster import Cluster
    from .cluster.job import Job
    from .cluster.node import Node
    from .cluster.result import Output, Result
    from .cluster.timeline import Timeline
    from .errors import (
        BacalhauError,
        JobCancelledError,
        JobFailedError,
        JobTimeoutError,
        NoMatchingNodeError,
        NonZeroExitError,
    )
    from .executors.function import FunctionExecutor, FunctionTask
    from .executors.wasm.executor import WasmExecutor
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
    "Timeline",
    "Timeouts",
    "WasmExecutor",
    "errors",
]

_MODULES = {
    "BacalhauError": ".errors",
    "Cluster": ".cluster.cluster",
    "Executor": ".abc.executor",
    "FunctionExecutor": ".executors.function",
    "FunctionTask": ".executors.function",
    "Input": ".model.data",
    "Job": ".cluster.job",
    "JobCancelledError": ".errors",
    "JobFailedError": ".errors",
    "JobSpec": ".model.job",
    "JobState": ".model.job",
    "JobTimeoutError": ".errors",
    "LogEntry": ".model.data",
    "MemoryStore": ".stores.memory",
    "MemoryTransport": ".transports.memory",
    "Network": ".model.network",
    "NoMatchingNodeError": ".errors",
    "Node": ".cluster.node",
    "NonZeroExitError": ".errors",
    "Output": ".cluster.result",
    "Platform": ".model.platform",
    "Resources": ".model.resources",
    "Result": ".cluster.result",
    "RetryPolicy": ".model.job",
    "Selector": ".model.selector",
    "Timeline": ".cluster.timeline",
    "Timeouts": ".model.job",
    "WasmExecutor": ".executors.wasm.executor",
}

logging.getLogger("bacalhau_sdk").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
