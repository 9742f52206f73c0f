"""How values are shown in a notebook: HTML and SVG that carry no script, ask nobody for anything, and trust no text.

Everything is built as a tree of elements, so that the serialiser escapes whatever is in it; what would be invisible, or would
change what stands beside it, is written out. The colours follow the theme of JupyterLab, VS Code and Colab, else the system's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from xml.etree import ElementTree as ET

__all__ = [
    "COLOURS",
    "ROWS_MAX",
    "card",
    "counted",
    "duration",
    "element",
    "last_part",
    "moment",
    "state_badge",
    "table",
    "themes",
    "visible",
]

TEXT_MAX = 200
ROWS_MAX = 50
_SHORT = 24
_BLOCK_MAX = 4000
_BLOCK_LINES_MAX = 20

# Less than `problems.printable` writes out for a terminal: a page shows joined emoji and scripts, and any space, as meant.
# Controls, what changes the direction of a text, halves of a surrogate pair, and what XML 1.0 (§2.2) does not allow.
_UNSEEN = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "text": ("#1f2328", "#e6e6e6"),
        "muted": ("#59636e", "#a8b0b8"),
        "line": ("#d0d7de", "#4a5058"),
        "page": ("#ffffff", "#1b1f24"),
        # After Okabe and Ito, "Color Universal Design" (2008), made darker or lighter until they can be read on the page.
        "offered": ("#6a737d", "#9aa4ae"),
        "preparing": ("#9a5b00", "#e69f00"),
        "running": ("#0072b2", "#56b4e9"),
        "publishing": ("#007a5a", "#2fc79a"),
        "failed": ("#bf3600", "#ff8a5c"),
        "timed-out": ("#a0347c", "#e69ac8"),
    }
)
"""By name, the colour on a light and on a dark page; each can be read there as a text (WCAG 2.2, 1.4.3)."""
# What these editors call the colours of their themes.
_OF_HOSTS = {
    "text": "var(--jp-content-font-color1,var(--vscode-editor-foreground,{}))",
    "page": "var(--jp-layout-color0,var(--vscode-editor-background,{}))",
}
# JupyterLab and nbconvert, VS Code (its light theme of high contrast has both of its classes), Colab, documentation pages.
_DARK_HOSTS = (
    "[data-jp-theme-light=false]",
    ".vscode-dark",
    ".vscode-high-contrast",
    "[theme=dark]",
    "[data-theme=dark]",
)
_LIGHT_HOSTS = (
    "[data-jp-theme-light=true]",
    ".vscode-light",
    ".vscode-high-contrast-light",
    "[theme=light]",
    "[data-theme=light]",
)
_CARD = """
.bacalhau{color:var(--bac-text);background:var(--bac-page);border:1px solid var(--bac-line);border-radius:6px;
padding:10px 14px;margin:2px 0;font:13px/1.45 var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));
max-width:100%;box-sizing:border-box;overflow-x:auto}
.bacalhau .bac-head{margin:0 0 6px;font-size:14px;overflow-wrap:anywhere}
.bacalhau .bac-note{margin:4px 0;color:var(--bac-muted);overflow-wrap:anywhere}
.bacalhau table.bac-table{border-collapse:collapse;border:0;margin:4px 0;font-size:13px;table-layout:auto;color:inherit}
.bacalhau table.bac-table thead tr,.bacalhau table.bac-table tbody tr{background:none;border:0}
.bacalhau table.bac-table th,.bacalhau table.bac-table td{text-align:left;vertical-align:top;padding:3px 18px 3px 0;border:0;
border-bottom:1px solid var(--bac-line);background:none;color:inherit;white-space:normal;max-width:34em;overflow-wrap:anywhere}
.bacalhau table.bac-table tbody tr:last-child td{border-bottom:0}
.bacalhau table.bac-table th{color:var(--bac-muted);font-weight:600;white-space:nowrap}
.bacalhau table.bac-table td.bac-number,.bacalhau table.bac-table th.bac-number{text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
.bacalhau table.bac-table td.bac-short{white-space:nowrap}
.bacalhau pre.bac-text{margin:2px 0 6px;padding:6px 10px;border:0;border-left:3px solid var(--bac-line);background:none;
color:inherit;white-space:pre-wrap;overflow-wrap:anywhere;font:12px/1.4 var(--jp-code-font-family,ui-monospace,monospace)}
.bacalhau .bac-state{font-weight:600;white-space:nowrap}
""" + "".join(f".bacalhau .bac-state.bac-{name}{{color:var(--bac-{name})}}" for name in COLOURS)


def visible(text: object, limit: int = TEXT_MAX) -> str:
    r"""Return a text as one short line in which every character can be seen: a control character becomes ``\x1b``, say."""
    raw = str(text)
    seen = _UNSEEN.sub(_written_out, raw[: limit + 1])
    return seen if len(seen) <= limit else seen[: limit - 1] + "…"


def last_part(text: str) -> tuple[str, bool]:
    """Return the last lines of a text, as `visible` shows them, and whether they are not all of it."""
    tail = text[-_BLOCK_MAX:].replace("\r\n", "\n")
    lines = tail.rstrip("\n").split("\n")
    cut = len(text) > _BLOCK_MAX or len(lines) > _BLOCK_LINES_MAX
    shown = (
        "\t".join(_UNSEEN.sub(_written_out, part) for part in line.split("\t"))
        for line in lines[-_BLOCK_LINES_MAX:]
    )
    return "\n".join(shown), cut


def counted(number: int, what: str) -> str:
    """Return a number and what it counts: ``1 job``, ``2,000 jobs``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Return a time span for people: ``250 ms``, ``2 min 30 s``, ``1 h 5 min``, ``3 d 2 h``."""
    if not math.isfinite(seconds):
        return "?"
    if abs(seconds) < 60:
        return f"{seconds:.3g} s" if abs(seconds) >= 0.9995 or seconds == 0 else f"{seconds * 1000:.3g} ms"
    whole = round(seconds)
    for large, small, unit, part in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {unit} {rest} {part}" if rest else f"{whole // large} {unit}"
    return f"{whole} s"


def moment(time: float) -> str:
    """Return a time of the cluster's clock for people: a date when it can be Unix time, else the seconds."""
    if 1e9 <= time < 1e11:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{time:.6g} s"


def element(tag: str, *children: ET.Element | str, **attributes: str | float) -> ET.Element:
    """Make an element; a text in it, or in an attribute, is shown as `visible` does, with its newlines and tabs.

    Args:
        tag: Its name.
        children: What is in it.
        attributes: By name; ``class_`` is ``class``, and ``_`` inside a name is ``-``.
    """
    made = ET.Element(
        tag, {name.rstrip("_").replace("_", "-"): _attribute(value) for name, value in attributes.items()}
    )
    for child in children:
        if not isinstance(child, str):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + _text(child)
        else:
            made.text = (made.text or "") + _text(child)
    return made


def card(head: Iterable[ET.Element | str], *parts: ET.Element) -> str:
    """Return the HTML of a value: its headline, and what there is to say below it.

    MathJax, which notebooks have, would take what stands between two ``$`` for a formula, commands that load something included:
    the classes keep it away.
    """
    style = element("style", themes(".bacalhau") + _CARD.replace("\n", ""))
    whole = element(
        "div",
        style,
        element("div", *head, class_="bac-head"),
        *parts,
        class_="bacalhau tex2jax_ignore mathjax_ignore",
    )
    # As XML, in which every < is escaped, also in attributes; with every end tag it is HTML all the same.
    return ET.tostring(whole, encoding="unicode", short_empty_elements=False)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[ET.Element | str]], *, numbers: Iterable[str] = ()
) -> ET.Element:
    """Make a table.

    Args:
        columns: The heads.
        rows: A cell for each column.
        numbers: Which columns are set to the right.
    """
    right = frozenset(numbers)
    classes = [{"class_": "bac-number"} if column in right else {} for column in columns]
    head = (element("th", column, **kind) for column, kind in zip(columns, classes, strict=True))
    body = (
        element("tr", *(_cell(cell, kind) for cell, kind in zip(row, classes, strict=True))) for row in rows
    )
    return element(
        "table", element("thead", element("tr", *head)), element("tbody", *body), class_="bac-table"
    )


