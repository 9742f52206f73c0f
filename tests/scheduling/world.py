"""A small seeded world: the real cores on a heap of events; engines, network and store are played.

Messages are late, doubled, reordered and lost, and the orchestrator may be killed between two effects. What must always hold
is looked at after every event. A failure names the seed, with which it happens again.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from attrs import frozen

from bacalhau_sdk.model.evaluation import Evaluation, Trigger
from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.job import JobState, JobType
from bacalhau_sdk.model.message import Envelope
from bacalhau_sdk.model.node import NodeInfo
from bacalhau_sdk.model.record import Batch, JobRecord, Snapshot
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES, JOB_MOVES
from bacalhau_sdk.scheduling.matching import Demand, lasting_refusal
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from tests.scheduling.machine import FAULT, Machine, Surroundings

LATEST = 40.0
"""Seconds that a message may be late."""
PATIENCE = 60.0
"""Seconds that anything but running may take in a kind world."""
END = 9000.0


@frozen
class Faults:
    """How likely things go wrong, and until when they do; afterwards the world is kind."""

    until: float = 0.0
    loss: float = 0.0
    doubling: float = 0.0
    lateness: float = 0.0
    refusal: float = 0.0
    failure: float = 0.0


class World:
    """One orchestrator and some nodes.

    ``cut`` has the nodes that cannot be reached for a time, with its beginning and end.
    ``kills`` are the numbers of the orchestrator's effects before which it dies; it is down for ``downtime`` seconds then.
    """

    def __init__(
        self,
        seed: int,
        nodes: list[NodeInfo],
        faults: Faults | None = None,
        kills: tuple[int, ...] = (),
        downtime: float = 0.0,
    ) -> None:
        self.seed, self.faults, self.kills, self.downtime = seed, faults or Faults(), kills, downtime
        self.random = random.Random(seed)
        self.now, self.performed, self.killed, self.up = 0.0, 0, 0, True
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count, self.asking, self.restarted_at, self.wake_at = 0, 0, 0.0, math.inf
        self.cut: dict[str, tuple[float, float]] = {}
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.asked: dict[str, on.SubmitJob | on.CancelJob] = {}
        self.trace: list[str] = []
        self.orchestrator = OrchestratorCore()
        surroundings = Surroundings(
            self.random, self.chance, lambda: self.now, self.after, self.send, self.note
        )
        self.machines = {info.name: Machine(info, surroundings) for info in nodes}
        for machine in self.machines.values():
            self.after(self.random.random(), partial(machine.handle, on.Tick()))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay, self.count, action))

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now:.6f} {what}")

    def chance(self, fault: str) -> bool:
        return self.now < self.faults.until and self.random.random() < getattr(self.faults, fault)

    def kindness(self, since: float) -> float:
        """Return for how many seconds the world has been kind since a time."""
        return self.now - max(since, self.faults.until + LATEST, self.restarted_at) if self.up else 0

    def step(self) -> None:
        self.now, _, action = heapq.heappop(self.heap)
        self.attempt(action)

    def attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
            self.check()
        except Exception as error:
            error.add_note(
                f"seed {self.seed}, {self.faults}, killed before {self.kills}, at {self.now:.3f} s"
            )
            raise

    def run(self) -> None:
        """Run until the world is kind and all is at rest, and see that all has come to an end."""
        while self.now < END and not (self.now > self.faults.until + LATEST and self.at_rest()):
            self.step()
        self.attempt(self.check_end)

    def at_rest(self) -> bool:
        ended = all(job.state.terminal for job in self.jobs.values())
        held = any(each.core._held for each in self.machines.values())
        counted = any(len(each.account) for each in self.orchestrator.membership.nodes)
        return ended and not self.asking and not held and not counted

    # The users, the orchestrator and its store

    def ask(self, delay: float, event: on.SubmitJob | on.CancelJob) -> None:
        """Have a user ask for something once all nodes are known, and again should the orchestrator die."""

        def ask() -> None:
            self.asking -= 1
            ready = self.up and len(self.orchestrator.membership.nodes) == len(self.machines)
            if not ready or not (isinstance(event, on.SubmitJob) or event.job_id in self.jobs):
                self.ask(1, event)
            else:
                self.asked[f"{type(event).__name__} {event.job_id}"] = event
                self.order(event)

        self.asking += 1
        self.after(delay, ask)

    def order(self, event: on.OrchestratorEvent) -> None:
        for effect in self.orchestrator.handle(event, self.now):
            if self.performed in self.kills[self.killed :]:
                self.killed, self.up = self.killed + 1, False
                self.after(self.downtime, self.restart)
                return
            self.performed += 1
            self.note(str(effect))
            if isinstance(effect, do.Commit):
                self.commit(effect.batch)
            elif isinstance(effect, do.WakeAt):
                self.set_alarm(effect.time)
            else:
                assert isinstance(effect, do.Send), f"an orchestrator has no use for {effect}"
                self.send(effect.envelope)

    def set_alarm(self, time: float) -> None:
        self.wake_at, life = time, self.orchestrator

        def wake() -> None:
            if self.up and self.orchestrator is life and self.wake_at == time:
                self.wake_at = math.inf
                self.order(on.Tick())

        if time < math.inf:
            self.count += 1
            heapq.heappush(self.heap, (max(time, self.now), self.count, wake))

    def restart(self) -> None:
        self.orchestrator, self.up, self.restarted_at = OrchestratorCore(), True, self.now
        self.wake_at = math.inf
        self.order(on.Restore(Snapshot(tuple(self.jobs.values()), tuple(self.executions.values()))))
        for event in self.asked.values():
            self.ask(0, event)

    def commit(self, batch: Batch) -> None:
        for job in batch.jobs:
            old = self.jobs.get(job.id, job)
            assert not old.state.terminal or old is job, f"{job.id} had ended: {old}"
            assert job.state is old.state or job.state in JOB_MOVES[old.state], f"{old} to {job.state}"
            self.jobs[job.id] = job
        for execution in batch.executions:
            before = self.executions.get(execution.id, execution)
            moves = EXECUTION_MOVES[before.state]
            assert not before.state.terminal or before is execution, f"{execution.id} had ended: {before}"
            assert execution.state is before.state or execution.state in moves, (
                f"{before} to {execution.state}"
            )
            cancelled = execution.ending is ExecutionState.CANCELLED
            stopped = cancelled and execution.state is ExecutionState.COMPLETED
            assert not stopped, f"{execution} was to be stopped"
            self.executions[execution.id] = execution

    # The network

    def send(self, envelope: Envelope) -> None:
        for party in (envelope.sender, envelope.recipient):
            start, end = self.cut.get(party, (0, 0))
            if start <= self.now < end:
                return
        for _ in range(2 if self.chance("doubling") else 1):
            if not self.chance("loss"):
                delay = self.random.uniform(0.01, LATEST if self.chance("lateness") else 1)
                self.after(delay, lambda: self.deliver(envelope))

    def deliver(self, envelope: Envelope) -> None:
        if envelope.recipient in self.machines:
            self.machines[envelope.recipient].handle(on.Deliver(envelope))
        elif self.up:
            self.order(on.Deliver(envelope))

    # What always holds

    def check(self) -> None:
        running: Counter[tuple[str, int]] = Counter()
        for name, machine in self.machines.items():
            used, has = [work.resources for work in machine.work.values()], machine.info.capacity
            assert isinstance(has.gpu, int), "a node has a number of GPUs"
            assert len(used) <= machine.info.max_executions, f"{name} runs too many: {machine.work}"
            assert round(sum(each.cpu for each in used), 6) <= has.cpu, f"{name}: {used}"
            assert sum(each.memory for each in used) <= has.memory, f"{name}: {used}"
            assert sum(has.gpu if each.gpu == "all" else each.gpu for each in used) <= has.gpu, (
                f"{name}: {used}"
            )
            for execution_id, work in machine.work.items():
                execution = self.executions[execution_id]
                if not execution.fenced:
                    assert not execution.state.terminal, f"{execution_id} runs, but has ended"
                    assert not self.jobs[work.partition[0]].state.terminal, (
                        f"{work} goes on, its job has ended"
                    )
                    running[work.partition] += work.phase != "check"
        live: Counter[tuple[str, int]] = Counter()
        held: Counter[str] = Counter()
        for execution in self.executions.values():
            job, state = self.jobs[execution.job_id], execution.state
            live[job.id, execution.partition_index] += not state.terminal
            held[execution.node] += not state.terminal
            slow = self.kindness(max(execution.modified_at, job.modified_at)) > PATIENCE
            assert state.terminal or not (slow and execution.stop_requested), f"{execution} does not end"
            assert state is not ExecutionState.ASK_FOR_BID or not slow, f"{execution} is not decided"
            if state is ExecutionState.COMPLETED:
                results = self.machines[execution.node].results
                assert execution.id in results, f"{execution.id} is completed without results"
            waits = job.state in (JobState.PENDING, JobState.QUEUED) and job.ending is None
            assert execution.accepted_at is None or not waits, f"{execution} says that {job} runs"
        for entry in self.orchestrator.membership.nodes if self.up else ():
            self.check_node(entry.info.name, len(entry.account), held[entry.info.name])
        for job in self.jobs.values() if self.up and self.now < self.wake_at else ():
            if not job.state.terminal:
                look = Evaluation(job.id, job.spec.priority, job.created_at, Trigger.EXECUTION_UPDATE)
                plan = self.orchestrator.look(look, self.now)
                assert (plan.job, plan.executions) == (job, ()), f"{job} was not looked at: {plan}"
        assert max(running.values(), default=0) <= 1, f"a partition runs twice: {running}"
        assert max(live.values(), default=0) <= 1, f"a partition has two live executions: {live}"

    def check_node(self, name: str, counted: int, live: int) -> None:
        """Hold that what is live, or fenced and maybe still there, is counted against its node."""
        held = [self.executions[each] for each in self.orchestrator.membership.held_by(name)]
        assert counted == len(held), f"{name} holds {held}, but {counted} are counted"
        assert sum(not each.state.terminal for each in held) == live, f"{name} holds {held}, live are {live}"
        assert all(each.fenced or not each.state.terminal for each in held), f"{name} holds {held}"

    def check_end(self) -> None:
        """Hold what holds once the world has been kind for long enough."""
        assert all(key.split()[1] in self.jobs for key in self.asked), f"of {self.asked} is {self.jobs}"
        for job in self.jobs.values():
            mine = [e for e in self.executions.values() if e.job_id == job.id]
            done = {e.partition_index for e in mine if e.state is ExecutionState.COMPLETED}
            ops = job.spec.type is JobType.OPS
            dropped = {e.partition_index for e in mine if ops and any(r.lasting for r in e.refusals)}
            assert job.state.terminal, f"{job} does not end: {mine}"
            assert all(execution.state.terminal for execution in mine), f"of {job}: {mine}"
            assert job.state is not JobState.COMPLETED or done == set(range(job.partition_count)) - dropped, (
                f"{job}: {mine}"
            )
            self.check_failure(job, mine)
        for name, machine in self.machines.items():
            entry = self.orchestrator.membership.nodes.get(name)
            assert entry is not None, f"{name} was never heard of"
            assert not machine.work, f"{name} goes on with {machine.work}"
            assert not machine.core._held, f"{name} holds {machine.core._held}"
            assert machine.core.account.free == machine.info.capacity == entry.account.free, f"of {name}"
            kept = [self.executions[execution_id].state for execution_id in machine.results]
            assert all(state is ExecutionState.COMPLETED for state in kept), f"{name} keeps results of {kept}"
        assert not len(self.orchestrator._evaluations), "evaluations are left"

    def check_failure(self, job: JobRecord, executions: list[Execution]) -> None:
        """Hold that a job has failed only for a reason that this world gave."""
        code = job.failure.code if job.failure else ""
        infos = [machine.info for machine in self.machines.values()]
        able = {info.name for info in infos if not lasting_refusal(info, Demand.of(job.spec))}
        refused = {e.node for e in executions if any(refusal.lasting for refusal in e.refusals)}
        # A node that was not heard of for long enough after a restart counts as gone.
        deaf = self.killed and (self.faults.loss or self.faults.lateness or self.cut)
        allowed = {
            "": job.state is not JobState.FAILED,
            FAULT.code: True,
            "job.no_matching_node": bool(deaf) or (able <= refused and len(job.refusals) == len(infos)),
            # So many of its messages may be lost, or be late, that a node counts as lost.
            "node.lost": self.faults.loss + self.faults.lateness > 0 or bool(self.killed or self.cut),
        }
        assert allowed.get(code), f"{job} had no reason to fail; {able} could run it, {refused} would not"
