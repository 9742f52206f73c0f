"""The index over nodes gives the answers that a look at each node would give, whatever has happened to the nodes."""

from __future__ import annotations

import random
from unittest import mock

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.network import NetworkType
from bacalhau_sdk.model.node import EngineInfo, NodeInfo
from bacalhau_sdk.model.platform import Platform
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Selector
from bacalhau_sdk.scheduling import node_index
from bacalhau_sdk.scheduling.matching import Demand, lasting_refusal, native
from bacalhau_sdk.scheduling.node_index import NodeIndex, NodeSet
from tests.scheduling.makers import docker, entry, fill, index, node, refusal

PLATFORMS = ["linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/arm/v6", "linux/386"]
platforms = st.lists(st.sampled_from(PLATFORMS), max_size=2)
engines = st.lists(
    st.builds(docker, st.sampled_from(PLATFORMS), emulated=platforms)
    | st.just(docker())
    | st.builds(
        EngineInfo,
        st.just("wasm"),
        networks=st.lists(st.sampled_from(NetworkType), max_size=2).map(tuple),
    ),
    max_size=2,
)
labels = st.dictionaries(st.sampled_from(["zone", "size"]), st.sampled_from(["", "a", "b", "7", "9", "10"]))
# Few values, so that nodes share them; neighbours of powers of two, where the levels of the index meet.
cpus = st.sampled_from([0, 0.5, 0.511, 0.512, 1, 1.023, 1.024, 2, 4])
SIZES = [0, 1, 2, 3, 4, 7, 8, 2**33 - 1, 2**33]
sizes = st.sampled_from(SIZES)
nodes = st.builds(
    lambda name, labels, engines, *rest: NodeInfo(
        name, FrozenMap({**labels, "name": name}), FrozenMap({each.name: each for each in engines}), *rest
    ),
    st.sampled_from([f"n{number}" for number in range(8)]),
    labels,
    engines,
    st.sampled_from([("bytes",), ("bytes", "path"), ()]),
    st.builds(Resources, cpu=cpus, memory=sizes, disk=sizes, gpu=st.integers(0, 3)),
    st.integers(0, 3),
)
resources = st.builds(Resources, cpu=cpus, memory=sizes, disk=sizes, gpu=st.integers(0, 3) | st.just("all"))
SELECTORS = [
    *("zone", "!zone", "zone = a", "zone != a", "zone in (a, b)", "zone notin (a, b)", "zone ="),
    *(
        "size > 7",
        "size < 10",
        "size > 8, size < 10",
        "name = n3",
        "name != n3",
        "name in (n1, n2, n9)",
        "other",
    ),
]
selectors = st.lists(st.sampled_from(SELECTORS), max_size=2).map(", ".join)
demands = st.builds(
    Demand,
    st.sampled_from(["docker", "docker", "wasm", "function"]),
    st.none() | st.sampled_from(PLATFORMS).map(Platform.parse),
    st.builds(Selector, selectors),
    st.sampled_from([(), (), ("bytes",), ("bytes", "path")]),
    st.sampled_from([NetworkType.NONE, NetworkType.NONE, NetworkType.HTTP]),
    st.just(Resources()) | resources,
)


def names(known: NodeIndex, found: NodeSet) -> list[str]:
    return [each.info.name for each in known.entries(found)]


def slowly(known: NodeIndex, demand: Demand) -> list[str]:
    return [each.info.name for each in known if lasting_refusal(each.info, demand) is None]


