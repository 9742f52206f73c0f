"""Selectors of nodes: Kubernetes-style label requirements, and soft preferences."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ClassVar

from attrs import frozen

from .problems import Problems, invalid, several, shown

__all__ = ["Operator", "Requirement", "Selector", "check_label_key", "check_label_value"]

# Kubernetes, "Labels and Selectors": syntax and character set.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)", re.ASCII)
_INTEGER = re.compile(r"\d{1,19}", re.ASCII)  # a label value begins with no sign
_PREFIX_LENGTH_MAX = 253
_TERMS_MAX = 1000
_VALUES_MAX = 1000


class Operator(enum.Enum):
    """How a requirement compares the value of a label."""

    EQUALS = "="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = ">"
    LESS_THAN = "<"


_SPELLINGS: Mapping[str, Operator] = {
    **{operator.value: operator for operator in Operator},
    "==": Operator.EQUALS,
    "gt": Operator.GREATER_THAN,
    "lt": Operator.LESS_THAN,
}
_UNARY = (Operator.EXISTS, Operator.DOES_NOT_EXIST)
_LISTS = (Operator.IN, Operator.NOT_IN)
_ORDERS = (Operator.GREATER_THAN, Operator.LESS_THAN)


def check_label_key(key: object) -> str:
    """Return the key of a label, which is ``[dns-prefix/]name`` with a name of at most 63 characters.

    Raises:
        InvalidSpecError: It is no key.
    """
    text = key if isinstance(key, str) else ""
    prefix, slash, name = text.rpartition("/")
    bad_prefix = slash and (len(prefix) > _PREFIX_LENGTH_MAX or not _PREFIX.fullmatch(prefix))
    if bad_prefix or not _NAME.fullmatch(name):
        raise invalid(
            f"{shown(key)} is not a label key: at most 63 letters, digits, '-', '_', '.', "
            "perhaps after 'dns.prefix/'"
        )
    return text


def check_label_value(value: object) -> str:
    """Return the value of a label: at most 63 letters, digits, ``-``, ``_``, ``.``; it may be empty.

    Raises:
        InvalidSpecError: It is no value.
    """
    if not isinstance(value, str) or (value and not _NAME.fullmatch(value)):
        raise invalid(
            f"{shown(value)} is not a label value: at most 63 letters, digits, '-', '_', '.', without quotes, or empty"
        )
    return value


@frozen(init=False)
class Requirement:
    """One condition on the labels of a node.

    ``!=`` and ``notin`` hold for a node without the key as well; ``>`` and ``<`` compare integers, and a
    label that is none does not match. These are Kubernetes' rules.

    Attributes:
        key: The key of the label.
        operator: How to compare.
        values: None for ``exists`` and ``!``, 1 to 1000 (sorted) for ``in`` and ``notin``, else exactly one.

    Raises:
        InvalidSpecError: From the constructor.
    """

    key: str
    operator: Operator
    values: tuple[str, ...]
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(self, key: str, operator: Operator | str, values: Iterable[str] = ()) -> None:
        problems = Problems()
        key = problems.convert("", partial(check_label_key, key), "")
        given = several(values)
        checked = [
            problems.convert("", partial(check_label_value, value), "0") for value in given[:_VALUES_MAX]
        ]
        known = _operator(operator)
        if known is None:
            problems.add("", f"{shown(operator)} is not an operator: use one of {', '.join(_SPELLINGS)}")
            known = Operator.EXISTS
        elif known in _UNARY and given:
            problems.add("", f"'{known.value}' takes no value, got {len(given)}")
        elif known in _LISTS and not 1 <= len(given) <= _VALUES_MAX:
            problems.add("", f"'{known.value}' needs 1 to {_VALUES_MAX} values, got {len(given)}")
        elif known not in (*_UNARY, *_LISTS) and len(given) != 1:
            problems.add("", f"'{known.value}' takes exactly one value, got {len(given)}")
        elif known in _ORDERS and not _INTEGER.fullmatch(checked[0]):
            problems.add("", f"'{known.value}' compares whole numbers, {checked[0]!r} is none: give a number")
        problems.check()
        values = tuple(sorted(set(checked)))
        self.__attrs_init__(key, known, values)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels meet the requirement."""
        return self.accepts(labels.get(self.key))

    def accepts(self, value: str | None) -> bool:
        """Say whether the value of the label meets the requirement; None stands for a missing label."""
        match self.operator:
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.EQUALS | Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_EQUALS | Operator.NOT_IN:
                return value not in self.values
            case Operator.GREATER_THAN:
                return _integer(value, lambda label: label > int(self.values[0]))
            case Operator.LESS_THAN:
                return _integer(value, lambda label: label < int(self.values[0]))

    def __str__(self) -> str:
        """Return the requirement in the grammar that `Selector` reads."""
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                values = ", ".join(self.values) or ","  # the empty value alone
                return f"{self.key} {self.operator.value} ({values})"
            case _:
                return f"{self.key} {self.operator.value} {self.values[0]}"


