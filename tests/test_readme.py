"""The README's examples do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def run(*arguments: str | Path) -> str:
    """Run a script without a warning, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_first_example_runs_as_it_stands(tmp_path: Path) -> None:
    found = re.search(r"<!-- example: first job -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    destination = tmp_path / "counts"
    code = found[1].replace('"counts/"', repr(str(destination)))
    assert code != found[1]
    script = tmp_path / "first_job.py"
    script.write_text(code)
    printed = run(script)
    assert printed.count("different") == 2  # by the log, and by stdout of the second run
    assert (destination / "words.csv").read_text().startswith("word,count\nthe,")


def test_the_blocking_example_runs_as_it_stands(tmp_path: Path) -> None:
    found = re.search(r"<!-- example: blocking -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    script = tmp_path / "blocking.py"
    script.write_text(found[1])
    printed = run(script)
    assert printed.count("different") == 2
    assert "\n0\n" in printed