def state_badge(state: str, text: str | None = None) -> ET.Element:
    """Make the word for a state, or another text, in the colour of the state."""
    colour = _COLOUR_OF_STATE.get(state, "muted")
    return element("span", visible(state if text is None else text), class_=f"bac-state bac-{colour}")


_COLOUR_OF_STATE = {
    "NEW": "offered",
    "ASK_FOR_BID": "offered",
    "BID_ACCEPTED": "preparing",
    "QUEUED": "preparing",
    "RUNNING": "running",
    "PUBLISHING": "publishing",
    "COMPLETED": "publishing",
    "READY": "publishing",
    "DRAINING": "preparing",
    "LOST": "failed",
    "FAILED": "failed",
    "TIMED_OUT": "timed-out",
}


def themes(root: str) -> str:
    """Return the CSS that gives the colours to what has a class, by the theme of the system and of the editor around it.

    Args:
        root: The selector.
    """
    light, dark = _properties(0), _properties(1)
    light_hosts, dark_hosts = (
        ",".join(f"{host} {root}" for host in hosts) for hosts in (_LIGHT_HOSTS, _DARK_HOSTS)
    )
    return (
        f"{root}{{color-scheme:light;{light}}}"
        f"@media(prefers-color-scheme:dark){{{root}{{color-scheme:dark;{dark}}}}}"
        f"{dark_hosts}{{color-scheme:dark;{dark}}}{light_hosts}{{color-scheme:light;{light}}}"
    )


def _properties(theme: int) -> str:
    return ";".join(
        f"--bac-{name}:{_OF_HOSTS.get(name, '{}').format(colours[theme])}"
        for name, colours in COLOURS.items()
    )


def _cell(cell: ET.Element | str, kind: dict[str, str]) -> ET.Element:
    if not isinstance(cell, str):
        return element("td", cell, **kind)
    return element("td", visible(cell), **kind or ({"class_": "bac-short"} if len(cell) <= _SHORT else {}))


def _written_out(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _text(text: str) -> str:
    return _UNSEEN.sub(lambda found: found[0] if found[0] in "\n\t" else _written_out(found), text)


def _attribute(value: str | float) -> str:
    # At most one decimal: a tenth of a pixel is enough, and a drawing has thousands of numbers.
    return _text(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
