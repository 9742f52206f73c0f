"""The cores in a world of faults: what must hold, holds for every seed."""

from __future__ import annotations

import random
import pytest

from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.node import EngineInfo, NodeInfo
from bacalhau_sdk.model.platform import Platform, PlatformSupport
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.events import CancelJob, SubmitJob
from tests.scheduling.world import Faults, World


def random_world(seed: int, kill_at: int | None = None, *, kind: bool = False) -> World:
    chance = random.Random(f"scenario {seed}")
    nodes = [
        NodeInfo(
            f"n{index}",
            FrozenMap({"name": f"n{index}", "zone": chance.choice("ab")}),
            FrozenMap(
                {
                    "wasm": EngineInfo("wasm"),
                    "docker": EngineInfo(
                        "docker", (PlatformSupport(Platform("linux", chance.choice(["amd64", "arm64"]))),)
                    ),
                }
            ),
            capacity=Resources(cpu=chance.choice([1, 2, 4]), memory="4GiB", gpu=chance.choice([0, 2])),
            max_executions=chance.choice([1, 3, 8]),
        )
        for index in range(chance.randint(1, 4))
    ]
    faults = Faults(120, *(chance.choice([0, top / 4, top]) for top in (0.3, 0.3, 0.2, 0.2, 0.2)))
    world = World(seed, nodes, Faults() if kind else faults, kill_at)
    for number in range(chance.randint(1, 10)):
        spec = JobSpec.wasm(
            b"\0asm",
            count=chance.choice([0, 1, 1, 2, 5]),
            resources=Resources(cpu=chance.choice([0, 0.1, 0.5, 1, 2]), gpu=chance.choice([0, 0, 1, "all"])),
            priority=chance.choice([0, 0, 1]),
            selector=chance.choice(["", "", "zone = a"]),
        )
        time = chance.uniform(0, 60)
        world.ask(time, SubmitJob(f"j{number}", spec))
        if chance.random() < 0.4:
            for _ in range(chance.choice([1, 2])):
                world.ask(
                    time + chance.choice([0.001, 0.5, 3, 30]) * chance.random(),
                    CancelJob(f"j{number}", "unwanted"),
                )
    return world


@pytest.mark.parametrize("seed", range(201))
def test_world(seed: int) -> None:
    world = random_world(seed)
    world.run()
