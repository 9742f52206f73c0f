"""Writes the JSON Schema of job documents from the classes in ``wire/document.py``.

``python docs/write_job_schema.py > src/bacalhau_sdk/wire/job.schema.json``. It is draft 7, which editors know. msgspec can make
schemas of attrs classes too, but not of unions of them, and leaves objects open to unknown keys.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from bacalhau_sdk.wire.document import Job, Unsupported

EMPTY: list[object] = [None, "", False, 0, [], {}]
PLAIN = {str: "string", int: "integer", NoneType: "null"}


def schema() -> str:
    """Return the schema as text."""
    definitions: dict[str, Any] = {}
    reference(Job, definitions)
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Job document of Bacalhau v1, as bacalhau_sdk.wire.load_job takes it",
        **definitions.pop("Job"),
        "definitions": dict(sorted(definitions.items())),
    }
    return json.dumps(whole, indent=2) + "\n"


def reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of a class, which is made when it is not there."""
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # holds the place in the order
        hints = get_type_hints(kind, include_extras=True)
        documents = descriptions(kind)
        fields = attrs.fields(kind)
        definitions[kind.__name__] = {
            "description": inspect.cleandoc(kind.__doc__).partition("\n")[0],
            "type": "object",
            "properties": {
                field.name: {
                    "description": documents[field.name],
                    **of_type(hints[field.name], definitions),
                    **field.metadata,
                }
                for field in fields
            },
            "required": [field.name for field in fields if field.default is attrs.NOTHING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/definitions/{kind.__name__}"}


def descriptions(kind: Any) -> dict[str, str]:
    """Return what the docstring of a class says of its attributes."""
    section = inspect.cleandoc(kind.__doc__).partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def of_type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        marked = any(isinstance(each, Unsupported) for each in arguments)
        return {"enum": EMPTY} if arguments[0] is NoneType and marked else of_type(arguments[0], definitions)
    if origin in (Union, UnionType):
        return either([of_type(each, definitions) for each in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": of_type(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": of_type(arguments[1], definitions)}
    return {"type": PLAIN[hint]} if hint in PLAIN else reference(hint, definitions)


def either(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of one of several; of a null and something simple, the short form."""
    first, null = schemas[0], schemas[-1] == {"type": "null"}
    if len(schemas) == 2 and null and "enum" in first:
        return {"enum": [*first["enum"], None]}
    if len(schemas) == 2 and null and "type" in first:
        return {**first, "type": [first["type"], "null"]}
    return {"anyOf": schemas}


if __name__ == "__main__":
    sys.stdout.write(schema())
