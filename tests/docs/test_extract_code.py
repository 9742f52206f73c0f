"""The modules that type checkers get in place of pages have all of their code, on its lines."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(PROJECT / "docs" / "extract_code.py"))
extract: Callable[[str], str] = SCRIPT["extract"]
write: Callable[[Path], None] = SCRIPT["main"]

PAGE = """# Title

Text.

```python
x = 1
```

```sh
no python
```

- A list:

```py
print(x)
```
"""


def test_the_blocks_of_a_page_keep_their_lines() -> None:
    lines = extract(PAGE).splitlines()
    assert [number for number, line in enumerate(lines) if line and not line.startswith("#")] == [5, 15]
    assert (lines[5], lines[15]) == ("x = 1", "print(x)") == (PAGE.splitlines()[5], PAGE.splitlines()[15])


def test_a_page_that_awaits_is_the_body_of_a_function() -> None:
    lines = extract(PAGE.replace("print(x)", "await f(x)")).splitlines()
    assert lines[4:6] == ["async def page() -> None:", "    x = 1"]
    assert lines[15] == "    await f(x)"


def test_a_block_that_is_an_example_is_left_out() -> None:
    example = (PROJECT / "examples" / "own_store.py").read_text(encoding="utf-8")
    assert extract(f"# Title\n\n```python\n{example}```\n") == ""
    assert "x = 1" in extract(f"# Title\n\n```python\n{example}```\n\n```python\nx = 1\n```\n")


def test_every_page_and_the_notebook_make_modules(tmp_path: Path) -> None:
    write(tmp_path)
    names = {path.stem for path in tmp_path.iterdir()}
    assert {"README", "docs_tutorial", "docs_how_to_embed_a_cluster", "examples_notebook"} <= names
    notebook = ast.parse((tmp_path / "examples_notebook.py").read_text())
    [function] = notebook.body
    assert isinstance(function, ast.AsyncFunctionDef)
    assert "all_jobs" in {ast.unparse(statement) for statement in function.body}
