"""What a job asks of a node, and the reason for every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve

from bacalhau_sdk.model.data import Input
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.network import Network, NetworkType
from bacalhau_sdk.model.node import Check, EngineInfo, NodeInfo, Refusal
from bacalhau_sdk.model.platform import Platform
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.model.selector import Selector
from bacalhau_sdk.scheduling.capacity import CapacityAccount
from bacalhau_sdk.scheduling.matching import Demand, lasting_refusal, native, room_refusal
from tests.scheduling.makers import docker, node, wasm

ARM = Platform("linux", "arm64")
AMD = Platform("linux", "amd64")

#: What is asked for, and the refusal of node n1 (4 CPUs, 8 GiB, WASM, containers for linux/amd64) in full.
REFUSALS: dict[str, tuple[NodeInfo, Demand, Refusal]] = {
    "engine": (
        node(),
        Demand("function"),
        Refusal("n1", Check.ENGINE, "function", "wasm, docker", "add an executor for it to the node"),
    ),
    "no engine": (
        evolve(node(), engines=FrozenMap()),
        Demand("wasm"),
        Refusal("n1", Check.ENGINE, "wasm", "no engine", "add an executor for it to the node"),
    ),
    "platform": (
        node("n1", docker("linux/amd64", "linux/386", emulated=["linux/riscv64"])),
        Demand("docker", ARM),
        Refusal(
            "n1",
            Check.PLATFORM,
            "linux/arm64",
            "linux/amd64, linux/386, linux/riscv64 (emulated)",
            "use an image for one of these platforms, or a node that runs linux/arm64",
        ),
    ),
    "label missing": (
        node(),
        Demand("wasm", selector=Selector("zone in (dc, field)")),
        Refusal(
            "n1",
            Check.SELECTOR,
            "zone in (dc, field)",
            "no label zone",
            "change the selector or the node's labels",
        ),
    ),
    "label of another value": (
        node(labels={"size": "41"}),
        Demand("wasm", selector=Selector("name = n1, size > 42")),
        Refusal("n1", Check.SELECTOR, "size > 42", "size = 41", "change the selector or the node's labels"),
    ),
    "inputs": (
        node(),
        Demand("wasm", sources=("https", "path", "s3")),
        Refusal(
            "n1", Check.INPUTS, "inputs by https, s3", "bytes, path", "give the input as a path or as bytes"
        ),
    ),
    "network": (
        node("n1", EngineInfo("wasm", networks=(NetworkType.NONE, NetworkType.HTTP))),
        Demand("wasm", network=NetworkType.HOST),
        Refusal("n1", Check.NETWORK, "network host", "none, http", "ask for one of these networks"),
    ),
    "too large": (
        node(),
        Demand("wasm", resources=Resources(cpu=8, memory="9GiB", gpu=1)),
        Refusal(
            "n1",
            Check.TOTAL_CAPACITY,
            "cpu 8, memory 9 GiB, gpu 1",
            "too little in all: cpu 8 of 4; memory 9 GiB of 8 GiB; gpu 1 of 0",
            "ask for less, or give the node more",
        ),
    ),
    "no executions": (
        node(max_executions=0),
        Demand("wasm"),
        Refusal(
            "n1",
            Check.TOTAL_CAPACITY,
            "nothing",
            "too little in all: it takes no executions",
            "ask for less, or give the node more",
        ),
    ),
}


@pytest.mark.parametrize(("info", "demand", "expected"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_says_what_was_asked_what_is_offered_and_what_to_do(
    info: NodeInfo, demand: Demand, expected: Refusal
) -> None:
    refusal = lasting_refusal(info, demand)
    assert refusal == expected
    assert refusal.lasting


def test_a_refusal_is_one_line() -> None:
    info, demand, _ = REFUSALS["platform"]
    assert str(lasting_refusal(info, demand)) == (
        "node n1: platform: asked for linux/arm64, offers linux/amd64, linux/386, linux/riscv64 (emulated) "
        "(use an image for one of these platforms, or a node that runs linux/arm64)"
    )


def test_a_node_that_fits_does_not_refuse() -> None:
    demand = Demand(
        "docker", AMD, Selector("name = n1"), ("bytes",), resources=Resources(cpu=4, memory="8GiB")
    )
    assert lasting_refusal(node(), demand) is None


def test_the_order_of_the_checks() -> None:
    """A demand that fits in nothing is mended step by step; each step meets the next check."""
    hopeless = Demand(
        "function", ARM, Selector("zone = dc"), ("s3",), NetworkType.HOST, Resources(cpu=99, memory="99GiB")
    )
    steps: list[Mapping[str, Any]] = [
        {"engine": "docker"},
        {"platform": AMD},
        {"selector": Selector()},
        {"sources": ()},
        {"network": NetworkType.NONE},
        {"resources": Resources()},
    ]
    met = [lasting_refusal(node(), hopeless)]
    for step in steps:
        hopeless = evolve(hopeless, **step)
        met.append(lasting_refusal(node(), hopeless))
    assert met.pop() is None
    checks = [refusal.check for refusal in met if refusal is not None]
    assert checks == [
        Check.ENGINE,
        Check.PLATFORM,
        Check.SELECTOR,
        Check.INPUTS,
        Check.NETWORK,
        Check.TOTAL_CAPACITY,
    ]
    assert checks == list(Check)[: len(checks)], "the enum is in the order of the checks"


@pytest.mark.parametrize(
    ("engine", "wanted", "runs", "natively"),
    [
        (docker("linux/amd64"), None, True, True),
        (docker("linux/amd64"), "linux/amd64", True, True),
        (docker("linux/amd64"), "linux/arm64", False, False),
        (docker("linux/amd64", emulated=["linux/arm64"]), "linux/arm64", True, False),
        (docker("linux/amd64", "linux/arm64", emulated=["linux/arm64"]), "linux/arm64", True, True),
        # containerd's rules: variants run lower ones.
        (docker("linux/arm/v7"), "linux/arm/v6", True, True),
        (docker("linux/arm/v6"), "linux/arm/v7", False, False),
        (docker("linux/amd64/v3"), "linux/amd64/v2", True, True),
        (docker("linux/amd64"), "linux/amd64/v3", False, False),
        (docker("linux/x86_64"), "linux/amd64", True, True),
        # An empty list means unknown, not none; what is known to be native goes first.
        (docker(), "linux/arm64", True, False),
    ],
)
def test_platforms(engine: EngineInfo, wanted: str | None, runs: bool, natively: bool) -> None:
    demand = Demand("docker", Platform.parse(wanted) if wanted else None)
    assert (lasting_refusal(node("n1", engine), demand) is None) == runs
    assert native(node("n1", engine), demand) == natively


# The original's table I.
@pytest.mark.parametrize(
    ("selector", "matching"),
    [
        ("name = node-1", "1"),
        ("env = prod", "12"),
        ("name = node-1, env = prod", "1"),
        ("env != prod", "3"),
        ("env in (prod, test)", "123"),
        ("env notin (prod, test)", ""),
    ],
)
def test_selectors(selector: str, matching: str) -> None:
    nodes = [
        node(f"node-{number}", labels={"env": env}) for number, env in ((1, "prod"), (2, "prod"), (3, "test"))
    ]
    demand = Demand("wasm", selector=Selector(selector))
    assert "".join(info.name[-1] for info in nodes if lasting_refusal(info, demand) is None) == matching


# The original's table C, its ranker of the most that a node takes.
@pytest.mark.parametrize(
    ("resources", "fits"),
    [
        (Resources(), "sml"),
        (Resources(cpu=0.1), "sml"),
        (Resources(cpu=1), "sml"),
        (Resources(cpu=2), "ml"),
        (Resources(cpu=3), "l"),
        (Resources(cpu=3.1), ""),
        (Resources(memory="2GB"), ""),
        (Resources(memory="1GB"), "l"),
        (Resources(cpu=3, memory="2GB"), ""),
    ],
)
def test_sizes(resources: Resources, fits: str) -> None:
    nodes = [node("s", cpu=1, memory=1000), node("m", cpu=2, memory="1MB"), node("l", cpu=3, memory="1GB")]
    found = [
        info.name for info in nodes if lasting_refusal(info, Demand("wasm", resources=resources)) is None
    ]
    assert "".join(found) == fits


def test_want_of_room_does_not_last() -> None:
    info = node(cpu=4)
    account = CapacityAccount(info.capacity, 2)
    demand = Demand("wasm", resources=Resources(cpu=3))
    assert room_refusal(info, account, demand) is None
    account.reserve("other", Resources(cpu=2))
    assert lasting_refusal(info, demand) is None
    assert room_refusal(info, account, demand) == Refusal(
        "n1",
        Check.CAPACITY,
        "cpu 3",
        "too little free now: cpu 3 of 2",
        "it runs when there is room, or with smaller resources",
        lasting=False,
    )


def test_a_demand_is_all_of_a_spec_that_decides_where_it_may_run() -> None:
    spec = JobSpec.docker(
        "busybox",
        platform="linux/aarch64",
        inputs={"/a": Input("https://example.com/a"), "/c": "https://example.com/c"},
        stdin=b"text",
        selector="zone = dc",
        network=Network("http", ["example.com"]),
        resources=Resources(cpu=2),
    )
    assert Demand.of(spec) == Demand(
        "docker", ARM, Selector("zone = dc"), ("bytes", "https"), NetworkType.HTTP, Resources(cpu=2)
    )


def test_specs_that_may_run_at_the_same_places_have_equal_demands() -> None:
    one = Demand.of(wasm(priority=1, count=3, env={"A": "1"}, selector="a, b"))
    other = Demand.of(wasm(outputs={"o": "/o"}, selector="b, a"))
    assert (one, hash(one)) == (other, hash(other))
