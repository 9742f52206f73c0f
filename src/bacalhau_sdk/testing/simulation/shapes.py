"""The nodes and the jobs of a simulated world."""

from __future__ import annotations

from functools import cache

from ...model.frozenmap import FrozenMap
from ...model.job import JobOptions, JobSpec, JobType, RetryPolicy, Timeouts
from ...model.network import NetworkType
from ...model.node import EngineInfo, NodeInfo
from ...model.platform import Platform, PlatformSupport
from ...model.resources import Resources
from .chance import Chance

__all__ = ["draw_nodes", "draw_spec"]

_GIB = 2**30
_PALETTE = 400


def draw_nodes(chance: Chance, count: int) -> list[NodeInfo]:
    """Return nodes with engines for two platforms, of different sizes."""
    nodes: list[NodeInfo] = []
    for number in range(count):
        name = f"n{number}"
        arm = chance.happens(0.3)
        platforms = [PlatformSupport(Platform.parse("linux/arm64" if arm else "linux/amd64"))]
        if arm and chance.happens(0.5):
            platforms.append(PlatformSupport(Platform.parse("linux/amd64"), emulated=True))
        engines = [EngineInfo("docker", tuple(platforms), tuple(NetworkType)), EngineInfo("wasm")]
        nodes.append(
            NodeInfo(
                name=name,
                labels=FrozenMap(
                    {"name": name, "zone": chance.of("ab"), "arch": "arm64" if arm else "amd64"}
                ),
                engines=FrozenMap({engine.name: engine for engine in engines}),
                capacity=Resources(cpu=chance.of((2, 4, 8)), memory=chance.of((4, 8)) * _GIB, disk=0),
                max_executions=chance.of((3, 4, 6)),
            )
        )
    return nodes


def draw_spec(chance: Chance) -> JobSpec:
    """Return the spec of a job of one of many shapes."""
    return chance.of(_palette())


@cache
def _palette() -> tuple[JobSpec, ...]:
    """Return the specs, made once: a spec is a value, and making one takes longer than scheduling it."""
    chance = Chance(20_260_306)
    return tuple(_spec(chance) for _ in range(_PALETTE))


def _spec(chance: Chance) -> JobSpec:
    attempts = chance.of((1, 1, 2, 3, 4))
    retry = RetryPolicy(
        attempts,
        chance.of((0.5, 2.0, 8.0)),
        retry_timeouts=chance.happens(0.5),
        retry_nonzero_exit=chance.happens(0.3),
    )
    execution = chance.of((None, 15.0, 40.0))
    queue = chance.of((None, None, 60.0, 120.0))
    total = chance.of((None, None, 200.0, 600.0))
    timeouts = Timeouts(queue, execution, total)
    resources = Resources(cpu=chance.of((0, 0.5, 1, 2)), memory=chance.of((0, 1, 2)) * _GIB)
    if chance.happens(0.03):
        resources = Resources(cpu=8, memory=_GIB)
    selector = chance.of(("", "", "", "zone = a", "zone != b", "arch = amd64"))
    if chance.happens(0.02):
        selector = "zone = nowhere"
    kind = JobType.OPS if chance.happens(0.02) else JobType.BATCH
    count = None if kind is JobType.OPS else chance.of((1, 1, 1, 1, 1, 2, 3, 5))
    options: JobOptions = {
        "retry": retry,
        "timeouts": timeouts,
        "resources": resources,
        "selector": selector,
        "type": kind,
        "count": count,
        "priority": chance.of((0, 0, 0, 5, -5)),
    }
    platform = chance.of((None, "linux/amd64", "linux/arm64"))
    if chance.happens(0.7):
        return JobSpec.docker("busybox", platform=platform, **options)
    return JobSpec.wasm(b"\0asm", **options)
