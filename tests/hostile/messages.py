"""Prints what every row is told, to be read by fresh eyes: ``python -m tests.hostile.messages``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import anyio

from tests.hostile import jobs, values
from tests.hostile.rows import Row
from tests.hostile.site import Site


def tell(table: str, row: Row, error: BaseException) -> None:
    text = str(error).replace("\n", "\n    ")
    sys.stdout.write(f"{table}: {row}\n    {type(error).__name__}: {text}\n")


async def tell_job(table: str, row: Row, folder: Path) -> None:
    (folder / "files").mkdir(parents=True)
    os.chdir(folder / "files")
    async with Site.opened(folder, folder / "cache") as site:
        try:
            await row.give(site)
        except Exception as error:  # noqa: BLE001 - what it is, is what is told
            tell(table, row, error)


def main() -> None:
    for table, rows in values.TABLES.items():
        for row in rows:
            try:
                row.give()
            except Exception as error:  # noqa: BLE001 - what it is, is what is told
                tell(table, row, error)
    with tempfile.TemporaryDirectory() as folder:
        for table, rows in jobs.TABLES.items():
            for number, row in enumerate(rows):
                anyio.run(tell_job, table, row, Path(folder, f"{table}{number}"))
        os.chdir("/")


if __name__ == "__main__":
    main()
