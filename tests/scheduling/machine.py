"""A node of the small world: the real core, and engines that are played."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, frozen

from bacalhau_sdk.model.execution import Failure, FailureKind, Location, RunResult
from bacalhau_sdk.model.message import CancelExecution, Envelope
from bacalhau_sdk.model.node import Check, NodeInfo, Refusal
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore

FAULT = Failure(FailureKind.INFRASTRUCTURE, "world.fault", "as the seed wants it")


@define(eq=False)
class Work:
    """What an engine of a node does for an execution: check, run or publish."""

    phase: str
    partition: tuple[str, int]
    resources: Resources
    killed: bool = False


@frozen
class Surroundings:
    """What a machine has of its world."""

    random: random.Random
    chance: Callable[[str], bool]
    now: Callable[[], float]
    after: Callable[[float, Callable[[], None]], None]
    send: Callable[[Envelope], None]
    trace: Callable[[str], None]


class Machine:
    """A node, what runs on it, and which results lie there."""

    def __init__(self, info: NodeInfo, world: Surroundings) -> None:
        self.info, self.world = info, world
        self.core = ComputeCore(info)
        self.work: dict[str, Work] = {}
        self.results: dict[str, None] = {}
        self.unwanted: dict[str, None] = {}
        self._placed: dict[str, Work] = {}
        self._alarm = 0.0

    def handle(self, event: on.ComputeEvent) -> None:
        if isinstance(event, on.Deliver) and isinstance(event.envelope.message, CancelExecution):
            self.unwanted[event.envelope.message.execution_id] = None
        for effect in self.core.handle(event, self.world.now()):
            self.world.trace(f"{self.info.name} {effect}")
            self._perform(effect)

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Send(envelope):
                self.world.send(envelope)
            case do.WakeAt(time):
                self._alarm = time
                wake = lambda: self.handle(on.Tick()) if self._alarm == time else None  # noqa: E731
                self.world.after(time - self.world.now(), wake)
            case do.CheckBid(task):
                work = Work("check", (task.job_id, task.partition_index), task.resources)
                self._begin(task.execution_id, work, 1)
            case do.StartExecution(task, _):
                work = Work("run", (task.job_id, task.partition_index), task.resources)
                self._begin(task.execution_id, work, 30)
            case do.Publish(execution_id):
                ran = self._placed[execution_id]
                self._begin(execution_id, Work("publish", ran.partition, ran.resources), 3)
            case do.KillExecution(execution_id):
                self._kill(execution_id)
            case do.DiscardResults(execution_id, _):
                self.results.pop(execution_id, None)
            case _:
                raise AssertionError(f"a node has no use for {effect}")

    def _begin(self, execution_id: str, work: Work, longest: float) -> None:
        assert execution_id not in self.work, f"{execution_id} is at work already"
        assert execution_id not in self.unwanted, f"{execution_id} is cancelled, but goes on to {work.phase}"
        assert work.phase != "run" or execution_id not in self._placed, f"{execution_id} runs again"
        self.work[execution_id] = work
        duration = self.world.random.uniform(0, longest)
        if work.phase == "run":
            duration *= self.world.random.choice([1, 1, 1, 1, 20])
            self._placed[execution_id] = work
            self.world.after(min(duration / 3, 10), lambda: self.handle(on.WorkloadStarted(execution_id)))
        self.world.after(duration, lambda: self._end(execution_id, work))

    def _kill(self, execution_id: str) -> None:
        """Have a piece of work end, mostly soon; now and then that comes to nothing."""
        work = self.work.get(execution_id)
        if work is not None and not self.world.chance("failure"):
            work.killed = True
            delay = self.world.random.uniform(0, self.world.random.choice([2, 2, 20]))
            self.world.after(delay, lambda: self._end(execution_id, work))

    def _end(self, execution_id: str, work: Work) -> None:
        """Let a piece of work end, well, badly, or killed; a kill may come too late."""
        if self.work.get(execution_id) is not work:
            return
        del self.work[execution_id]
        killed = work.killed and self.world.random.random() < 0.8
        failure = FAULT if self.world.chance("failure") else None
        if work.phase == "check":
            lasting = self.world.random.random() < 0.5
            refusal = Refusal("?", Check.ENGINE, "anything", "nothing", lasting=lasting)
            refused = not killed and self.world.chance("refusal")
            self.handle(on.BidChecked(execution_id, refusal if refused else None))
        elif work.phase == "run":
            result = failure or RunResult(self.world.random.choice([0, 0, 1]))
            self.handle(on.WorkloadEnded(execution_id, None if killed else result))
        elif killed or failure:
            self.handle(on.ResultsPublished(execution_id, None if killed else failure))
        else:
            self.results[execution_id] = None
            where = Location("path", f"/{self.info.name}/{execution_id}")
            self.handle(on.ResultsPublished(execution_id, where))
