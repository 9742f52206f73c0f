"""An index over nodes: sets of nodes as the bits of Python integers, so that a match is a handful of ``&``.

Its answers equal those of `matching`, node by node; a property test holds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Generic, TypeAlias, TypeVar

from attrs import define

from ..model.node import NodeInfo, Refusal
from ..model.platform import Platform, PlatformSupport
from ..model.resources import Resources
from ..model.selector import Operator, Requirement
from .capacity import CapacityAccount
from .matching import Demand

__all__ = ["NodeEntry", "NodeIndex", "NodeSet"]

K = TypeVar("K")

NodeSet: TypeAlias = int
"""A set of nodes: bit number ``n`` stands for the node in slot ``n``."""

_CLASSES = 65
_FEW = 64
_REMEMBERED = 1000


@define(eq=False)
class NodeEntry:
    """A node as the orchestrator knows it.

    Attributes:
        info: Its last broadcast.
        account: What is reserved of it, as far as the orchestrator knows.
        slot: Its bit.
        last_seen: When it was last heard of, in seconds of the clock.
        sequence: Of the last envelope that it sent, as far as they have arrived.
        lost_at: Since when it counts as lost, because it was not heard of for too long; None while it answers.
        saturated: Why it took nothing, by its own word, since it was last heard of: its view is the truth; None if it did.
    """

    info: NodeInfo
    account: CapacityAccount
    slot: int
    last_seen: float = 0.0
    sequence: int = -1
    lost_at: float | None = None
    saturated: Refusal | None = None


class _Groups(Generic[K]):
    """Nodes by a value that they have. A group is kept as slots while it is small, since a node's own bits may be thousands."""

    def __init__(self) -> None:
        self._small: dict[K, dict[int, None]] = {}
        self._large: dict[K, NodeSet] = {}

    def __iter__(self) -> Iterator[K]:
        return chain(self._small, self._large)

    def add(self, value: K, slot: int) -> None:
        if value in self._large:
            self._large[value] |= 1 << slot
            return
        group = self._small.setdefault(value, {})
        group[slot] = None
        if len(group) > _FEW:
            self._large[value] = _bits(self._small.pop(value))

    def discard(self, value: K, slot: int) -> None:
        if value in self._large:
            self._large[value] &= ~(1 << slot)
            if not self._large[value]:
                del self._large[value]
        elif value in self._small:
            self._small[value].pop(slot, None)
            if not self._small[value]:
                del self._small[value]

    def union(self, values: Iterable[K]) -> NodeSet:
        """Return the nodes that have one of some values."""
        found, slots = 0, list[int]()
        for value in values:
            found |= self._large.get(value, 0)
            slots += self._small.get(value, ())
        return found | _bits(slots)


class _Axis:
    """Nodes by how much of one resource they have: a set for each power of two, and in each the nodes by their amount."""

    def __init__(self) -> None:
        self._levels: list[NodeSet] = [0] * _CLASSES
        self._amounts: list[_Groups[int]] = [_Groups() for _ in range(_CLASSES)]

    def put(self, slot: int, amount: int) -> None:
        level = amount.bit_length()
        self._levels[level] |= 1 << slot
        self._amounts[level].add(amount, slot)

    def drop(self, slot: int, amount: int) -> None:
        level = amount.bit_length()
        self._levels[level] &= ~(1 << slot)
        self._amounts[level].discard(amount, slot)

    def at_least(self, wanted: int) -> NodeSet:
        level = wanted.bit_length()
        found = self._amounts[level].union(amount for amount in self._amounts[level] if amount >= wanted)
        for members in self._levels[level + 1 :]:
            found |= members
        return found


class _Amounts:
    """Nodes by how much of each resource they have."""

    def __init__(self) -> None:
        self._axes = tuple(_Axis() for _ in _amounts(Resources()))
        self._known: dict[int, tuple[int, ...]] = {}

    def put(self, slot: int, amounts: tuple[int, ...]) -> None:
        known = self._known.get(slot)
        if known == amounts:
            return
        self.drop(slot)
        self._known[slot] = amounts
        for axis, amount in zip(self._axes, amounts, strict=True):
            axis.put(slot, amount)

    def drop(self, slot: int) -> None:
        for axis, amount in zip(self._axes, self._known.pop(slot, ()), strict=False):
            axis.drop(slot, amount)

    def at_least(self, wanted: tuple[int, ...], nodes: NodeSet) -> NodeSet:
        for axis, amount in zip(self._axes, wanted, strict=True):
            if amount:
                nodes &= axis.at_least(amount)
        return nodes


