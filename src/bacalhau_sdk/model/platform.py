"""Platforms of images and machines: ``os/architecture[/variant]``, normalised and matched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from attrs import frozen

from .problems import Problems, invalid, shown

__all__ = ["Platform", "PlatformSupport"]

# Spellings that containerd's platforms package normalises (its database.go).
_ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_SYSTEMS: Mapping[str, str] = {"macos": "darwin"}
# The variant that an architecture means when it names none.
_DEFAULT_VARIANTS: Mapping[str, str] = {"arm64": "v8", "amd64": "v1", "arm": "v7"}
_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@frozen(init=False, order=True)
class Platform:
    """An operating system and a CPU architecture, in the spelling of OCI images.

    ``x86_64`` is ``amd64``, ``aarch64`` and ``arm64/v8`` are ``arm64``, ``arm`` is ``arm/v7``.

    Attributes:
        os: ``linux``, ``windows``, ``darwin``, ...
        architecture: ``amd64``, ``arm64``, ``arm``, ``386``, ...
        variant: ``v6``, ``v3``, ...; empty where it is the default of the architecture.

    Raises:
        InvalidSpecError: From the constructor and from `parse`.
    """

    os: str
    architecture: str
    variant: str
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        problems = Problems()
        os = problems.convert("os", lambda: _part(os), "")
        architecture = problems.convert("architecture", lambda: _part(architecture), "")
        variant = problems.convert("variant", lambda: _part(variant, empty=True), "")
        problems.check()
        os = _SYSTEMS.get(os, os)
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = implied or variant or ("v7" if architecture == "arm" else "")
        if re.fullmatch(r"\d(\.\d)?", variant):
            variant = f"v{variant}"
        if architecture == "arm64" and re.fullmatch(r"v\d\.0", variant):
            variant = variant[:2]
        if architecture != "arm" and variant == _DEFAULT_VARIANTS.get(architecture):
            variant = ""
        self.__attrs_init__(os, architecture, variant)

    @classmethod
    def parse(cls, text: str | Platform) -> Platform:
        """Read ``os/architecture[/variant]``; a platform is returned as it is.

        Raises:
            InvalidSpecError: The text is no platform.
        """
        if isinstance(text, Platform):
            return text
        parts = _parts(text)
        if len(parts) not in (2, 3) or not parts[-1].strip():
            raise invalid(f"{shown(text)} is not a platform such as 'linux/amd64' or 'linux/arm/v7'")
        return cls(*parts)

    def runs(self, image: Platform) -> bool:
        """Say whether a host of this platform runs an image of that one, by containerd's rules.

        A variant runs the lower ones: ``arm/v7`` runs ``v6`` and ``v5``, ``amd64/v3`` runs ``v2`` and ``v1``,
        ``arm64/v9.1`` runs ``v9`` and, having branched off at ``v8.5``, ``v8.6`` and below. ``amd64`` runs
        ``386`` and ``arm64`` runs ``arm``, as ``platformVector`` in containerd's ``compare.go`` has it; an
        executor whose machine cannot, does not broadcast that it can.
        """
        if self == image:
            return True
        if self.os != image.os:
            return False
        asked, offered = _version(image), _version(self)
        match self.architecture, image.architecture:
            case "amd64", "amd64":
                return (0, 0) < asked <= offered
            case "arm", "arm":
                return (5, 0) <= asked <= offered
            case "arm64", "arm64" if asked[0] < offered[0] == 9:
                return (8, 0) <= asked <= (8, min(offered[1] + 5, 9))
            case "arm64", "arm64":
                return (8, 0) <= asked <= offered
            case "amd64", "386":
                return True
            case "arm64", "arm":
                return (5, 0) <= asked <= (8, 0)
            case _:
                return False

    def __str__(self) -> str:
        """Return ``os/architecture[/variant]``."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@frozen
class PlatformSupport:
    """A platform that an engine can run, and whether by emulation.

    Attributes:
        platform: What it runs.
        emulated: Whether it is emulated; such a node ranks below a native one.
    """

    platform: Platform
    emulated: bool = False

    def __str__(self) -> str:
        """Return the platform, marked when it is emulated."""
        return f"{self.platform} (emulated)" if self.emulated else str(self.platform)


def _part(text: object, *, empty: bool = False) -> str:
    part = text.strip().lower() if isinstance(text, str) else "?"
    if not _PART.fullmatch(part) and not (empty and not part):
        raise invalid(f"{shown(text)} is not a part of a platform such as 'linux/amd64'")
    return part


def _parts(text: object) -> list[str]:
    return text.split("/") if isinstance(text, str) else []


def _version(platform: Platform) -> tuple[int, int]:
    """Return the number of the variant, which orders variants; one that is not numbered has (0, 0)."""
    pattern = r"v(\d)(?:\.(\d))?" if platform.architecture == "arm64" else r"v(\d)()"
    found = re.fullmatch(pattern, platform.variant or _DEFAULT_VARIANTS.get(platform.architecture, ""))
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
