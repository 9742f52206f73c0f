"""Which node goes first."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.platform import Platform
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Selector
from bacalhau_sdk.scheduling import ranking
from bacalhau_sdk.scheduling.matching import Demand
from bacalhau_sdk.scheduling.node_index import NodeIndex
from bacalhau_sdk.scheduling.ranking import Candidate, Choice, Rank, default_rank
from tests.scheduling.makers import docker, entry, execution, fill, index, node, refused

AMD = Platform("linux", "amd64")
E = ExecutionState
DEMAND = Demand("docker", AMD, Selector("", prefer="ssd, zone = dc"))


def candidate(
    *, tried: int = 0, emulated: bool = False, labels: str = "", here: int = 0, cpu: float = 0, job: str = "j"
) -> Candidate:
    """Return a node as a candidate; ``cpu`` of 4 are in use."""
    engine = docker(emulated=["linux/amd64"]) if emulated else docker("linux/amd64")
    known = index(node("n1", engine, labels=dict.fromkeys(labels.split(), "dc")))
    fill(known, "n1", "other", Resources(cpu=cpu))
    return Candidate(entry(known, "n1"), job, DEMAND, here, tried)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(candidate(), candidate(tried=1), id="fresh"),
        pytest.param(candidate(tried=1), candidate(tried=2), id="less often tried"),
        pytest.param(candidate(), candidate(emulated=True), id="native"),
        pytest.param(candidate(labels="ssd"), candidate(), id="a preference met"),
        pytest.param(candidate(labels="ssd zone"), candidate(labels="zone"), id="more preferences met"),
        pytest.param(candidate(), candidate(here=1), id="none of the job here"),
        pytest.param(candidate(here=1), candidate(here=2), id="fewer of the job here"),
        pytest.param(candidate(cpu=1), candidate(cpu=2), id="less load"),
        # Each beats all that follow.
        pytest.param(
            candidate(emulated=True, here=9, cpu=4),
            candidate(tried=1, labels="ssd zone"),
            id="fresh before all",
        ),
        pytest.param(
            candidate(here=9, cpu=4),
            candidate(emulated=True, labels="ssd zone"),
            id="native before preferences",
        ),
        pytest.param(candidate(labels="ssd", here=9, cpu=4), candidate(), id="preferences before spread"),
        pytest.param(candidate(cpu=4), candidate(here=1), id="spread before load"),
    ],
)
def test_the_order_of_what_counts(better: Candidate, worse: Candidate) -> None:
    assert default_rank(better) < default_rank(worse)


def test_jobs_are_spread_over_equal_nodes() -> None:
    known = index(*(node(f"n{number}") for number in range(8)))
    first = {
        min(known, key=lambda each: default_rank(Candidate(each, job, DEMAND, 0, 0))).info.name
        for job in [f"job-{number}" for number in range(200)]
    }
    assert len(first) == 8


def test_a_rank_is_the_same_everywhere() -> None:
    """A figure that was written down once: it depends on no hash seed, machine or version."""
    assert default_rank(candidate(labels="ssd", here=2, cpu=1)) == (0, 0, -1, 2, 0.25, 3966668725)


def taken(
    known: NodeIndex, demand: Demand, count: int, executions: list[Execution] | None = None
) -> list[str | None]:
    """Return the nodes that `Choice` takes, one after the other."""
    roomy = known.with_room(demand, known.matching(demand))
    choice = Choice(known, roomy, demand, "j", executions or [], default_rank, count)
    found = [choice.take(f"j-{serial}") for serial in range(count)]
    return [each.info.name if each else None for each in found]


def test_a_job_is_spread_over_the_nodes_before_a_node_gets_a_second_execution() -> None:
    known = index(*(node(f"n{number}") for number in range(3)))
    names = taken(known, Demand("wasm"), 7)
    assert sorted(map(str, names[:3])) == sorted(map(str, names[3:6])) == ["n0", "n1", "n2"]


def test_executions_that_the_job_has_count() -> None:
    known = index(node("n1"), node("n2"), node("n3"))
    before = [
        execution(0, node="n1"),
        execution(1, E.FAILED, node="n2"),
        execution(2, E.COMPLETED, node="n3"),
    ]
    first, *others = taken(known, Demand("wasm"), 3, before)
    assert (first, sorted(map(str, others))) == ("n3", ["n1", "n3"])


def test_a_refused_offer_is_no_try() -> None:
    known = index(node("n1", labels={"ssd": ""}), node("n2"))
    demand = Demand("wasm", selector=Selector("", prefer="ssd"))
    assert taken(known, demand, 1, [refused(0, "n1", lasting=False)]) == ["n1"]
    assert taken(known, demand, 1, [execution(0, E.FAILED, node="n1")]) == ["n2"]


def test_no_more_is_taken_than_there_is() -> None:
    known = index(node("n1", cpu=2), node("n2", cpu=1), node("n3", cpu=1, max_executions=0))
    names = taken(known, Demand("wasm", resources=Resources(cpu=1)), 5)
    assert sorted(map(str, names[:3])) == ["n1", "n1", "n2"]
    assert names[3:] == [None, None]


def test_nothing_is_reserved_by_choosing() -> None:
    known = index(node("n1"))
    taken(known, Demand("wasm", resources=Resources(cpu=2)), 2)
    assert entry(known, "n1").account.free.cpu == 4


def test_a_ranker_of_the_user_is_asked_again_when_something_has_changed() -> None:
    seen: list[tuple[str, int]] = []

    def packing(candidate: Candidate) -> Rank:
        seen.append((candidate.node.info.name, candidate.here))
        return (-candidate.here,)

    known = index(node("n1"), node("n2"))
    choice = Choice(known, known.all, Demand("wasm"), "j", [], packing, 3)
    assert [found.info.name for serial in "abc" if (found := choice.take(serial))] == ["n1", "n1", "n1"]
    assert seen == [("n1", 0), ("n2", 0), ("n1", 1), ("n1", 2), ("n1", 3)]


def slowly(known: NodeIndex, demand: Demand, count: int, executions: list[Execution]) -> list[str | None]:
    """Choose the plain way: every time the best of all candidates."""
    accounts = {each.info.name: each.account.copy() for each in known}
    here = {name: sum(e.node == name and not e.state.terminal for e in executions) for name in accounts}
    tried = {name: sum(e.node == name and e.state is E.FAILED for e in executions) for name in accounts}
    found: list[str | None] = []
    for serial in range(count):
        candidates = [
            Candidate(each, "j", demand, here[name], tried[name])
            for each in known
            if not accounts[name := each.info.name].shortage(demand.resources)
        ]
        best = min(candidates, key=default_rank, default=None)
        found.append(best.node.info.name if best else None)
        if best:
            here[best.node.info.name] += 1
            accounts[best.node.info.name].reserve(f"j-{serial}", demand.resources)
    return found


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from(["", "dc", "field"])),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([E.RUNNING, E.FAILED, E.COMPLETED])), max_size=5),
    st.integers(1, 8),
)
def test_the_quick_choice_is_the_plain_one(
    nodes: list[tuple[int, bool, str]], past: list[tuple[int, E]], count: int
) -> None:
    demand = evolve(DEMAND, resources=Resources(cpu=1))
    known = NodeIndex()
    for number, (cpu, emulated, zone) in enumerate(nodes):
        engine = docker(emulated=["linux/amd64"]) if emulated else docker("linux/amd64")
        known.put(node(f"n{number}", engine, cpu=cpu, labels={"zone": zone}))
    executions = [
        execution(serial, state, node=f"n{number}")
        for serial, (number, state) in enumerate(past)
        if number < len(nodes)
    ]
    assert taken(known, demand, count, executions) == slowly(known, demand, count, executions)


def test_of_very_many_nodes_the_preferred_and_native_ones_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SHORTLIST", 3)
    many = [node(f"n{number}", docker(emulated=["linux/amd64"])) for number in range(20)]
    known = index(
        *many, node("ssd", docker("linux/amd64"), labels={"ssd": ""}), node("plain", docker("linux/amd64"))
    )
    names = taken(known, DEMAND, 2)
    assert names == ["ssd", "ssd"]
    assert set(taken(known, evolve(DEMAND, resources=Resources(cpu=4)), 22)) == {
        each.info.name for each in known
    }
