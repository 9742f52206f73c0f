"""What the scheduler makes of one job: tables, and what is true of every plan."""

from __future__ import annotations

from collections import Counter

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.execution import Execution, ExecutionState, FailureKind
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobSpec, JobState
from bacalhau_sdk.model.node import Check, NodeInfo, Refusal
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.answers import answers_of
from bacalhau_sdk.scheduling.matching import Demand
from bacalhau_sdk.scheduling.node_index import NodeIndex
from bacalhau_sdk.scheduling.plan import Plan, Want
from bacalhau_sdk.scheduling.schedule import refusals_of
from tests.scheduling.makers import (
    FAILED,
    docker,
    entry,
    execution,
    fill,
    index,
    job,
    node,
    planned,
    refusal,
    refused,
    wasm,
)

E = ExecutionState
ONE_CPU = Resources(cpu=1)


def places(plan: Plan) -> dict[str, int]:
    """Return how many executions each node gets."""
    return dict(sorted(Counter(each.node for each in plan.executions).items()))


# ---- Placing ----


@pytest.mark.parametrize(
    ("count", "nodes", "expected", "blocked"),
    [
        pytest.param(1, [4], {"n0": 1}, False, id="one on one"),
        pytest.param(3, [4, 4, 4], {"n0": 1, "n1": 1, "n2": 1}, False, id="spread"),
        pytest.param(7, [4, 4, 4], {"n0": 2, "n1": 2, "n2": 3}, False, id="more partitions than nodes"),
        pytest.param(4, [4], {"n0": 4}, False, id="all on the only node"),
        pytest.param(5, [4], {"n0": 4}, True, id="as many as there is room for"),
        pytest.param(3, [1, 2, 0.5], {"n0": 1, "n1": 2}, False, id="where there is room"),
        pytest.param(1, [0.5, 1, 0.5], {"n1": 1}, False, id="the only node that is large enough"),
    ],
)
def test_placing(count: int, nodes: list[float], expected: dict[str, int], blocked: bool) -> None:
    known = index(*(node(f"n{number}", cpu=cpu) for number, cpu in enumerate(nodes)))
    plan = planned(job(wasm(count=count, resources=ONE_CPU)), nodes=known)
    assert places(plan) == expected
    assert (plan.blocked is not None) == blocked
    assert [each.partition_index for each in plan.executions] == list(range(len(plan.executions)))


def test_an_offer_is_all_that_a_node_needs_to_know() -> None:
    plan = planned(job(wasm(count=2)), [execution(0, node="n7")], index(node("n7", revision=3)))
    assert plan.executions == (
        Execution(
            id="j-1",
            job_id="j",
            partition_index=1,
            attempt=1,
            node="n7",
            node_revision=3,
            state=E.ASK_FOR_BID,
            created_at=10.0,
            modified_at=10.0,
        ),
    )


def test_the_native_node_is_preferred_and_the_emulating_one_is_used() -> None:
    spec = JobSpec.docker("busybox", platform="linux/arm64", count=3, resources=ONE_CPU)
    known = index(
        node("emulates", docker("linux/amd64", emulated=["linux/arm64"])),
        node("native", docker("linux/arm64"), cpu=2),
        node("other", docker("linux/amd64")),
    )
    assert places(planned(job(spec), nodes=known)) == {"emulates": 1, "native": 2}


def test_a_partition_with_a_live_execution_gets_no_second_one() -> None:
    live = [execution(0, E.ASK_FOR_BID, 0), execution(1, E.RUNNING, 1), execution(2, E.PUBLISHING, 2)]
    plan = planned(job(wasm(count=4)), live)
    assert [each.partition_index for each in plan.executions] == [3]
    assert planned(job(wasm(count=3)), live).executions == ()


def test_what_the_node_holds_already_counts() -> None:
    known = index(node("n1", cpu=4))
    fill(known, "n1", "other", Resources(cpu=3))
    plan = planned(job(wasm(count=3, resources=ONE_CPU)), nodes=known)
    assert places(plan) == {"n1": 1}
    assert plan.blocked == Want(Demand.of(plan.job.spec))
    assert entry(known, "n1").account.free.cpu == 1, "a plan decides nothing yet"


def test_a_node_that_said_that_it_has_no_room_is_not_asked() -> None:
    known = index(node("n1"), node("n2"))
    entry(known, "n1").saturated = refusal(lasting=False)
    known.refresh(entry(known, "n1"))
    assert places(planned(job(wasm(count=3)), nodes=known)) == {"n2": 3}


