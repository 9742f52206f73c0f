"""When which job is to be looked at again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.scheduling.agenda import Agenda


@pytest.mark.parametrize(
    ("entries", "now", "due", "left"),
    [
        pytest.param([], 9, [], math.inf, id="empty"),
        pytest.param([("a", 5)], 4.9, [], 5, id="not yet"),
        pytest.param([("a", 5)], 5, ["a"], math.inf, id="at its time"),
        pytest.param([("a", 5), ("b", 3), ("c", 7)], 6, ["b", "a"], 7, id="the earliest first"),
        pytest.param([("a", 5), ("a", 8)], 6, [], 8, id="a later time replaces"),
        pytest.param([("a", 8), ("a", 5)], 6, ["a"], math.inf, id="an earlier time replaces"),
        pytest.param([("a", 5), ("a", 5)], 6, ["a"], math.inf, id="once for one time"),
        pytest.param([("a", 5), ("a", 8), ("a", 5)], 6, ["a"], math.inf, id="back to the first time"),
        pytest.param([("a", 5), ("b", 9), ("a", math.inf)], 6, [], 9, id="infinity takes it out"),
        pytest.param([("a", math.inf)], 6, [], math.inf, id="infinity of an unknown job"),
    ],
)
def test_what_is_due(entries: list[tuple[str, float]], now: float, due: list[str], left: float) -> None:
    agenda = Agenda()
    for job_id, time in entries:
        agenda.put(job_id, time)
    assert agenda.due(now) == due
    assert agenda.next() == left
    assert agenda.due(now) == [], "each is taken once"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9) | st.just(math.inf)), max_size=30))
def test_the_last_entry_of_a_job_counts(entries: list[tuple[str, float]]) -> None:
    agenda = Agenda()
    for job_id, time in entries:
        agenda.put(job_id, time)
    last = {job_id: time for job_id, time in dict(entries).items() if time < math.inf}
    assert agenda.next() == min(last.values(), default=math.inf)
    assert sorted(agenda.due(5)) == sorted(job_id for job_id, time in last.items() if time <= 5)
    assert sorted(agenda.due(9)) == sorted(job_id for job_id, time in last.items() if time > 5)
