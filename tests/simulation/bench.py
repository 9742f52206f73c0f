"""A cluster in which nothing happens by itself: whoever has it chooses every step; nothing is left to chance or to a clock.

The cores are the very ones of production; network and store are played. What must hold is in `bench_laws`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bacalhau_sdk.errors import JobConflictError, JobNotFoundError
from bacalhau_sdk.model.execution import Execution
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.message import Envelope
from bacalhau_sdk.model.node import NodeInfo
from bacalhau_sdk.model.record import JobRecord, Snapshot
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.orchestrator import LATE_AFTER, OrchestratorCore
from tests.simulation.bench_laws import Laws
from tests.simulation.bench_node import FAILS, HANGS, Chore, How, Kind, Node

_STEPS_MAX = 5000
"""More steps than this at one time, with nothing going wrong, are a storm."""


class Bench:
    """The cluster.

    Args:
        infos: Of the nodes that are there from the beginning, and have been heard of.
        orchestrator_core: Makes the core of a life of the orchestrator.
        compute_core: Makes that of a node.
    """

    def __init__(
        self,
        *infos: NodeInfo,
        orchestrator_core: type[OrchestratorCore] = OrchestratorCore,
        compute_core: Callable[[NodeInfo], ComputeCore] = ComputeCore,
    ) -> None:
        self.compute_core = compute_core
        self._orchestrator_core = orchestrator_core
        self.now = self.handled_at = 0.0
        self.network: list[Envelope] = []
        self.late: list[Envelope] = []
        """What is held up on its way, also while all else goes well."""
        self.nodes: dict[str, Node] = {}
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.core: OrchestratorCore | None = None
        self.wake_at = math.inf
        self.life = 0
        self.dies_after: int | None = None
        """After how many effects of its next event the orchestrator dies."""
        self.laws = Laws(self)
        self.start()
        for info in infos:
            self.join(info)
        self.settle()

    def join(self, info: NodeInfo) -> None:
        """Let there be one more node."""
        self.nodes[info.name] = Node(self, info)

    # The orchestrator

    def start(self) -> None:
        """Begin a life of the orchestrator, with what its store has."""
        self.life += 1
        self.core = self._orchestrator_core(incarnation=str(self.life))
        self.laws.at_restart()
        self.ask(on.Restore(Snapshot(tuple(self.jobs.values()), tuple(self.executions.values()))))

    def crash(self) -> None:
        self.core, self.wake_at, self.dies_after = None, math.inf, None

    def ask(self, event: on.OrchestratorEvent) -> bool:
        """Hand an event to the orchestrator, and say whether it has lived to answer."""
        if self.core is None:
            return False
        if self.now > self.wake_at + LATE_AFTER:
            self.laws.at_standstill()
        effects = self.core.handle(event, self.now)
        self.handled_at = self.now
        if self.now >= self.wake_at:
            self.wake_at = math.inf
        dies = self.dies_after is not None
        for effect in effects[: self.dies_after]:
            self._perform(effect)
        if dies:
            self.crash()
            self.start()
        return not dies

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Commit(batch):
                self.laws.at_commit(batch)
                self.jobs.update((each.id, each) for each in batch.jobs)
                self.executions.update((each.id, each) for each in batch.executions)
            case do.Send(envelope):
                self.laws.at_send(envelope)
                self.network.append(envelope)
            case do.WakeAt(time):
                self.wake_at = time
            case _:
                raise AssertionError(f"an orchestrator has no use for {effect}")

    # Users

    def submit(self, job_id: str, spec: JobSpec) -> None:
        """Submit, and hold that the answer is the one that was promised."""
        known = self.jobs.get(job_id)
        try:
            acknowledged = self.ask(on.SubmitJob(job_id, spec))
        except JobConflictError:
            assert known is not None, f"{job_id} is in conflict with nothing"
            assert known.spec != spec, f"{job_id} is in conflict with itself"
            return
        assert self.core is None or known is None or known.spec == spec, f"{job_id} has two specs"
        if acknowledged:
            self.laws.acknowledged.append(job_id)

    def cancel(self, job_id: str) -> None:
        """Cancel, which fails for jobs that are not recorded, and for no others."""
        try:
            acknowledged = self.ask(on.CancelJob(job_id, "the user wants it"))
        except JobNotFoundError:
            assert job_id not in self.jobs, f"{job_id} is recorded, but not found"
            return
        if acknowledged:
            job = self.jobs[job_id]
            assert job.state.terminal or job.ending is not None, f"the cancel of {job_id} left no trace"

    # Network and time

    def deliver(self, envelope: Envelope) -> None:
        """Hand a message to whom it is for; it is lost when that process is down."""
        node = self.nodes.get(envelope.recipient)
        if node is not None:
            node.receive(envelope)
        elif self.core is not None:
            self.laws.at_delivery(envelope)
            self.ask(on.Deliver(envelope))

    def tick(self, name: str) -> None:
        """Wake a party, whether it has asked for that or not."""
        if name in self.nodes:
            self.nodes[name].handle(on.Tick())
        else:
            self.ask(on.Tick())

    def advance(self, seconds: float, *, heartbeats: bool = False) -> None:
        """Let time pass for an orchestrator that is awake; nodes are heard of only when they are to be."""
        end = self.now + seconds
        while True:
            times = {"": self.wake_at}
            if heartbeats:
                times.update((name, node.wake_at) for name, node in self.nodes.items())
            name = min(times, key=lambda each: times[each])
            if times[name] > end:
                break
            self.now = max(self.now, times[name])
            self.tick(name)
        self.now = end

    def settle(self, until: Kind = Kind.PUBLISH) -> None:
        """Let everything happen that can happen without time passing; nothing goes wrong.

        Args:
            until: How far executions get.
        """
        for _ in range(_STEPS_MAX):
            if self.network:
                self.deliver(self.network.pop(0))
                continue
            chores = (each for node in self.nodes.values() for each in node.open_chores())
            chore = next((each for each in chores if each[1] <= until and self._may(each)), None)
            if chore is None:
                return
            node, kind, execution_id = chore
            fails = kind is Kind.END and node.workloads[execution_id].first_try == FAILS
            node.work(kind, execution_id, How.BADLY if fails else How.WELL)
        raise AssertionError(f"{_STEPS_MAX} steps at one time are a storm")

    def _may(self, chore: Chore) -> bool:
        """Say whether a chore is done when nothing goes wrong: what nobody wants any more runs until it is killed."""
        node, kind, execution_id = chore
        execution = self.executions.get(execution_id)
        wanted = execution is not None and not execution.state.terminal and execution.ending is None
        if kind is not Kind.END:
            return True
        return node.core is not None and wanted and node.workloads[execution_id].first_try != HANGS

    def progress(self, until: Kind = Kind.PUBLISH) -> None:
        """Let all go well for some seconds."""
        for _ in range(3):
            for name in self.nodes:
                self.tick(name)
            self.settle(until)
            self.advance(1.0, heartbeats=True)
            self.settle(until)

    def end_well(self, seconds: float) -> None:
        """Let nothing go wrong any more, until nothing is left to be done; hold that this comes."""
        self.dies_after = None
        if self.core is None:
            self.start()
        for node in self.nodes.values():
            if node.core is None:
                node.start()
            node.handle(on.Drain(draining=False))
        self.network, self.late = self.late + self.network, []
        end = self.now + seconds
        while self.now < end and self.laws.unfinished():
            self.settle()
            self.advance(1.0, heartbeats=True)
            self.laws.check()
        assert not self.laws.unfinished(), f"after {seconds} s without faults {self.laws.unfinished()}"
        self.laws.at_end()