class Nodes(RuleBasedStateMachine):
    """Nodes come, change, go, fill and empty; every answer of the index is held against the slow one."""

    @initialize(few=st.sampled_from([1, 3, node_index._FEW]))
    def begin(self, few: int) -> None:
        self.few = mock.patch.object(node_index, "_FEW", few)  # from how many on a group is kept as bits
        self.few.start()
        self.index = NodeIndex()
        self.infos: dict[str, NodeInfo] = {}

    def teardown(self) -> None:
        if hasattr(self, "few"):
            self.few.stop()

    @rule(info=nodes)
    def put(self, info: NodeInfo) -> None:
        assert self.index.put(info) == (self.infos.get(info.name) != info)
        self.infos[info.name] = info

    @precondition(lambda self: self.infos)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.infos)))
        self.index.remove(name)
        del self.infos[name]

    @precondition(lambda self: self.infos)
    @rule(data=st.data(), execution_id=st.sampled_from("abc"), wanted=resources, adopt=st.booleans())
    def reserve(self, data: st.DataObject, execution_id: str, wanted: Resources, adopt: bool) -> None:
        each = entry(self.index, data.draw(st.sampled_from(sorted(self.infos))))
        if adopt:
            each.account.adopt(execution_id, wanted)
        else:
            each.account.reserve(execution_id, wanted)
        self.index.refresh(each)

    @precondition(lambda self: self.infos)
    @rule(data=st.data(), execution_id=st.sampled_from("abc"), saturated=st.booleans())
    def release(self, data: st.DataObject, execution_id: str, saturated: bool) -> None:
        each = entry(self.index, data.draw(st.sampled_from(sorted(self.infos))))
        each.account.release(execution_id)
        each.saturated = refusal(lasting=False) if saturated else None
        self.index.refresh(each)

    @rule(engine=st.sampled_from(["docker", "wasm"]))
    def ask_for_one_thing_after_the_other(self, engine: str) -> None:
        plain = Demand(engine)
        for selector in SELECTORS:
            self.ask(evolve(plain, selector=Selector(selector)))
        for platform in PLATFORMS:
            self.ask(evolve(plain, platform=Platform.parse(platform)))
        for size in SIZES:
            for axis in ("memory", "disk"):
                self.ask(evolve(plain, resources=Resources(**{axis: size})))

    @rule(demand=demands)
    def ask_for_much(self, demand: Demand) -> None:
        self.ask(demand)

    def ask(self, demand: Demand) -> None:
        for _ in range(2):  # the second answer is a remembered one
            assert sorted(names(self.index, self.index.matching(demand))) == sorted(
                slowly(self.index, demand)
            )
        for given_nodes in (self.index.matching(demand), self.index.all):
            assert names(self.index, self.index.with_room(demand, given_nodes)) == [
                each.info.name
                for each in self.index.entries(given_nodes)
                if not each.saturated and not each.account.shortage(demand.resources)
            ]

    @invariant()
    def everything_is_there(self) -> None:
        if hasattr(self, "index"):
            assert {each.info.name: each.info for each in self.index} == self.infos
            assert len(self.index) == len(self.infos)
            assert sorted(names(self.index, self.index.all)) == sorted(self.infos)
            for name, info in self.infos.items():
                found = entry(self.index, name)
                assert found.account.capacity == info.capacity
                assert found.account.max_executions == info.max_executions


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=150, stateful_step_count=40)


def test_the_slot_of_a_node_that_left_is_used_again() -> None:
    known = index(node("n1"), node("n2"), node("n3"))
    slot = entry(known, "n2").slot
    known.remove("n2")
    known.put(node("n4"))
    assert entry(known, "n4").slot == slot
    assert names(known, known.matching(Demand("wasm", selector=Selector("name = n4")))) == ["n4"]
    assert known.matching(Demand("wasm", selector=Selector("name = n2"))) == 0
    assert [each.info.name for each in known] == ["n1", "n3", "n4"]


def test_a_node_that_left_leaves_nothing() -> None:
    known = NodeIndex()
    for number in range(100):
        known.put(node(f"n{number}", labels={"zone": f"z{number}"}, cpu=number))
        known.remove(f"n{number}")
    assert known.all == known.matching(Demand("wasm")) == 0
    assert known._slots == [None]
    assert known._with_slot == 0
    assert not [*known._labels["zone"], *known._labels["name"]]
    assert not known._free._known
    assert not known._total._known
    assert not any(level for axis in (*known._free._axes, *known._total._axes) for level in axis._levels)


def test_an_answer_that_is_remembered_goes_with_the_nodes_it_was_about() -> None:
    known = index(node("n1"))
    demand = Demand("wasm", selector=Selector("zone = a"))
    assert known.matching(demand) == 0
    known.put(node("n1", labels={"zone": "a"}))
    assert names(known, known.matching(demand)) == ["n1"]
    known.remove("n1")
    assert known.matching(demand) == 0


def test_only_so_many_answers_are_remembered() -> None:
    known = index(node("n1"))
    with mock.patch.object(node_index, "_REMEMBERED", 10):
        for number in range(100):
            known.matching(Demand("wasm", selector=Selector(f"zone = {number}")))
            assert len(known._matches) <= 10


def test_a_saturated_node_has_no_room_until_it_is_refreshed() -> None:
    known = index(node("n1"))
    demand = Demand("wasm")
    entry(known, "n1").saturated = refusal(lasting=False)
    known.refresh(entry(known, "n1"))
    assert known.matching(demand) == 1
    assert known.with_room(demand, 1) == 0
    entry(known, "n1").saturated = None
    known.refresh(entry(known, "n1"))
    assert known.with_room(demand, 1) == 1


