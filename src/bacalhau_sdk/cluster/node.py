"""A compute node, as the user composes it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping

from ..abc.executor import Executor
from ..abc.storage import Storage
from ..model.frozenmap import FrozenMap
from ..model.message import ORCHESTRATOR
from ..model.node import EngineInfo, NodeInfo
from ..model.paths import check_node_name
from ..model.platform import Platform
from ..model.problems import Problems, invalid, key_path, shown
from ..model.resources import Resources
from ..model.selector import check_label_key, check_label_value

__all__ = ["Node"]

MAX_EXECUTIONS = 32


class Node:
    """A place where executions run: some executors, and what they may use together.

    Args:
        name: Unique in the cluster: 1 to 63 lower-case letters, digits and ``-``.
        executors: One for each engine; the node enters and leaves them.
        labels: What selectors see; ``name``, ``os`` and ``arch`` are added.
        resources: All that its executions may use together; None is what this machine has: its CPUs and
            its memory; no GPU, and a disk of 1 TiB, which is not measured.
        max_executions: How many executions it takes at once, also when they ask for nothing.
        storages: Fetch inputs of more schemes than local paths and bytes.

    Raises:
        InvalidSpecError: Something is wrong; every problem is named.
    """

    def __init__(
        self,
        name: str,
        executors: Iterable[Executor],
        *,
        labels: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        max_executions: int = MAX_EXECUTIONS,
        storages: Iterable[Storage] = (),
    ) -> None:
        problems = Problems()
        for path, value in (("executors", executors), ("storages", storages)):
            if isinstance(value, str) or not isinstance(value, Iterable):
                problems.add(path, f"{shown(value)} is not a list: write [...], also for one")
        if labels is not None and not isinstance(labels, Mapping):
            problems.add("labels", f"{shown(labels)} is not a mapping such as {{'zone': 'dc'}}")
        if resources is not None and not isinstance(resources, Resources):
            problems.add(
                "resources", f"{shown(resources)} is not a Resources: give Resources(cpu=4, memory='8GiB')"
            )
        problems.check()
        self.name = name
        self.storages: tuple[Storage, ...] = tuple(storages)
        self.executors: tuple[Executor, ...] = tuple(executors)
        self.resources: Resources = resources if resources is not None else _machine()
        self.max_executions = max_executions
        host = Platform(platform.system() or "unknown", platform.machine() or "unknown")
        self.labels: FrozenMap[str, str] = FrozenMap(
            {**(labels or {}), "name": name, "os": host.os, "arch": host.architecture}
        )
        self._check(labels or {})

    def info(self, engines: Iterable[EngineInfo], sources: Iterable[str], revision: int) -> NodeInfo:
        """Return what the node broadcasts.

        Args:
            engines: What the executors' probes have found.
            sources: The schemes of inputs that it can stage.
            revision: Higher than in any earlier life of the node.
        """
        return NodeInfo(
            name=self.name,
            labels=self.labels,
            engines=FrozenMap({engine.name: engine for engine in engines}),
            sources=tuple(sorted(sources)),
            capacity=self.resources,
            max_executions=self.max_executions,
            revision=revision,
        )

    def _check(self, labels: Mapping[str, str]) -> None:
        problems = Problems()
        with problems.at("name"):
            if check_node_name(self.name) == ORCHESTRATOR:
                raise invalid(f"{ORCHESTRATOR!r} is taken: choose another name")
        engines: set[str] = set()
        for index, executor in enumerate(self.executors):
            if not isinstance(executor, Executor):
                problems.add(
                    f"executors[{index}]", f"{shown(executor)} is not an Executor: give an instance of one"
                )
            elif not isinstance(executor.engine, str) or not executor.engine:
                problems.add(
                    f"executors[{index}]",
                    f"{shown(executor)} names no engine: set its attribute 'engine' to a text",
                )
            elif executor.engine in engines:
                problems.add(
                    f"executors[{index}]",
                    f"a second executor for the engine {executor.engine!r}: a node has one of each, make another node",
                )
            else:
                engines.add(executor.engine)
        for index, storage in enumerate(self.storages):
            if not isinstance(storage, Storage):
                problems.add(
                    f"storages[{index}]", f"{shown(storage)} is not a Storage: give an instance of one"
                )
        for key, value in labels.items():
            with problems.at(key_path("labels", key)):
                check_label_key(key)
                check_label_value(value)
            if key in ("name", "os", "arch"):
                problems.add(f"labels.{key}", "is set by the node itself: choose another key")
        if self.resources.gpu == "all":
            problems.add("resources.gpu", "'all' is for jobs: give the number of GPUs that the node has")
        if (
            isinstance(self.max_executions, bool)
            or not isinstance(self.max_executions, int)
            or self.max_executions < 0
        ):
            problems.add("max_executions", f"{shown(self.max_executions)} is not a whole number from 0 up")
        problems.check()

    def __repr__(self) -> str:
        """Return the name and the engines."""
        engines = ", ".join(executor.engine for executor in self.executors)
        return f"<Node {self.name!r}: {engines or 'no engine'}; {self.resources}>"


def _machine() -> Resources:
    """Return what this machine has: its CPUs and its memory, where the system tells."""
    memory = 0
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Resources(cpu=os.cpu_count() or 1, memory=memory or "4GiB", disk="1TiB")
