"""Which nodes belong to the cluster, from their heartbeats."""

from __future__ import annotations

from ..model.execution import Execution
from ..model.node import NodeInfo, Refusal
from ..model.resources import Resources
from .node_index import NodeEntry, NodeIndex

__all__ = ["Membership"]


class Membership:
    """The nodes that were heard of, what they have free, and which live executions they hold by the records."""

    def __init__(self) -> None:
        self.nodes: NodeIndex = NodeIndex()
        self._held: dict[str, dict[str, Resources]] = {}

    def heard_of(self, info: NodeInfo, now: float) -> bool:
        """Take over a heartbeat, and say whether a job might fit now that did not before."""
        changed = self.nodes.put(info)
        entry = self._entry(info.name)
        entry.last_seen = now
        if changed:
            for execution_id, resources in self._held.get(info.name, {}).items():
                entry.account.adopt(execution_id, resources)
        freed, entry.saturated = entry.saturated is not None, None
        if changed or freed:
            self.nodes.refresh(entry)
        return changed or freed

    def hold(self, execution: Execution, resources: Resources) -> None:
        """Count a live execution against the capacity of its node."""
        self._held.setdefault(execution.node, {})[execution.id] = resources
        entry = self.nodes.get(execution.node)
        if entry is not None:
            entry.account.adopt(execution.id, resources)
            self.nodes.refresh(entry)

    def release(self, execution: Execution) -> bool:
        """Stop counting an execution that has ended, and say whether it was counted."""
        if self._held.get(execution.node, {}).pop(execution.id, None) is None:
            return False
        entry = self.nodes.get(execution.node)
        if entry is not None:
            entry.account.release(execution.id)
            entry.saturated = None
            self.nodes.refresh(entry)
        return True

    def saturate(self, node: str, refusal: Refusal) -> None:
        """Note that a node takes nothing now, by its own word; nothing is offered until something of it changes."""
        entry = self.nodes.get(node)
        if entry is not None:
            entry.saturated = refusal
            self.nodes.refresh(entry)

    def held_by(self, node: str) -> tuple[str, ...]:
        """Return the ids of the live executions that a node should have."""
        return tuple(self._held.get(node, ()))

    def _entry(self, name: str) -> NodeEntry:
        entry = self.nodes.get(name)
        assert entry is not None, "it was put before"
        return entry
