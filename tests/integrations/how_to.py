"""The code of docs/how-to/test-job-logic.md as one test module; as a script, it writes that to a file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "test-job-logic.md"


def module_of_tests() -> str:
    """Return the blocks that are Python, one after the other."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL))


def async_fixture() -> str:
    """Return the block that is for suites with async fixtures."""
    [block] = re.findall(r"```py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(module_of_tests(), encoding="utf-8")
