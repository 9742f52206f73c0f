"""What must hold after every event, from time to time, and at the end; the names are those of ``reliability.md`` §4.

==== ===============================================================================================================
I1   What has ended is not recorded again.
I2   A job whose ``submit`` has returned is not lost.
I3   What is completed has results, of every partition.
I4   In the end nothing is left: no workload, no capacity, no results that are not wanted.
I5   What counts as over is over, and a job ends as it was to end.
I6   Each partition has one current execution at most.
I7   No node runs more than it has, and nothing is given away while something runs in it.
I8   Records go by the tables.
I9   The orchestrator says what its store has, and says it at once.
I10  Every job ends when nothing goes wrong any more.
I11  No limit fires too early, or counts what it is not for.
I12  What is not worth another try, or has used them up, gets none.
I13  What is fenced is on a silent node, or was not stopped in time although its node was told; and is replaced at once,
     if it may be.
I14  Nothing is started twice.
I15  A try waits for its back-off.
I16  A node that takes nothing gets no offers.
I17  A job does not fail while it may try again, or while there is a node for it.
I18  A job for all nodes goes to all of them.
I19  A node does not start what was meant for an earlier life of it.
B1   Finished work is not thrown away.
B2   A partition is not offered again and again.
L1   A stop comes to its end soon when nothing goes wrong,
L2   and so does an offer.
L3   A limit has its effect in time.
L4   The scheduler would do nothing about any job if it looked at it now.
L5   What is over does not go on.
L6   A node that answers is known, and one that does not counts as lost.
L7   What is on a lost node is given to another one.
==== ===============================================================================================================
"""

from __future__ import annotations

from ...model.message import Envelope
from ...model.record import Batch, JobRecord
from .notes import node_entry, recorded
from .patrol import Patrol
from .records import JobRules
from .scene import Scene
from .tries import ExecutionRules
from .users import Request
from .violation import ViolationError
from .words import MessageRules
from .workloads import WorkloadRules

__all__ = ["Invariants", "ViolationError"]


class Invariants:
    """Watches a world: each of its parts watches one side of it.

    Args:
        world: The world.
    """

    def __init__(self, world: Scene) -> None:
        self.world = world
        self._messages = MessageRules(world)
        self._executions = ExecutionRules(world, self._messages)
        self._jobs = JobRules(world, self._executions)
        self._workloads = WorkloadRules(world)
        self._patrol = Patrol(world, self._jobs, self._executions, self._messages)
        for node in world.nodes.values():
            self._workloads.node_exists(node.info)
            world.keep(node_entry(node.info, world.now))
            node.on_start = self._workloads.at_start
            node.on_stop = self._workloads.at_stop
        orchestrator = world.orchestrator
        orchestrator.on_send = self._at_send
        orchestrator.on_commit = self._at_commit
        orchestrator.on_listing = self._note_batch
        orchestrator.on_rollback = self._rolled_back
        world.users.on_submitted = self._submit_returned
        world.users.on_cancelled = self._cancel_returned

    def _at_commit(self, batch: Batch) -> None:
        """Hold what must hold of records that are being committed."""
        self._patrol.core_said_something()
        known = self.world.orchestrator.executions
        for execution in batch.executions:
            before = known.get(execution.id)
            self._executions.at_execution(before, execution)
            self._messages.owe(before, execution)
        self._executions.at_batch(batch)
        self._jobs.at_jobs(batch)
        if self.world.noting or self.world.telling:
            self._note_batch(batch)

    def _at_send(self, envelope: Envelope) -> None:
        """Hold that the orchestrator says only what its store knows."""
        self._patrol.core_said_something()
        self._messages.at_send(envelope)

    def _rolled_back(self) -> None:
        """Take what the store has now for what is recorded."""
        self._executions.rolled_back()
        self._jobs.rolled_back()

    def _submit_returned(self, request: Request) -> None:
        """Hold that a job is recorded when `submit` returns."""
        if request.job_id not in self.world.orchestrator.jobs:
            raise ViolationError("I2", f"{request.job_id} was submitted, but is not recorded")

    def _cancel_returned(self, job: JobRecord) -> None:
        """Hold that nothing of a job goes on when a cancel returns, but what is fenced."""
        if not job.state.terminal:
            raise ViolationError("I5", f"the cancel of {job.id} returned, but it is {job.state.value}")

    def at_end(self) -> None:
        """Hold what must hold when nothing has gone wrong for long enough."""
        self._patrol.at_end()

    def _note_batch(self, batch: Batch) -> None:
        """Write down what is recorded, for the history and the story."""
        world = self.world
        for event in batch.events:
            world.story("records", f"{event.job_id}: {event.message}")
        if world.noting:
            for entry in recorded(batch, world.orchestrator.executions, world.now):
                world.keep(entry)
