"""Write the Python of README.md, of the pages of docs/ and of the example notebook as modules, for type checkers::

    python docs/extract_code.py build/pages

The blocks of a page share one namespace, in reading order, in which a later one may define a name anew, as a cell may.
A page that awaits at the top is the body of an async function, as in a script. A block that is a file of examples/ is left out,
for it is checked there. Every line of a page keeps its number, so that a complaint names it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
# In place of the title of a page and the blank line after it.
NAMESPACE = [
    "# pyright: reportRedeclaration=false, reportUnusedExpression=false, reportUnusedVariable=false",
    '# mypy: disable-error-code="no-redef"',
]


def extract(page: str) -> str:
    """Return the Python of a page, blank lines in place of all else."""
    lines = [""] * page.count("\n")
    for block in re.finditer(r"(?ms)^```py(?:thon)?\n(.*?)^```$", page):
        if block[1] not in EXAMPLES:
            first = page.count("\n", 0, block.start(1))
            lines[first : first + block[1].count("\n")] = block[1].splitlines()
    if not any(lines):
        return ""
    code = "\n".join(lines)
    if compile(code, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).co_flags & inspect.CO_COROUTINE:
        first = next(number for number, line in enumerate(lines) if line)
        lines = [f"    {line}" if line else "" for line in lines]
        lines[first - 1] = "async def page() -> None:"  # where its fence was
    return "\n".join([*NAMESPACE, *lines[2:], ""])


def page_of(notebook: str) -> str:
    """Return the code cells of a notebook as the blocks of a page."""
    cells = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    return "\n\n".join(["", *(f"```python\n{cell}\n```" for cell in cells), ""])


def main(target: Path) -> None:
    """Write a module for each page that has Python, and for the notebook."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md"), *(ROOT / "examples").glob("*.ipynb")]
    for path in sorted(pages):
        text = path.read_text(encoding="utf-8")
        code = extract(page_of(text) if path.suffix == ".ipynb" else text)
        if code:
            name = re.sub(r"\W", "_", str(path.relative_to(ROOT).with_suffix("")))
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{name}.py").write_text(code, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
