"""An orchestrator's core with a store and a clock, and shorthand for what is done with it."""

from __future__ import annotations

import math

from attrs import evolve

from bacalhau_sdk.model.execution import Execution, ExecutionState, Outcome
from bacalhau_sdk.model.job import JobSpec, JobState
from bacalhau_sdk.model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
    AskForBid,
    BidResult,
    CancelExecution,
    ExecutionUpdate,
    Message,
)
from bacalhau_sdk.model.node import NodeInfo
from bacalhau_sdk.model.record import JobRecord, Snapshot
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.effects import Commit, Effect, Send, WakeAt
from bacalhau_sdk.scheduling.events import CancelJob, Deliver, OrchestratorEvent, Restore, SubmitJob, Tick
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from tests.scheduling.makers import DONE, entry, from_node, heartbeat, node, offer, to_node, wasm

E = ExecutionState
Sent = list[tuple[str, Message]]
ACCEPT, CANCEL = BidResult("j-0"), CancelExecution("j-0")
KEEP, DISCARD = AcknowledgeExecution("j-0"), AcknowledgeExecution("j-0", discard=True)
REPORTS: dict[E, Message] = {
    E.BID_ACCEPTED: ACCEPT,
    E.RUNNING: ExecutionUpdate("j-0", E.RUNNING),
    E.PUBLISHING: ExecutionUpdate("j-0", E.PUBLISHING),
    E.COMPLETED: ExecutionUpdate("j-0", E.COMPLETED, DONE),
}
LIVE = [E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING]
ONE_CPU = Resources(cpu=1)
BIG = wasm(resources=Resources(cpu=4))


class Desk:
    """A core with a store and a clock.

    The envelopes of the nodes are numbered as they are handed in, unless they have a number.
    """

    def __init__(self, *infos: NodeInfo, snapshot: Snapshot | None = None, now: float = 0.0) -> None:
        self.core = OrchestratorCore()
        self.now, self.wake_at, self.sequence = now, math.inf, 0
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.history: list[str] = []
        if snapshot is not None:
            self.jobs = {each.id: each for each in snapshot.jobs}
            self.executions = {each.id: each for each in snapshot.executions}
            self.sequence = max((each.sequence for each in snapshot.executions), default=0)
            self.handle(Restore(snapshot))
        for info in infos:
            self.handle(Deliver(heartbeat(info)))

    def handle(self, event: OrchestratorEvent) -> Sent:
        """Let the core decide, keep what it commits, and return what is sent, by node."""
        if isinstance(event, Deliver) and event.envelope.sender != ORCHESTRATOR:
            self.sequence += 1
            event = Deliver(evolve(event.envelope, sequence=event.envelope.sequence or self.sequence))
        effects = self.core.handle(event, self.now)
        assert effects == sorted(effects, key=_place), "the commit comes first, the alarm last"
        return self.perform(effects)

    def perform(self, effects: list[Effect]) -> Sent:
        sent: Sent = []
        commits = 0
        for effect in effects:
            match effect:
                case Commit(batch):
                    assert batch, "an empty batch is no commit"
                    commits += 1
                    self.jobs.update((each.id, each) for each in batch.jobs)
                    self.executions.update((each.id, each) for each in batch.executions)
                    self.history += [event.message for event in batch.events]
                case Send(envelope):
                    assert envelope == to_node(envelope.recipient, envelope.message)
                    sent.append((envelope.recipient, envelope.message))
                case WakeAt(time):
                    self.wake_at = time
                case _:
                    raise AssertionError(f"an orchestrator has no use for {effect}")
        assert commits <= 1
        assert self.core.jobs == self.jobs, "what is not committed is not so"
        return sent

    def submit(self, job_id: str = "j", spec: JobSpec | None = None) -> Sent:
        return self.handle(SubmitJob(job_id, spec or wasm()))

    def cancel(self, job_id: str = "j") -> Sent:
        return self.handle(CancelJob(job_id, "enough"))

    def hear(self, sender: str, *messages: Message) -> Sent:
        return [sent for each in messages for sent in self.handle(Deliver(from_node(sender, each)))]

    def beat(self, info: NodeInfo, at: float | None = None, **executions: E) -> Sent:
        sent = [] if at is None else self.until(at)
        return sent + self.handle(Deliver(heartbeat(info, **executions)))

    def report(self, state: E, outcome: Outcome | None = None, serial: int = 0, sender: str = "n1") -> Sent:
        return self.hear(sender, ExecutionUpdate(f"j-{serial}", state, outcome))

    def until(self, time: float, *alive: NodeInfo, **executions: E) -> Sent:
        """Let time pass: wake the core whenever it wants, and let some nodes send heartbeats, each 5 seconds.

        The executions are listed by those of these nodes that have them.
        """
        sent: Sent = []
        beats_at = self.now + 5 if alive else math.inf
        while (step := min(self.wake_at, beats_at)) <= time:
            self.now = step
            if step == beats_at:
                beats_at += 5
                for info in alive:
                    mine = {key: state for key, state in executions.items() if self.holder(key) == info.name}
                    sent += self.beat(info, None, **mine)
            else:
                self.wake_at = math.inf
                sent += self.handle(Tick())
        self.now = time
        return sent

    def holder(self, key: str) -> str:
        """Return the node of an execution, named as the arguments of `beat` are."""
        return self.executions[key.replace("_", "-")].node

    def states(self) -> str:
        """Return the states of the jobs, then those of the executions."""
        states = {each.id: each.state.value for each in self.jobs.values()}
        states |= {each.id: each.state.value for each in self.executions.values()}
        return ", ".join(f"{key} {state}" for key, state in states.items())

    def free(self, name: str = "n1") -> Resources:
        return entry(self.core.membership.nodes, name).account.free

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self.jobs.values()), tuple(self.executions.values()))

    def failure_code(self, job_id: str = "j") -> str:
        """Return the code of the root failure of a job that has failed."""
        job = self.jobs[job_id]
        assert (job.state, job.failure is None) == (JobState.FAILED, False), str(job)
        return job.failure.code if job.failure else ""


def _place(effect: Effect) -> int:
    return 0 if isinstance(effect, Commit) else 1 if isinstance(effect, Send) else 2


def to(name: str, message: Message) -> Sent:
    return [(name, message)]


def ask(serial: int = 0, job_id: str = "j", spec: JobSpec | None = None, partition: int = 0) -> AskForBid:
    return offer(f"{job_id}-{serial}", spec, partition_index=partition)


def at(state: E, *others: NodeInfo, spec: JobSpec | None = None) -> Desk:
    """Return a desk with nodes n1 and others, and job j with execution j-0 on n1 in a state."""
    made = Desk(node())
    made.submit(spec=spec)
    for each, message in REPORTS.items():
        if state is E.ASK_FOR_BID:
            break
        made.hear("n1", message)
        if each is state:
            break
    for info in others:
        made.beat(info)
    assert made.executions["j-0"].state is state
    return made


def restarted(desk: Desk, *infos: NodeInfo) -> Desk:
    """Return a desk of the next life of an orchestrator, 100 seconds later."""
    return Desk(*infos, snapshot=desk.snapshot(), now=desk.now + 100)
