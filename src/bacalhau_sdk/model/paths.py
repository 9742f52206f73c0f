"""Rules for the paths that a job sees and for the names that become folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from .problems import Problems, invalid, is_text, key_path, shown

__all__ = [
    "RESERVED_RESULT_NAMES",
    "check_guest_path",
    "check_job_id",
    "check_node_name",
    "check_output_name",
    "check_targets",
    "normalise_guest_path",
]

RESERVED_RESULT_NAMES = ("stdout", "stderr", "exitCode")
_SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")
_LENGTH_MAX = 4096
_NAME_BYTES_MAX = 255
# Names that Windows gives to devices, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE | re.ASCII)
_BAD_CHARACTERS = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_JOB_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def normalise_guest_path(path: str) -> str:
    """Return the absolute form of a path inside a job: a relative one counts from the root."""
    return str(PurePosixPath("/" + path.lstrip("/")))  # two slashes at the start would stay two


def check_guest_path(path: object) -> str:
    """Return a path inside a job.

    Raises:
        InvalidSpecError: It is no text, empty, too long, has ``..``, or is in ``/proc``, ``/sys``, ``/dev``.
    """
    if not is_text(path) or not 0 < len(path) <= _LENGTH_MAX:
        raise invalid(
            f"{shown(path)} is not a path inside the job, such as '/inputs': a text without NUL and lone surrogates, "
            f"1 to {_LENGTH_MAX} long"
        )
    if ".." in PurePosixPath(path).parts or "\\" in path:
        raise invalid(
            f"{shown(path)} must not have '..' or a backslash: write it from the root, as '/inputs'"
        )
    normal = normalise_guest_path(path)
    if any(normal == folder or normal.startswith(f"{folder}/") for folder in _SYSTEM_FOLDERS):
        folders = ", ".join(_SYSTEM_FOLDERS)
        raise invalid(f"{shown(path)} lies in a folder of the system: choose another than {folders}")
    return path


def check_output_name(name: object) -> str:
    """Return the name of an output, which becomes a folder of the results.

    Raises:
        InvalidSpecError: It cannot be a folder on every system, or is one of `RESERVED_RESULT_NAMES`.
    """
    text = name if is_text(name) else ""
    if (
        not 0 < len(text.encode()) <= _NAME_BYTES_MAX
        or _BAD_CHARACTERS.search(text)
        or text.rstrip(". ") != text
    ):
        raise invalid(
            f"{shown(name)} cannot name a folder of the results, as 'counts' in {{'counts': '/outputs'}}: "
            "use letters, digits, '-', '_', '.'"
        )
    if _DEVICES.fullmatch(text) or text.lower() in map(str.lower, RESERVED_RESULT_NAMES):
        taken = ", ".join(RESERVED_RESULT_NAMES)
        raise invalid(
            f"{shown(name)} is a reserved name: choose another than {taken} and those of devices, such as 'con'"
        )
    return text


def check_job_id(job_id: object) -> str:
    """Return the id of a job: 1 to 63 of ``a-z``, ``0-9``, ``-``, a DNS label, since it names folders.

    Raises:
        InvalidSpecError: It is none, or the name of a device.
    """
    return _check_dns_label(job_id, "a job id")


def check_node_name(name: object) -> str:
    """Return the name of a node, by the rules of `check_job_id`: it names folders as well.

    Raises:
        InvalidSpecError: It is none, or the name of a device.
    """
    return _check_dns_label(name, "a node's name")


def _check_dns_label(label: object, what: str) -> str:
    if isinstance(label, str) and _DEVICES.fullmatch(label):
        raise invalid(f"{shown(label)} is not {what}: on Windows it is a device, choose another")
    if not isinstance(label, str) or not _JOB_ID.fullmatch(label):
        raise invalid(
            f"{shown(label)} is not {what}: 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends"
        )
    return label


def check_targets(inputs: Iterable[str], outputs: Iterable[tuple[str, str]], problems: Problems) -> None:
    """Note targets that meet.

    These are two inputs at one place, an output in place of an input, and an output at, above or below
    another one.
    """
    taken: dict[str, str] = {}
    for path in inputs:
        place = normalise_guest_path(path)
        if place in taken:
            problems.add(
                key_path("inputs", path),
                f"is the same place as the input {shown(taken[place])}: choose another",
            )
        taken[place] = path
    names: dict[str, str] = {}
    placed: list[tuple[tuple[str, ...], int, str, str]] = []
    for name, path in outputs:
        where = key_path("outputs", name)
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in names:
            problems.add(
                where,
                f"is the same folder as the output {shown(names[folded])} on some systems: choose another name",
            )
        names[folded] = name
        folder = PurePosixPath(normalise_guest_path(path))
        if not path.startswith("/") or folder == PurePosixPath("/"):
            problems.add(where, f"{shown(path)} must be an absolute path below '/', such as '/outputs'")
        elif str(folder) in taken:
            problems.add(where, f"{shown(path)} is the place of an input: choose another")
        placed.append((folder.parts, len(placed), name, path))
    _check_overlaps(placed, problems)


def _check_overlaps(outputs: list[tuple[tuple[str, ...], int, str, str]], problems: Problems) -> None:
    """Note outputs that lie in one another: sorted, what lies in a folder comes right after it, however many there are."""
    outer: tuple[tuple[str, ...], int, str, str] | None = None
    for output in sorted(outputs):
        if outer is None or output[0][: len(outer[0])] != outer[0]:
            outer = output
            continue
        (_, _, owner, other), (_, _, name, path) = sorted((outer, output), key=lambda each: each[1])
        where = key_path("outputs", name)
        place = shown(normalise_guest_path(other))
        problems.add(
            where, f"{shown(path)} overlaps the output {shown(owner)} at {place}: choose a folder beside it"
        )
