"""Jobs as text: the job documents of Bacalhau v1, in JSON, and in YAML with the extra ``yaml``."""

from __future__ import annotations

import json
from typing import Literal

import attrs

from ..errors import InexpressibleSpecError, Problem
from ..model.job import JobSpec
from ..model.problems import invalid, shown
from . import yaml
from .plain import ELEMENTS_MAX, FEWER_HINT, SIZE_MAX, has_too_many, read_json, syntax
from .reading import to_spec
from .structure import to_document
from .writing import from_spec, largest, longest

__all__ = ["dump_job", "load_job"]


def load_job(text: str) -> JobSpec:
    """Read a job document of Bacalhau v1: JSON if it begins with ``{`` or ``[``, YAML otherwise.

    It is the job itself, not a request with the key ``Job``. What a server wrote about a job (``ID``, ``State``, ``Version``,
    ``Revision``, times, ``Meta`` of ``bacalhau.org/``) is no part of what is asked and is passed over, as by the original; all
    else is in the spec, or is refused. The names of the job and of its task become the labels ``bacalhau.org/name`` and
    ``bacalhau.org/task``. The network ``Default`` is none. The publishers ``local`` and ``noop`` say what happens here always:
    results come back. A WASM module stays an input of the program too, unless its Target is in the folder ``/bacalhau.module``.

    Args:
        text: The document, at most 10 million characters of JSON or a million of YAML, with at most 20,000 keys and values.
            Paths in it are taken as they are; what they name is read when the job is submitted.

    Raises:
        DocumentSyntaxError: The text is no JSON or YAML, or is too large or too deep.
        InvalidDocumentError: A key does not exist or is given twice, or a value is of a wrong type or breaks a rule.
        UnsupportedDocumentError: The document asks for what a spec cannot hold.
        MissingExtraError: It is YAML, and the extra is not installed.
    """
    if not isinstance(text, str):
        raise syntax(f"{shown(text)} is not a text", "read the file as text")
    if len(text) > SIZE_MAX:
        raise syntax(
            f"the document has more than {SIZE_MAX} characters", "give large files by their path or URL"
        )
    stripped = text.removeprefix("\ufeff").lstrip()
    if not stripped:
        raise syntax("the document is empty")
    read = read_json if stripped[0] in "{[" else yaml.read_yaml
    return to_spec(to_document(read(text.removeprefix("\ufeff"))))


def dump_job(spec: JobSpec, format: Literal["json", "yaml"] = "json") -> str:
    """Write a spec as a job document of Bacalhau v1, so that `load_job` gives an equal spec.

    Nothing that is asked is left out; whether a path is a folder, which a submit notes, is not asked. A WASM module
    becomes an input at ``/bacalhau.module/NAME``, which the program can see there, unless it is one of the inputs already.

    Args:
        spec: What is to be run; also that of a submitted job.
        format: ``json``, or ``yaml`` with the extra.

    Raises:
        InexpressibleSpecError: The format cannot say all of it: retries, standard input, functions, preferences of a selector, a
            platform of an image, writable inputs, ...; every field is named. Or the document would be too large to be read.
        InvalidSpecError: It is no spec, or no such format.
        MissingExtraError: The extra is not installed.
    """
    if format not in ("json", "yaml"):
        raise invalid(f"{shown(format)} is not a format: use 'json' or 'yaml'", "format")
    document = attrs.asdict(from_spec(spec), filter=lambda _, value: value is not None)
    if has_too_many(document):
        many = f"the document would have more than {ELEMENTS_MAX} keys and values"
        raise InexpressibleSpecError([Problem(longest(spec), many)], hint=FEWER_HINT)
    if format == "yaml":
        text, most = yaml.write_yaml(document), yaml.SIZE_MAX
    else:
        text, most = json.dumps(document, indent=2, ensure_ascii=False) + "\n", SIZE_MAX
    if len(text) > most:
        raise InexpressibleSpecError(
            [
                Problem(
                    largest(spec), f"the document would have {len(text)} characters, at most {most} are read"
                )
            ],
            hint="give it by its path or URL" + (", or use JSON" if format == "yaml" else ""),
        )
    return text