@frozen(init=False)
class Selector:
    """Which nodes a job may run on, and which it would rather have.

    Requirements are all of them to hold; preferences exclude nothing, a node that meets more of them ranks
    higher. Both are written in the grammar of Kubernetes' label selectors, at most 1000, between commas::

        Selector("zone in (dc, field), size > 42", prefer="disk = ssd") & Selector("gpu, !spot")

    Operators: ``=``, ``==``, ``!=``, ``in (...)``, ``notin (...)``, ``exists`` (or the bare key), ``!key``,
    ``gt`` or ``>``, ``lt`` or ``<``. Every node has the labels ``name``, ``os`` and ``arch``. Equal selectors
    compare equal whatever the order of their terms.

    Attributes:
        requirements: What must hold, sorted.
        preferences: What would be good, sorted.

    Raises:
        InvalidSpecError: From the constructor, with every term that is wrong.
    """

    requirements: tuple[Requirement, ...]
    preferences: tuple[Requirement, ...]
    __attrs_init__: ClassVar[Callable[..., None]]

    def __init__(
        self,
        requirements: str | Iterable[Requirement] = (),
        prefer: str | Iterable[Requirement] = (),
    ) -> None:
        problems = Problems()
        terms = problems.convert("", lambda: _terms(requirements), ())
        preferences = problems.convert("prefer", lambda: _terms(prefer), ())
        problems.check()
        self.__attrs_init__(terms, preferences)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether a node with these labels meets every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def preference(self, labels: Mapping[str, str]) -> int:
        """Return how many of the preferences a node with these labels meets."""
        return sum(preference.matches(labels) for preference in self.preferences)

    def __and__(self, other: Selector) -> Selector:
        """Return the selector that asks for what both ask for."""
        if not isinstance(other, Selector):
            return NotImplemented
        return Selector(self.requirements + other.requirements, self.preferences + other.preferences)

    def __bool__(self) -> bool:
        """Say whether anything is required or preferred."""
        return bool(self.requirements or self.preferences)

    def __str__(self) -> str:
        """Return the requirements in the grammar that the constructor reads."""
        return ", ".join(map(str, self.requirements))


def _integer(value: str | None, holds: Callable[[int], bool]) -> bool:
    return value is not None and _INTEGER.fullmatch(value) is not None and holds(int(value))


def _operator(value: object) -> Operator | None:
    if isinstance(value, Operator):
        return value
    return _SPELLINGS.get(value) if isinstance(value, str) else None


def _terms(terms: object) -> tuple[Requirement, ...]:
    given = _parse(terms) if isinstance(terms, str) else several(terms)
    found = {term for term in given if isinstance(term, Requirement)}
    if not all(isinstance(term, Requirement) for term in given):
        raise invalid(f"{shown(terms)} is not a text such as 'zone = dc', nor a list of Requirement objects")
    if len(found) > _TERMS_MAX:
        raise invalid(f"a selector has at most {_TERMS_MAX} terms, this one has {len(found)}: use fewer")
    return tuple(sorted(found, key=lambda term: (term.key, term.operator.value, term.values)))


def _parse(text: str) -> list[Requirement]:
    problems = Problems()
    terms: list[Requirement] = []
    for piece in _split(text):
        with problems.at(""):
            terms.append(_parse_term(piece))
    problems.check()
    return terms


def _split(text: str) -> list[list[str]]:
    """Cut a selector into the tokens of each term, at the commas that stand in no parentheses.

    Raises:
        InvalidSpecError: There are too many terms, or too many values in one.
    """
    pieces: list[list[str]] = [[]]
    depth, position = 0, 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        assert found is not None, "every character belongs to some token"
        word, position = found[1], found.end()
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "," and depth == 0:
            pieces.append([])
        else:
            pieces[-1].append(word)
        if len(pieces) > _TERMS_MAX:
            raise invalid(
                f"a selector has at most {_TERMS_MAX} terms: use fewer, or give nodes a label for them"
            )
        if (
            len(pieces[-1]) > 2 * _VALUES_MAX + 3
        ):  # key, operator, parentheses, values with commas between them
            raise invalid(
                f"a term has at most {_VALUES_MAX} values: use fewer, or give nodes a label for them"
            )
    if pieces == [[]]:
        return []
    return pieces


def _parse_term(tokens: list[str]) -> Requirement:
    text = shown(" ".join(tokens))
    match tokens:
        case []:
            raise invalid("a term is empty: look for a comma too many")
        case ["!", key]:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        case [key] | [key, "exists"]:
            return Requirement(key, Operator.EXISTS)
        case [key, ("in" | "notin") as operator, "(", *values, ")"]:
            return Requirement(key, operator, _alternatives(values, text))
        case [_, "in" | "notin", *_]:
            raise invalid(f"{text}: write the values in parentheses, as in 'zone in (dc, field)'")
        case [key, operator, value] if operator in _SPELLINGS:
            return Requirement(key, operator, [value])
        case [key, ("=" | "==" | "!=") as operator]:
            return Requirement(key, operator, [""])
        case _:
            raise invalid(f"{text} is not a requirement such as 'zone = dc', 'size > 42', 'gpu' or '!spot'")


def _alternatives(words: list[str], text: str) -> list[str]:
    """Return the values between parentheses; a comma with nothing beside it stands for the empty value."""
    values = [""] if words else []
    for word in words:
        if word == ",":
            values.append("")
        elif values[-1]:
            raise invalid(f"{text}: values in parentheses are separated by commas")
        else:
            values[-1] = word
    return values
