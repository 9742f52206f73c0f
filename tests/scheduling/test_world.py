"""The cores in worlds of faults: what must hold, holds for every seed, and at whatever point something happens."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bacalhau_sdk.model.job import JobSpec, JobState, RetryPolicy, Timeouts
from bacalhau_sdk.model.message import CancelExecution, Heartbeat
from bacalhau_sdk.model.node import Check, NodeInfo, Refusal
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.events import CancelJob, SubmitJob
from tests.scheduling.makers import docker, node, wasm
from tests.scheduling.world import Faults, World

ROOT = Path(__file__).resolve().parents[2]


def random_world(seed: int) -> World:
    """Draw nodes, jobs, cancels and faults."""
    draw = random.Random(f"world {seed}")
    gpus: list[int | str] = [0, 0, 1, "all"]
    nodes = [
        node(
            f"n{number}",
            *draw.choice([(docker("linux/amd64"),), (docker("linux/arm64", emulated=["linux/amd64"]),)]),
            labels={"zone": draw.choice("ab")},
            cpu=draw.choice([1, 2, 4]),
            gpu=draw.choice([0, 2]),
            max_executions=draw.choice([1, 3, 8]),
        )
        for number in range(draw.randint(1, 4))
    ]
    faults = Faults(120, *(draw.choice([0, most / 4, most]) for most in (0.3, 0.3, 0.2, 0.2, 0.2)))
    kills = sorted(draw.sample(range(150), draw.choice([0, 0, 1, 3])))
    world = World(seed, nodes, faults, tuple(kills), downtime=draw.choice([0, 0, 10, 60]))
    for info in nodes:
        if draw.random() < 0.2:
            start = draw.uniform(0, 90)
            world.cut[info.name] = (start, min(120, start + draw.choice([10, 30, 60])))
    for number in range(draw.randint(1, 10)):
        ops = draw.random() < 0.2
        spec = JobSpec.docker(
            "busybox",
            platform=draw.choice([None, None, "linux/amd64", "linux/arm64"]),
            type="ops" if ops else "batch",
            count=None if ops else draw.choice([0, 1, 1, 2, 5]),
            resources=Resources(cpu=draw.choice([0, 0.1, 0.5, 1, 2]), gpu=draw.choice(gpus)),
            priority=draw.choice([0, 0, 1]),
            selector=draw.choice(["", "", "zone = a"]),
            retry=RetryPolicy(draw.choice([1, 1, 3]), backoff=2, retry_timeouts=draw.random() < 0.5),
            timeouts=Timeouts(queue=draw.choice([None, None, 90]), execution=draw.choice([None, None, 20])),
        )
        time = draw.uniform(0, 60)
        world.ask(time, SubmitJob(f"j{number}", spec))
        for _ in range(draw.choice([0, 0, 1, 2])):
            world.ask(
                time + draw.choice([0.01, 1, 5, 30]) * draw.random(), CancelJob(f"j{number}", "unwanted")
            )
    return world


@pytest.mark.parametrize("seed", range(200))
def test_world(seed: int) -> None:
    random_world(seed).run()


def test_the_worlds_are_rich_enough() -> None:
    """What the seeds are for, happens in some of them."""
    states: Counter[str] = Counter()
    for seed in range(40):
        world = random_world(seed)
        world.run()
        states.update(f"job {each.state.value}" for each in world.jobs.values())
        states.update(f"execution {each.state.value}" for each in world.executions.values())
        states.update(
            {"kills": world.killed, "retried": sum(e.attempt > 1 for e in world.executions.values())}
        )
        states["fenced"] += sum(each.fenced for each in world.executions.values())
        states.update({"codes " + each.failure.code: 1 for each in world.jobs.values() if each.failure})
    for kind in ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"):
        assert states[f"job {kind}"] >= 5
        assert states[f"execution {kind}"] >= 5
    assert states["execution ASK_FOR_BID_REJECTED"] >= 5
    assert min(states["kills"], states["retried"], states["fenced"]) >= 5
    assert {each for each in states if each.startswith("codes")} >= {
        "codes world.fault",
        "codes job.no_matching_node",
    }


# ---- The same seed, the same world ----


def digest(seeds: range) -> str:
    """Return a hash over all effects of some worlds."""
    found = hashlib.blake2b()
    for seed in seeds:
        world = random_world(seed)
        world.run()
        found.update("\n".join(world.trace).encode())
    return found.hexdigest()


def test_equal_events_have_equal_effects_whatever_the_hash_seed() -> None:
    code = "from tests.scheduling.test_world import digest; print(digest(range(12)))"
    found = {digest(range(12))}
    for hash_seed in ("0", "1", "42"):
        env = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
        )
        found.add(run.stdout.strip())
    assert len(found) == 1


# ---- Small scenarios, exhaustively ----

TWO: list[NodeInfo] = [node("n1", cpu=2), node("n2", cpu=1, labels={"zone": "b"})]


def scenario(faults: Faults | None = None, kills: tuple[int, ...] = (), downtime: float = 0.0) -> World:
    """More partitions than room, a job that is cancelled, one that fits nowhere, one of no partitions."""
    world = World(7, TWO, faults, kills, downtime)
    world.ask(2, SubmitJob("runs", wasm(count=4, resources=Resources(cpu=1))))
    world.ask(3, SubmitJob("waits", wasm(count=2, resources=Resources(cpu=2))))
    world.ask(4, SubmitJob("cancelled", wasm(count=5, resources=Resources(cpu=0.5), priority=1)))
    world.ask(9, CancelJob("cancelled", "unwanted"))
    world.ask(5, SubmitJob("nowhere", wasm(selector="zone = c")))
    world.ask(6, SubmitJob("empty", wasm(count=0)))
    return world


ENDS = {
    "runs": JobState.COMPLETED,
    "waits": JobState.COMPLETED,
    "cancelled": JobState.CANCELLED,
    "nowhere": JobState.FAILED,
    "empty": JobState.COMPLETED,
}


def ends(world: World) -> dict[str, JobState]:
    world.run()
    return {job.id: job.state for job in world.jobs.values()}


def test_the_scenario() -> None:
    world = scenario()
    assert ends(world) == ENDS
    assert not any(each.attempt > 1 for each in world.executions.values())


@pytest.mark.parametrize("downtime", [0, 50])
def test_the_orchestrator_may_die_between_any_two_effects(downtime: float) -> None:
    """Before a commit, what was decided never was; after it, what was not sent is sent when the nodes are heard of."""
    whole = scenario()
    whole.run()
    assert whole.performed > 50, "there are that many points to die at"
    for effect in range(whole.performed):
        world = scenario(kills=(effect,), downtime=downtime)
        assert ends(world) == ENDS
        assert world.killed == 1


@pytest.mark.parametrize("apart", [1, 2, 7])
def test_the_orchestrator_may_die_again_in_its_next_life(apart: int) -> None:
    for effect in range(45):
        world = scenario(kills=(effect, effect + apart))
        assert ends(world) == ENDS
        assert world.killed == 2


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "faults",
    [Faults(100, loss=0.2), Faults(100, doubling=1.0), Faults(100, doubling=0.5, loss=0.2)],
    ids=["lost", "doubled", "both"],
)
def test_lost_and_doubled_messages_are_only_a_delay(faults: Faults, seed: int) -> None:
    world = scenario(faults)
    world.random.seed(seed)
    assert ends(world) == ENDS
    done = Counter(each.job_id for each in world.executions.values() if each.job_id in ("runs", "waits"))
    assert done == {"runs": 4, "waits": 2}, "nothing has run twice"


def test_a_job_may_be_cancelled_at_any_point() -> None:
    ended: Counter[JobState] = Counter()
    steps = 0
    while True:
        world = World(3, TWO)
        world.ask(2, SubmitJob("j", wasm(count=2)))
        for _ in range(steps):
            world.step()
        before = world.jobs.get("j")
        for _ in range(2):
            world.ask(0, CancelJob("j", "unwanted"))
        world.run()
        state = world.jobs["j"].state
        if before is not None and before.state.terminal:
            assert world.jobs["j"] == before
            break
        cancels = [
            line for line in world.trace if CancelExecution.__name__ in line and "orchestrator" in line
        ]
        if before is not None:
            assert state is JobState.CANCELLED or not cancels
        ended[state] += 1
        steps += 1
    assert ended[JobState.CANCELLED] >= 20


def test_a_failure_names_its_seed() -> None:
    world = random_world(11)
    world.machines["n0"].core.account.capacity = Resources(cpu=99)
    world.orchestrator.membership.saturate("n0", Refusal("n0", Check.CAPACITY, "", "", lasting=False))
    world.after(1, lambda: pytest.fail("now"))
    with pytest.raises(BaseException, match="now"):
        world.run()


def test_nothing_is_said_in_a_quiet_world_but_heartbeats() -> None:
    world = scenario()
    world.run()
    quiet_from = world.now + 2
    while world.now < quiet_from:
        world.step()  # until what was on its way has arrived
    end = len(world.trace)
    for _ in range(100):
        world.step()
    quiet = world.trace[end:]
    assert len(quiet) > 50
    assert all(Heartbeat.__name__ in line or "WakeAt" in line for line in quiet)