# ---- States of the job ----


def test_a_job_without_partitions_is_complete_at_once() -> None:
    plan = planned(job(wasm(count=0)), nodes=NodeIndex())
    assert (plan.job.state, plan.job.ended_at, plan.executions) == (JobState.COMPLETED, 10.0, ())


def test_a_job_that_finds_no_room_is_queued() -> None:
    known = index(node("n1", cpu=1), node("n2", cpu=1), node("n3", docker("linux/amd64")))
    for name in ("n1", "n2"):
        fill(known, name, "other", ONE_CPU)
    plan = planned(job(wasm(resources=ONE_CPU)), nodes=known)
    assert (plan.job.state, plan.executions) == (JobState.QUEUED, ())
    assert plan.job.reason == "2 of 3 nodes match, none takes it now"
    assert plan.blocked is not None
    again = planned(plan.job, nodes=known)
    assert again.job == plan.job


@pytest.mark.parametrize(
    ("state", "executions", "expected"),
    [
        (JobState.PENDING, [execution(0, E.ASK_FOR_BID)], JobState.PENDING),
        (JobState.PENDING, [execution(0, E.BID_ACCEPTED)], JobState.RUNNING),
        (JobState.QUEUED, [execution(0, E.RUNNING)], JobState.RUNNING),
        (JobState.QUEUED, [refused(0, "n1", lasting=False), execution(1, E.ASK_FOR_BID)], JobState.QUEUED),
        (JobState.RUNNING, [execution(0, E.PUBLISHING)], JobState.RUNNING),
        (JobState.RUNNING, [execution(0, E.COMPLETED)], JobState.COMPLETED),
        (JobState.PENDING, [execution(0, E.COMPLETED)], JobState.COMPLETED),
    ],
)
def test_the_job_follows_its_executions(
    state: JobState, executions: list[Execution], expected: JobState
) -> None:
    assert planned(job(state=state), executions).job.state is expected


def test_a_running_job_of_which_a_part_waits_stays_running() -> None:
    known = index(node("n1", max_executions=1))
    fill(known, "n1", "j-0", Resources())
    plan = planned(job(wasm(count=2), state=JobState.RUNNING), [execution(0)], known)
    assert plan.job.state is JobState.RUNNING
    assert plan.blocked is not None


# ---- Ends ----


def test_the_failure_of_one_partition_stops_the_others_and_then_ends_the_job() -> None:
    failed = execution(0, E.FAILED, 0, outcome=FAILED)
    others = [execution(1, E.RUNNING, 1), execution(2, E.ASK_FOR_BID, 2), execution(3, E.COMPLETED, 3)]
    plan = planned(job(wasm(count=5), state=JobState.RUNNING), [failed, *others])
    assert plan.job.state is JobState.RUNNING, "it ends when nothing of it runs any more"
    assert plan.job.ending is JobState.FAILED
    assert plan.job.reason == "no module (partition 0 on node n1)"
    assert [(each.id, each.state, each.stop_requested) for each in plan.executions] == [
        ("j-1", E.RUNNING, True),
        ("j-2", E.ASK_FOR_BID, True),
    ]
    assert plan.blocked is None

    one_left = [failed, evolve(plan.executions[0], state=E.CANCELLED), plan.executions[1], others[2]]
    plan = planned(plan.job, one_left)
    assert (plan.job.state, plan.executions) == (JobState.RUNNING, ())

    plan = planned(plan.job, [*one_left[:2], evolve(one_left[2], state=E.CANCELLED), others[2]])
    assert (plan.job.state, plan.job.failure, plan.executions) == (JobState.FAILED, FAILED.failure, ())


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.QUEUED, JobState.RUNNING])
def test_a_cancelled_job_ends_when_nothing_of_it_runs(state: JobState) -> None:
    cancelled = job(wasm(count=2), state=state, ending=JobState.CANCELLED, reason="enough")
    assert planned(cancelled).job.state is JobState.CANCELLED
    plan = planned(cancelled, [execution(0, E.BID_ACCEPTED, 0)])
    assert (plan.job.state, [each.stop_requested for each in plan.executions]) == (state, [True])
    plan = planned(cancelled, [execution(0, E.COMPLETED, 0), execution(1, E.CANCELLED, 1)])
    assert (plan.job.state, plan.job.reason) == (JobState.CANCELLED, "enough")


