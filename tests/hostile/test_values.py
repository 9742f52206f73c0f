"""Wrong values are refused where they are given: with a type, a code, a field, and what to do; and nothing comes of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bacalhau_sdk import JobSpec, testing
from tests.hostile.rows import Row
from tests.hostile.values import TABLES
from tests.storage.trees import below, open_descriptors

ROWS = [pytest.param(row, id=f"{table}: {row}") for table, rows in TABLES.items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_wrong_value(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before, threads = open_descriptors(), set(threading.enumerate())
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the row says which
        row.give()
    row.check(caught.value)
    assert below(tmp_path) == []
    # What other tests have left may end at any time.
    assert open_descriptors() <= before
    assert threads.issuperset(threading.enumerate())

    async def canary() -> None:
        async with testing.VirtualCluster() as cluster:
            assert (await cluster.run(JobSpec.docker("busybox", "true"))).exit_code == 0

    testing.run(canary)
    assert below(tmp_path) == []


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.id for row in ROWS]
    assert len(names) == len(set(names))