@given(st.sets(st.integers(0, 5000)))
def test_sets_are_bits(slots: set[int]) -> None:
    bits = node_index._bits(slots)
    assert bits == sum(1 << slot for slot in slots)
    assert list(node_index._slots(bits)) == sorted(slots)


# ---- Which of very many nodes are ranked ----


def preferred(info: NodeInfo, demand: Demand) -> tuple[bool, int]:
    return native(info, demand), demand.selector.preference(info.labels)


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(["", "zone", "zone size", "size"])), min_size=1, max_size=30
    ),
    st.none() | st.just(Platform("linux", "amd64")),
    st.sampled_from(["", "zone", "zone, size", "zone, !size", "zone, size, name = n3"]),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_a_shortlist_has_the_best(
    kinds: list[tuple[bool, str]], platform: Platform | None, prefer: str, length: int, start: int
) -> None:
    native_one, emulating = docker("linux/amd64"), docker(emulated=["linux/amd64"])
    known = NodeIndex()
    for number, (runs_natively, keys) in enumerate(kinds):
        engine = native_one if runs_natively else emulating
        known.put(node(f"n{number}", engine, labels=dict.fromkeys(keys.split(), "a")))
    known.put(node("other", EngineInfo("wasm")))
    demand = Demand("docker", platform, Selector("", prefer))
    matching = known.matching(demand)
    short = known.shortlist(demand, matching, length, start)
    assert short & ~matching == 0
    assert short.bit_count() == min(length, len(kinds))
    inside = [preferred(each.info, demand) for each in known.entries(short)]
    outside = [preferred(each.info, demand) for each in known.entries(matching & ~short)]
    assert not outside or min(inside) >= max(outside)


def test_shortlists_of_different_jobs_begin_at_different_places() -> None:
    known = index(*(node(f"n{number}") for number in range(10)))
    assert names(known, known.shortlist(Demand("wasm"), known.all, 3, 4)) == ["n4", "n5", "n6"]
    assert names(known, known.shortlist(Demand("wasm"), known.all, 3, 18)) == ["n0", "n8", "n9"]
    assert known.shortlist(Demand("wasm"), known.all, 10, 4) == known.all


# ---- Many nodes ----

COUNT = 100_000


@pytest.fixture(scope="module")
def many() -> NodeIndex:
    """100,000 nodes of a few kinds, each with its name as a label."""
    kinds = [
        node("", EngineInfo("wasm"), docker("linux/amd64"), cpu=4),
        node("", EngineInfo("wasm"), docker("linux/arm64", emulated=["linux/amd64"]), cpu=8),
        node("", docker("linux/amd64"), cpu=16, gpu=2),
    ]
    made = NodeIndex()
    for number in range(COUNT):
        name = f"n{number}"
        made.put(
            evolve(kinds[number % 3], name=name, labels=FrozenMap({"name": name, "zone": f"z{number % 7}"}))
        )
    return made


@pytest.mark.parametrize(
    "demand",
    [
        Demand("wasm"),
        Demand("docker", Platform.parse("linux/arm64"), resources=Resources(cpu=1, memory="1GiB")),
        Demand(
            "docker", Platform.parse("linux/amd64"), Selector("zone in (z1, z2)"), resources=Resources(cpu=5)
        ),
        Demand("wasm", selector=Selector("name != n77, zone > 3")),
        Demand("wasm", selector=Selector("name = n99999")),
        Demand("docker", resources=Resources(gpu="all")),
        Demand("function"),
    ],
    ids=["all", "platform and size", "selector and size", "not equal", "by name", "gpu", "none"],
)
def test_a_match_over_very_many_nodes(many: NodeIndex, demand: Demand) -> None:
    found = set(names(many, many.matching(demand)))
    sample = random.Random(str(demand)).sample(range(COUNT), 500)
    for each in [many.get("n77"), *(many.get(f"n{number}") for number in sample)]:
        assert each is not None
        assert (each.info.name in found) == (lasting_refusal(each.info, demand) is None)
    busy = next(iter(many.entries(many.matching(demand))), None)
    roomy = many.with_room(demand, many.matching(demand))
    assert roomy == many.matching(demand)
    if busy is not None:
        fill(many, busy.info.name, "all of it", busy.info.capacity)
        busy.account.max_executions = 1
        many.refresh(busy)
        assert many.with_room(demand, many.matching(demand)) == roomy & ~(1 << busy.slot)
        busy.account.release("all of it")
        busy.account.max_executions = busy.info.max_executions
        many.refresh(busy)
