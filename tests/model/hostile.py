"""Values that no field expects, and what may become of them: nothing but an `InvalidSpecError` that names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError


class Unshowable:
    """An object that raises whatever is done with it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError("leave me alone")

    __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __len__ = __index__ = __float__ = _refuse


class Twisted:
    """An object whose path is no text."""

    def __fspath__(self) -> bytes:
        return b"/bytes"


#: By name; `Any`, since no type checker lets them through.
VALUES: dict[str, Any] = {
    "null": None,
    "object": object(),
    "class": Unshowable,
    "unshowable": Unshowable(),
    "twisted path": Twisted(),
    "True": True,
    "list": [1, None],
    "dict": {"a": Unshowable()},
    "NaN": math.nan,
    "infinity": math.inf,
    "-1": -1,
    "2**63": 2**63,
    "10**5000": 10**5000,
    "1e300": 1e300,
    "empty": "",
    "surrogate": "\ud800",
    "NUL": "a\0b",
    "1 MB": "?" * 10**6,
    "bytes": b"\xff",
}

_plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.sampled_from([*VALUES]).map(lambda name: VALUES[name])
    | st.from_regex(r"[a-z0-9./:=!<>(),\- ]{0,12}", fullmatch=True)
)
#: Anything at all, often close to something valid.
anything: st.SearchStrategy[Any] = st.recursive(
    _plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.none() | st.integers() | st.text(), inner, max_size=3)
    ),
    max_leaves=4,
)


def outcome(make: Callable[[], object]) -> object:
    """Return what is made, or the `InvalidSpecError` that says why it is not."""
    try:
        return make()
    except InvalidSpecError as error:
        return error


def cells(table: str) -> list[str]:
    """Return the cells of a table, which two spaces or the end of a line separate."""
    return re.split(r" {2,}|\n *", table.strip(" \n"))


def complains_about(error: InvalidSpecError, path: str) -> bool:
    """Say whether every problem is about the field or a part of it, and the message is fit to be read."""
    paths = [problem.path for problem in error.problems]
    message = str(error)
    assert len(message) < 2000
    assert message.isprintable()
    return bool(paths) and all(found == path or found.startswith((f"{path}[", f"{path}.")) for found in paths)
