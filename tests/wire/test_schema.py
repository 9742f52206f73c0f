"""The JSON Schema that is shipped: it is that of the code, and an editor finds with it what `load_job` would refuse."""

from __future__ import annotations

import runpy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from bacalhau_sdk.errors import DocumentError
from bacalhau_sdk.wire.structure import to_document
from tests.wire.documents import SCHEMA, SCHEMA_FILE, VALIDATOR, captured, docker, wasm

PROJECT = Path(__file__).parents[2]


def test_the_schema_is_that_of_the_code() -> None:
    written: str = runpy.run_path(str(PROJECT / "docs" / "write_job_schema.py"))["schema"]()
    assert SCHEMA_FILE.read_text() == written, (
        "run python docs/write_job_schema.py > src/bacalhau_sdk/wire/job.schema.json"
    )


def test_the_schema_is_one_and_is_found_in_the_package() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert files("bacalhau_sdk.wire").joinpath("job.schema.json").is_file()


def test_every_key_is_described() -> None:
    objects = [SCHEMA, *SCHEMA["definitions"].values()]
    assert len(objects) > 20
    for each in objects:
        assert each["description"].endswith(".")
        assert all(key["description"].endswith(".") for key in each["properties"].values())


KEYS = ["Type", "Params", "Name", "Count", "Env", "Ports", "Source", "Target", "Values", "Image", "x"]
VALUES: list[Any] = [
    None,
    0,
    1,
    -1,
    True,
    "",
    "batch",
    "docker",
    "s3",
    "Default",
    [],
    {},
    ["a"],
    {"a": "b"},
    [{}],
]


def changed(value: Any, data: st.DataObject) -> Any:
    """Return a value in which one thing, somewhere, is another one."""
    if not value or not isinstance(value, dict | list) or data.draw(st.integers(0, 3)) == 0:
        return data.draw(st.sampled_from(VALUES))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    made = dict(value) if isinstance(value, dict) else list(value)
    key = data.draw(st.sampled_from(keys))
    if isinstance(made, dict) and data.draw(st.integers(0, 3)) == 0:
        return {data.draw(st.sampled_from(KEYS)): data.draw(st.sampled_from(VALUES)), **made}
    made[key] = changed(value[key], data)
    return made


@given(st.sampled_from([*captured().values(), docker(), wasm()]), st.data())
def test_the_structure_that_is_refused_is_not_valid_and_what_is_valid_is_taken(
    document: Any, data: st.DataObject
) -> None:
    made = changed(document, data)
    try:
        to_document(made)
        taken = True
    except DocumentError:
        taken = False
    valid = not list(VALIDATOR.iter_errors(made))
    assert taken or not valid


@pytest.mark.parametrize("document", captured().values())
def test_captured_documents_are_valid(document: Any) -> None:
    assert list(VALIDATOR.iter_errors(document)) == []
