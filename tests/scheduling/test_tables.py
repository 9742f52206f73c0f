"""The tables of the original's tests that are about scheduling, row by row.

Rows that have another outcome here, or no place, are in ``docs/explanation/differences.md``.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.job import JobSpec, JobState, RetryPolicy, Timeouts
from bacalhau_sdk.model.message import AcknowledgeExecution, AskForBid, CancelExecution, Message
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.node_index import NodeIndex
from bacalhau_sdk.scheduling.plan import messages_between
from tests.scheduling.bench import Bench
from tests.scheduling.makers import FAULT, execution, index, job, node, planned, refused, wasm

E = ExecutionState
RUNNING = JobState.RUNNING


def lost(*names: str, well: tuple[str, ...] = ()) -> NodeIndex:
    """Return nodes of which some are lost, since 5 s."""
    known = index(*(node(name) for name in (*names, *well)))
    for entry in known:
        entry.lost_at = 5.0 if entry.info.name in names else None
        known.refresh(entry)
    return known


def told(executions: tuple[Execution, ...]) -> list[str]:
    """Return what a plan does with executions: its new ones, those it stops, and those it fences."""
    found: list[str] = []
    for each in executions:
        if each.fenced:
            found.append(f"{each.id} fenced {each.state.value}")
        elif each.ending is not None:
            found.append(f"{each.id} told {each.ending.value}")
        else:
            found.append(f"{each.id} partition {each.partition_index} on {each.node}")
    return found


# ---- F: what is approved, rejected and cancelled of the executions of a partition ----


@pytest.mark.parametrize("state", [E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING])
def test_f_one_live_execution_of_a_partition_is_left_alone(state: E) -> None:
    assert planned(job(wasm(retry=RetryPolicy(9)), state=RUNNING), [execution(0, state)]).executions == ()


def test_f_a_failed_one_beside_a_live_one_changes_nothing() -> None:
    past = [execution(0, E.FAILED, outcome=FAULT), execution(1, E.RUNNING, attempt=2)]
    assert planned(job(wasm(retry=RetryPolicy(9)), state=RUNNING), past).executions == ()


def test_f_a_refused_offer_is_followed_by_one_other() -> None:
    plan = planned(job(), [refused(0, "n1", lasting=False)], index(node("n1"), node("n2")))
    assert len(plan.executions) == 1


# ---- G: plans ----

THREE = [execution(n, E.RUNNING, n, f"n{n + 1}") for n in range(3)]
TOTAL, LIMIT = Timeouts(total=5), Timeouts(execution=5)


@pytest.mark.parametrize(
    ("spec", "executions", "nodes", "expected", "end"),
    [
        pytest.param(
            wasm(count=3),
            THREE[:2],
            lost("n1", "n2"),
            ["j-0 fenced FAILED", "j-1 fenced FAILED"],
            JobState.FAILED,
            id="batch: no node is healthy",
        ),
        pytest.param(
            wasm(count=2),
            THREE[:2],
            lost("n1", well=("n2",)),
            ["j-0 fenced FAILED", "j-1 told CANCELLED"],
            (RUNNING, JobState.FAILED),
            id="batch: no retry, one node is lost",
        ),
        pytest.param(
            wasm(count=2, timeouts=TOTAL),
            THREE[:2],
            lost(well=("n1", "n2")),
            ["j-0 told CANCELLED", "j-1 told CANCELLED"],
            (RUNNING, JobState.TIMED_OUT),
            id="batch: total time-out",
        ),
        pytest.param(
            wasm(count=2, timeouts=LIMIT),
            THREE[:2],
            lost(well=("n1", "n2")),
            ["j-0 told TIMED_OUT", "j-1 told TIMED_OUT"],
            (RUNNING, None),
            id="batch: execution time-out",
        ),
        pytest.param(
            wasm(count=2, timeouts=LIMIT, retry=RetryPolicy(2, 0, retry_timeouts=True)),
            [evolve(each, state=E.TIMED_OUT, ended_at=9.0) for each in THREE[:2]],
            lost(well=("n3",)),
            ["j-2 partition 0 on n3", "j-3 partition 1 on n3"],
            (RUNNING, None),
            id="batch: after an execution time-out, the same partitions",
        ),
        pytest.param(
            wasm(count=3),
            [evolve(each, state=E.COMPLETED) for each in THREE],
            lost(well=("n1", "n2", "n3")),
            [],
            JobState.COMPLETED,
            id="batch: all partitions complete",
        ),
        pytest.param(
            wasm(count=3, retry=RetryPolicy(2, 0)),
            [
                evolve(THREE[0], state=E.COMPLETED),
                evolve(THREE[1], state=E.FAILED, outcome=FAULT),
                evolve(THREE[2], node="n1"),
            ],
            lost(well=("n1", "n2", "n3")),
            ["j-3 partition 1 on n3"],
            (RUNNING, None),
            id="batch: partition 1 of 3 failed, tried again as partition 1 on the third node",
        ),
        pytest.param(wasm(type="ops"), [], lost(), [], JobState.FAILED, id="ops: none matches"),
        pytest.param(
            wasm(type="ops"),
            [],
            lost(well=("n1", "n2", "n3")),
            ["j-0 partition 0 on n1", "j-1 partition 1 on n2", "j-2 partition 2 on n3"],
            (RUNNING, None),
            id="ops: all that match",
        ),
    ],
)
def test_g_plan(
    spec: JobSpec,
    executions: list[Execution],
    nodes: NodeIndex,
    expected: list[str],
    end: JobState | tuple[JobState, JobState | None],
) -> None:
    plan = planned(job(spec, state=RUNNING), executions, nodes)
    assert told(plan.executions) == expected
    assert (plan.job.state if isinstance(end, JobState) else (plan.job.state, plan.job.ending)) == end


@pytest.mark.parametrize("ending", [JobState.CANCELLED, JobState.FAILED, JobState.TIMED_OUT])
def test_g_of_a_job_that_is_not_wanted_what_is_live_is_cancelled(ending: JobState) -> None:
    plan = planned(job(wasm(count=2), state=RUNNING, ending=ending), THREE[:2], lost(well=("n1", "n2")))
    assert told(plan.executions) == ["j-0 told CANCELLED", "j-1 told CANCELLED"]


def test_g_not_enough_nodes_without_a_queue_limit_is_a_failure_when_none_matches() -> None:
    plan = planned(job(wasm(selector="zone = far")), [], lost(well=("n1",)))
    assert (plan.job.state, plan.blocked) == (JobState.FAILED, None)


def test_g_not_enough_nodes_with_a_queue_limit_waits_until_then_for_the_rest() -> None:
    spec = wasm(count=3, resources=Resources(cpu=4), timeouts=Timeouts(queue=60))
    plan = planned(job(spec), [], lost(well=("n1", "n2")))
    assert len(plan.executions) == 2
    assert (plan.job.state, plan.blocked is not None, plan.wake_at) == (JobState.QUEUED, True, 61.0)


def test_g_ops_a_failed_execution_is_not_placed_again() -> None:
    record = job(wasm(type="ops"), state=RUNNING, targets=("n1", "n2"))
    failed = evolve(THREE[0], state=E.FAILED, outcome=FAULT)
    plan = planned(record, [failed, THREE[1]], lost(well=("n1", "n2")))
    assert (plan.executions, plan.job.state) == ((), RUNNING)
    plan = planned(record, [failed, evolve(THREE[1], state=E.COMPLETED)], lost(well=("n1", "n2")))
    assert (plan.executions, plan.job.state) == ((), JobState.FAILED)


# ---- H: retries ----


@pytest.mark.parametrize(
    ("names", "count", "state", "ends"),
    [
        ("bid-rejector good", 1, "COMPLETED", {"COMPLETED": 1, "ASK_FOR_BID_REJECTED": 1}),
        ("bid-rejector", 1, "FAILED", {"ASK_FOR_BID_REJECTED": 1}),
        ("bad-executor good", 1, "COMPLETED", {"COMPLETED": 1, "FAILED": 1}),
        ("bad-executor", 1, "FAILED", {"FAILED": 2}),
        ("bad-publisher good", 1, "COMPLETED", {"COMPLETED": 1, "FAILED": 1}),
        ("bad-publisher", 1, "FAILED", {"FAILED": 2}),
        ("bad-publisher good", 2, "FAILED", {"FAILED": 2, "COMPLETED": 1}),
        ("bad-executor slow", 2, "FAILED", {"FAILED": 2, "CANCELLED": 1}),
        (
            "bid-rejector bad-executor good1 good2",
            2,
            "COMPLETED",
            {"COMPLETED": 2, "FAILED": 1, "ASK_FOR_BID_REJECTED": 1},
        ),
    ],
)
def test_h_retry(names: str, count: int, state: str, ends: dict[str, int]) -> None:
    """As in the original a node has one execution of the job at a time, and there are two tries."""
    bench = Bench(*(node(name, max_executions=1) for name in names.split()))
    ended = bench.submit(wasm(count=count, retry=RetryPolicy(2, backoff=0)))
    assert (ended.state.value, dict(bench.ends())) == (state, ends)
    bad = [each for each in bench.executions.values() if each.state is E.FAILED]
    for each in bad:
        assert each.outcome is not None
        assert each.outcome.failure is not None
        assert each.outcome.failure.message == f"i am a {each.node.replace('-', ' ')}"


@pytest.mark.parametrize("names", ["bad-publisher good", "bad-executor good"])
def test_h_with_room_for_two_on_the_good_node_both_partitions_complete(names: str) -> None:
    """The original's row fails for want of a third node."""
    bench = Bench(*(node(name) for name in names.split()))
    ended = bench.submit(wasm(count=2, retry=RetryPolicy(2, backoff=0)))
    assert (ended.state, dict(bench.ends())) == (JobState.COMPLETED, {"COMPLETED": 2, "FAILED": 1})


