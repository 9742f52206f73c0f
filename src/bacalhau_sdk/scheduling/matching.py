"""What a job asks of a node, and why a node does not do: one reason for every refusal.

A new reason needs its set of nodes in `node_index` too, which gives the same answers for many nodes at once.
"""

from __future__ import annotations

from attrs import field, frozen

from ..model.job import JobSpec
from ..model.network import NetworkType
from ..model.node import Check, EngineInfo, NodeInfo, Refusal
from ..model.platform import Platform
from ..model.resources import Resources
from ..model.selector import Selector
from .capacity import CapacityAccount

__all__ = ["Demand", "draining_refusal", "lasting_refusal", "native", "room_refusal"]


@frozen(cache_hash=True)
class Demand:
    """All of a spec that decides where it may run; equal demands are queued and matched together.

    Attributes:
        engine: The engine that a node must have.
        platform: What that engine must be able to run, or None.
        selector: What the node's labels must be, and better be.
        sources: The schemes of inputs that the node must be able to stage, sorted.
        network: The kind of network that the engine must be able to give.
        resources: What must be free.
    """

    engine: str
    platform: Platform | None = None
    selector: Selector = field(factory=Selector)
    sources: tuple[str, ...] = ()
    network: NetworkType = NetworkType.NONE
    resources: Resources = field(factory=Resources)

    @classmethod
    def of(cls, spec: JobSpec) -> Demand:
        """Return what a spec asks of a node."""
        sources = {given.source.scheme for given in spec.inputs.values()}
        if spec.stdin is not None:
            sources.add(spec.stdin.scheme)
        return cls(
            engine=spec.engine.engine,
            platform=spec.engine.wanted_platform,
            selector=spec.selector,
            sources=tuple(sorted(sources)),
            network=spec.network.type,
            resources=spec.resources,
        )


def lasting_refusal(node: NodeInfo, demand: Demand) -> Refusal | None:
    """Say why a node could never run a demand as long as its broadcast stays, or None when it could.

    The order of the checks is the contract: engine, platform, selector, inputs, network, total capacity.
    """
    engine = node.engines.get(demand.engine)
    if engine is None:
        offered = ", ".join(node.engines) or "no engine"
        hint = "add an executor for it to the node"
        return Refusal(node.name, Check.ENGINE, demand.engine, offered, hint)
    return (
        _platform_refusal(node, engine, demand)
        or _selector_refusal(node, demand)
        or _inputs_refusal(node, demand)
        or _network_refusal(node, engine, demand)
        or _total_refusal(node, demand)
    )


def room_refusal(node: NodeInfo, account: CapacityAccount, demand: Demand) -> Refusal | None:
    """Say why a node has no room for a demand now, or None when it has."""
    short = account.shortage(demand.resources)
    if not short:
        return None
    return Refusal(
        node.name,
        Check.CAPACITY,
        str(demand.resources),
        f"too little free now: {'; '.join(short)}",
        "it runs when there is room, or with smaller resources",
        lasting=False,
    )


def draining_refusal(node: NodeInfo, hint: str = "") -> Refusal | None:
    """Say that a node takes nothing new because it is being drained, or None when it does."""
    if not node.draining:
        return None
    asked, offered = "a node that takes new executions", "it is being drained"
    return Refusal(node.name, Check.DRAINING, asked, offered, hint, lasting=False)


def native(node: NodeInfo, demand: Demand) -> bool:
    """Say whether a node that matches runs the demand without emulation."""
    if demand.platform is None:
        return True
    platforms = node.engines[demand.engine].platforms
    return any(not known.emulated and known.platform.runs(demand.platform) for known in platforms)


def _platform_refusal(node: NodeInfo, engine: EngineInfo, demand: Demand) -> Refusal | None:
    wanted = demand.platform
    if (
        wanted is None
        or not engine.platforms
        or any(known.platform.runs(wanted) for known in engine.platforms)
    ):
        return None
    offered = ", ".join(map(str, engine.platforms))
    hint = f"use an image for one of these platforms, or a node that runs {wanted}"
    return Refusal(node.name, Check.PLATFORM, str(wanted), offered, hint)


def _selector_refusal(node: NodeInfo, demand: Demand) -> Refusal | None:
    for requirement in demand.selector.requirements:
        if not requirement.matches(node.labels):
            value = node.labels.get(requirement.key)
            offered = f"no label {requirement.key}" if value is None else f"{requirement.key} = {value}"
            return Refusal(
                node.name,
                Check.SELECTOR,
                str(requirement),
                offered,
                "change the selector or the node's labels",
            )
    return None


def _inputs_refusal(node: NodeInfo, demand: Demand) -> Refusal | None:
    missing = [scheme for scheme in demand.sources if scheme not in node.sources]
    if not missing:
        return None
    asked = f"inputs by {', '.join(missing)}"
    return Refusal(
        node.name, Check.INPUTS, asked, ", ".join(node.sources), "give the input as a path or as bytes"
    )


def _network_refusal(node: NodeInfo, engine: EngineInfo, demand: Demand) -> Refusal | None:
    if demand.network in engine.networks:
        return None
    offered = ", ".join(kind.value for kind in engine.networks)
    return Refusal(
        node.name, Check.NETWORK, f"network {demand.network.value}", offered, "ask for one of these networks"
    )


def _total_refusal(node: NodeInfo, demand: Demand) -> Refusal | None:
    short = demand.resources.shortage(node.capacity)
    if not short and node.max_executions > 0:
        return None
    offered = f"too little in all: {'; '.join(short) or 'it takes no executions'}"
    return Refusal(
        node.name, Check.TOTAL_CAPACITY, str(demand.resources), offered, "ask for less, or give the node more"
    )
