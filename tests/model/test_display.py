"""What a notebook shows of values: safe, short, and readable on a light and on a dark page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.display import (
    COLOURS,
    ROWS_MAX,
    card,
    counted,
    duration,
    element,
    last_part,
    moment,
    state_badge,
    table,
    themes,
    visible,
)
from bacalhau_sdk.model.evaluation import Explanation
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobState
from bacalhau_sdk.model.node import Check, EngineInfo, NodeInfo, Nodes, NodeState, Refusal
from bacalhau_sdk.model.platform import Platform, PlatformSupport
from bacalhau_sdk.model.resources import Resources
from tests.model.markup import HOSTILE, harmless

ROOM = Resources(cpu=4, memory="8GiB", gpu=1)


def node(name: str, text: str = "", *, lost: bool = False, draining: bool = False) -> NodeState:
    engines = FrozenMap(
        {"docker": EngineInfo(text or "docker", (PlatformSupport(Platform.parse("linux/arm64")),))}
    )
    info = NodeInfo(
        name, FrozenMap({"zone": text or "dc", "name": name}), engines, capacity=ROOM, draining=draining
    )
    return NodeState(info, ROOM, 3, 0.0, 5.0 if lost else None)


# ---- Texts ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcödé 中文 \U0001f41f", "plain ünïcödé 中文 \U0001f41f"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31m\0\x85", r"\x1b[31m\x00\x85"),
        ("\u202egpj.exe\u2069", r"\u202egpj.exe\u2069"),
        ("\ud800", r"\ud800"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_every_character_of_a_text_can_be_seen(text: str, expected: str) -> None:
    assert visible(text) == expected


@pytest.mark.parametrize(
    "code", [0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
)
def test_what_changes_its_surroundings_is_written_out(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a\\u{code:04x}b"


@given(st.text(st.characters()))
def test_whatever_is_shown_is_one_short_line(text: str) -> None:
    shown = visible(text, 50)
    assert len(shown) <= 50
    assert "\n" not in shown
    assert shown in harmless(card([text, element("span", aria_label=text), shown]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", False)),
        ("one\r\n\ttwo\n", ("one\n\ttwo", False)),
        ("\x1b[1mbold\rover\n", (r"\x1b[1mbold\rover", False)),
        ("".join(f"{number}\n" for number in range(30)), ("\n".join(map(str, range(10, 30))), True)),
    ],
)
def test_of_a_long_text_the_end_is_shown(text: str, expected: tuple[str, bool]) -> None:
    assert last_part(text) == expected


def test_a_line_without_an_end_is_cut() -> None:
    shown, cut = last_part("x" * 10**6)
    assert (len(shown), cut) == (4000, True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.0078251, "7.83 ms"),
        (0.9999, "1 s"),
        (12.345, "12.3 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (3900, "1 h 5 min"),
        (266400, "3 d 2 h"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_durations_are_for_people(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_time_is_a_date_when_it_can_be_one() -> None:
    assert moment(1_800_000_000) == "2027-01-15 08:00:00 UTC"
    assert moment(90) == "90 s"
    assert moment(1e300) == "1e+300 s"


def test_counted_knows_one_from_many() -> None:
    assert (counted(1, "job"), counted(0, "job"), counted(2000, "job")) == ("1 job", "0 jobs", "2,000 jobs")


# ---- Markup ----


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    shown = harmless(
        card(
            [element("strong", text, aria_label=text), text],
            table(("column", text), [(text, state_badge(text))]),
            element("pre", last_part(text)[0]),
        )
    )
    assert visible(text) in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_values_show_hostile_texts_as_texts(text: str) -> None:
    state = node("edge", text)
    refusal = Refusal(text, Check.ENGINE, text, text, text)
    explanation = Explanation(text, JobState.QUEUED, text, (text,), (text,), (refusal,))
    for html in (state._repr_html_(), Nodes([state])._repr_html_(), explanation._repr_html_()):
        assert visible(text, 60).rstrip("…") in harmless(html)


@pytest.mark.parametrize("root", [".bacalhau", ".bacalhau-timeline"])
def test_both_themes_have_every_colour(root: str) -> None:
    css = themes(root)
    for theme in (0, 1):
        for name, colours in COLOURS.items():
            assert css.count(f"--bac-{name}:") == 4
            assert colours[theme] in css
    # What an editor says of its theme counts for more than the theme of the system, which is asked before.
    system = css.index("prefers-color-scheme:dark")
    assert system < css.index("[data-jp-theme-light=false]") < css.index("[data-jp-theme-light=true]")


@pytest.mark.parametrize(
    ("theme", "page"),
    # Ours; JupyterLab's (light, dark); VS Code's (light, dark); Colab's dark.
    [(0, "#ffffff"), (1, "#1b1f24"), (1, "#111111"), (1, "#1e1e1e"), (1, "#383838")],
)
def test_colours_can_be_read(theme: int, page: str) -> None:
    """WCAG 2.2: 4.5 for texts (1.4.3); Colab's grey, which is lighter than any other dark page, is only held to 3 (1.4.11)."""
    least = 3.0 if page == "#383838" else 4.5
    for name, colours in COLOURS.items():
        if name not in ("page", "line"):
            assert contrast(colours[theme], page) >= least, name


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# ---- Nodes and explanations ----


