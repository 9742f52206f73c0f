"""What a job may reach over the network."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import ClassVar

from attrs import frozen

from .problems import Problems, invalid, several, shown

__all__ = ["Network", "NetworkType", "domain_covers", "reduce_domains"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"\.?({_LABEL}\.)+(?=[a-z]){_LABEL}", re.ASCII)
_DOMAIN_LENGTH_MAX = 253


class NetworkType(enum.Enum):
    """How much of the network a job sees."""

    NONE = "none"
    HTTP = "http"
    BRIDGE = "bridge"
    HOST = "host"


@frozen(init=False)
class Network:
    """The network that a job asks for; the default is none at all.

    Attributes:
        type: ``none``; ``http`` (the listed domains only); ``bridge``; ``host`` (also written ``full``).
        domains: With ``http``: names or IP addresses, sorted and without those that another one covers;
            ``.example.com`` covers ``example.com`` and everything below it.

    Raises:
        InvalidSpecError: From the constructor.
    """

    type: NetworkType
    domains: tuple[str, ...]
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(self, type: NetworkType | str = NetworkType.NONE, domains: Iterable[str] = ()) -> None:
        problems = Problems()
        known = problems.convert("type", lambda: _type(type), NetworkType.NONE)
        checked = [
            problems.convert(f"domains[{index}]", partial(_domain, name), "")
            for index, name in enumerate(several(domains))
        ]
        if checked and known is not NetworkType.HTTP:
            problems.add("domains", "domains go with type='http' only: leave them out, or take that type")
        problems.check()
        self.__attrs_init__(known, reduce_domains(checked))

    def allows(self, host: str) -> bool:
        """Say whether a job may speak to a host of this name or address."""
        if self.type is NetworkType.HTTP:
            return any(domain_covers(domain, host) for domain in self.domains)
        return self.type is not NetworkType.NONE


def domain_covers(domain: str, host: str) -> bool:
    """Say whether a domain of an allow-list covers a host; a leading dot stands for all below it too.

    The rules are the original's, its test table D: ``.foo.com`` covers ``foo.com`` and ``x.foo.com``;
    ``foo.com`` does not cover ``x.foo.com``; case and surrounding space do not count.
    """
    domain, host = domain.strip().lower(), host.strip().lower()
    if domain.lstrip(".") == host.lstrip("."):
        return True
    return domain.startswith(".") and host.endswith(domain)


def reduce_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Return the domains, sorted, without those that another one covers."""
    names = set(domains)
    return tuple(sorted(name for name in names if names.isdisjoint(_wider(name))))


def _wider(domain: str) -> Iterator[str]:
    """Return all that would cover a domain and more, as `domain_covers` has it."""
    name = domain if domain.startswith(".") else f".{domain}"
    return (name[at:] for at, letter in enumerate(name) if letter == "." and name[at:] != domain)


def _type(value: object) -> NetworkType:
    if isinstance(value, NetworkType):
        return value
    name = value.strip().lower() if isinstance(value, str) else ""
    try:
        return NetworkType("host" if name == "full" else name)
    except ValueError:
        known = ", ".join(kind.value for kind in NetworkType)
        raise invalid(f"{shown(value)} is not a network type: use one of {known}") from None


def _domain(value: object) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if "%" not in text:  # the zone of an IPv6 address may hold anything
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            pass
    if len(text) > _DOMAIN_LENGTH_MAX or not _DOMAIN.fullmatch(text):
        raise invalid(
            f"{shown(value)} is not a domain such as 'example.com' or '.example.com', nor an IP address"
        )
    return text
