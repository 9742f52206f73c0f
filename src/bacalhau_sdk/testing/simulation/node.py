"""A node's process, and its engine, which may outlive it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve

from ...model.execution import Failure, FailureKind, Location, Outcome, RunResult, Task
from ...model.job import JobSpec
from ...model.message import AcknowledgeExecution, AskForBid, Envelope
from ...model.node import Check, NodeInfo, Refusal
from ...scheduling.compute import ComputeCore
from ...scheduling.effects import (
    CheckBid,
    DiscardResults,
    Effect,
    KillExecution,
    Publish,
    Send,
    StartExecution,
    WakeAt,
)
from ...scheduling.events import (
    Adopt,
    BidChecked,
    ComputeEvent,
    Deliver,
    Drain,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)
from .process import Process
from .stage import Stage, unwatched
from .violation import ViolationError

__all__ = ["SimulatedNode", "Workload"]

_FOR_EVER = 1e9


@define(eq=False)
class Workload:
    """What an engine has for an execution: a container that runs, or has ended and was not removed.

    Attributes:
        task: What it was asked to run.
        running: Whether it runs.
        result: How it ended; None when it was killed.
        dying: Whether a kill is on its way.
    """

    task: Task
    running: bool = True
    result: RunResult | Failure | None = None
    dying: bool = False


class SimulatedNode(Process):
    """The very core of production; engine, staging and publisher are played.

    Args:
        world: The world.
        info: What it broadcasts.

    Attributes:
        on_start: Called when a workload begins to run.
        on_stop: Called when it is dead.
    """

    kind_of_process = "node"

    def __init__(self, world: Stage, info: NodeInfo) -> None:
        super().__init__(world, info.name)
        self.info = info
        self.offers: dict[str, AskForBid] = {}
        self.workloads: dict[str, Workload] = {}
        self.results: dict[str, Outcome] = {}
        self.busy: dict[str, bool] = {}  # staging and publishing; True once it is killed
        self._old_offers: dict[str, AskForBid] = {}
        self.forgetful: bool = False
        self.up_since: float = 0.0
        self.core: ComputeCore = world.cores.compute(evolve(info, revision=self.life))
        self.on_start: Callable[[SimulatedNode, Workload], object] = unwatched
        self.on_stop: Callable[[SimulatedNode, Workload], object] = unwatched
        world.after(world.chance.random(), self._first_tick)

    def receive(self, envelope: Envelope) -> None:
        """Hand a message to the core."""
        self._handle(Deliver(envelope))
        message = envelope.message
        if not self.up:
            return  # it has died of that
        if isinstance(message, AcknowledgeExecution) and not self.core.holds(message.execution_id):
            self._remove(message.execution_id)

    def tick(self) -> None:
        """Wake the core."""
        self._handle(Tick())

    def drain(self, seconds: float) -> None:
        """Take nothing new for a while."""
        if self.up:
            self.world.counts["drain"] += 1
            self.world.story(self.name, f"is drained for {seconds:.1f} s")
            self._handle(Drain(draining=True))
            self.world.after(seconds, self._resume, self.life)

    def do(self, effect: Effect) -> bool:
        """Perform an effect; say whether the process is still up."""
        match effect:
            case Send(envelope):
                self.world.send(envelope)
            case WakeAt(time):
                self.wake_at(time)
            case CheckBid(task):
                self.world.after(0.2 * self.world.chance.random(), self._checked, self.life, task)
            case StartExecution(task, spec):
                self._start(task, spec)
            case KillExecution(execution_id):
                self._kill(execution_id)
            case Publish(execution_id):
                workload = self.workloads.get(execution_id)
                if workload is None or not isinstance(workload.result, RunResult):
                    raise ViolationError(
                        "I5", f"{execution_id} is published, but did not end well: {workload}"
                    )
                self.busy[execution_id] = False
                self.world.after(
                    self.world.chance.between(0.1, 2.0), self._published, self.life, execution_id
                )
            case DiscardResults(execution_id, _):
                self.results.pop(execution_id, None)
                self._remove(execution_id)
            case _:
                raise AssertionError(f"a node has no use for {effect}")
        return True

    def went_down(self) -> None:
        """Lose what a process loses."""
        world = self.world
        self.busy.clear()
        world.note_reach(self.name)
        if world.goes_wrong(world.faults.reboots):
            world.counts["reboot"] += 1
            world.story(self.name, "its engine goes down too, with all workloads")
            for execution_id in list(self.workloads):
                self._stop(self.workloads.pop(execution_id), None)

    def restart(self) -> None:
        """Start again, with what has outlived the process."""
        world = self.world
        if world.goes_wrong(world.faults.old_disks):
            world.counts["old disk"] += 1
            self.offers = dict(self._old_offers)
            self.forgetful = True
        self.up = True
        self.up_since = world.now
        world.story(self.name, f"starts again, its engine has {len(self.workloads)} workloads")
        self.core = world.cores.compute(evolve(self.info, revision=self.life * 1000))
        running: list[AskForBid] = []
        for execution_id, workload in list(self.workloads.items()):
            if execution_id in self.results:
                continue
            if execution_id in self.offers:
                running.append(self.offers[execution_id])
            else:
                # What nobody knows any more is not left running.
                del self.workloads[execution_id]
                self._stop(workload, None)
        world.note_reach(self.name)
        completed = tuple(
            (self.offers[key], outcome) for key, outcome in self.results.items() if key in self.offers
        )
        if self.perform(self.core.handle(Adopt(tuple(running), completed), self.clock)):
            self._handle(Tick())

    # The engine

    def _handle(self, event: ComputeEvent) -> None:
        self.perform(self.core.handle(event, self.clock))

    def _first_tick(self) -> None:
        if self.up and self.life == 1:
            self._handle(Tick())

    def _resume(self, life: int) -> None:
        if life == self.life:
            self.world.story(self.name, "takes executions again")
            self._handle(Drain(draining=False))

    def _checked(self, life: int, task: Task) -> None:
        if life != self.life:
            return
        refusal = None
        if self.world.goes_wrong(self.world.faults.refusals):
            lasting = self.world.chance.happens(0.3)
            refusal = Refusal(self.name, Check.ENGINE, "this task", "no such thing", lasting=lasting)
        self._handle(BidChecked(task.execution_id, refusal))

    def _start(self, task: Task, spec: JobSpec) -> None:
        known = self.workloads.get(task.execution_id)
        if known is not None:
            self.world.after(0.1, self._attached, self.life, known)
            return
        self._old_offers = dict(self.offers)
        self.offers[task.execution_id] = AskForBid(
            execution_id=task.execution_id,
            job_id=task.job_id,
            partition_index=task.partition_index,
            partition_count=task.partition_count,
            attempt=task.attempt,
            node_revision=self.core.info.revision,
            spec=spec,
        )
        self.busy[task.execution_id] = False
        self.world.after(self.world.chance.between(0.05, 1.0), self._staged, self.life, task, spec)

    def _attached(self, life: int, workload: Workload) -> None:
        """Go on with a workload of an earlier life of the process."""
        if life != self.life:
            return
        execution_id = workload.task.execution_id
        if workload.running:
            self._handle(WorkloadStarted(execution_id))
        else:
            self._handle(WorkloadEnded(execution_id, workload.result))

    def _staged(self, life: int, task: Task, spec: JobSpec) -> None:
        if life != self.life:
            return
        world, execution_id = self.world, task.execution_id
        killed = self.busy.pop(execution_id)
        if killed or world.goes_wrong(world.faults.input_faults):
            failure = Failure(FailureKind.INFRASTRUCTURE, "world.input", "an input could not be read")
            self._handle(WorkloadEnded(execution_id, None if killed else failure))
            return
        workload = self.workloads[execution_id] = Workload(task)
        self.on_start(self, workload)
        world.after(self._seconds(spec), self._ended, workload)
        if world.goes_wrong(world.faults.lost_replies):
            world.counts["lost reply"] += 1
            world.after(world.chance.between(1.0, 5.0), self._attached, self.life, workload)
        else:
            self._handle(WorkloadStarted(execution_id))

    def _seconds(self, spec: JobSpec) -> float:
        chance = self.world.chance
        limited = spec.timeouts.execution is not None or spec.timeouts.total is not None
        if limited and self.world.goes_wrong(self.world.faults.hangs):
            self.world.counts["hang"] += 1
            return _FOR_EVER
        return 0.1 + 25.0 * chance.random() ** 4

    def _ended(self, workload: Workload) -> None:
        """Let a workload come to its end by itself."""
        if not workload.running:
            return
        world = self.world
        result: RunResult | Failure = RunResult(1 if world.chance.happens(0.1) else 0)
        if world.goes_wrong(world.faults.run_faults):
            lasting = world.chance.happens(0.2)
            kind = FailureKind.PERMANENT if lasting else FailureKind.INFRASTRUCTURE
            result = Failure(kind, "world.fault", "as the seed wants it")
            world.counts["workload fault"] += 1
        self._stop(workload, result)

    def _stop(self, workload: Workload, result: RunResult | Failure | None) -> None:
        """Let a workload end: what happens to the process meanwhile does not matter to the engine."""
        if not workload.running:
            return
        workload.running, workload.result = False, result
        self.on_stop(self, workload)
        if self.up and workload.task.execution_id in self.workloads:
            self.world.after(0.0, self._tell_end, self.life, workload)

    def _tell_end(self, life: int, workload: Workload) -> None:
        if life == self.life:
            self._handle(WorkloadEnded(workload.task.execution_id, workload.result))

    def _kill(self, execution_id: str) -> None:
        world = self.world
        if world.goes_wrong(world.faults.kill_faults):
            world.counts["failed kill"] += 1
            world.story(self.name, f"the kill of {execution_id} does nothing")
            return
        if execution_id in self.busy:
            self.busy[execution_id] = True
        workload = self.workloads.get(execution_id)
        if workload is not None and workload.running and not workload.dying:
            workload.dying = True
            world.after(0.5 * world.chance.random(), self._stop, workload, None)

    def _published(self, life: int, execution_id: str) -> None:
        if life != self.life:
            return
        world = self.world
        killed = self.busy.pop(execution_id)
        if killed:
            self._handle(ResultsPublished(execution_id, None))
        elif world.goes_wrong(world.faults.publish_faults):
            failure = Failure(FailureKind.INFRASTRUCTURE, "world.publish", "the results could not be stored")
            world.counts["publish fault"] += 1
            self._handle(ResultsPublished(execution_id, failure))
        else:
            location = Location("path", f"/{self.name}/{execution_id}")
            workload = self.workloads[execution_id]
            assert isinstance(workload.result, RunResult), "it has ended well"
            self.results[execution_id] = Outcome(workload.result.exit_code, location=location)
            self._handle(ResultsPublished(execution_id, location))

    def _remove(self, execution_id: str) -> None:
        """Remove what was kept to go on with an execution."""
        self.offers.pop(execution_id, None)
        workload = self.workloads.get(execution_id)
        if workload is not None and not workload.running:
            del self.workloads[execution_id]
