"""A node of the bench: the very core, and an engine and a disk that are played as plainly as they can be."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, TypeAlias

from attrs import define, evolve

from bacalhau_sdk.model.execution import Failure, FailureKind, Location, Outcome, RunResult, Task
from bacalhau_sdk.model.message import AcknowledgeExecution, AskForBid, Envelope
from bacalhau_sdk.model.node import Check, NodeInfo, Refusal
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore

if TYPE_CHECKING:
    from tests.simulation.bench import Bench

FIRST_TRY, FAILS, HANGS = "FIRST_TRY", "fails", "hangs"
"""A variable of a spec, and what it may say of what becomes of the first try of a partition, when nothing is chosen."""


class Kind(enum.IntEnum):
    """What a node is to do; the lower ones come first in the life of an execution, and a kill before all of them."""

    KILL = 0
    CHECK = 1
    STAGE = 2
    END = 3
    PUBLISH = 4


class How(enum.Enum):
    """How that goes."""

    WELL = "well"
    BADLY = "badly"
    WITH_EXIT_CODE = "with a bad exit code, where there is one"
    FOR_GOOD = "badly, and it would not go better another time"


def _failure(how: How) -> Failure:
    kind = FailureKind.PERMANENT if how is How.FOR_GOOD else FailureKind.INFRASTRUCTURE
    return Failure(kind, "bench.fault", "it went " + how.value)


@define(eq=False)
class Workload:
    """What an engine has for an execution; it knows nothing of the process that asked for it, and outlives it."""

    task: Task
    running: bool = True
    result: RunResult | Failure | None = None

    @property
    def first_try(self) -> str:
        """How it is meant to go if it is the first try; empty when it is to go well."""
        return self.task.env.get(FIRST_TRY, "") if self.task.attempt == 1 else ""


class Node:
    """A node: a process that has the core, an engine, and a disk with offers and results.

    ``chores`` is what the core has asked for and was not answered; it dies with the process.
    """

    def __init__(self, bench: Bench, info: NodeInfo) -> None:
        self.bench, self.info, self.life = bench, info, 0
        self.core: ComputeCore | None = None
        self.chores: dict[tuple[Kind, str], Task | None] = {}
        self.wake_at = math.inf
        self.offers: dict[str, AskForBid] = {}
        self.workloads: dict[str, Workload] = {}
        self.results: dict[str, Outcome] = {}
        self.start()

    def start(self) -> None:
        """Begin a life of the process, with what disk and engine have."""
        self.life += 1
        self.core = self.bench.compute_core(evolve(self.info, revision=1000 * self.life))
        running = (self.offers[each] for each in self.workloads if each not in self.results)
        done = ((self.offers[each], outcome) for each, outcome in self.results.items() if each in self.offers)
        self.handle(on.Adopt(tuple(running), tuple(done)))
        self.handle(on.Tick())

    def crash(self, *, engine_too: bool) -> None:
        self.core, self.wake_at = None, math.inf
        self.chores.clear()
        if engine_too:
            self.workloads.clear()

    def handle(self, event: on.ComputeEvent) -> None:
        if self.core is None:
            return
        for effect in self.core.handle(event, self.bench.now):
            self._perform(effect)

    def receive(self, envelope: Envelope) -> None:
        self.handle(on.Deliver(envelope))
        message = envelope.message
        if not isinstance(message, AcknowledgeExecution) or self.core is None:
            return
        if not self.core.holds(message.execution_id):
            self._remove(message.execution_id)

    def open_chores(self) -> list[Chore]:
        """Return what could happen next, in the order in which it was asked for; a workload may always end."""
        chores: list[Chore] = [(self, kind, execution_id) for kind, execution_id in self.chores]
        return chores + [(self, Kind.END, key) for key, each in self.workloads.items() if each.running]

    def work(self, kind: Kind, execution_id: str, how: How) -> None:
        """Let one thing that a node is to do come to its end."""
        task = self.chores.pop((kind, execution_id), None)
        failure = None if how is How.WELL else _failure(how)
        match kind:
            case Kind.KILL:
                if failure is None:
                    self._kill(execution_id)
            case Kind.CHECK:
                lasting = how is How.FOR_GOOD
                refusal = Refusal(self.info.name, Check.ENGINE, "this", "that", lasting=lasting)
                self.handle(on.BidChecked(execution_id, refusal if failure is not None else None))
            case Kind.STAGE:
                assert task is not None, "it is staged for a task"
                self._stage(task, failure)
            case Kind.END:
                itself = how in (How.WELL, How.WITH_EXIT_CODE)
                self._stop(execution_id, RunResult(int(failure is not None)) if itself else failure)
            case Kind.PUBLISH:
                location = Location("path", f"/{self.info.name}/{execution_id}")
                result = self.workloads[execution_id].result
                assert isinstance(result, RunResult), "it has ended well"
                if failure is None:
                    self.results[execution_id] = Outcome(result.exit_code, location=location)
                self.handle(on.ResultsPublished(execution_id, failure or location))

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Send(envelope):
                self.bench.network.append(envelope)
            case do.WakeAt(time):
                self.wake_at = time
            case do.CheckBid(task):
                self.chores[Kind.CHECK, task.execution_id] = None
            case do.StartExecution(task, spec):
                assert self.core is not None, "it has just asked for that"
                self.chores[Kind.STAGE, task.execution_id] = task
                self.offers[task.execution_id] = AskForBid(
                    execution_id=task.execution_id,
                    job_id=task.job_id,
                    partition_index=task.partition_index,
                    partition_count=task.partition_count,
                    attempt=task.attempt,
                    node_revision=self.core.info.revision,
                    spec=spec,
                )
            case do.KillExecution(execution_id):
                self.chores[Kind.KILL, execution_id] = None
            case do.Publish(execution_id):
                self.chores[Kind.PUBLISH, execution_id] = None
            case do.DiscardResults(execution_id, _):
                self.results.pop(execution_id, None)
                self._remove(execution_id)
            case do.Commit():
                raise AssertionError("a node has no store")

    def _stage(self, task: Task, failure: Failure | None) -> None:
        execution_id = task.execution_id
        known = self.workloads.get(execution_id)
        if known is None and failure is not None:
            self.handle(on.WorkloadEnded(execution_id, failure))
            return
        if known is None:
            self.bench.laws.at_start(self.info.name, execution_id)
            known = self.workloads[execution_id] = Workload(task)
        if known.running:
            self.handle(on.WorkloadStarted(execution_id))
        else:
            self.handle(on.WorkloadEnded(execution_id, known.result))

    def _stop(self, execution_id: str, result: RunResult | Failure | None) -> None:
        workload = self.workloads[execution_id]
        workload.running, workload.result = False, result
        self.chores.pop((Kind.STAGE, execution_id), None)
        self.handle(on.WorkloadEnded(execution_id, result))

    def _kill(self, execution_id: str) -> None:
        """Let a kill take effect; a check, which takes no time, is answered as ever."""
        workload = self.workloads.get(execution_id)
        if workload is not None and workload.running:
            self._stop(execution_id, None)
        elif workload is None and (Kind.STAGE, execution_id) in self.chores:
            del self.chores[Kind.STAGE, execution_id]
            self.handle(on.WorkloadEnded(execution_id, None))
        elif (Kind.PUBLISH, execution_id) in self.chores:
            del self.chores[Kind.PUBLISH, execution_id]
            self.handle(on.ResultsPublished(execution_id, None))

    def _remove(self, execution_id: str) -> None:
        """Remove what was kept to go on with an execution."""
        self.offers.pop(execution_id, None)
        workload = self.workloads.get(execution_id)
        if workload is not None and not workload.running:
            del self.workloads[execution_id]


Chore: TypeAlias = tuple[Node, Kind, str]
