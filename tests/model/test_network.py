"""Networks and domains."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.network import Network, NetworkType, domain_covers, reduce_domains
from tests.model.hostile import cells

domains = st.from_regex(r"\.?([ab]\.){1,3}(com|org)", fullmatch=True)


# The original's table D.
@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("foo.com", "foo.com", True),
        (".foo.com", "foo.com", True),
        ("foo.com", ".foo.com", True),
        (" .foo.com", ".foo.com", True),
        ("x.foo.com", ".foo.com", True),
        ("y.x.foo.com", ".foo.com", True),
        ("FOO.com", "foo.COM", True),
        ("x.foo.com", "foo.com", False),
        ("foo.com", "x.foo.com", False),
        ("bar.com", "foo.com", False),
        (".bar.com", "foo.com", False),
        (".bar.com", ".foo.com", False),
        ("bar.com", ".foo.com", False),
        ("zzz.com", "foo.com", False),
        ("aaa.com", "foo.com", False),
        ("bFoo.com", "aFoo.com", False),
        ("aFoo.com", "bFoo.com", False),
        ("x-foo.com", ".foo.com", False),
        ("foo.com ", "foo.com", True),
        ("foo.com", " foo.com ", True),
        # What reducing needs besides.
        (".x.foo.com", ".foo.com", True),
        (".foo.com", ".x.foo.com", False),
    ],
)
def test_which_domain_covers_which_host(host: str, domain: str, expected: bool) -> None:
    assert domain_covers(domain, host) is expected


@pytest.mark.parametrize(
    ("given", "reduced"),
    [
        (["y.foo.com", ".foo.com", "x.foo.com"], (".foo.com",)),  # table D
        (["foo.com", ".foo.com"], (".foo.com",)),
        (["foo.com", "x.foo.com"], ("foo.com", "x.foo.com")),
        ([".x.foo.com", ".foo.com", "x-foo.com"], (".foo.com", "x-foo.com")),
        (["b.com", "a.com", "b.com"], ("a.com", "b.com")),
        ([" FOO.com "], ("foo.com",)),
        (["127.0.0.1", "2001:DB8:0::1"], ("127.0.0.1", "2001:db8::1")),
        (["a." * 125 + "com"], ("a." * 125 + "com",)),
        ([], ()),
    ],
)
def test_domains_that_another_covers_are_left_out(given: list[str], reduced: tuple[str, ...]) -> None:
    assert Network("http", given).domains == reduced


@given(st.lists(domains), domains)
def test_reducing_changes_nothing_of_what_is_covered(names: list[str], host: str) -> None:
    reduced = reduce_domains(names)
    assert any(domain_covers(name, host) for name in reduced) is any(
        domain_covers(name, host) for name in names
    )
    assert reduce_domains(reduced) == reduced == reduce_domains(reversed(names))
    assert not any(domain_covers(one, other) for one, other in permutations(reduced, 2))


def test_reducing_many_is_no_more_work_for_each() -> None:
    def work(count: int) -> int:
        """Return how many functions are called or resumed."""
        calls = Counter[str]()
        names = [f"{dot}a{number}.com" for number in range(count) for dot in ("", ".x.")]
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, argument: calls.update([event]))
        try:
            reduced = reduce_domains(names)
        finally:
            sys.setprofile(before)
        assert len(reduced) == len(names)
        return calls.total()

    assert work(400) < 12 * work(40)


@pytest.mark.parametrize(
    "domain",
    [
        *cells(
            """
            not-a-domain  10.0.0.0/8  .  ..com  foo..com  foo.com.  -a.com  a-.com  a.c-  a b.com  foo.com:80  *.foo.com
            https://foo.com  foo_bar.com  é.com  1.2.3  256.1.1.1  fe80::1%eth0
            """
        ),
        *("", "fe80::1%a b\n", "a." * 125 + "comm", "x" * 64 + ".com", "foo.com\0", "\ud800.com"),
        *(None, 1, b"foo.com", ["a.com"]),
    ],
    ids=lambda domain: repr(domain)[:24],
)
def test_domains_that_are_none(domain: Any) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Network("http", ["ok.com", domain])
    assert [problem.path for problem in caught.value.problems] == ["domains[1]"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("none", NetworkType.NONE),
        ("http", NetworkType.HTTP),
        ("bridge", NetworkType.BRIDGE),
        ("host", NetworkType.HOST),
        ("full", NetworkType.HOST),
        (" HTTP ", NetworkType.HTTP),
        (NetworkType.BRIDGE, NetworkType.BRIDGE),
    ],
)
def test_types(value: Any, expected: NetworkType) -> None:
    assert Network(value).type is expected


def test_there_is_no_network_unless_asked_for() -> None:
    assert Network() == Network("none")
    assert Network().domains == ()


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (("lan",), ["type"]),
        ((None,), ["type"]),
        (([],), ["type"]),
        (("none", ["a.com"]), ["domains"]),
        (("bridge", "a.com"), ["domains"]),
        (("http", None), ["domains[0]"]),
        (("http", 5), ["domains[0]"]),
        (("lan", ["x", "y.com", "z"]), ["type", "domains[0]", "domains[2]", "domains"]),
    ],
)
def test_problems_name_their_fields(arguments: tuple[Any, ...], paths: list[str]) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Network(*arguments)
    assert [problem.path for problem in caught.value.problems] == paths


@pytest.mark.parametrize(
    ("network", "host", "expected"),
    [
        (Network(), "foo.com", False),
        (Network("host"), "foo.com", True),
        (Network("bridge"), "foo.com", True),
        (Network("http"), "foo.com", False),
        (Network("http", ".foo.com"), "x.FOO.com", True),
        (Network("http", ".foo.com"), "foo.com.evil.org", False),
        (Network("http", ["127.0.0.1"]), "127.0.0.1", True),
        (Network("http", ["127.0.0.1"]), "127.0.0.11", False),
    ],
)
def test_what_a_job_may_reach(network: Network, host: str, expected: bool) -> None:
    assert network.allows(host) is expected