def test_the_first_reason_to_end_stays() -> None:
    cancelled = job(state=JobState.RUNNING, ending=JobState.CANCELLED, reason="enough")
    plan = planned(cancelled, [execution(0, E.FAILED, 0, outcome=FAILED)])
    assert (plan.job.state, plan.job.reason, plan.job.failure) == (JobState.CANCELLED, "enough", None)


# ---- Nodes that could never run it ----


def test_a_job_that_fits_no_node_fails_with_a_reason_for_each() -> None:
    spec = JobSpec.docker("busybox", platform="linux/arm64", selector="zone = dc", resources=ONE_CPU)
    arm = docker("linux/arm64")
    known = index(
        node("a", docker("linux/amd64"), labels={"zone": "dc"}),
        node("b", arm),
        node("c", arm, labels={"zone": "dc"}, cpu=0.5),
        evolve(node("d"), engines=FrozenMap()),
    )
    plan = planned(job(spec), nodes=known)
    assert plan.job.state is JobState.FAILED
    assert [(each.node, each.check, each.lasting) for each in plan.job.refusals] == [
        ("a", Check.PLATFORM, True),
        ("b", Check.SELECTOR, True),
        ("c", Check.TOTAL_CAPACITY, True),
        ("d", Check.ENGINE, True),
    ]
    failure = plan.job.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.PERMANENT, "job.no_matching_node")
    assert failure.message.splitlines() == [
        "no known node could ever run the job (4 known)",
        *(f"  {refusal}" for refusal in plan.job.refusals),
    ]


def test_without_a_node_a_job_fails() -> None:
    plan = planned(job(), nodes=NodeIndex())
    assert (plan.job.state, plan.job.refusals) == (JobState.FAILED, ())
    assert plan.job.reason == "no known node could ever run the job (0 known)"


def test_while_nodes_may_still_come_no_job_fails_for_want_of_one() -> None:
    plan = planned(job(), nodes=NodeIndex(), settled_at=11.0)
    assert (plan.job.state, plan.blocked) == (JobState.QUEUED, Want(Demand.of(wasm())))


def test_a_node_that_refused_for_good_is_asked_again_only_when_it_has_changed() -> None:
    past = [refused(0, "n1", node_revision=1)]
    stays = index(node("n1", revision=1), node("n2"))
    assert places(planned(job(wasm(count=2)), past, stays)) == {"n2": 2}
    changed = index(node("n1", revision=2), node("n2"))
    assert places(planned(job(wasm(count=2)), past, changed)) == {"n1": 1, "n2": 1}
    gone = index(node("n2"))
    assert places(planned(job(wasm(count=2)), past, gone)) == {"n2": 2}


def test_a_node_that_refused_for_want_of_room_is_asked_again() -> None:
    assert places(planned(job(), [refused(0, "n1", lasting=False)])) == {"n1": 1}


def test_when_every_node_has_refused_for_good_the_job_fails_with_their_reasons() -> None:
    known = index(node("n1"), node("n2"), evolve(node("n3"), engines=FrozenMap()))
    past = [refused(0, "n1"), refused(1, "n2", lasting=False), refused(2, "n2")]
    plan = planned(job(), past, known)
    assert plan.job.state is JobState.FAILED
    assert [(each.node, each.check) for each in plan.job.refusals] == [
        ("n1", Check.ENGINE),
        ("n2", Check.ENGINE),
        ("n3", Check.ENGINE),
    ]
    assert all(each.lasting for each in plan.job.refusals)


def test_a_job_waits_for_a_full_node_when_the_others_have_refused() -> None:
    known = index(node("n1"), node("n2", max_executions=1))
    fill(known, "n2", "other", Resources())
    plan = planned(job(), [refused(0, "n1", node_revision=0)], known)
    assert plan.job.state is JobState.QUEUED
    assert plan.blocked == Want(Demand.of(wasm()), (("n1", 0),))


def test_a_refusal_that_no_longer_holds_is_no_part_of_what_is_wanted() -> None:
    known = index(node("n1", max_executions=1, revision=1))
    fill(known, "n1", "other", Resources())
    assert planned(job(), [refused(0, "n1")], known).blocked == Want(Demand.of(wasm()))


