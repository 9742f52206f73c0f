"""Which of the nodes that could take an execution should have it."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from attrs import evolve, frozen

from ..model.execution import Execution, ExecutionState
from .capacity import CapacityAccount
from .matching import Demand, native
from .node_index import NodeEntry, NodeIndex, NodeSet

__all__ = ["Candidate", "Choice", "Rank", "Ranker", "default_rank"]

SHORTLIST = 500
"""Of more nodes that have room not all are ranked, since a rank costs microseconds."""

Rank: TypeAlias = tuple[float, ...]
"""Compared element by element; the lowest rank goes first."""


@frozen
class Candidate:
    """A node that could take an execution now.

    Attributes:
        node: The node.
        job_id: The job.
        demand: What the job asks for.
        here: How many live executions of the job the node has.
        tried: How many executions of the job ended there without results.
    """

    node: NodeEntry
    job_id: str
    demand: Demand
    here: int
    tried: int


class Ranker(Protocol):
    """Ranks a candidate; it must depend on its argument alone.

    Of very many nodes that have room only some are ranked: native ones and those that meet the job's preferences before others.
    """

    def __call__(self, candidate: Candidate) -> Rank:
        """Return the rank; the lowest goes first."""
        ...


def default_rank(candidate: Candidate) -> Rank:
    """Prefer, in this order: a fresh node, native over emulated, the job's preferences, few of the same job, a low load.

    Ties are broken by a hash of the job and the node, so that equal jobs spread and equal inputs give equal plans.
    """
    node, demand = candidate.node, candidate.demand
    return (
        candidate.tried,
        0 if native(node.info, demand) else 1,
        -demand.selector.preference(node.info.labels),
        candidate.here,
        round(node.account.load(), 6),
        zlib.crc32(f"{candidate.job_id}/{node.info.name}".encode()),
    )


class Choice:
    """The nodes that have room, best first; what has been taken is counted in, though nothing is decided yet.

    Args:
        nodes: The nodes that are known.
        roomy: Those that match the demand and have room for it.
        demand: What the job asks for.
        job_id: The job.
        executions: Of the job.
        ranker: Ranks.
        count: How many executions are to be placed.
    """

    def __init__(
        self,
        nodes: NodeIndex,
        roomy: NodeSet,
        demand: Demand,
        job_id: str,
        executions: Sequence[Execution],
        ranker: Ranker,
        count: int,
    ) -> None:
        if not roomy:
            executions = ()  # mostly so: then they need not be counted
        here = Counter(e.node for e in executions if not e.state.terminal)
        fruitless = (ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.TIMED_OUT)
        tried = Counter(e.node for e in executions if e.state in fruitless)
        shortlist = nodes.shortlist(demand, roomy, max(SHORTLIST, count), zlib.crc32(job_id.encode()))
        self._ranker = ranker
        self._nodes, self._roomy, self._demand = nodes, roomy, demand
        self._accounts: dict[str, CapacityAccount] = {}
        self._heap: list[tuple[Rank, int, Candidate]] = []
        for entry in nodes.entries(shortlist):
            name = entry.info.name
            candidate = Candidate(entry, job_id, demand, here[name], tried[name])
            self._heap.append((ranker(candidate), entry.slot, candidate))
        heapq.heapify(self._heap)

    def take(self, execution_id: str, only: str | None = None) -> NodeEntry | None:
        """Return the best node for one more execution, or None when none has room for it.

        Args:
            execution_id: The execution.
            only: The one node that will do; None when any will.
        """
        if only is not None:
            return self._take_on(only, execution_id)
        if not self._heap:
            return None
        _, slot, candidate = self._heap[0]
        entry, resources = candidate.node, candidate.demand.resources
        account = self._accounts.setdefault(entry.info.name, entry.account.copy())
        account.reserve(execution_id, resources)
        if account.shortage(resources):
            heapq.heappop(self._heap)
        else:
            again = evolve(candidate, here=candidate.here + 1)
            heapq.heapreplace(self._heap, (self._ranker(again), slot, again))
        return entry

    def _take_on(self, name: str, execution_id: str) -> NodeEntry | None:
        entry = self._nodes.get(name)
        if entry is None or not self._roomy >> entry.slot & 1:
            return None
        account = self._accounts.setdefault(name, entry.account.copy())
        return entry if account.reserve(execution_id, self._demand.resources) else None
