"""Plain values to a document: strict, and every problem with its path.

cattrs walks the types. The hooks are our own, because it would make ``"5"`` of 5, 1 of True and a list of letters of a text. Keys
and the names of types may be in any case of letters, as in the original; a null is as good as an absent key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import attrs
from cattrs import (
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.cols import (
    list_structure_factory,
    mapping_structure_factory,  # pyright: ignore[reportUnknownVariableType]
)
from cattrs.gen import make_dict_structure_fn

from ..errors import DocumentError, InvalidDocumentError, Problem, UnsupportedDocumentError
from ..model.problems import key_path, shown
from .document import AnyCase, EngineConfig, Job, SourceConfig, Unsupported
from .plain import Unreadable

__all__ = ["Findings", "to_document"]


class Findings:
    """Gathers what is wrong with a document; what breaks a rule goes before what a spec cannot hold."""

    def __init__(self) -> None:
        self.invalid: list[Problem] = []
        self.unsupported: list[Problem] = []
        self.hint = ""

    def check(self) -> None:
        """Raise what was gathered.

        Raises:
            InvalidDocumentError: Something breaks a rule of the format.
            UnsupportedDocumentError: Nothing does, but something has no place in a spec.
        """
        if self.invalid:
            raise InvalidDocumentError(self.invalid, hint=self.hint)
        if self.unsupported:
            raise UnsupportedDocumentError(
                self.unsupported, hint=self.hint or "remove it, or submit the document to a Bacalhau server"
            )


class _ValueProblem(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with one value; cattrs notes where it is."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        below: str = "",
        kind: type[DocumentError] = InvalidDocumentError,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.below = below
        self.kind = kind


def to_document(value: object) -> Job:
    """Turn plain values into a job document.

    Raises:
        InvalidDocumentError: A key is missing, unknown or given twice, or a value is of a wrong type.
        UnsupportedDocumentError: A key asks for what a spec has no place for.
    """
    findings = Findings()
    try:
        return _CONVERTER.structure(value, Job)
    except (BaseValidationError, _ValueProblem) as error:
        _gather(error, "", findings)
    findings.check()
    raise AssertionError("an error has a problem")


def _gather(error: Exception, path: str, findings: Findings) -> None:
    match error:
        case ClassValidationError():
            inner, others = error.group_exceptions()
            for each, note in inner:
                _gather(each, f"{path}.{note.name}" if path else note.name, findings)
            for each in others:
                _gather(each, path, findings)
        case IterableValidationError():
            for each, item in error.group_exceptions()[0]:
                where = f"{path}[{item.index}]" if isinstance(item.index, int) else key_path(path, item.index)
                _gather(each, where, findings)
        case ForbiddenExtraKeysError(extra_fields=keys, cl=owner):
            known = ", ".join(field.name for field in attrs.fields(owner))
            for key in sorted(keys):
                findings.invalid.append(
                    Problem(key_path(path, key).removeprefix("."), f"there is no such key: {known}")
                )
            if owner is Job and any(key.lower() == "job" for key in keys):
                findings.hint = "this is a request to a server; the job is the value of its key 'Job'"
        case _ValueProblem(message=message, hint=hint, below=below, kind=kind):
            found = findings.invalid if kind is InvalidDocumentError else findings.unsupported
            found.append(Problem(".".join(part for part in (path, below) if part), message))
            findings.hint = findings.hint or hint
        case KeyError():  # by cattrs: our hooks raise none
            findings.invalid.append(Problem(path, "is missing"))
        case _:
            raise error


def _wrong(value: object, expected: str) -> _ValueProblem:
    if isinstance(value, Unreadable):
        return _ValueProblem(value.what)
    quote = isinstance(value, bool | int | float) and expected == "a text"
    return _ValueProblem(f"{shown(value)} is not {expected}", "put it in quotes" if quote else "")


def _text(value: object, _: object) -> str:
    if type(value) is not str:
        raise _wrong(value, "a text")
    return value


def _integer(value: object, _: object) -> int:
    if type(value) is not int:
        raise _wrong(value, "a whole number")
    return value


def _one_of(value: object, kind: object) -> str:
    marks = get_args(kind)[1:] if _has_origin(Annotated, kind) else ()
    texts = cast("tuple[str, ...]", get_args(get_args(kind)[0] if marks else kind))
    text = _text(value, str)
    if any(isinstance(mark, AnyCase) for mark in marks):
        text = next((each for each in texts if each.lower() == text.strip().lower()), text)
    if text not in texts:
        for mark in marks:
            if isinstance(mark, Unsupported):
                raise _unsupported(value, mark)
        raise _wrong(value, f"one of {', '.join(map(repr, texts))}")
    return text


def _nothing(value: object, kind: object) -> None:
    """Refuse a key that a spec has no place for, unless it says nothing."""
    if isinstance(value, Unreadable):
        raise _wrong(value, "nothing")
    if value not in (None, False, 0, "", [], {}):
        raise _unsupported(value, get_args(kind)[1])


def _unsupported(value: object, mark: Unsupported) -> _ValueProblem:
    message = f"{shown(value)} has no place in a spec: {mark.reason}"
    return _ValueProblem(message, kind=UnsupportedDocumentError)


def _object(value: object, names: Mapping[str, str]) -> dict[str, object]:
    """Return an object with its keys in the spelling of the format."""
    found: dict[str, object] = {}
    for key, each in _plain_object(value).items():
        name = names.get(key.lower(), key)
        found[name] = Unreadable("the key is given twice, in two spellings") if name in found else each
    return found


def _plain_object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(value, "an object with keys and values")
    return cast("dict[str, object]", value)  # JSON has no other keys, and YAML with others is not read


def _by_type(union: object) -> Callable[[object, object], object]:
    """Make the hook of several classes that their key ``Type`` tells apart, in any case of letters."""
    kinds = {text: kind for kind in get_args(union) for text in get_args(get_type_hints(kind)["Type"])}

    def hook(value: object, _: object) -> object:
        named = _object(value, {"type": "Type"})
        given = named.get("Type")
        if given is None:
            raise _ValueProblem("is missing", below="Type")
        if not isinstance(given, str):
            raise _ValueProblem(_wrong(given, "a text").message, below="Type")
        name = next((each for each in kinds if each.lower() == given.strip().lower()), None)
        if name is None:
            message = f"{shown(given)} has no place in a spec: use one of {', '.join(kinds)}"
            raise _ValueProblem(message, below="Type", kind=UnsupportedDocumentError)
        return _CONVERTER.structure(named | {"Type": name}, kinds[name])

    return hook


def _class_hook(kind: Any) -> Callable[[object, object], object]:
    """Make the hook of a class of the document: an object that has known keys only."""
    structure = make_dict_structure_fn(
        kind, _CONVERTER, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )
    names = {field.name.lower(): field.name for field in attrs.fields(kind)}
    return lambda value, _: structure(_object(value, names), kind)


def _list_hook(kind: Any) -> Callable[[object, object], object]:
    structure = list_structure_factory(kind, _CONVERTER)

    def hook(value: object, _: object) -> object:
        if not isinstance(value, list):
            raise _wrong(value, "a list")
        return structure(cast("list[object]", value), kind)

    return hook


def _mapping_hook(kind: Any) -> Callable[[object, object], object]:
    structure = mapping_structure_factory(kind, _CONVERTER)
    return lambda value, _: structure(_plain_object(value), kind)


def _converter() -> Converter:
    converter = Converter(detailed_validation=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook_factory(attrs.has, _class_hook)
    converter.register_structure_hook_factory(partial(_has_origin, list), _list_hook)
    converter.register_structure_hook_factory(partial(_has_origin, dict), _mapping_hook)
    converter.register_structure_hook_func(_is_literal, _one_of)
    converter.register_structure_hook_func(_is_nothing, _nothing)
    converter.register_structure_hook_factory(lambda kind: kind in (EngineConfig, SourceConfig), _by_type)
    return converter


def _has_origin(origin: object, kind: object) -> bool:
    return get_origin(kind) is origin


def _is_literal(kind: object) -> bool:
    return _has_origin(Literal, get_args(kind)[0] if _has_origin(Annotated, kind) else kind)


def _is_nothing(kind: object) -> bool:
    return _has_origin(Annotated, kind) and get_args(kind)[0] is NoneType


_CONVERTER = _converter()
