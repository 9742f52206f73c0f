"""The one account of what a node has and what is reserved of it; bid and run share it."""

from __future__ import annotations

import math

from ..model.resources import Resources

__all__ = ["CapacityAccount"]


class CapacityAccount:
    """Reserves resources for executions, never more than there are.

    Args:
        capacity: All that may be reserved together.
        max_executions: How many reservations there may be at once.
    """

    def __init__(self, capacity: Resources, max_executions: int) -> None:
        self.capacity: Resources = capacity
        self.max_executions: int = max_executions
        self._reserved: dict[str, Resources] = {}
        self._free = capacity

    def copy(self) -> CapacityAccount:
        """Return an account with the same reservations, to try something out."""
        other = CapacityAccount(self.capacity, self.max_executions)
        other._reserved = dict(self._reserved)
        other._free = self._free
        return other

    @property
    def free(self) -> Resources:
        """What is not reserved; 0 on an axis that is overdrawn because the capacity has shrunk."""
        return self._free

    @property
    def free_executions(self) -> int:
        """How many more reservations there may be."""
        return max(0, self.max_executions - len(self._reserved))

    def __len__(self) -> int:
        """Return the number of reservations."""
        return len(self._reserved)

    def __contains__(self, execution_id: object) -> bool:
        """Say whether an execution has a reservation."""
        return execution_id in self._reserved

    def shortage(self, resources: Resources) -> tuple[str, ...]:
        """Say what is missing for one more reservation, axis by axis; empty when there is room."""
        short = resources.shortage(self._free)
        if resources.gpu == "all" and self._free.gpu not in (0, self._gpus()):
            short += (f"gpu all of {self._gpus()}, {self._free.gpu} free",)
        if self.free_executions == 0:
            short += (f"executions {self.max_executions} of {self.max_executions} in use",)
        return short

    def reserve(self, execution_id: str, resources: Resources) -> bool:
        """Reserve, and say whether there was room; an execution that has a reservation keeps it.

        Args:
            execution_id: Who reserves.
            resources: What.
        """
        if execution_id in self._reserved:
            return True
        if self.shortage(resources):
            return False
        self._reserved[execution_id] = resources
        self._recount()
        return True

    def adopt(self, execution_id: str, resources: Resources) -> None:
        """Reserve for an execution that runs already, room or not."""
        self._reserved[execution_id] = resources
        self._recount()

    def release(self, execution_id: str) -> bool:
        """Give a reservation back, and say whether there was one."""
        if self._reserved.pop(execution_id, None) is None:
            return False
        self._recount()
        return True

    def resize(self, capacity: Resources, max_executions: int) -> None:
        """Change what there is; reservations stay."""
        self.capacity = capacity
        self.max_executions = max_executions
        self._recount()

    def load(self) -> float:
        """Return how full the node is, from 0 to 1, on its fullest axis; for ranking."""
        pairs = (
            (self.capacity.cpu, self._free.cpu),
            (self.capacity.memory, self._free.memory),
            (self.max_executions, self.free_executions),
        )
        return max((1 - free / total for total, free in pairs if total), default=0.0)

    def _recount(self) -> None:
        held = self._reserved.values()
        wanted = math.inf if any(r.gpu == "all" for r in held) else sum(r.gpu for r in held if r.gpu != "all")
        self._free = Resources.exactly(
            cpu=max(0.0, round(self.capacity.cpu - math.fsum(r.cpu for r in held), 3)),
            memory=max(0, self.capacity.memory - sum(r.memory for r in held)),
            disk=max(0, self.capacity.disk - sum(r.disk for r in held)),
            gpu=int(max(0, self._gpus() - wanted)),
        )

    def _gpus(self) -> int:
        return self.capacity.gpu if isinstance(self.capacity.gpu, int) else 0
