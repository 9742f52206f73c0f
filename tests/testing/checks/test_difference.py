"""Where two values that should be the same differ."""

from __future__ import annotations

import pytest
from attrs import evolve

from bacalhau_sdk import JobSpec
from bacalhau_sdk.abc import Batch
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.testing.checks.difference import difference
from bacalhau_sdk.testing.checks.records import batch_of, job

ENV = FrozenMap({"A": "1", "B": "2"})
LONG = "x" * 3000


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        (1, 2, ("it", "1", "2")),
        (1, 1.0, ("it", "1", "1.0")),
        ((1, 2, 3), (1, 5, 6), ("it[1]", "2", "5")),
        ((1, 2), (1, 2, 3), ("it", "(1, 2)", "(1, 2, 3)")),
        ((1, 2), [1, 2], ("it", "(1, 2)", "[1, 2]")),
        (ENV, FrozenMap({"A": "1", "B": "3"}), ("it.B", "'2'", "'3'")),
        ({"a b": (1,)}, {"a b": (2,)}, ("it.a b[0]", "1", "2")),
        ({1: 1}, {2: 1}, ("it", "{1: 1}", "{2: 1}")),
        (LONG + "a" + LONG, LONG + "b" + LONG, None),
        (LONG, LONG + "b", ("it[3000:]", "''", "'b'")),
        (job("j-1", "look 1"), job("j-1", "look 2"), ("it.reason", "'look 1'", "'look 2'")),
    ],
)
def test_the_first_difference_is_shown_with_its_path(
    one: object, other: object, differs: tuple[str, str, str] | None
) -> None:
    found = difference("it", one, other)
    if differs is not None:
        assert found == differs
    else:
        assert found is not None
        path, mine, its = found
        assert (path, mine[:3], its[:3]) == ("it[3000:]", "'ax", "'bx")
        assert len(mine) < 100
        assert len(its) < 100


def test_equal_values_do_not_differ() -> None:
    for number in range(5):
        assert difference("it", batch_of(number), batch_of(number)) is None


def test_it_goes_down_to_the_field() -> None:
    one, other = (JobSpec.function("count", env={"GREETING": word}) for word in ("hello", "hallo"))
    batches = [Batch((evolve(job("j-1"), spec=spec),)) for spec in (one, other)]
    assert difference("batch", *batches) == ("batch.jobs[0].spec.env.GREETING", "'hello'", "'hallo'")
