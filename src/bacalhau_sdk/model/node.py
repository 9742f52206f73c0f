"""What a node says of itself in its broadcasts, and the reasons for which one is passed over."""

from __future__ import annotations

import enum
from xml.etree.ElementTree import Element

from attrs import field, frozen

from .display import ROWS_MAX, card, counted, element, state_badge, table, visible
from .frozenmap import FrozenMap
from .network import NetworkType
from .platform import PlatformSupport
from .problems import printable
from .resources import Resources, format_bytes

__all__ = ["Check", "EngineInfo", "NodeInfo", "NodeState", "Nodes", "Refusal"]


@frozen
class EngineInfo:
    """What an engine of a node can do, from its executor's probe.

    Attributes:
        name: The engine, such as ``wasm`` or ``docker``.
        platforms: What it can run; empty for an engine that does not care.
        networks: The kinds of network that it can give to a job.
        version: Of the engine, for people; may be empty.
        system_env: Whether its workloads get the variables of the system, such as ``BACALHAU_JOB_ID``.
    """

    name: str
    platforms: tuple[PlatformSupport, ...] = ()
    networks: tuple[NetworkType, ...] = (NetworkType.NONE,)
    version: str = ""
    system_env: bool = True


@frozen
class NodeInfo:
    """What a node broadcasts about itself.

    Attributes:
        name: Unique in the cluster.
        labels: Of the operator, and ``name``, ``os`` and ``arch``.
        engines: By name.
        sources: The schemes of inputs that the node can stage: ``path``, ``bytes``, ``https``, ...
        capacity: All that its jobs may use together.
        max_executions: How many executions it takes at once.
        draining: Whether the node takes nothing new, and only brings to an end what it has.
        revision: Grows with every change of the above, and from one life of the node to the next.
    """

    name: str
    labels: FrozenMap[str, str] = field(factory=FrozenMap[str, str])
    engines: FrozenMap[str, EngineInfo] = field(factory=FrozenMap[str, EngineInfo])
    sources: tuple[str, ...] = ("bytes", "path")
    capacity: Resources = field(factory=Resources)
    max_executions: int = 32
    draining: bool = False
    revision: int = 0


@frozen
class NodeState:
    """A node as the orchestrator knows it.

    Attributes:
        info: Its last broadcast.
        free: What is not reserved of its capacity.
        executions: How many executions it holds.
        last_seen: When it was last heard of, in seconds of the cluster's clock.
        lost_at: Since when it counts as lost, because it was not heard of for too long; None while it answers.
    """

    info: NodeInfo
    free: Resources
    executions: int
    last_seen: float
    lost_at: float | None = None

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.info.name

    def _repr_html_(self) -> str:
        head = [element("strong", f"node {visible(self.name)}")]
        return card(head, table(_COLUMNS, [_cells(self)], numbers=("executions",)))


class Nodes(tuple[NodeState, ...]):
    """Nodes; a tuple, which a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [_cells(node) for node in self[:ROWS_MAX]]
        left = len(self) - len(rows)
        more = [element("div", f"and {counted(left, 'more node')}", class_="bac-note")] if left else []
        head = [element("strong", counted(len(self), "node"))]
        return card(head, table(_COLUMNS, rows, numbers=("executions",)), *more)


_COLUMNS = ("node", "state", "engines", "executions", "free", "capacity", "labels")


def _cells(node: NodeState) -> tuple[Element | str, ...]:
    if node.lost_at is not None:
        state = state_badge("LOST")
    else:
        state = state_badge("DRAINING") if node.info.draining else state_badge("READY")
    # Those that every node has say nothing new here.
    labels = ", ".join(f"{key}={value}" for key, value in node.info.labels.items() if key != "name")
    return (
        node.name,
        state,
        ", ".join(_engine(engine) for engine in node.info.engines.values()),
        f"{node.executions} of {node.info.max_executions}",
        _room(node.free),
        _room(node.info.capacity),
        labels,
    )


def _engine(engine: EngineInfo) -> str:
    platforms = ", ".join(map(str, engine.platforms))
    return f"{engine.name} ({platforms})" if platforms else engine.name


def _room(resources: Resources) -> str:
    gpus = f", GPUs: {resources.gpu}" if resources.gpu else ""
    return f"{resources.cpu:g} CPU, {format_bytes(resources.memory)}{gpus}"


class Check(enum.Enum):
    """What a node is held against, in this order; the engine's own check of the task comes last.

    The last three are about the node as it is now: whether it answers, whether it takes anything new, and whether it still is
    what it was when the offer was made.
    """

    ENGINE = "engine"
    PLATFORM = "platform"
    SELECTOR = "selector"
    INPUTS = "inputs"
    NETWORK = "network"
    TOTAL_CAPACITY = "total capacity"
    CAPACITY = "free capacity"
    REACHABLE = "reachable"
    DRAINING = "draining"
    BROADCAST = "broadcast"


@frozen
class Refusal:
    """Why a node does not take a job: one line of an explanation. Its engine may have said it, so its texts are made printable.

    Attributes:
        node: The name of the node.
        check: What it failed.
        asked: What the job asks for.
        offered: What the node offers.
        hint: What the user can change; may be empty.
        lasting: Whether it holds until the node's broadcast changes; otherwise it is for want of room, or about the node as it is
            now, and the node is asked again later.
    """

    node: str
    check: Check
    asked: str = field(converter=printable)
    offered: str = field(converter=printable)
    hint: str = field(default="", converter=printable)
    lasting: bool = True

    def __str__(self) -> str:
        """Return the refusal as one line."""
        line = f"node {self.node}: {self.check.value}: asked for {self.asked}, offers {self.offered}"
        return f"{line} ({self.hint})" if self.hint else line
