"""Both cores by hand: nothing goes wrong but what a test says, and either party may die before or after any effect.

Messages arrive at once and in order, unless the test loses them. Engines and the store outlive the processes that use them.
What must hold whatever happens is looked at in the harness itself: records go by the lifecycle tables, an execution is started
once, and no node runs more than it has.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from attrs import define, evolve, field

from bacalhau_sdk.model.execution import Execution, ExecutionState, Location, Outcome, RunResult, Task
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.message import ORCHESTRATOR, AcknowledgeExecution, AskForBid, Envelope, Message
from bacalhau_sdk.model.node import NodeInfo
from bacalhau_sdk.model.record import JobRecord, Snapshot
from bacalhau_sdk.scheduling import effects as do
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES, JOB_MOVES
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore

Holds = Callable[[do.Effect], bool]
M = TypeVar("M", bound=Message)


def commits(*states: ExecutionState) -> Holds:
    """Return what says whether an effect is a commit that has an execution in one of the states, or any commit."""
    return lambda effect: (
        isinstance(effect, do.Commit)
        and (not states or any(each.state in states for each in effect.batch.executions))
    )


def sends(kind: type[Message], state: ExecutionState | None = None) -> Holds:
    """Return what says whether an effect sends a message of a type, and, if it is said, about that state."""
    return lambda effect: (
        isinstance(effect, do.Send)
        and isinstance(effect.envelope.message, kind)
        and (state is None or getattr(effect.envelope.message, "state", None) is state)
    )


def is_a(kind: type[do.Effect]) -> Holds:
    """Return what says whether an effect is of a type."""
    return lambda effect: isinstance(effect, kind)


def nth(number: int) -> Holds:
    """Return what says whether an effect is the how-manieth that is asked about, from 0."""
    asked = iter(range(10**9))
    return lambda _: next(asked) == number


@define(eq=False)
class Workload:
    """What an engine has for an execution; it goes on, and ends, while the node's process is down."""

    task: Task
    ends_at: float
    result: RunResult | None = None
    killed: bool = False

    @property
    def running(self) -> bool:
        return self.result is None and not self.killed


@define(eq=False)
class Machine:
    """A node's process, and what outlives it: its engine, its results, the offers that it has taken."""

    info: NodeInfo
    core: ComputeCore | None = None
    wake_at: float = math.inf
    life: int = 0
    engine: dict[str, Workload] = field(factory=dict[str, Workload])
    results: dict[str, Outcome] = field(factory=dict[str, Outcome])
    offers: dict[str, AskForBid] = field(factory=dict[str, AskForBid])
    staging: dict[str, tuple[float, Task]] = field(factory=dict[str, tuple[float, Task]])

    def running(self) -> list[str]:
        return [key for key, workload in self.engine.items() if workload.running]


