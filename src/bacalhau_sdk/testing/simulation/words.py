"""What must hold of the messages of the orchestrator."""

from __future__ import annotations

from typing import TypeAlias

from ...model.execution import Execution, ExecutionState
from ...model.job import JobState
from ...model.message import AcknowledgeExecution, AskForBid, CancelExecution, Envelope
from ...scheduling.deadlines import NODE_LOST_AFTER
from .scene import Scene
from .violation import ViolationError

__all__ = ["MessageRules"]

_SLACK = 2.5
"""Seconds that a wake may take on top of a bound."""

_Told: TypeAlias = type[AskForBid] | type[CancelExecution] | type[AcknowledgeExecution]


class MessageRules:
    """Watches what the orchestrator says.

    Args:
        world: The world.
    """

    def __init__(self, world: Scene) -> None:
        self.cancels: dict[str, int] = {}
        self.forgotten: set[str] = set()  # completed before the store was put back, and so not kept track of
        self._world = world
        self._owed: dict[str, tuple[_Told, int]] = {}
        self._dropped: set[str] = set()

    def owe(self, before: Execution | None, after: Execution) -> None:
        """Note that a change that is being committed has a message to follow."""
        message: _Told | None = None
        if before is None:
            message = AskForBid if after.state is ExecutionState.ASK_FOR_BID else None
        elif after.state.terminal and not before.state.terminal:
            if after.state is not ExecutionState.ASK_FOR_BID_REJECTED:
                message = CancelExecution if after.fenced else AcknowledgeExecution
        elif after.ending is not None and before.ending is None:
            message = CancelExecution
        if message is not None:
            self._owed[after.id] = (message, self._world.orchestrator.life)

    def nothing_owed(self) -> None:
        """Hold that what was committed was said at once, if the orchestrator has lived to say it."""
        for execution_id, (message, life) in self._owed.items():
            if life == self._world.orchestrator.life:
                raise ViolationError("I9", f"{execution_id}: no {message.__name__} followed its record")
        self._owed.clear()

    def at_send(self, envelope: Envelope) -> None:
        """Hold that the orchestrator says only what its store knows."""
        message, orchestrator = envelope.message, self._world.orchestrator
        execution_id: str = getattr(message, "execution_id", "")
        execution = orchestrator.executions.get(execution_id)
        owed = self._owed.get(execution_id)
        if owed is not None and isinstance(message, owed[0]):
            del self._owed[execution_id]
        if isinstance(message, AskForBid):
            self._at_offer(envelope.recipient, execution_id, execution)
        elif isinstance(message, CancelExecution):
            self.cancels[execution_id] = self.cancels.get(execution_id, 0) + 1
            mine = execution is not None and execution.node == envelope.recipient
            if execution is not None and mine and not execution.state.terminal and execution.ending is None:
                raise ViolationError("I9", f"{execution_id} is to be killed, but its record wants it")
        elif isinstance(message, AcknowledgeExecution):
            self._at_acknowledgement(envelope.recipient, message, execution)

    def _at_offer(self, name: str, execution_id: str, execution: Execution | None) -> None:
        orchestrator = self._world.orchestrator
        if execution is None or execution.state.terminal or execution.node != name:
            raise ViolationError("I9", f"{execution_id} is offered to {name}, but not recorded")
        if execution.created_at != orchestrator.core.now:
            return  # it is only said again
        entry = orchestrator.core.membership.nodes.get(name)
        # A standstill that is short may be noticed, and then silence counts from its end.
        settled = max(orchestrator.settled_since, orchestrator.stalled_until)
        silent = self._world.now - max(orchestrator.heard.get(name, 0.0), settled)
        closed = entry is None or entry.lost_at is not None or entry.info.draining
        if closed or silent > NODE_LOST_AFTER + _SLACK:
            raise ViolationError("I16", f"{execution_id} is offered to {name}, which takes nothing")

    def _at_acknowledgement(
        self, name: str, message: AcknowledgeExecution, execution: Execution | None
    ) -> None:
        execution_id = message.execution_id
        if execution is not None and execution.node == name:
            if not execution.state.terminal:
                raise ViolationError(
                    "I9", f"{execution_id} is acknowledged, but recorded as {execution.state.value}"
                )
            if message.discard is (execution.state is ExecutionState.COMPLETED):
                raise ViolationError(
                    "I9", f"{execution_id} is recorded as {execution.state.value}, but {message}"
                )
        if message.discard and execution_id not in self._dropped:
            node = self._world.nodes[name]
            if execution_id in node.results:
                self._dropped.add(execution_id)
                self._count_dropped(execution)

    def _count_dropped(self, execution: Execution | None) -> None:
        counts = self._world.counts
        job = self._world.orchestrator.jobs.get(execution.job_id) if execution is not None else None
        if execution is None or job is None or execution.id in self.forgotten:
            why = "a store was put back"
        elif self._world.nodes[execution.node].forgetful:
            why = "a disk was put back"
        elif job.ending not in (None, JobState.COMPLETED):
            why = f"its job is {job.ending.value}"
        elif execution.fenced:
            why = "its node was silent for too long"
        else:
            why = "thrown away"
        counts[f"finished work dropped: {why}"] += 1
