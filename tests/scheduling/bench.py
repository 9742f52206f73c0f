"""Real cores, wired together without loss or delay; engines behave as the nodes of the original's tests of retries do."""

from __future__ import annotations

from collections import Counter, deque

from bacalhau_sdk.model.execution import Execution, Failure, FailureKind, Location, RunResult
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.node import Check, NodeInfo, Refusal
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from bacalhau_sdk.scheduling.ranking import Candidate, Rank

NOW = 1.0


def _fault(message: str) -> Failure:
    return Failure(FailureKind.INFRASTRUCTURE, "bench.fault", message)


class Bench:
    """An orchestrator and nodes, which are asked in their order; a node's name says how it behaves.

    ``bid-rejector`` refuses for good, ``bad-executor`` and ``bad-publisher`` fail for reasons of the infrastructure, ``slow``
    runs until it is killed, and all others do well.
    """

    def __init__(self, *infos: NodeInfo) -> None:
        order = [info.name for info in infos]

        def in_order(candidate: Candidate) -> Rank:
            return candidate.tried, candidate.here, order.index(candidate.node.info.name)

        self.core = OrchestratorCore(ranker=in_order)
        self.nodes = {info.name: ComputeCore(info) for info in infos}
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self._events: deque[tuple[str, on.ComputeEvent | on.Deliver]] = deque()
        for name in self.nodes:
            self._events.append((name, on.Tick()))
        self._run()

    def submit(self, spec: JobSpec) -> JobRecord:
        """Run a job until nothing happens any more."""
        self._perform("", self.core.handle(on.SubmitJob("j", spec), NOW))
        self._run()
        return self.jobs["j"]

    def ends(self) -> Counter[str]:
        """Return how many executions ended how."""
        return Counter(each.state.value for each in self.executions.values())

    def _run(self) -> None:
        while self._events:
            party, event = self._events.popleft()
            if party in self.nodes:
                self._perform(party, self.nodes[party].handle(event, NOW))
            elif isinstance(event, on.Deliver):
                self._perform(party, self.core.handle(event, NOW))

    def _perform(self, party: str, effects: list[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Commit(batch):
                    self.jobs.update((each.id, each) for each in batch.jobs)
                    self.executions.update((each.id, each) for each in batch.executions)
                case do.Send(envelope):
                    self._events.append((envelope.recipient, on.Deliver(envelope)))
                case do.CheckBid(task):
                    refusal = Refusal(party, Check.ENGINE, "a bid", "no bids")
                    refuses = party.startswith("bid-rejector")
                    self._answer(party, on.BidChecked(task.execution_id, refusal if refuses else None))
                case do.StartExecution(task, _):
                    bad = party.startswith("bad-executor")
                    result = _fault("i am a bad executor") if bad else RunResult(0)
                    self._answer(party, on.WorkloadStarted(task.execution_id))
                    if not party.startswith("slow"):
                        self._answer(party, on.WorkloadEnded(task.execution_id, result))
                case do.KillExecution(execution_id):
                    self._answer(party, on.WorkloadEnded(execution_id, None))
                case do.Publish(execution_id):
                    bad = party.startswith("bad-publisher")
                    where = Location("path", f"/{execution_id}")
                    published = _fault("i am a bad publisher") if bad else where
                    self._answer(party, on.ResultsPublished(execution_id, published))
                case _:
                    pass

    def _answer(self, party: str, event: on.ComputeEvent) -> None:
        self._events.append((party, event))
