"""Which nodes belong to the cluster, from their heartbeats."""

from __future__ import annotations

import math

from ..model.execution import Execution
from ..model.node import Check, NodeInfo, Refusal
from ..model.resources import Resources
from .deadlines import NODE_LOST_AFTER
from .matching import draining_refusal
from .node_index import NodeEntry, NodeIndex

__all__ = ["NODE_FORGOTTEN_AFTER", "Membership", "standing_refusal"]

NODE_FORGOTTEN_AFTER = 3600.0
"""Seconds after which a lost node does not count as known any more, so that jobs do not wait for it."""


class Membership:
    """The nodes that were heard of, what they have free, and which executions they may hold by the records.

    A node that is not heard of for `NODE_LOST_AFTER` counts as lost, and gets nothing until it is heard of again.
    """

    def __init__(self) -> None:
        self.nodes: NodeIndex = NodeIndex()
        self.check_at: float = math.inf
        self._held: dict[str, dict[str, Resources]] = {}

    def heard_of(self, info: NodeInfo, sequence: int, now: float) -> bool | None:
        """Take over a heartbeat, and say whether a job might fit now that did not before.

        Returns:
            None for a heartbeat that was overtaken by a later message of the node: it tells nothing any more.
        """
        known = self.nodes.get(info.name)
        if known is not None and sequence <= known.sequence:
            return None
        changed = self.nodes.put(info)
        entry = self.nodes.get(info.name)
        assert entry is not None, "it was put"
        if changed:
            for execution_id, resources in self._held.get(info.name, {}).items():
                entry.account.adopt(execution_id, resources)
        freed = self._alive(entry, sequence, now) or entry.saturated is not None
        entry.saturated = None
        if changed or freed:
            self.nodes.refresh(entry)
        return changed or freed

    def sign_of_life(self, node: str, sequence: int, now: float) -> bool:
        """Note that a message of a node has come, and say whether a job might fit now that did not before."""
        entry = self.nodes.get(node)
        if entry is None or sequence <= entry.sequence or not self._alive(entry, sequence, now):
            return False
        self.nodes.refresh(entry)
        return True

    def overdue(self, now: float, settled_at: float) -> list[str]:
        """Count as lost what was not heard of for too long, forget what has been lost for very long, and return the former.

        Args:
            now: Seconds of the clock.
            settled_at: No silence before this time counts.
        """
        lost: list[str] = []
        self.check_at = math.inf
        for entry in list(self.nodes):
            if entry.lost_at is None and now >= _silent_at(entry, settled_at):
                entry.lost_at = now
                self.nodes.refresh(entry)
                lost.append(entry.info.name)
            if entry.lost_at is not None and now >= entry.lost_at + NODE_FORGOTTEN_AFTER:
                self.nodes.remove(entry.info.name)
                continue
            next_at = _silent_at(entry, settled_at)
            self.check_at = min(
                self.check_at, next_at if entry.lost_at is None else entry.lost_at + NODE_FORGOTTEN_AFTER
            )
        return lost

    def hold(self, execution: Execution, resources: Resources) -> None:
        """Count an execution against the capacity of its node."""
        self._held.setdefault(execution.node, {})[execution.id] = resources
        entry = self.nodes.get(execution.node)
        if entry is not None:
            entry.account.adopt(execution.id, resources)
            self.nodes.refresh(entry)

    def release(self, execution: Execution) -> bool:
        """Stop counting an execution of which nothing is left on its node, and say whether it was counted."""
        if self._held.get(execution.node, {}).pop(execution.id, None) is None:
            return False
        entry = self.nodes.get(execution.node)
        if entry is not None:
            entry.account.release(execution.id)
            if entry.saturated is not None and entry.saturated.check is Check.CAPACITY:
                entry.saturated = None
            self.nodes.refresh(entry)
        return True

    def saturate(self, node: str, refusal: Refusal) -> None:
        """Note that a node takes nothing now, by its own word, until it is heard of again or something ends there."""
        entry = self.nodes.get(node)
        if entry is not None:
            entry.saturated = refusal
            self.nodes.refresh(entry)

    def held_by(self, node: str) -> tuple[str, ...]:
        """Return the ids of the executions that a node may have: live ones, and fenced ones until they are gone."""
        return tuple(self._held.get(node, ()))

    def may_hold(self, execution: Execution) -> bool:
        """Say whether an execution may still be on its node."""
        return execution.id in self._held.get(execution.node, ())

    def _alive(self, entry: NodeEntry, sequence: int, now: float) -> bool:
        """Note a sign of life, and say whether the node counted as lost."""
        entry.sequence, entry.last_seen = sequence, now
        self.check_at = min(self.check_at, now + NODE_LOST_AFTER)
        was_lost, entry.lost_at = entry.lost_at is not None, None
        return was_lost


def _silent_at(entry: NodeEntry, settled_at: float) -> float:
    return max(entry.last_seen + NODE_LOST_AFTER, settled_at)


def standing_refusal(entry: NodeEntry) -> Refusal | None:
    """Say why a node gets nothing new at all now, or None when it does."""
    if entry.lost_at is not None:
        return Refusal(
            entry.info.name,
            Check.REACHABLE,
            "a node that answers",
            f"it was not heard of for more than {NODE_LOST_AFTER:g} s",
            "it takes jobs again when it is back",
            lasting=False,
        )
    return draining_refusal(entry.info, "resume it, or wait for another node")
