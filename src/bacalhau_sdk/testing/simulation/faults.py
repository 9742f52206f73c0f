"""What can go wrong in a simulated world, and which of it does in the world of a seed."""

from __future__ import annotations

from attrs import fields, frozen

from .chance import Chance

__all__ = ["ALL_FAULTS", "NO_FAULTS", "Faults", "draw_faults"]


@frozen
class Faults:
    """How likely, or how far apart in seconds, things go wrong; 0 means never.

    Attributes:
        until: From then on nothing goes wrong any more.
        loss: A message is lost.
        doubling: A message arrives twice.
        lateness: A message is held up for up to 50 seconds.
        partitions: Seconds between partitions of some nodes from the orchestrator, a third of them in one direction only.
        flapping: Of a partition: it comes and goes each second.
        orchestrator_crashes: Seconds between crashes of the orchestrator's process.
        node_crashes: Seconds between crashes of a node's process.
        reboots: Of a crash of a node: its engine, and so its workloads, go with it; otherwise they outlive it.
        effect_crashes: A process crashes between two effects.
        stalls: Seconds between standstills of the orchestrator's process.
        clock_jumps: The clock of a process has jumped when it starts again, by up to a year.
        full_disks: Seconds between times in which the store keeps nothing.
        old_stores: Of a restart of the orchestrator: its store is put back to an earlier state.
        old_disks: Of a restart of a node: its disk is put back to an earlier state.
        refusals: A node refuses an offer, for good or for now.
        input_faults: The inputs of an execution cannot be staged.
        run_faults: A workload fails, one in five for good.
        hangs: A workload that has a limit never ends by itself.
        kill_faults: A kill does nothing.
        lost_replies: The reply to the creation of a workload is lost, and found out later.
        publish_faults: Results cannot be published.
        drains: Seconds between drains of a node.
        cancels: A job is cancelled, at a random moment.
        resubmits: A job is submitted again with the same id.
    """

    until: float = 240.0
    loss: float = 0.0
    doubling: float = 0.0
    lateness: float = 0.0
    partitions: float = 0.0
    flapping: float = 0.0
    orchestrator_crashes: float = 0.0
    node_crashes: float = 0.0
    reboots: float = 0.0
    effect_crashes: float = 0.0
    stalls: float = 0.0
    clock_jumps: float = 0.0
    full_disks: float = 0.0
    old_stores: float = 0.0
    old_disks: float = 0.0
    refusals: float = 0.0
    input_faults: float = 0.0
    run_faults: float = 0.0
    hangs: float = 0.0
    kill_faults: float = 0.0
    lost_replies: float = 0.0
    publish_faults: float = 0.0
    drains: float = 0.0
    cancels: float = 0.15
    resubmits: float = 0.05


NO_FAULTS = Faults(until=0.0)
"""A world in which all goes well; jobs are cancelled nevertheless."""

ALL_FAULTS = Faults(
    loss=0.05,
    doubling=0.03,
    lateness=0.01,
    partitions=60.0,
    flapping=0.1,
    orchestrator_crashes=90.0,
    node_crashes=90.0,
    reboots=0.4,
    effect_crashes=0.0005,
    stalls=120.0,
    clock_jumps=0.2,
    full_disks=120.0,
    old_stores=0.05,
    old_disks=0.05,
    refusals=0.03,
    input_faults=0.01,
    run_faults=0.05,
    hangs=0.02,
    kill_faults=0.05,
    lost_replies=0.02,
    publish_faults=0.05,
    drains=120.0,
)
"""Everything goes wrong at once, each about as often as in the prototype of ``reliability.md`` §5.2."""

_ALWAYS = ("until", "cancels", "resubmits")


def draw_faults(chance: Chance) -> Faults:
    """Draw which faults a world has: each is on in half of the worlds, as in a swarm; in one of sixteen all are on."""
    if chance.happens(1 / 16):
        return ALL_FAULTS
    drawn: dict[str, float] = {}
    for attribute in fields(Faults):
        name = attribute.name
        drawn[name] = getattr(ALL_FAULTS, name)
        if name not in _ALWAYS and chance.happens(0.5):
            drawn[name] = 0.0
    return Faults(**drawn)
