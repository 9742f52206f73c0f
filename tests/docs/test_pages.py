"""Every Python block of README.md and docs/ runs as it stands, page by page, and prints what the page says.

A page is run in a folder of its own, beside which lie ``docs`` and ``examples``. In the Markdown,

- a block may ``await``: it has an event loop of its own, as a cell of a notebook has a task of its own;
- the block after ``<!-- output -->`` is what was printed since the one before it; ``...`` stands for anything;
- the block after ``<!-- file: NAME -->`` is a file.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import CodeType

import anyio
import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("**/*.md"))]
# What is stricter than a run: a module of tests that pytest runs (tests/integrations/test_pytest_plugin.py), examples with tests.
TESTS = PROJECT / "docs" / "how-to" / "test-job-logic.md"
EXAMPLES = [path.read_text(encoding="utf-8") for path in sorted((PROJECT / "examples").glob("*.py"))]


@pytest.fixture(autouse=True)
def blocking_calls() -> list[str]:
    """Guard nothing: pages are the user's code, which may block (`Output.copy_to`)."""
    return []


async def run_async(code: CodeType, namespace: dict[str, object]) -> None:
    await eval(code, namespace)


def run_python(example: Example) -> None:
    """Run a block of Python."""
    if example.parsed in EXAMPLES:
        return
    padding = "\n" * (example.line + example.parsed.line_offset)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(padding + example.parsed, example.path, "exec", flags, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        anyio.run(run_async, code, example.namespace)
    else:
        exec(code, example.namespace)


def run_other(printed: pytest.CaptureFixture[str], example: Example) -> str | None:
    """Do what the comment before a block of another language says; return a complaint."""
    before = example.document.text[: example.start]
    if named := re.search(r"<!-- file: (\S+) -->\n\Z", before):
        Path(named[1]).write_text(example.parsed, encoding="utf-8")
    elif before.endswith("<!-- output -->\n"):
        got, want = printed.readouterr().out, str(example.parsed)
        if not doctest.OutputChecker().check_output(
            want, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        ):
            return f"the page says\n{want}\nand this was printed\n{got}"
    return None


@pytest.mark.parametrize("page", [page for page in PAGES if page != TESTS], ids=lambda page: page.name)
def test_a_page_runs_as_it_stands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("docs", "examples"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    other = partial(run_other, capsys)
    parsers = [
        CodeBlockParser(language=name, evaluator=run_python if name == "python" else other)
        for name in languages(page)
    ]
    for example in Sybil(parsers=parsers).parse(page).examples():
        example.evaluate()


def languages(page: Path) -> Iterator[str]:
    """Yield the languages of a page's blocks."""
    yield from sorted(set(re.findall(r"(?m)^```(\w+)$", page.read_text(encoding="utf-8"))))


def test_the_pages_of_examples_have_the_examples() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in sorted((PROJECT / "examples").glob("*own_*.py")):
        assert f"```python\n{path.read_text(encoding='utf-8')}```" in pages, path.name


def test_every_command_is_of_one_line_and_ci_runs_it() -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    for page in (*PAGES, PROJECT / "CONTRIBUTING.md", PROJECT / "SECURITY.md"):
        text = page.read_text(encoding="utf-8")
        commands = re.findall(r"<!-- command: (\w+) -->\n```sh\n.*\n```", text)
        assert len(commands) == text.count("```sh"), page
        for name in commands:
            assert f"\nrun_command {page.relative_to(PROJECT).as_posix()} {name}" in script
