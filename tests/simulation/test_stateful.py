"""A second opinion on the cores: Hypothesis chooses every step of a small cluster, and shrinks what it finds to a few of them.

The simulated world goes deep, with thousands of jobs; this one is narrow. It tries orders of steps that no world would come
upon, and its counter-examples can be read.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobSpec, JobType, RetryPolicy, Timeouts
from bacalhau_sdk.model.message import Envelope
from bacalhau_sdk.model.node import EngineInfo, NodeInfo
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling import events as on
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from tests.simulation.bench import Bench
from tests.simulation.bench_node import FAILS, FIRST_TRY, HANGS, Chore, How, Kind, Node

_ONE, _TWO = Resources(cpu=1), Resources(cpu=2)
_AGAIN = RetryPolicy(2, 1.0)
_WHATEVER = RetryPolicy(3, 1.0, retry_timeouts=True, retry_nonzero_exit=True)
SHAPES = {
    "plain": JobSpec.wasm(b"\0asm", resources=_ONE),
    "tried again": JobSpec.wasm(b"\0asm", resources=_ONE, retry=_AGAIN),
    "a pair": JobSpec.wasm(b"\0asm", resources=_ONE, count=2, retry=_WHATEVER),
    "a whole node": JobSpec.wasm(b"\0asm", resources=_TWO, retry=_WHATEVER),
    "everywhere": JobSpec.wasm(b"\0asm", type=JobType.OPS),
    "fails at first": JobSpec.wasm(b"\0asm", resources=_ONE, retry=_AGAIN, env={FIRST_TRY: FAILS}),
    "hangs at first": JobSpec.wasm(
        b"\0asm", resources=_ONE, retry=_WHATEVER, timeouts=Timeouts(execution=6), env={FIRST_TRY: HANGS}
    ),
    "in a hurry": JobSpec.wasm(b"\0asm", resources=_ONE, timeouts=Timeouts(queue=10, total=30)),
    "nowhere yet": JobSpec.wasm(b"\0asm", selector="name = n3", timeouts=Timeouts(queue=40)),
}
JOBS_MAX = 8
PATIENCE = 300.0
_SHAPES = st.lists(st.sampled_from(list(SHAPES)), max_size=3)
_UNTIL = st.sampled_from([Kind.STAGE, Kind.CHECK, Kind.END])
_MOSTLY = st.sampled_from([True, True, True, False])
_WHICH = st.integers(0, 9)
"""Which of what there is; the last when there is less."""


def _node(name: str) -> NodeInfo:
    engines = FrozenMap({"wasm": EngineInfo("wasm")})
    labels = FrozenMap({"name": name})
    return NodeInfo(name, labels, engines, capacity=Resources(cpu=2, memory="1GiB"), max_executions=2)


class Cluster(RuleBasedStateMachine):
    """Two nodes, and a third one that may join; anything may go wrong at any time."""

    orchestrator_core: ClassVar[type[OrchestratorCore]] = OrchestratorCore
    compute_core: ClassVar[type[ComputeCore]] = ComputeCore
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        self.bench = Bench(
            _node("n1"),
            _node("n2"),
            orchestrator_core=cls.orchestrator_core,
            compute_core=cls.compute_core,
        )
        self.submitted = 0

    # Users

    @initialize(target=jobs, shapes=_SHAPES, until=_UNTIL)
    def begin(self, shapes: list[str], until: Kind) -> MultipleResults[str]:
        """Begin with some jobs that are under way: what can go wrong is mostly about those."""
        names = [self._submit(shape) for shape in shapes]
        self.bench.settle(until)
        return multiple(*names)

    @precondition(lambda self: self.submitted < JOBS_MAX)
    @rule(target=jobs, shape=st.sampled_from(list(SHAPES)))
    def submit(self, shape: str) -> str:
        return self._submit(shape)

    @rule(job=jobs, shape=st.sampled_from(list(SHAPES)))
    def submit_the_same_id(self, job: str, shape: str) -> None:
        self.bench.submit(job, SHAPES[shape])

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        self.bench.cancel(job)

    # Network

    @precondition(lambda self: self.bench.network)
    @rule(which=_WHICH)
    def deliver(self, which: int) -> None:
        self.bench.deliver(self._take(self.bench.network, which))

    @precondition(lambda self: self.bench.network)
    @rule(which=_WHICH, twice=st.booleans())
    def hold_up(self, which: int, twice: bool) -> None:
        """Let a message be late; if it arrives twice, only for the second time."""
        envelope = self._take(self.bench.network, which)
        self.bench.late.append(envelope)
        if twice:
            self.bench.deliver(envelope)

    @precondition(lambda self: self.bench.late)
    @rule(which=_WHICH)
    def deliver_late(self, which: int) -> None:
        self.bench.deliver(self._take(self.bench.late, which))

    @precondition(lambda self: self.bench.network)
    @rule()
    def deliver_all(self) -> None:
        """Deliver what is under way, but not what follows from it."""
        network, self.bench.network = self.bench.network, []
        for envelope in network:
            self.bench.deliver(envelope)

    @rule(which=_WHICH)
    def heartbeat(self, which: int) -> None:
        """Let a node send one, which may be lost or late as any message."""
        self._node(which).handle(on.Tick())

    @precondition(lambda self: self.bench.network)
    @rule(which=_WHICH, all_of_them=st.booleans())
    def lose(self, which: int, all_of_them: bool) -> None:
        self._take(self.bench.network, which)
        if all_of_them:
            self.bench.network.clear()

    # Time

    @rule(seconds=st.sampled_from([1.0, 8.0, 25.0, 45.0]), asleep=st.sampled_from([False, False, True]))
    def wait(self, seconds: float, asleep: bool) -> None:
        """Let time pass in which no node is heard of.

        The orchestrator may be asleep too, such as when a laptop is closed.
        """
        if asleep:
            self.bench.now += seconds
        else:
            self.bench.advance(seconds)

    @rule()
    def progress(self) -> None:
        """Let all go well for some seconds."""
        self.bench.progress()

    @rule(until=_UNTIL)
    def at_once(self, until: Kind) -> None:
        """Let all go well, but only so far, without time passing, and so without a heartbeat."""
        self.bench.settle(until)

    # Work

    @precondition(lambda self: self._chores())
    @rule(which=_WHICH)
    def goes_well(self, which: int) -> None:
        self._work(which, How.WELL)

    @precondition(lambda self: self._chores())
    @rule(which=_WHICH, how=st.sampled_from([How.BADLY, How.WITH_EXIT_CODE, How.FOR_GOOD]))
    def goes_wrong(self, which: int, how: How) -> None:
        self._work(which, how)

    # Processes

    @rule(after=st.integers(0, 3))
    def let_orchestrator_die(self, after: int) -> None:
        """Let the next event be the last one that the orchestrator takes, and a few of its effects be done; then it is back."""
        self.bench.dies_after = after

    @rule(party=st.sampled_from(["orchestrator", "n1", "n2"]), engine_too=st.booleans(), back=_MOSTLY)
    def crash(self, party: str, engine_too: bool, back: bool) -> None:
        process = self.bench.nodes.get(party, self.bench)
        if isinstance(process, Node):
            process.crash(engine_too=engine_too)
        else:
            process.crash()
        if back:
            process.start()

    @precondition(
        lambda self: self.bench.core is None or any(n.core is None for n in self.bench.nodes.values())
    )
    @rule()
    def restart_all(self) -> None:
        if self.bench.core is None:
            self.bench.start()
        for node in self.bench.nodes.values():
            if node.core is None:
                node.start()

    @rule(which=_WHICH, what=st.sampled_from(["drain", "resume", "join"]))
    def change_nodes(self, which: int, what: str) -> None:
        if what != "join":
            self._node(which).handle(on.Drain(what == "drain"))
        elif "n3" not in self.bench.nodes:
            self.bench.join(_node("n3"))

    # What must hold

    @invariant()
    def laws(self) -> None:
        self.bench.laws.check()

    def teardown(self) -> None:
        """Hold that all comes to its end once nothing goes wrong any more; what is broken already is not looked at again."""
        if sys.exc_info()[0] is None:
            self.bench.end_well(PATIENCE)

    def _submit(self, shape: str) -> str:
        self.submitted += 1
        job_id = f"j{self.submitted}"
        self.bench.submit(job_id, SHAPES[shape])
        return job_id

    def _take(self, envelopes: list[Envelope], which: int) -> Envelope:
        envelope = envelopes.pop(min(which, len(envelopes) - 1))
        note(f"    {envelope.sender} -> {envelope.recipient}: {type(envelope.message).__name__}")
        return envelope

    def _chores(self) -> list[Chore]:
        return [chore for node in self.bench.nodes.values() for chore in node.open_chores()]

    def _work(self, which: int, how: How) -> None:
        chores = self._chores()
        node, kind, execution_id = chores[min(which, len(chores) - 1)]
        note(f"    {node.info.name}: {kind.name} of {execution_id}")
        node.work(kind, execution_id, how)

    def _node(self, which: int) -> Node:
        nodes = list(self.bench.nodes.values())
        return nodes[min(which, len(nodes) - 1)]


THOROUGH = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=1000,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_no_order_of_steps_breaks_a_promise() -> None:
    run_state_machine_as_test(Cluster, settings=THOROUGH)