def test_nodes_are_a_tuple_that_shows_a_table() -> None:
    states = (node("rack"), node("edge", lost=True), node("old", draining=True))
    nodes = Nodes(states)
    assert isinstance(nodes, tuple)
    assert (list(nodes), hash(nodes)) == ([*states], hash(states))
    shown = harmless(nodes._repr_html_())
    assert "3 nodes" in shown
    for text in (
        "rackREADYdocker (linux/arm64)3 of 32",
        "edgeLOST",
        "oldDRAINING",
        "zone=dc",
        "4 CPU, 8 GiB, GPUs: 1",
    ):
        assert text in shown
    assert "name=rack" not in shown


def test_many_nodes_are_cut_off() -> None:
    shown = harmless(Nodes(node(f"n{number}") for number in range(ROWS_MAX + 7))._repr_html_())
    assert "57 nodes" in shown
    assert "and 7 more nodes" in shown


def test_an_explanation_has_a_line_for_each_node() -> None:
    refusal = Refusal("edge", Check.PLATFORM, "linux/arm64", "linux/amd64", "use an image for it")
    shown = harmless(Explanation("", None, "1 of 2 fits", (), ("rack",), (refusal,), "placed")._repr_html_())
    assert "this job would be placed" in shown
    assert "rackcould take it now" in shown
    assert "edgeplatformlinux/arm64linux/amd64use an image for it" in shown
    placed = harmless(Explanation("j-1", JobState.RUNNING, "", ("it runs on rack",))._repr_html_())
    assert "job j-1 RUNNING" in placed
    assert "it runs on rack" in placed


def test_a_long_explanation_is_cut_off() -> None:
    refusals = tuple(Refusal(f"n{number}", Check.ENGINE, "a", "b") for number in range(5000))
    html = Explanation("j-1", JobState.FAILED, "no node", (), (), refusals)._repr_html_()
    assert "and 4,950 more lines" in harmless(html)
    assert len(html) < 30_000


def test_a_card_is_small() -> None:
    assert len(card([""])) < 6000


def test_the_style_touches_nothing_of_the_page() -> None:
    css = re.search(r"<style>(.*?)</style>", card(["x"]))
    assert css is not None
    rules = re.sub(r"@media\([^)]*\)\{((?:[^{}]*\{[^{}]*\})*)\}", r"\1", css[1])
    for selectors in re.findall(r"([^{}]+)\{[^{}]*\}", rules):
        assert all(".bacalhau" in selector for selector in selectors.split(",")), selectors