def test_a_job_that_can_go_on_nowhere_stops_what_runs() -> None:
    known = index(node("n1", revision=5))
    past = [execution(0, E.RUNNING, 0, node="n1"), refused(1, "n1", partition_index=1, node_revision=5)]
    plan = planned(job(wasm(count=2), state=JobState.RUNNING), past, known)
    assert (plan.job.state, plan.job.ending) == (JobState.RUNNING, JobState.FAILED)
    assert [(each.id, each.stop_requested) for each in plan.executions] == [("j-0", True)]


# ---- Explaining ----


def test_a_reason_for_every_node_that_does_not_take_it_now() -> None:
    known = index(
        node("free"),
        node("full", cpu=1),
        node("saturated"),
        node("refused"),
        node("small", cpu=0.5),
        node("was full and refused", cpu=1),
    )
    for name in ("full", "was full and refused"):
        fill(known, name, "other", ONE_CPU)
    entry(known, "saturated").saturated = Refusal("saturated", Check.CAPACITY, "", "", lasting=False)
    past = [refused(0, "refused"), refused(1, "was full and refused")]
    reasons = refusals_of(known, Demand.of(wasm(resources=ONE_CPU)), answers_of(known, past, 0.0))
    assert [(each.node, each.check, each.lasting) for each in reasons] == [
        ("full", Check.CAPACITY, False),
        ("saturated", Check.CAPACITY, False),
        ("refused", Check.ENGINE, True),
        ("small", Check.TOTAL_CAPACITY, True),
        ("was full and refused", Check.ENGINE, True),
    ]
    assert str(reasons[0]) == (
        "node full: free capacity: asked for cpu 1, offers too little free now: cpu 1 of 0 "
        "(it runs when there is room, or with smaller resources)"
    )


# ---- What is true of every plan ----

states = st.sampled_from([each for each in E if each not in (E.NEW, E.TIMED_OUT)])
infos = st.lists(
    st.builds(lambda cpu, most: (cpu, most), st.sampled_from([0.5, 1, 2, 4]), st.integers(0, 3)), max_size=4
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[JobSpec, list[Execution], list[NodeInfo]]:
    spec = wasm(count=draw(st.integers(0, 5)), resources=Resources(cpu=draw(st.sampled_from([0, 0.5, 1, 3]))))
    nodes = [node(f"n{n}", cpu=cpu, max_executions=most) for n, (cpu, most) in enumerate(draw(infos))]
    past: list[Execution] = []
    taken: set[int] = set()
    for partition in draw(st.lists(st.integers(0, max(0, spec.count - 1)), max_size=5)) if nodes else []:
        state = draw(states)
        if partition in taken or not spec.count:
            continue
        if state is not E.ASK_FOR_BID_REJECTED:
            taken.add(partition)
        reasons = (Refusal("?", Check.ENGINE, "", "", lasting=draw(st.booleans())),)
        name = draw(st.sampled_from([each.name for each in nodes]))
        past.append(execution(len(past), state, partition, name, refusals=reasons))
    return spec, past, nodes


@given(situations())
def test_every_plan(situation: tuple[JobSpec, list[Execution], list[NodeInfo]]) -> None:
    spec, past, nodes = situation

    def world() -> NodeIndex:
        known = index(*nodes)
        for each in past:
            if not each.state.terminal:
                entry(known, each.node).account.adopt(each.id, spec.resources)
                known.refresh(entry(known, each.node))
        return known

    known = world()
    plan = planned(job(spec), past, known)
    assert plan == planned(job(spec), past, world()), "equal arguments give equal plans"

    new = [each for each in plan.executions if each.id not in {old.id for old in past}]
    assert len({each.id for each in (*past, *new)}) == len(past) + len(new)
    after = {each.id: each for each in (*past, *plan.executions)}
    live = Counter(each.partition_index for each in after.values() if not each.state.terminal)
    assert max(live.values(), default=0) <= 1
    for each in new:
        account = entry(known, each.node).account
        assert account.reserve(each.id, spec.resources), f"no room for {each}"
        lasting = any(
            old.node == each.node and old.state is E.ASK_FOR_BID_REJECTED and old.refusals[0].lasting
            for old in past
        )
        assert not lasting
    if plan.job.state.terminal:
        assert all(each.state.terminal for each in after.values())
        assert plan.blocked is None
    elif plan.job.ending is not None:
        assert all(each.state.terminal or each.stop_requested for each in after.values())
        assert not new
    else:
        done = {each.partition_index for each in past if each.state is E.COMPLETED}
        waiting = set(range(spec.count)) - set(+live) - done
        assert bool(waiting) == (plan.blocked is not None)
