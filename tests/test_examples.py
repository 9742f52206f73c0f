"""The examples are short, and those that are scripts print what a person would look for; the others have tests beside them."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from pathlib import Path

import pytest

from examples import deadline
from tests.test_house import code_lines, signature_lines
from tests.test_readme import PROJECT, run

EXAMPLES = PROJECT / "examples"
LIMIT = 60


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    """At most 60 lines: blank ones, comments and docstrings do not count, signatures do."""
    source = path.read_text(encoding="utf-8")
    assert len(code_lines(source) | signature_lines(ast.parse(source))) <= LIMIT


def test_every_example_is_named_in_the_readme_or_the_documentation() -> None:
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("**/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    names = [path.name for pattern in ("*.py", "*.ipynb") for path in EXAMPLES.glob(pattern)]
    assert [name for name in sorted(names) if not re.search(rf"\]\([./]*examples/{name}\)", text)] == []


def test_the_quickstart_shows_the_log_and_where_the_outputs_are(tmp_path: Path) -> None:
    printed = run(EXAMPLES / "quickstart.py", PROJECT / "docs", tmp_path / "kept")
    assert re.search(r"(?m)^stdout \| +\d+ words +/inputs/explanation/journey-of-a-job\.md$", printed)
    assert f"its outputs are in {tmp_path / 'kept'}" in printed
    assert (tmp_path / "kept" / "words.csv").exists()


def test_platforms_says_where_jobs_run_and_node_by_node_why_one_fits_nowhere() -> None:
    printed = run(EXAMPLES / "platforms.py")
    places = [line.rpartition(": ")[2] for line in printed.splitlines()[:4]]
    assert places == ["edge", "rack", "rack, rack", "desk"]
    assert "node edge: selector: asked for zone = dc, offers zone = field" in printed
    assert "node rack: platform: asked for linux/arm64, offers linux/amd64" in printed
    assert "node desk: engine: asked for docker, offers wasm" in printed
    assert printed.endswith("it fails at once: job.no_matching_node\n")


async def test_deadline_leaves_no_program_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    await deadline.main()
    printed = capsys.readouterr().out
    assert re.findall(r"(?m)^(\w.*): the job is (\w+)$", printed) == [
        ("move_on_after", "CANCELLED"),
        ("a wait that was given up", "RUNNING"),
        ("fail_after", "CANCELLED"),
    ]
    assert "ran for more than its limit of 0.5 s on node local" in printed
    assert busy_guests() == []


def busy_guests() -> list[str]:
    """Return the functions of the engine in which a thread is."""
    stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]
    return [call.name for stack in stacks for call in stack if "wasmtime" in Path(call.filename).parts]


def test_the_plain_script_counts_the_words_of_every_file(tmp_path: Path) -> None:
    for name, words in (("long.md", 7), ("short.md", 2), ("other.txt", 9)):
        (tmp_path / name).write_text("word " * words)
    printed = run(EXAMPLES / "plain_script.py", tmp_path)
    assert [line.strip() for line in printed.splitlines()] == [
        "7  long.md",
        "2  short.md",
        "9  in 2 of 2 files",
    ]
