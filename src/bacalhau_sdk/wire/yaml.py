"""YAML text to plain values and back, by the extra ``yaml``.

Only the parser of ruamel.yaml is used to read: its events are made into values here, with the core schema of YAML 1.2, so that an
alias, a tag or a depth is refused where it stands, before it costs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any, Protocol

from ..errors import DocumentSyntaxError, MissingExtraError
from ..model.problems import shown
from .plain import ELEMENTS_MAX, Unreadable, mapping, syntax, too_many, whole_number

__all__ = ["SIZE_MAX", "read_yaml", "write_yaml"]

SIZE_MAX = 1_000_000
"""Characters of a YAML document at most: reading it takes far longer than JSON."""
_DEPTH_MAX = 32
# YAML 1.2.2, §10.3.2, "Tag Resolution" of the core schema.
_NULLS = ("null", "Null", "NULL", "~", "")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"[-+]?[0-9]+", re.ASCII)
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NO_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
# What no reader of YAML, of whichever version, takes for anything but a text.
_PLAIN = re.compile(r"(?=.*[A-Za-z]{2})[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = {"null", "true", "false", "yes", "no", "on", "off"}


def read_yaml(text: str) -> object:
    """Read one YAML document.

    Raises:
        DocumentSyntaxError: It is none, or is larger or deeper than what is read.
        MissingExtraError: The extra is not installed.
    """
    yaml = _yaml()
    if len(text) > SIZE_MAX:
        raise syntax(f"the YAML has more than {SIZE_MAX} characters", "write large documents as JSON")
    return _Reader(text, yaml.parse(text)).document()


def write_yaml(value: Mapping[str, object]) -> str:
    """Write plain values as a YAML document, which reads the same by the rules of YAML 1.1 and 1.2.

    Raises:
        MissingExtraError: The extra is not installed.
    """
    yaml = _yaml()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = SIZE_MAX
    yaml.representer.add_representer(str, _represent)
    stream = StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _yaml() -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError:
        raise MissingExtraError(
            "YAML needs the package ruamel.yaml, which is not installed",
            extra="yaml",
            hint="pip install 'bacalhau-sdk[yaml]', or write the job as JSON",
        ) from None
    return YAML(typ="safe", pure=True)


def _represent(representer: Any, text: str) -> object:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


class _Event(Protocol):
    """What is read of an event of the parser; the name of its class says what it is."""

    @property
    def tag(self) -> object: ...
    @property
    def anchor(self) -> object: ...
    @property
    def style(self) -> object: ...
    @property
    def value(self) -> str: ...
    @property
    def version(self) -> object: ...


class _Reader:
    """Makes values of the events of a parser; a value that may not be is an `Unreadable`."""

    def __init__(self, text: str, events: Iterator[_Event]) -> None:
        self._text = text
        self._events = events
        self._count = 0

    def document(self) -> object:
        self._next()  # the start of the stream
        kind, start = self._next()
        if kind == "StreamEndEvent":
            raise syntax("there is no document in the YAML")
        if start.version not in (None, (1, 2)):
            raise syntax("the YAML is not of version 1.2", "leave the line %YAML out")
        value = self._value(*self._next(), 0)
        self._next()  # the end of the document
        if self._next()[0] != "StreamEndEvent":
            raise syntax("there is more than one document in the YAML", "load them one by one")
        return value

    def _next(self) -> tuple[str, _Event]:
        try:
            event = next(self._events)
        except Exception as error:  # noqa: BLE001 - besides its own errors, the parser lets escape what a text causes inside
            raise self._refusal(error) from None
        return type(event).__name__, event

    def _refusal(self, error: Exception) -> DocumentSyntaxError:
        """Say what the parser found wrong, and where."""
        position = getattr(error, "position", None)
        if position is not None:  # of a character that no YAML has as it is
            before = self._text[:position]
            line, column = before.count("\n") + 1, position - before.rfind("\n")
            return syntax(
                f"this is no YAML: it has the character {shown(self._text[position])} in line {line}, column {column}",
                "leave it out, or write it as an escape in double quotes",
            )
        problem = shown(str(getattr(error, "problem", None) or "it cannot be parsed"))
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        return syntax(f"this is no YAML: {problem}{place}")

    def _another(self) -> None:
        """Count a key or a value."""
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise too_many()

    def _value(self, kind: str, event: _Event, depth: int) -> object:
        self._another()
        if depth > _DEPTH_MAX:
            raise syntax(f"the YAML is nested more than {_DEPTH_MAX} deep")
        match kind:
            case "AliasEvent":
                return Unreadable("an alias is not read: write the value out")
            case "ScalarEvent":
                value = _scalar(event)
            case "SequenceStartEvent":
                value = list(self._items(depth))
            case _:
                value = mapping(self._pairs(depth))
        if event.tag is not None:
            return Unreadable("a tag is not read: leave it out")
        return value if event.anchor is None else Unreadable("an anchor is not read: leave it out")

    def _items(self, depth: int) -> Iterator[object]:
        while (given := self._next())[0] != "SequenceEndEvent":
            yield self._value(*given, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[str, object]]:
        while (given := self._next())[0] != "MappingEndEvent":
            kind, key = given
            if kind != "ScalarEvent" or key.tag is not None or key.anchor is not None:
                raise syntax("a key of the YAML is not a plain text")
            self._another()
            yield key.value, self._value(*self._next(), depth + 1)


def _scalar(event: _Event) -> object:
    text = event.value
    if event.style is not None:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _DECIMAL.fullmatch(text):
        return whole_number(text)
    if _PREFIXED.fullmatch(text):
        return whole_number(text, 0)
    if _NO_FINITE.fullmatch(text):
        return Unreadable(f"{text} is no number of JSON")
    return float(text) if _FLOAT.fullmatch(text) else text
