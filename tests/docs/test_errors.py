"""The page of errors is what their docstrings say, and every code that the library has is on it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from bacalhau_sdk.errors import BacalhauError
from tests.model.test_errors import CODES, KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))


def test_the_page_is_what_the_docstrings_say() -> None:
    written: str = runpy.run_path(str(ROOT / "docs" / "write_errors.py"))["page"]()
    assert written == PAGE, "run python docs/write_errors.py > docs/reference/errors.md"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_when_it_is_raised_and_what_to_do(kind: type[BacalhauError]) -> None:
    for label in ("When", "What to do"):
        assert re.search(rf"(?m)^ *{label}: \S", vars(kind)["__doc__"] or ""), label
    assert f"\n## {kind.code}\n" in PAGE
    assert PAGE.count(f"`{kind.__name__}`") >= 2


def test_every_code_of_a_failure_is_on_the_page() -> None:
    failures = re.findall(r'Failure\(\s*(?:FailureKind\.)?\w+,\s*"([a-z_.]+)"', SOURCE)
    nodes = re.findall(r'"(node\.[a-z_]+)"', SOURCE)
    codes = {*failures, *nodes, *CODES.values()}
    assert {"node.lost", "node.io", "job.no_matching_node", "wasm.link"} <= codes
    unknown = {code for code in codes if f"`{code}`" not in PAGE}
    assert {
        code for code in unknown if not code.startswith("world.")
    } == set()  # those are the simulated world's own
