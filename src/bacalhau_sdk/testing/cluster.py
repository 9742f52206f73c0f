"""A cluster for tests of jobs: hours of them in milliseconds."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio.abc import TaskGroup

from ..abc.store import JobStore
from ..abc.transport import Transport
from ..cluster.cluster import Cluster
from ..cluster.node import Node
from ..errors import VirtualTimeError
from ..host.threads import use_no_threads
from ..model.data import PathLike
from ..model.message import ORCHESTRATOR
from ..model.problems import Problems, shown
from ..model.resources import Resources
from .engine import SimulatedEngine
from .transport import SimulatedTransport
from .virtual import VirtualClock, limit_virtual_time, require_virtual_time

__all__ = ["VirtualCluster"]

_OPEN_WITHIN = 3600.0
"""Seconds of virtual time after which a cluster does not wait for its nodes any more."""


class VirtualCluster(Cluster):
    """A `Cluster` under virtual time: it starts no thread, and a job that sleeps for an hour takes milliseconds.

    Enter it where `run` or `virtual_backend` have made the time virtual. It opens when every node has been heard of. From then
    on, until the event loop ends, all file work of the library is done in the event loop. A cluster of the same composition, seed
    and jobs takes the same course.

    Args:
        nodes: Where executions run; None is one node, ``"virtual"``, with a `SimulatedEngine` each for ``docker``, ``wasm`` and
            ``function``, whose tasks end at once with 0. What a node is made of must use no threads, no sockets and no real
            clock.
        transport: Carries messages; None is a `MemoryTransport`.
        store: Keeps records; None is a `MemoryStore`.
        data_dir: Where results stay; None is a private temporary folder that goes with the cluster.
        seed: Of the ids of jobs.
        limit: After how many seconds of virtual time the block is given up; None is the limit of `run`, or else a day.

    Raises:
        InvalidSpecError: From the constructor: as `Cluster`; or a node has a `WasmExecutor`, which needs threads.
        VirtualTimeError: On entering: the time is not virtual, or a node was not heard of within an hour. From the block: it has
            taken longer than the limit.
    """

    def __init__(
        self,
        nodes: Iterable[Node] | None = None,
        *,
        transport: Transport | None = None,
        store: JobStore | None = None,
        data_dir: str | PathLike | None = None,
        seed: int = 0,
        limit: float | None = None,
    ) -> None:
        composed = [_virtual_node()] if nodes is None else nodes
        super().__init__(composed, transport=transport, store=store, data_dir=data_dir, clock=VirtualClock())
        _refuse_threads(self._nodes)
        _check_parties(transport, self._nodes)
        self._ids = random.Random(seed)  # noqa: S311 - they need not be secret
        self._limit = limit

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        """Open the cluster for the block, and close it afterwards."""
        require_virtual_time()
        use_no_threads()
        async with super().__asynccontextmanager__():
            with limit_virtual_time(self._limit):
                yield self

    async def _open(self, tasks: TaskGroup) -> None:
        """Open, or say which node it waits for: no clock is in a hurry here."""
        with anyio.move_on_after(_OPEN_WITHIN) as scope:
            await super()._open(tasks)
        if scope.cancelled_caught:
            heard = {state.name for state in self._orchestrator.nodes()} if self._orchestrator else set[str]()
            silent = ", ".join(node.name for node in self._nodes if node.name not in heard)
            raise VirtualTimeError(
                f"the cluster opens when every node has been heard of, and {silent} was not within an hour",
                hint="have the transport's plan begin later, as by cut(1)",
            )

    def _new_incarnation(self) -> str:
        return f"{self._ids.getrandbits(24):06x}"

    def _new_id(self) -> str:
        return f"j-{uuid.UUID(int=self._ids.getrandbits(128), version=4)}"


def _virtual_node() -> Node:
    engines = [
        SimulatedEngine("docker", ["linux/amd64", "linux/arm64"]),
        SimulatedEngine("wasm"),
        SimulatedEngine("function"),
    ]
    # Not those of this machine: a test should end alike everywhere.
    return Node("virtual", engines, resources=Resources(cpu=16, memory="64GiB", disk="1TiB"))


def _check_parties(transport: Transport | None, nodes: Iterable[Node]) -> None:
    """See that a plan names parties that there are: a fault that never happens proves nothing."""
    if not isinstance(transport, SimulatedTransport):
        return
    problems = Problems()
    known = {ORCHESTRATOR, *(node.name for node in nodes)}
    for name in sorted(transport.parties - known):
        problems.add("transport.plan", f"{shown(name)} is no party: they are {', '.join(sorted(known))}")
    problems.check()


def _refuse_threads(nodes: Iterable[Node]) -> None:
    from ..executors.wasm.executor import WasmExecutor

    problems = Problems()
    for index, node in enumerate(nodes):
        for place, executor in enumerate(node.executors):
            if isinstance(executor, WasmExecutor):
                problems.add(
                    f"nodes[{index}].executors[{place}]",
                    "a WasmExecutor works in threads, for which a virtual clock does not wait; take a SimulatedEngine('wasm')",
                )
    problems.check()
