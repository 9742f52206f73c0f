"""The orchestrator's process and its store."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import BacalhauError
from ...model.execution import Execution
from ...model.frozenmap import FrozenMap
from ...model.message import Envelope, Heartbeat
from ...model.record import Batch, JobRecord, Snapshot
from ...scheduling.effects import Commit, Effect, Send, WakeAt
from ...scheduling.events import Deliver, OrchestratorEvent, Restore, Tick
from ...scheduling.orchestrator import LATE_AFTER, PULSE, OrchestratorCore
from .process import Process
from .stage import Stage, unwatched

__all__ = ["SimulatedOrchestrator"]


class SimulatedOrchestrator(Process):
    """The very core of production; the store is played, and outlives the process.

    Args:
        world: The world.

    Attributes:
        on_send: Called with every envelope, before it is sent.
        on_commit: Called with every batch, before it is kept.
        on_committed: Called with every batch, once it is kept.
        on_rollback: Called when the store was put back to an earlier state.
        on_listing: Called then with all that is left, as one batch.
        on_restored: Called then when the orchestrator has taken that over.
    """

    kind_of_process = "orchestrator"

    def __init__(self, world: Stage) -> None:
        super().__init__(world, "orchestrator")
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.heard: dict[str, float] = {}
        self._clock_was = 0.0
        self._down = False
        self._sequences: dict[str, int] = {}
        self.full_until: float = 0.0
        self.settled_since: float = 0.0
        self._backup: tuple[dict[str, JobRecord], dict[str, Execution]] = ({}, {})
        self.core: OrchestratorCore = world.cores.orchestrator("1")
        self.on_send: Callable[[Envelope], object] = unwatched
        self.on_commit: Callable[[Batch], object] = unwatched
        self.on_committed: Callable[[Batch], object] = unwatched
        self.on_listing: Callable[[Batch], object] = unwatched
        self.on_rollback: Callable[[], object] = unwatched
        self.on_restored: Callable[[], object] = unwatched
        if world.faults.old_stores:
            world.after(world.chance.between(5.0, 60.0), self._back_up)

    def ask(self, event: OrchestratorEvent) -> BacalhauError | bool:
        """Have a user's request handled: True when it was, False when nobody knows, or the error that refuses it."""
        if not self.up or self.world.now < self.stalled_until:
            return False
        try:
            effects = self.core.handle(event, self.clock)
        except BacalhauError as error:
            return error
        return self.perform(effects)

    def receive(self, envelope: Envelope) -> None:
        """Hand a message to the core."""
        # A node is known by its heartbeat; until then its other messages say nothing about it.
        known = (
            isinstance(envelope.message, Heartbeat)
            or self.core.membership.nodes.get(envelope.sender) is not None
        )
        if known and envelope.sequence > self._sequences.get(envelope.sender, -1):
            self._sequences[envelope.sender] = envelope.sequence
            self.heard[envelope.sender] = self.world.now
        self.perform(self.core.handle(Deliver(envelope), self.clock))

    def tick(self) -> None:
        """Wake the core."""
        self.perform(self.core.handle(Tick(), self.clock))

    def do(self, effect: Effect) -> bool:
        """Perform an effect; say whether the process is still up."""
        if isinstance(effect, Send):
            self.on_send(effect.envelope)
            self.world.send(effect.envelope)
        elif isinstance(effect, Commit):
            return self._commit(effect.batch)
        elif isinstance(effect, WakeAt):
            self.wake_at(effect.time)
        else:
            raise TypeError(f"an orchestrator has no use for {effect}")
        return True

    def stall(self, seconds: float) -> None:
        """Stand still for a while, as a machine does that is suspended."""
        if self.up:
            self.world.counts["standstill"] += 1
            self.world.story(self.name, f"stands still for {seconds:.1f} s")
            self.stalled_until = max(self.stalled_until, self.world.now + seconds)
            if seconds > PULSE + LATE_AFTER:  # a shorter one may go unnoticed
                self.settled_since = self.stalled_until
            self._note_down()
            noticed = seconds > PULSE + LATE_AFTER
            self.world.after(self.stalled_until - self.world.now, self._stands_no_more, self.life, noticed)

    def fill_disk(self, seconds: float) -> None:
        """Let the store keep nothing for a while."""
        self.world.counts["full disk"] += 1
        self.world.story(self.name, f"its disk is full for {seconds:.1f} s")
        self.full_until = self.world.now + seconds

    def went_down(self) -> None:
        """Lose what a process loses."""
        self._note_down()

    def restart(self) -> None:
        """Start again, with what has outlived the process."""
        world = self.world
        rolled_back = world.goes_wrong(world.faults.old_stores)
        if rolled_back:
            world.counts["old store"] += 1
            jobs, executions = self._backup
            self.jobs, self.executions = dict(jobs), dict(executions)
            self.on_rollback()
        self.up = True
        self.stalled_until: float = world.now
        self.settled_since = world.now
        self._sequences.clear()
        self.core = world.cores.orchestrator(str(self.life))
        world.story(self.name, f"starts again{' with an older store' if rolled_back else ''}")
        behind = any(job.modified_at > self.clock for job in self.jobs.values())
        jumped = behind or self.clock_ahead != self._clock_was
        detail = {"rolled_back": rolled_back, "clock_jumped": jumped, "noticed": True}
        self._down = False
        self._clock_was = self.clock_ahead
        world.note("orchestrator-up", detail=FrozenMap(detail))
        if world.noting and rolled_back:
            self.on_listing(Batch(tuple(self.jobs.values()), tuple(self.executions.values())))
        snapshot = Snapshot(tuple(self.jobs.values()), tuple(self.executions.values()))
        self.perform(self.core.handle(Restore(snapshot), self.clock))
        if rolled_back:
            self.on_restored()  # also when it has died of that: users find out sooner or later

    def _commit(self, batch: Batch) -> bool:
        if self.world.now < self.full_until:
            self.crash("its store keeps nothing")
            return False
        self.on_commit(batch)
        for job in batch.jobs:
            self.jobs[job.id] = job
        for execution in batch.executions:
            self.executions[execution.id] = execution
        self.on_committed(batch)
        return True

    def _note_down(self) -> None:
        if not self._down:
            self.world.note("orchestrator-down")
        self._down = True

    def _stands_no_more(self, life: int, noticed: bool) -> None:
        if life == self.life and self._down and self.world.now >= self.stalled_until:
            self._down = False
            detail = {"rolled_back": False, "clock_jumped": False, "noticed": noticed}
            self.world.note("orchestrator-up", detail=FrozenMap(detail))

    def _back_up(self) -> None:
        self._backup = dict(self.jobs), dict(self.executions)
        if not self.world.kind:
            self.world.after(self.world.chance.between(20.0, 60.0), self._back_up)