class NodeIndex:
    """The nodes that are known, and which of them could take a demand."""

    def __init__(self) -> None:
        self._entries: dict[str, NodeEntry] = {}
        self._slots: list[NodeEntry | None] = []
        self._free_slots: list[int] = []
        self._sets: dict[tuple[str, ...], NodeSet] = {}
        self._platforms: dict[str, dict[PlatformSupport | None, NodeSet]] = {}
        self._labels: dict[str, _Groups[str]] = {}
        self._free = _Amounts()
        self._total = _Amounts()
        self._with_slot: NodeSet = 0
        self._matches: dict[Demand, NodeSet] = {}
        self.all: NodeSet = 0

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self._entries)

    def __iter__(self) -> Iterator[NodeEntry]:
        """Iterate over the nodes, in the order in which they were first heard of."""
        return iter(self._entries.values())

    def get(self, name: str) -> NodeEntry | None:
        """Return a node by its name, or None."""
        return self._entries.get(name)

    def put(self, info: NodeInfo) -> bool:
        """Add a node, or take over its new broadcast; say whether anything has changed."""
        entry = self._entries.get(info.name)
        if entry is not None and entry.info == info:
            return False
        self._matches.clear()
        if entry is None:
            slot = self._free_slots.pop() if self._free_slots else len(self._slots)
            entry = NodeEntry(info, CapacityAccount(info.capacity, info.max_executions), slot)
            self._entries[info.name] = entry
            self._slots[slot : slot + 1] = [entry]
            self.all |= 1 << slot
        else:
            self._describe(entry, present=False)
            entry.info = info
            entry.account.resize(info.capacity, info.max_executions)
        self._describe(entry, present=True)
        self.refresh(entry)
        return True

    def remove(self, name: str) -> None:
        """Forget a node."""
        entry = self._entries.pop(name)
        self._matches.clear()
        self._describe(entry, present=False)
        self._free.drop(entry.slot)
        self._total.drop(entry.slot)
        self._with_slot &= ~(1 << entry.slot)
        self.all &= ~(1 << entry.slot)
        self._slots[entry.slot] = None
        self._free_slots.append(entry.slot)

    def refresh(self, entry: NodeEntry) -> None:
        """Note what a node has free, after its account or its saturation changed."""
        self._free.put(entry.slot, _amounts(entry.account.free))
        takes_new = entry.lost_at is None and entry.saturated is None and not entry.info.draining
        has_slot = takes_new and entry.account.free_executions > 0
        self._with_slot = _flip(self._with_slot, 1 << entry.slot, has_slot)

    def matching(self, demand: Demand) -> NodeSet:
        """Return the nodes that could run a demand as long as their broadcasts stay."""
        found = self._matches.get(demand)
        if found is None:
            found = self._match(demand)
            if len(self._matches) >= _REMEMBERED:
                self._matches.clear()
            self._matches[demand] = found
        return found

    def with_room(self, demand: Demand, nodes: NodeSet) -> NodeSet:
        """Return those of some nodes that have room for a demand now."""
        nodes = self._free.at_least(_amounts(demand.resources), nodes & self._with_slot)
        if demand.resources.gpu != "all":
            return nodes
        return _bits(e.slot for e in self.entries(nodes) if not e.account.shortage(demand.resources))

    def named(self, names: Iterable[str]) -> NodeSet:
        """Return the nodes of some names; those that are not known are left out."""
        return _bits(self._entries[name].slot for name in names if name in self._entries)

    def shortlist(self, demand: Demand, nodes: NodeSet, length: int, start: int) -> NodeSet:
        """Return those of some nodes that are worth ranking: all, or the best of very many as far as that shows in the sets.

        Native ones go before emulated ones, and those that meet more of the demand's preferences before others. Of the last
        that fit in, some are taken in a row, beginning at a place that differs from job to job.

        Args:
            demand: The demand that the nodes match.
            nodes: The nodes.
            length: At least so many, if there are as many.
            start: Where to begin.
        """
        if nodes.bit_count() <= length:
            return nodes
        found: NodeSet = 0
        for tier in self._tiers(demand, nodes):
            wanted = length - found.bit_count()
            if tier.bit_count() > wanted:
                first = start % len(self._slots)
                row = chain(
                    (first + slot for slot in _slots(tier >> first)), _slots(tier & ((1 << first) - 1))
                )
                return found | _bits(islice(row, wanted))
            found |= tier
        return found

    def _tiers(self, demand: Demand, nodes: NodeSet) -> Iterator[NodeSet]:
        """Cut a set of nodes into sets of equal preference, the best first."""
        native = nodes
        if demand.platform is not None:
            native &= self._running(demand.engine, demand.platform, natively=True)
        for group in (native, nodes & ~native):
            met: list[NodeSet] = [group]  # at position n: the nodes that meet at least n of the preferences
            for preference in demand.selector.preferences:
                meeting = self._meeting(preference)
                met = [less | (more & meeting) for less, more in zip([*met, 0], [group, *met], strict=True)]
            for least, more in zip(reversed(met), [0, *reversed(met)], strict=False):
                yield least & ~more

    def entries(self, nodes: NodeSet) -> Iterator[NodeEntry]:
        """Iterate over the nodes of a set, by slot."""
        for slot in _slots(nodes):
            entry = self._slots[slot]
            assert entry is not None, "a set holds nodes that are there"
            yield entry

    def _match(self, demand: Demand) -> NodeSet:
        nodes = self.all & self._sets.get(("engine", demand.engine), 0)
        if demand.platform is not None:
            nodes &= self._running(demand.engine, demand.platform)
        for requirement in demand.selector.requirements:
            nodes &= self._meeting(requirement)
        for scheme in demand.sources:
            nodes &= self._sets.get(("source", scheme), 0)
        nodes &= self._sets.get(("network", demand.engine, demand.network.value), 0)
        nodes &= self._sets.get(("takes executions",), 0)
        return self._total.at_least(_amounts(demand.resources), nodes)

    def _running(self, engine: str, wanted: Platform, *, natively: bool = False) -> NodeSet:
        found = 0
        for known, nodes in self._platforms.get(engine, {}).items():
            # An engine that broadcasts no platform may run any; native is what is known to be.
            if (known is None and not natively) or (
                known is not None and known.platform.runs(wanted) and not (natively and known.emulated)
            ):
                found |= nodes
        return found

    def _meeting(self, requirement: Requirement) -> NodeSet:
        groups: _Groups[str] = self._labels.get(requirement.key) or _Groups()
        labelled = self._sets.get(("label", requirement.key), 0)
        match requirement.operator:
            case Operator.EQUALS | Operator.IN:
                return groups.union(requirement.values)
            case Operator.NOT_EQUALS | Operator.NOT_IN:
                return self.all & ~groups.union(requirement.values)
            case Operator.EXISTS:
                return labelled
            case Operator.DOES_NOT_EXIST:
                return self.all & ~labelled
            case Operator.GREATER_THAN | Operator.LESS_THAN:
                return groups.union(value for value in groups if requirement.accepts(value))

    def _describe(self, entry: NodeEntry, *, present: bool) -> None:
        """Set or clear the bit of a node in every set that its broadcast puts it in."""
        bit, info = 1 << entry.slot, entry.info
        keys: list[tuple[str, ...]] = [("source", scheme) for scheme in info.sources]
        keys += [("label", label) for label in info.labels]
        if info.max_executions > 0:
            keys.append(("takes executions",))
        for name, engine in info.engines.items():
            keys += [("engine", name), *(("network", name, kind.value) for kind in engine.networks)]
            by_platform = self._platforms.setdefault(name, {})
            for platform in engine.platforms or (None,):
                by_platform[platform] = _flip(by_platform.get(platform, 0), bit, present)
        for key in keys:
            self._sets[key] = _flip(self._sets.get(key, 0), bit, present)
        for label, value in info.labels.items():
            groups = self._labels.setdefault(label, _Groups())
            if present:
                groups.add(value, entry.slot)
            else:
                groups.discard(value, entry.slot)
        if present:
            self._total.put(entry.slot, _amounts(info.capacity))


def _flip(nodes: NodeSet, bit: NodeSet, present: bool) -> NodeSet:
    return nodes | bit if present else nodes & ~bit


def _bits(slots: Iterable[int]) -> NodeSet:
    found = bytearray()
    for slot in slots:
        if slot >> 3 >= len(found):
            found.extend(bytes((slot >> 3) + 1 - len(found)))
        found[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(found, "little")


def _slots(nodes: NodeSet) -> Iterator[int]:
    bits = bin(nodes)[:1:-1]
    position = bits.find("1")
    while position >= 0:
        yield position
        position = bits.find("1", position + 1)


def _amounts(resources: Resources) -> tuple[int, ...]:
    gpus = resources.gpu if isinstance(resources.gpu, int) else 1
    return round(resources.cpu * 1000), resources.memory, resources.disk, gpus