class Cores:
    """An orchestrator with a store, and nodes with engines; every workload takes ``seconds``, after ``staging`` seconds."""

    def __init__(self, *infos: NodeInfo, seconds: float = 10.0, staging: float = 0.0) -> None:
        self.now, self.seconds, self.staging, self.clock_ahead = 0.0, seconds, staging, 0.0
        self.jobs: dict[str, JobRecord] = {}
        self.executions: dict[str, Execution] = {}
        self.recorded: list[tuple[str, ExecutionState]] = []
        self.started: Counter[str] = Counter()
        self.sent: list[Envelope] = []
        self.lost: Callable[[Envelope], bool] = lambda _: False
        self.deaths: list[tuple[str, Holds, bool]] = []
        self.disk_full = False
        self.orchestrator: OrchestratorCore | None = None
        self.machines = {info.name: Machine(info) for info in infos}
        self._events: deque[tuple[str, int, on.ComputeEvent | on.Deliver]] = deque()
        self._wake_at, self._life = math.inf, 0
        self.start_orchestrator()
        for name in self.machines:
            self.start_node(name)
        self.run()

    # Lives

    def start_orchestrator(self) -> None:
        self._life += 1
        self._wake_at = math.inf
        self.orchestrator = OrchestratorCore(incarnation=str(self._life))
        self._order(on.Restore(self.snapshot()))

    def start_node(self, name: str, *, reboot: bool = False) -> None:
        """Start a node's process; with a reboot its engine has lost everything that had not been published."""
        machine = self.machines[name]
        if reboot:
            machine.engine.clear()
        machine.life += 1
        machine.core = ComputeCore(evolve(machine.info, revision=machine.life))
        known = [key for key in machine.engine if key in machine.offers and key not in machine.results]
        running = tuple(machine.offers[key] for key in known)
        completed = tuple(
            (machine.offers[key], outcome)
            for key, outcome in machine.results.items()
            if key in machine.offers
        )
        self._tell(name, on.Adopt(running, completed))
        self._tell(name, on.Tick())

    def join(self, info: NodeInfo) -> None:
        """Have one more node start."""
        self.machines[info.name] = Machine(info)
        self.start_node(info.name)

    def crash(self, party: str) -> None:
        """Kill a process: what it was about to do, and what was on its way to it, is gone."""
        if party == ORCHESTRATOR:
            self.orchestrator = None
        else:
            self.machines[party].core = None
            self.machines[party].staging.clear()

    def dies(self, party: str, when: Holds, *, after: bool = False) -> None:
        """Have a process die once, before the effect that is meant, or right after it."""
        self.deaths.append((party, when, after))

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self.jobs.values()), tuple(self.executions.values()))

    # Users

    def submit(self, job_id: str, spec: JobSpec) -> bool:
        """Submit, and say whether the call returned: the orchestrator may die of it."""
        return self._ask(on.SubmitJob(job_id, spec))

    def cancel(self, job_id: str) -> bool:
        """Ask for a cancel, and say whether it was heard."""
        return self._ask(on.CancelJob(job_id, "enough"))

    def _ask(self, event: on.OrchestratorEvent) -> bool:
        heard = self._order(event)
        self.run()
        return heard

    # Time

    def run(self) -> None:
        """Let happen what needs no time."""
        while self._events:
            party, life, event = self._events.popleft()
            if party == ORCHESTRATOR:
                assert isinstance(event, on.Deliver)
                self._order(event)
            elif life in (0, self.machines[party].life):
                self._tell(party, event)

    def until(self, time: float) -> None:
        """Let time pass."""
        self.run()
        while (step := self._next()) <= time:
            self.now = max(self.now, step)
            self._wake()
            self.run()
        self.now = time

    def _next(self) -> float:
        times = [self._wake_at - self.clock_ahead if self.orchestrator is not None else math.inf]
        for machine in self.machines.values():
            times += [machine.wake_at if machine.core is not None else math.inf]
            times += [each.ends_at for each in machine.engine.values() if each.running]
            times += [ready_at for ready_at, _ in machine.staging.values()]
        return min(times)

    def _wake(self) -> None:
        if self.orchestrator is not None and self.now >= self._wake_at - self.clock_ahead:
            self._wake_at = math.inf
            self._order(on.Tick())
        for name, machine in self.machines.items():
            for key, workload in list(machine.engine.items()):
                if workload.running and self.now >= workload.ends_at:
                    workload.result = RunResult(0)
                    self._later(name, on.WorkloadEnded(key, workload.result))
            for key in [key for key, (ready_at, _) in machine.staging.items() if self.now >= ready_at]:
                self._begin(machine, key)
            if machine.core is not None and self.now >= machine.wake_at:
                machine.wake_at = math.inf
                self._tell(name, on.Tick())

    # The orchestrator

    def _order(self, event: on.OrchestratorEvent) -> bool:
        """Hand an event to the orchestrator, and say whether it has lived to answer."""
        if self.orchestrator is None:
            return False
        for effect in self.orchestrator.handle(event, self.now + self.clock_ahead):
            if self._dies(ORCHESTRATOR, effect, after=False):
                return False
            if isinstance(effect, do.Commit):
                if self.disk_full:
                    # What the runner does: nothing may rest on a change that is perhaps not kept.
                    self.crash(ORCHESTRATOR)
                    return False
                self._commit(effect)
            elif isinstance(effect, do.WakeAt):
                self._wake_at = effect.time
            else:
                assert isinstance(effect, do.Send), f"an orchestrator has no use for {effect}"
                self._send(effect.envelope)
            if self._dies(ORCHESTRATOR, effect, after=True):
                return False
        return True

    def _commit(self, commit: do.Commit) -> None:
        for job in commit.batch.jobs:
            was = self.jobs.get(job.id, job)
            assert was is job or not was.state.terminal, f"{job.id} had ended: {was}"
            assert was.state is job.state or job.state in JOB_MOVES[was.state], f"{was} to {job.state}"
            self.jobs[job.id] = job
        for execution in commit.batch.executions:
            before = self.executions.get(execution.id, execution)
            assert before is execution or not before.state.terminal, f"{execution.id} had ended: {before}"
            moves = EXECUTION_MOVES[before.state]
            assert before.state is execution.state or execution.state in moves, (
                f"{before} to {execution.state}"
            )
            self.executions[execution.id] = execution
            self.recorded.append((execution.id, execution.state))

    # The network

    def _send(self, envelope: Envelope) -> None:
        self.sent.append(envelope)
        if not self.lost(envelope):
            self._events.append((envelope.recipient, 0, on.Deliver(envelope)))

    # A node

    def _tell(self, name: str, event: on.ComputeEvent) -> None:
        machine = self.machines[name]
        if machine.core is None:
            return
        message = event.envelope.message if isinstance(event, on.Deliver) else None
        if isinstance(message, AskForBid):
            machine.offers.setdefault(message.execution_id, message)
        for effect in machine.core.handle(event, self.now):
            if self._dies(name, effect, after=False):
                return
            self._perform(machine, effect)
            if self._dies(name, effect, after=True):
                return
        if isinstance(message, AcknowledgeExecution) and not machine.core.holds(message.execution_id):
            machine.offers.pop(message.execution_id, None)
            machine.engine.pop(message.execution_id, None)

    def _perform(self, machine: Machine, effect: do.Effect) -> None:
        name = machine.info.name
        match effect:
            case do.Send(envelope):
                self._send(envelope)
            case do.WakeAt(time):
                machine.wake_at = time
            case do.CheckBid(task):
                self._later(name, on.BidChecked(task.execution_id))
            case do.StartExecution(task, _):
                self._start(machine, task)
            case do.Publish(execution_id):
                location = Location("path", f"/{name}/{execution_id}")
                machine.results[execution_id] = Outcome(0, location=location)
                self._later(name, on.ResultsPublished(execution_id, location))
            case do.KillExecution(execution_id):
                workload = machine.engine.get(execution_id)
                if workload is not None and workload.running:
                    workload.killed = True
                if workload is not None or machine.staging.pop(execution_id, None) is not None:
                    self._later(name, on.WorkloadEnded(execution_id, None))
            case do.DiscardResults(execution_id, _):
                machine.results.pop(execution_id, None)
            case _:
                raise AssertionError(f"a node has no use for {effect}")

    def _start(self, machine: Machine, task: Task) -> None:
        known = machine.engine.get(task.execution_id)
        if known is None:
            machine.staging[task.execution_id] = (self.now + self.staging, task)
            if not self.staging:
                self._begin(machine, task.execution_id)
            return
        self._later(machine.info.name, on.WorkloadStarted(task.execution_id))
        if not known.running:
            self._later(machine.info.name, on.WorkloadEnded(task.execution_id, known.result))

    def _begin(self, machine: Machine, execution_id: str) -> None:
        _, task = machine.staging.pop(execution_id)
        machine.engine[execution_id] = Workload(task, self.now + self.seconds)
        self.started[execution_id] += 1
        assert self.started[execution_id] == 1, f"{execution_id} is started again"
        used = sum(machine.engine[key].task.resources.cpu for key in machine.running())
        assert used <= machine.info.capacity.cpu, f"{machine.info.name} runs {machine.running()}"
        self._later(machine.info.name, on.WorkloadStarted(execution_id))

    def _later(self, name: str, event: on.ComputeEvent) -> None:
        """Have an engine tell its node something; a later life of the node does not hear it."""
        self._events.append((name, self.machines[name].life, event))

    # Deaths, and rest

    def _dies(self, party: str, effect: do.Effect, *, after: bool) -> bool:
        for death in self.deaths:
            name, when, later = death
            if name == party and later is after and when(effect):
                self.deaths.remove(death)
                self.crash(party)
                return True
        return False

    def said(self, kind: type[M]) -> list[M]:
        """Return the messages of a type that were sent so far, whether or not they arrived."""
        return [each.message for each in self.sent if isinstance(each.message, kind)]

    def ends(self) -> dict[str, str]:
        """Return the states of the jobs."""
        return {job.id: job.state.value for job in self.jobs.values()}

    def attempts(self, job_id: str = "j") -> list[tuple[int, str]]:
        """Return the executions of a job: which attempt, and how it stands."""
        return [
            (each.attempt, each.state.value) for each in self.executions.values() if each.job_id == job_id
        ]

    def at_rest(self) -> bool:
        """Say whether nothing is left: no live record, no workload, nothing held and nothing counted."""
        assert self.orchestrator is not None
        ended = all(job.state.terminal for job in self.jobs.values())
        ended = ended and all(execution.state.terminal for execution in self.executions.values())
        counted = any(len(entry.account) for entry in self.orchestrator.membership.nodes)
        held = any(
            machine.running() or (machine.core is not None and machine.core.held)
            for machine in self.machines.values()
        )
        return ended and not counted and not held


def assert_recorded_once_after_restart(cores: Cores) -> None:
    """Start the orchestrator again, its disk mended, and see that the one result is recorded, once."""
    cores.disk_full = False
    cores.start_orchestrator()
    cores.until(30)
    assert cores.attempts() == [(1, "COMPLETED")]
    assert cores.recorded.count(("j-0-1", ExecutionState.COMPLETED)) == 1
    assert cores.at_rest()
