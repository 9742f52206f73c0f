"""Wrong jobs and calls end in an error with a type, a code, a field and what to do; the cluster is as it was, and goes on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anyio
import pytest

from tests.hostile.jobs import LOCKED, TABLES
from tests.hostile.rows import CONTROL, RIGHT_TO_LEFT, Row
from tests.hostile.site import Site, guest, temporary
from tests.storage.trees import as_another_user

ROWS = [pytest.param(row, id=f"{table}: {row}") for table, rows in TABLES.items() for row in rows]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder of the user's, and have one for temporary files that is empty."""
    for name in ("files", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "files")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


async def refuse(row: Row, site: Site) -> None:
    """See that a row ends in its error, and that the cluster is as it was and goes on."""
    await site.canary()
    before = await site.traces()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the row says which
        await row.give(site)
    row.check(caught.value)
    await site.canary()
    assert await site.traces() == before


@pytest.mark.parametrize("row", ROWS)
async def test_a_wrong_job(row: Row, tmp_path: Path, cache_dir: Path) -> None:
    async with Site.opened(tmp_path, cache_dir) as site:
        await refuse(row, site)
    assert temporary() == []
    assert list((tmp_path / "results").glob(".*")) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("variable of 10 MB", {"env": {"A": "x" * 10**7}}),
        ("standard input of 50 MB", {"stdin": bytes(50 << 20)}),
        ("thousand inputs", {"inputs": {f"/in/{number}": b"" for number in range(1000)}}),
        ("place that is odd", {"inputs": {f"/{CONTROL}/{RIGHT_TO_LEFT}": b"x"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_only_large_or_odd_is_taken_as_it_is(
    name: str, options: dict[str, object], tmp_path: Path, cache_dir: Path
) -> None:
    async with Site.opened(tmp_path, cache_dir) as site:
        assert (await site.wasm(guest("hello"), "x" * 10**6, **options)).stdout == "Hello, world!\n"
        await site.canary()


async def test_a_file_of_an_output_cannot_run_as_its_owner(tmp_path: Path, cache_dir: Path) -> None:
    async with Site.opened(tmp_path, cache_dir) as site:
        result = await site.output_of("set-user-ID file")
        assert (result.outputs["odd"].path / "it").stat().st_mode & 0o7777 == 0o755


async def refuse_what_is_locked(row: Row, folder: Path) -> None:
    (folder / "files").mkdir(parents=True)
    async with Site.opened(folder, folder / "cache") as site:
        await refuse(row, site)


def refuse_all_that_is_locked(folder: Path) -> None:
    for number, row in enumerate(LOCKED):  # on asyncio: who is not root may not read trio here
        anyio.run(refuse_what_is_locked, row, folder / str(number))


def test_what_may_not_be_read_or_written_is_refused() -> None:
    as_another_user(refuse_all_that_is_locked)


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.id for row in ROWS]
    assert len(names) == len(set(names))
