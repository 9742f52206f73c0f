"""Selectors: the grammar, what matches, and what hostile text comes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.selector import Operator, Requirement, Selector, check_label_key, check_label_value
from tests.model.hostile import cells

WORDS = ["in", "notin", "exists", "gt", "lt", "a", "a.b-c_d", "example.com/gpu", "0"]
keys = st.sampled_from(WORDS) | st.from_regex(
    r"([a-z0-9]{1,5}(\.[a-z0-9]{1,5})?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", fullmatch=True
)
values = st.sampled_from(["", *WORDS[:-2]]) | st.from_regex(
    r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", fullmatch=True
)
integers = st.integers(0, 10**6).map(str) | st.from_regex(r"[0-9]{1,19}", fullmatch=True)
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["exists", "!"])),
    st.builds(Requirement, keys, st.sampled_from(["=", "==", "!="]), st.tuples(values)),
    st.builds(Requirement, keys, st.sampled_from(["in", "notin"]), st.lists(values, min_size=1, max_size=4)),
    st.builds(Requirement, keys, st.sampled_from([">", "<", "gt", "lt"]), st.tuples(integers)),
)
selectors = st.builds(Selector, st.lists(requirements, max_size=5), st.lists(requirements, max_size=3))
labels = st.dictionaries(keys, values | integers, max_size=5)

MANY = [f"v{number:04}" for number in range(1000)]
# The nodes of the original's table I.
NODES = {
    "node-1": {"name": "node-1", "env": "prod"},
    "node-2": {"name": "node-2", "env": "prod"},
    "node-3": {"name": "node-3", "env": "test"},
}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # The original's example of its command line: keys and values come out sorted.
        (
            "scale!=linear,env=prod,region notin (Utumno, Mordor, Isengard),size>42",
            "env = prod, region notin (Isengard, Mordor, Utumno), scale != linear, size > 42",
        ),
        ("", ""),
        ("  \t\n", ""),
        ("a", "a"),
        ("a exists", "a"),
        ("!a", "!a"),
        (" ! a ", "!a"),
        ("a=b", "a = b"),
        ("a==b", "a = b"),
        ("a  =  b", "a = b"),
        ("a\t=\nb", "a = b"),
        ("a!=b", "a != b"),
        ("a=", "a = "),
        ("a =,b", "a = , b"),
        ("a!=", "a != "),
        ("a>1", "a > 1"),
        ("a gt 1", "a > 1"),
        ("a<007", "a < 007"),
        ("a lt 2", "a < 2"),
        ("a in (b)", "a in (b)"),
        ("a in(c,b,c)", "a in (b, c)"),
        ("a notin ( b , c )", "a notin (b, c)"),
        ("a in (,b)", "a in (, b)"),
        ("a in (b,)", "a in (, b)"),
        ("a in (,)", "a in (,)"),
        ("a in (in, notin)", "a in (in, notin)"),
        ("in in (in)", "in in (in)"),
        ("exists", "exists"),
        ("exists exists", "exists"),
        ("!exists", "!exists"),
        ("a = exists", "a = exists"),
        ("gt gt 5", "gt > 5"),
        ("example.com/a_b.c-d=X", "example.com/a_b.c-d = X"),
        ("a, a, a=b", "a = b, a"),
        (f"{'x' * 253}/a", f"{'x' * 253}/a"),
        (f"a in ({','.join(MANY)})", f"a in ({', '.join(MANY)})"),
        (f"{'k' * 63}={'v' * 63}", f"{'k' * 63} = {'v' * 63}"),
        (
            ",".join(f"k{number:04}" for number in range(1000)),
            ", ".join(f"k{number:04}" for number in range(1000)),
        ),
    ],
    ids=lambda text: repr(text)[:24],
)
def test_accepted(text: str, canonical: str) -> None:
    assert str(Selector(text)) == canonical
    assert Selector(canonical) == Selector(text)
    assert bool(Selector(text)) is bool(canonical)


@pytest.mark.parametrize(
    "text",
    [
        *cells(
            """
            ,  a,  ,a  a,,b  a b  a = b c  a = = b  a === b  a =! b  a ! b  a!  !!a  !  =  = b  != b  a exists b  !a exists
            a in  a in b  a in b, c  a in ()  a notin ( )  a in (b c)  a in (b  a in b)  a in (b))  a in ((b))
            a in (b), (c)  a in (b) (c)  a IN (b)  (a = b)  ()  )(  (((((  )))))  a = (b)
            a >  a > b  a > -1  a > +1  a > 1.5  a > 1_0  a > 12345678901234567890  a > ٣  a >= 1  a < > 1  a gt
            a ~ b  a = b*  a = .*  a = -b  a = b-  a. = b  -a  a/b/c  /a  a/  A.com/a  x..y/a  a = 'b'  a = "b"
            é  a = é  😀  a = 😀  a;b  a && b
            """
        ),
        *(f"{'x' * 254}/a", "k" * 64, f"a = {'v' * 64}", "a\u00a0= b", "a\0", "a = \0", "\ud800"),
        "(" * 100_000,
        "a in (" + "b," * 100_000 + ")",
        "a," * 100_000,
        ",".join(f"k{number}" for number in range(1001)),
        "a" * 1_000_000,
        "a " * 500_000,
        "! " * 500_000,
        "(,)" * 300_000,
        " " * 1_000_000 + ",",
        "((a+)+)+$" * 1000,
        "\0" * 1_000_000,
    ],
    ids=lambda text: repr(text)[:24],
)
def test_refused(text: str) -> None:
    for path, arguments in {"": (text,), "prefer": ("", text)}.items():
        with pytest.raises(InvalidSpecError) as caught:
            Selector(*arguments)
        assert {problem.path for problem in caught.value.problems} == {path}
        assert all(len(problem.message) < 400 for problem in caught.value.problems)


@pytest.mark.parametrize("value", [None, 5, b"a", ["a = b"], [None], {"a": "b"}, object(), [[]]])
def test_what_is_neither_text_nor_requirements_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSpecError):
        Selector(value)
    with pytest.raises(InvalidSpecError) as caught:
        Selector("a", prefer=value)
    assert [problem.path for problem in caught.value.problems] == ["prefer"]


def test_every_bad_term_is_reported_at_once() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Selector("a b, ok, c > d, -x = -y", prefer="e in f")
    assert [problem.path for problem in caught.value.problems] == ["", "", "", "", "prefer"]
    for culprit, problem in zip(["a b", "'d'", "'-x'", "'-y'", "e in f"], caught.value.problems, strict=True):
        assert culprit in problem.message


@pytest.mark.parametrize(
    ("key", "operator", "given"),
    [
        ("a", "exists", ["b"]),
        ("a", "!", ["b"]),
        ("a", "in", []),
        ("a", "notin", []),
        ("a", "in", ["b"] * 1001),
        ("a", "=", []),
        ("a", "=", ["b", "c"]),
        ("a", "!=", []),
        ("a", ">", []),
        ("a", ">", ["1", "2"]),
        ("a", ">", ["x"]),
        ("a", "<", ["-1"]),
        ("a", "=", [1]),
        ("a", "=", None),
        ("a", "=", 5),
        ("a", "in", [None]),
        ("a", "~", ["b"]),
        ("a", "", ["b"]),
        ("a", None, ["b"]),
        ("a", [], ["b"]),
        ("", "exists", []),
        (" ", "exists", []),
        (None, "exists", []),
        (5, "exists", []),
    ],
)
def test_requirements_that_are_none(key: Any, operator: Any, given: Any) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Requirement(key, operator, given)
    assert len(caught.value.problems) == 1


def test_the_values_of_a_requirement_are_a_sorted_set() -> None:
    assert Requirement("a", "in", ["c", "b", "c"]).values == ("b", "c")
    assert Requirement("a", "in", "bc").values == ("bc",)
    assert Requirement("a", Operator.IN, iter(["b"])) == Requirement("a", "in", ["b"])


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            check_label_key,
            ["a", "A_b.c-9", "x.io/a", "9", "k" * 63],
            ["", "a b", "a=b", "_a", "a_", "X/a", "k" * 64],
        ),
        (check_label_value, ["", "a", "A_b.c-9", "v" * 63], ["a b", "/", "_a", "a_", "v" * 64, "🐟", "a\n"]),
    ],
)
def test_labels(check: Any, good: list[str], bad: list[str]) -> None:
    assert [check(text) for text in good] == good
    for text in [*bad, None, 1, b"a", "\ud800"]:
        with pytest.raises(InvalidSpecError):
            check(text)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        # The original's table I.
        ("name=node-1", "1"),
        ("env=prod", "12"),
        ("name=node-1,env=prod", "1"),
        ("env!=prod", "3"),
        ("env in (prod,test)", "123"),
        ("env notin (prod,test)", ""),
        ("name in (node-1,node-2)", "12"),
        # The other operators, and labels that are not there.
        ("", "123"),
        ("env", "123"),
        ("gpu", ""),
        ("!gpu", "123"),
        ("!env", ""),
        ("gpu!=yes", "123"),
        ("gpu notin (yes)", "123"),
        ("gpu=", ""),
        ("gpu in (,yes)", ""),
        ("env=Prod", ""),
        ("env=prod,env=test", ""),
        ("env>1", ""),
    ],
)
def test_which_nodes_match(text: str, nodes: str) -> None:
    matching = [name for name, labels in NODES.items() if Selector(text).matches(labels)]
    assert matching == [f"node-{digit}" for digit in nodes]


@pytest.mark.parametrize(
    ("requirement", "prefer", "preferences"),
    [
        # Table I's favoured names: what was a key "favour_name" is a preference, and excludes nothing.
        ("name in (node-1,node-2)", "name=node-1", {"node-1": 1, "node-2": 0}),
        ("env=prod", "name=node-1", {"node-1": 1, "node-2": 0}),
        ("", "name=node-9", {"node-1": 0, "node-2": 0, "node-3": 0}),
        ("", "env=test, name!=node-1, !gpu", {"node-1": 1, "node-2": 2, "node-3": 3}),
    ],
)
def test_preferences_rank_and_exclude_nothing(
    requirement: str, prefer: str, preferences: dict[str, int]
) -> None:
    selector = Selector(requirement, prefer=prefer)
    found = {name: selector.preference(labels) for name, labels in NODES.items() if selector.matches(labels)}
    assert found == preferences


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("size > 42", "43", True),
        ("size > 42", "42", False),
        ("size > 42", "9", False),  # no order of texts
        ("size < 42", "9", True),
        ("size < 42", "42", False),
        ("size < 10", "007", True),
        ("size > 9223372036854775807", "9223372036854775808", True),
        ("size > 0", "1.5", False),
        ("size > 0", "1k", False),
        ("size < 9", "", False),
        ("size < 9", "٣", False),
        ("size < 9", "1_0", False),
        ("size < 9", None, False),
    ],
)
def test_orders_compare_integers(text: str, value: str | None, expected: bool) -> None:
    labels = {} if value is None else {"size": value}
    assert Selector(text).matches(labels) is expected


@given(selectors)
def test_a_selector_that_was_written_can_be_read(selector: Selector) -> None:
    prefer = str(Selector(selector.preferences))
    assert Selector(str(selector), prefer=prefer) == selector
    assert hash(Selector(str(selector), prefer=prefer)) == hash(selector)
    assert Selector(str(selector)).requirements == selector.requirements
    assert bool(selector) is (selector != Selector())


@given(
    st.lists(requirements, max_size=5).flatmap(
        lambda terms: st.tuples(st.just(terms), st.permutations(terms))
    )
)
def test_the_order_of_terms_does_not_count(both: tuple[list[Requirement], list[Requirement]]) -> None:
    terms, shuffled = both
    assert Selector(terms, terms) == Selector(shuffled, [*shuffled, *shuffled])
    assert str(Selector(terms)) == str(Selector(shuffled))


@given(selectors, selectors, labels)
def test_composition_asks_for_what_both_ask_for(one: Selector, other: Selector, node: dict[str, str]) -> None:
    both = one & other
    assert both == other & one
    assert both & one == both
    assert one & Selector() == one
    assert both.matches(node) is (one.matches(node) and other.matches(node))
    assert both.preferences == Selector(prefer=one.preferences + other.preferences).preferences


@given(requirements, labels)
def test_an_operator_and_its_negation_never_agree(requirement: Requirement, node: dict[str, str]) -> None:
    negation = {
        Operator.EQUALS: Operator.NOT_EQUALS,
        Operator.IN: Operator.NOT_IN,
        Operator.EXISTS: Operator.DOES_NOT_EXIST,
    }
    if requirement.operator in negation:
        opposite = Requirement(requirement.key, negation[requirement.operator], requirement.values)
        assert opposite.matches(node) is not requirement.matches(node)


def test_composition_with_anything_else_is_a_type_error() -> None:
    wrong: Any = "a"
    with pytest.raises(TypeError):
        Selector("a") & wrong


def test_composition_has_the_limit_of_one_selector() -> None:
    def terms(letter: str) -> Iterator[Requirement]:
        return (Requirement(f"{letter}{number}", "exists") for number in range(600))

    assert len((Selector(terms("a")) & Selector(terms("a"))).requirements) == 600
    with pytest.raises(InvalidSpecError, match="at most 1000"):
        Selector(terms("a")) & Selector(terms("b"))


@given(st.text(st.sampled_from("ab=!<>(), in\t\n\0é😀'\"/.-_0129\ud800")))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = Selector(text)
    except InvalidSpecError:
        return
    assert Selector(str(selector)) == selector