# ---- I: selectors ----

ZONES = index(
    node("node-1", labels={"env": "prod"}),
    node("node-2", labels={"env": "prod"}),
    node("node-3", labels={"env": "test"}),
)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("name = node-1", {"node-1"}),
        ("env = prod", {"node-1", "node-2"}),
        ("name = node-1, env = prod", {"node-1"}),
        ("env != prod", {"node-3"}),
        ("env in (prod, test)", {"node-1", "node-2", "node-3"}),
        ("env notin (prod, test)", set[str]()),
    ],
)
def test_i_selectors(selector: str, expected: set[str]) -> None:
    plan = planned(job(wasm(count=3, selector=selector)), nodes=ZONES)
    assert {each.node for each in plan.executions} == expected


# ---- M: from a change of an execution to a message ----

SPEC = wasm()


def at(state: E | None, *, ending: E | None = None, fenced: bool = False) -> Execution | None:
    return execution(0, state, ending=ending, fenced=fenced) if state else None


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        pytest.param(None, at(E.ASK_FOR_BID), AskForBid, id="new, wanted: asked"),
        pytest.param(at(E.NEW), at(E.ASK_FOR_BID), AskForBid, id="new in the records, wanted: asked"),
        pytest.param(
            at(E.ASK_FOR_BID), at(E.BID_ACCEPTED), None, id="pending to running: nothing to approve"
        ),
        *(
            pytest.param(
                at(each), at(each, ending=E.CANCELLED), CancelExecution, id=f"{each.value} to stopped"
            )
            for each in (E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING)
        ),
        *(
            pytest.param(
                at(each),
                at(E.FAILED, fenced=True),
                CancelExecution,
                id=f"{each.value} to ended here only (#4997)",
            )
            for each in (E.ASK_FOR_BID, E.BID_ACCEPTED, E.RUNNING, E.PUBLISHING)
        ),
        *(
            pytest.param(at(each), at(each, ending=E.CANCELLED), None, id=f"{each.value} was terminal before")
            for each in (E.COMPLETED, E.FAILED, E.CANCELLED, E.TIMED_OUT, E.ASK_FOR_BID_REJECTED)
        ),
        pytest.param(at(E.PUBLISHING), at(E.COMPLETED), AcknowledgeExecution, id="ended: acknowledged"),
    ],
)
def test_m_message(before: Execution | None, after: Execution, kind: type[Message] | None) -> None:
    messages = messages_between(job(SPEC), before, after)
    assert [type(each) for each in messages] == ([kind] if kind else [])


def test_m_an_ops_job_is_asked_for_too() -> None:
    record = job(wasm(type="ops"), targets=("n1",))
    (message,) = messages_between(record, None, execution(0, E.ASK_FOR_BID))
    assert isinstance(message, AskForBid)
    assert message.partition_count == 1
