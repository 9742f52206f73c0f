"""The blocks of the how-to pages run as they stand, one after the other, and print what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def run_page(page: str, folder: Path) -> str:
    """Write the files of a page, run its Python blocks in one go, and return what they print."""
    text = (PROJECT / "docs" / "how-to" / page).read_text()
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for name in ("docs", "examples"):
        (folder / name).symlink_to(PROJECT / name)
    (folder / "page.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_job_files(tmp_path: Path) -> None:
    printed = run_page("job-files.md", tmp_path).splitlines()
    assert any(re.fullmatch(r" *\d+ words .*how-to/job-files\.md", line) for line in printed)
    assert printed[-5] == "wordcount"
    assert Path(printed[-4]).is_file()
    assert printed[-3:] == [
        "document.invalid Tasks[0].Resources.Memory",
        "document.unsupported Tasks[0].Publisher.Type",
        "['retry.max_attempts', 'retry.backoff', 'stdin']",
    ]
    page = (PROJECT / "docs" / "how-to" / "job-files.md").read_text()
    assert all(f"`{line}`" in page for line in printed[-3:])
