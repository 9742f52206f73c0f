"""Reads what is shown in a notebook as a browser does, and sees that it can do nothing but be looked at."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

HTML = frozenset(["div", "span", "strong", "style", "table", "thead", "tbody", "tr", "th", "td", "pre"])
SVG = frozenset(["svg", "style", "title", "g", "rect", "path", "line", "text"])
PLACES = frozenset(["d", "height", "rx", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2"])
ATTRIBUTES = PLACES | {"aria-label", "class", "role", "text-anchor", "xmlns"}
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
DIRECTIONS = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])
REACHES_OUT = re.compile(r"url\(|@import|https?:|//|data:|javascript:|expression\(|image\(|\\", re.IGNORECASE)

#: What a stranger may have put into any text.
HOSTILE = (
    "<script>alert(1)</script>",
    '"onload="alert(1)',
    "' onmouseover='alert(1)' x='",
    "]]><script>alert(1)</script><![CDATA[",
    "<!-- <img src=x onerror=alert(1)>",
    "</title></style></svg></pre></td><iframe src=//evil>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
    "\x1b[31mred\x07\x00\r\x85",
    "\u202egnp.exe\u2066\u200f\u2028",
    "\ud800 half \udfff",
    "\ufffe\uffff\ufeff",
    "$$\\require{html}\\href{javascript:alert(1)}{x}$$",
    "}*{background:url(//evil)}",
    "[red]markup[/red] {braces} %s",
    "wide " * 50_000,
)


class _Reader(HTMLParser):
    """Gathers what a browser would make of it; the text without that of styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.texts).append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data!r}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data!r}")


def harmless(markup: str) -> str:
    """Return the text that a reader sees, once it is sure that nothing in it acts, or asks anybody for anything."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    assert reader.open == []
    drawing = reader.elements[0][0] == "svg"
    allowed = {name.lower() for name in ATTRIBUTES}
    for tag, attributes in reader.elements:
        assert tag in (SVG if drawing else HTML), tag
        assert set(attributes) <= allowed, attributes
        for name, value in attributes.items():
            if name not in ("xmlns", "aria-label"):  # no request is made for either
                assert not REACHES_OUT.search(value or ""), (name, value)
    assert reader.elements[0][1].get("xmlns", SVG_NAMESPACE) == SVG_NAMESPACE
    assert not REACHES_OUT.search("".join(reader.styles))
    # Both kinds of parser find the same, so that there is nothing for one to see that the other does not.
    root = ET.fromstring(markup)
    plain = [element for element in root.iter() if not element.tag.endswith("style")]
    assert sum(1 for _ in root.iter()) == len(reader.elements)
    text = "".join((element.text or "") + "".join(child.tail or "" for child in element) for element in plain)
    assert sorted(text.replace("\n", "")) == sorted("".join(reader.texts).replace("\n", ""))
    seen = "".join(reader.texts)
    for character in seen:
        assert unicodedata.category(character) not in ("Cc", "Cs") or character in "\n\t", ascii(character)
        assert unicodedata.bidirectional(character) not in DIRECTIONS, ascii(character)
    seen.encode()
    return seen
