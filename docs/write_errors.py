"""Writes the page of errors from their docstrings: ``python docs/write_errors.py > docs/reference/errors.md``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

from bacalhau_sdk import errors
from bacalhau_sdk.errors import BacalhauError

HEAD = """# Errors

Written by `docs/write_errors.py` from the docstrings in `bacalhau_sdk/errors.py`; a test holds them together.

Every error that the library raises on purpose is a `BacalhauError`. It has a `code`, which never changes its meaning, a `message`
(what was wrong), a `field` (where: an argument, or a field of the spec such as `inputs./data`; empty where there is none) and a
`hint` (what to do; empty where the message says it). `str(error)` has the message and the hint. A `JobFailedError` also has the
code of what went wrong in the first place, its `failure_code`: one of the codes of this page.
"""

NODE_HEAD = """
## Codes of nodes

`failure_code` of a `JobFailedError` whose cause is a node and not one of the errors above. All of them are faults of the
infrastructure: `retry=RetryPolicy(max_attempts=...)` gives such a job another try.
"""

#: What a node reports that no error stands for: what it means, and what to do.
NODE_CODES = {
    "node.fault": (
        "A fault of a node's own, such as an executor's or a plugin's.",
        "Read the message and the log; report it if it is the library's.",
    ),
    "node.io": (
        "The node's machine could not read or write a file.",
        "See that its disk has room and its folders can be written, and submit again.",
    ),
    "node.lost": (
        "The node could not be reached for longer than it is waited for, or does not match any more.",
        "See to the node; what it reports later is not recorded.",
    ),
    "node.lost_execution": (
        "The node is there, but does not know the execution any more: it was started anew.",
        "Submit again; what the earlier life of the node did is not recorded.",
    ),
    "node.no_results": (
        "The node says that the job is done, but not where the results are.",
        "Submit again; report it if the node is the library's own.",
    ),
    "node.stopped": (
        "The node ended the execution without being asked.",
        "See whether somebody closes or restarts the node, and submit again.",
    ),
}


def page() -> str:
    """Return the page."""
    kinds = [
        value
        for name in errors.__all__
        if isinstance(value := getattr(errors, name), type) and issubclass(value, BacalhauError)
    ]
    kinds.sort(key=lambda kind: kind.code)
    parts = [HEAD, "| code | error | meaning |", "|---|---|---|"]
    parts += [
        f"| [`{kind.code}`](#{anchor(kind.code)}) | `{kind.__name__}` | {sections(kind)[0]} |"
        for kind in kinds
    ]
    for kind in kinds:
        parts += section(kind)
    parts += [NODE_HEAD, "| code | meaning | what to do |", "|---|---|---|"]
    parts += [f"| `{code}` | {meaning} | {todo} |" for code, (meaning, todo) in sorted(NODE_CODES.items())]
    return "\n".join(parts) + "\n"


def section(kind: type[BacalhauError]) -> Iterator[str]:
    """Yield the lines about one error."""
    meaning, when, todo = sections(kind)
    parents = [
        f"`{base.__name__}`"
        for base in kind.__mro__[1:]
        if issubclass(base, Exception) and base is not Exception
    ]
    yield f"\n## {kind.code}\n"
    yield f"`{kind.__name__}`" + (f", under {', '.join(parents)}" if parents else "") + f". {meaning}\n"
    yield f"- When: {when}"
    yield f"- What to do: {todo}"


def sections(kind: type[BacalhauError]) -> tuple[str, str, str]:
    """Return what an error means, when it is raised, and what to do, as its docstring says."""
    text = inspect.cleandoc(vars(kind).get("__doc__") or "").replace("``", "`")
    meaning = text.partition("\n")[0]
    found = {
        label: " ".join(body.split())
        for label, body in re.findall(r"(?ms)^(When|What to do): (.*?)(?:\n\n|\Z)", text)
    }
    return meaning, found["When"], found["What to do"]


def anchor(code: str) -> str:
    """Return the anchor that GitHub gives to a heading that is a code."""
    return code.replace(".", "")


if __name__ == "__main__":
    sys.stdout.write(page())
