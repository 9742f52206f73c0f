"""What a job asks of a node, and what a node has: CPU, memory, disk, GPUs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import ClassVar, Literal

from attrs import frozen

from .problems import Problems, invalid, shown

__all__ = ["Resources", "format_bytes", "parse_bytes", "parse_cpu", "parse_gpu"]

# Kubernetes, "Resource Management for Pods and Containers": decimal and binary suffixes of a quantity.
_CPU_SUFFIXES: Mapping[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
}
_BYTE_UNITS: Mapping[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}{ending}": 1000**power for power, letter in enumerate("kmgtpe", 1) for ending in ("", "b")},
    **{
        f"{letter}{ending}": 1024**power for power, letter in enumerate("kmgtpe", 1) for ending in ("i", "ib")
    },
}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z]*)\s*", re.ASCII)
_TEXT_LENGTH_MAX = 100
_CPU_MAX = 1_000_000
_BYTES_MAX = 2**63 - 1
_GPU_MAX = 2**31


def _split(value: object, kind: str) -> tuple[Fraction, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid(f"{shown(value)} is not {kind}: a number or a text is needed")
    if isinstance(value, int):
        number, suffix = Fraction(value), ""
    else:
        text = str(value)
        found = _NUMBER.fullmatch(text) if len(text) <= _TEXT_LENGTH_MAX else None
        if found is None:
            raise invalid(f"{shown(value)} is not {kind}")
        number, suffix = Fraction(found[1]), found[2]
    if number < 0:
        raise invalid(f"{shown(value)} is negative: 0 asks for nothing")
    return number, suffix


def parse_cpu(value: float | str) -> float:
    """Turn a Kubernetes CPU quantity into cores, rounded up to a thousandth.

    Args:
        value: ``2``, ``0.5``, ``"500m"``, ``"1.5"``.

    Raises:
        InvalidSpecError: It is no quantity, negative, or above a million cores.
    """
    number, suffix = _split(value, "a CPU quantity such as 0.5 or '500m'")
    if suffix not in _CPU_SUFFIXES:
        raise invalid(
            f"{shown(value)} is not a CPU quantity: unknown suffix {suffix!r}, '500m' is half a core"
        )
    cores = number * _CPU_SUFFIXES[suffix]
    if cores > _CPU_MAX:
        raise invalid(f"{shown(value)} is more than {_CPU_MAX} cores: ask for less")
    return math.ceil(cores * 1000) / 1000


def parse_bytes(value: float | str) -> int:
    """Turn a size into bytes: a number, or decimal (``"512Mb"``) or binary units (``"8GiB"``, ``"100Mi"``).

    Case does not count, and a unit without ``i`` is decimal, as in the original (its test table A).

    Raises:
        InvalidSpecError: It is no size, negative, or does not fit 63 bits.
    """
    number, unit = _split(value, "a size such as '512MB' or '8GiB'")
    factor = _BYTE_UNITS.get(unit.lower())
    if factor is None:
        units = "KB, MB, GB, TB or KiB, MiB, GiB, TiB"
        raise invalid(f"{shown(value)} is not a size: unknown unit {shown(unit)}, use {units}")
    size = math.ceil(number * factor)
    if size > _BYTES_MAX:
        raise invalid(f"{shown(value)} is more than 2**63 - 1 bytes: ask for less")
    return size


def parse_gpu(value: int | str) -> int | Literal["all"]:
    """Turn a number of GPUs, or ``"all"``, into an int or ``"all"``.

    Raises:
        InvalidSpecError: It is neither.
    """
    if isinstance(value, str) and value.strip() == "all":
        return "all"
    number, suffix = _split(value, "a number of GPUs or 'all'")
    if isinstance(value, float) or number.denominator != 1 or suffix or number > _GPU_MAX:
        raise invalid(f"{shown(value)} is not a number of GPUs from 0 to {_GPU_MAX} or 'all'")
    return int(number)


@frozen(init=False)
class Resources:
    """What is asked for or offered; what is left out is 0 and asks for nothing.

    Attributes:
        cpu: Cores, to a thousandth.
        memory: Bytes.
        disk: Bytes.
        gpu: A number of GPUs, or ``"all"`` of a node that has at least one.

    Raises:
        InvalidSpecError: From the constructor, with every field that is wrong.
    """

    cpu: float
    memory: int
    disk: int
    gpu: int | Literal["all"]
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(
        self,
        cpu: float | str = 0,
        memory: float | str = 0,
        disk: float | str = 0,
        gpu: int | str = 0,
    ) -> None:
        problems = Problems()
        values = (
            problems.convert("cpu", lambda: parse_cpu(cpu), 0.0),
            problems.convert("memory", lambda: parse_bytes(memory), 0),
            problems.convert("disk", lambda: parse_bytes(disk), 0),
            problems.convert("gpu", lambda: parse_gpu(gpu), 0),
        )
        problems.check()
        self.__attrs_init__(*values)

    @classmethod
    def exactly(cls, cpu: float, memory: int, disk: int, gpu: int | Literal["all"]) -> Resources:
        """Make resources of amounts that were computed from checked ones; nothing is parsed or checked."""
        made = cls.__new__(cls)
        made.__attrs_init__(cpu, memory, disk, gpu)
        return made

    def shortage(self, free: Resources) -> tuple[str, ...]:
        """Say, axis by axis, what of this does not fit into ``free``; empty when all fits."""
        short: list[str] = []
        if self.cpu > free.cpu:
            short.append(f"cpu {self.cpu:g} of {free.cpu:g}")
        if self.memory > free.memory:
            short.append(f"memory {format_bytes(self.memory)} of {format_bytes(free.memory)}")
        if self.disk > free.disk:
            short.append(f"disk {format_bytes(self.disk)} of {format_bytes(free.disk)}")
        if (self.gpu == "all" and free.gpu == 0) or (
            self.gpu != "all" and free.gpu != "all" and self.gpu > free.gpu
        ):
            short.append(f"gpu {self.gpu} of {free.gpu}")
        return tuple(short)

    def fits(self, free: Resources) -> bool:
        """Say whether all of this fits into ``free``."""
        return not self.shortage(free)

    def __str__(self) -> str:
        """Return the axes that are not 0, such as ``cpu 2, memory 8 GiB``."""
        parts = [f"cpu {self.cpu:g}"] if self.cpu else []
        parts += [f"memory {format_bytes(self.memory)}"] if self.memory else []
        parts += [f"disk {format_bytes(self.disk)}"] if self.disk else []
        parts += [f"gpu {self.gpu}"] if self.gpu else []
        return ", ".join(parts) or "nothing"


def format_bytes(size: int) -> str:
    """Write a size for a person, in the unit that makes it shortest: ``8 GiB``, ``512 MB``, ``300 B``."""
    exact = [f"{size} B"]
    for step, ending in ((1024, "iB"), (1000, "B")):
        for power, letter in enumerate("KMGTPE", 1):
            if size and size % step**power == 0:
                exact.append(f"{size // step**power} {letter}{ending}")
    shortest = min(exact, key=len)
    if len(shortest) <= len("1023.9 KiB"):
        return shortest
    power = min((size.bit_length() - 1) // 10, 6)
    return f"{size / 1024**power:.1f} {'KMGTPE'[power - 1]}iB"
