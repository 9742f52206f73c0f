"""One job, step by step, under the headings of docs/explanation/journey-of-a-job.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.model.data import BytesSource, PathSource
from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.model.job import WasmSpec

PROJECT = Path(__file__).parents[1]
MODULE = PROJECT / "examples" / "wordcount" / "wordcount.wasm"


async def test_the_journey_of_a_job(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "one.txt").write_text("the whale and the sea\n")

    # A spec is a value
    spec = bac.JobSpec.wasm(
        MODULE, "/inputs", "/outputs", inputs={"/inputs": books}, outputs={"counts": "/outputs"}
    )
    assert spec == bac.JobSpec.wasm(
        str(MODULE), "/inputs", "/outputs", inputs={"/inputs": str(books)}, outputs={"counts": "/outputs"}
    )
    assert isinstance(spec.engine, WasmSpec)
    assert isinstance(spec.engine.module, PathSource)

    async with bac.Cluster() as cluster:
        # Submit records it
        job = await cluster.submit(spec)
        assert [known.id for known in await cluster.jobs()] == [job.id]
        assert isinstance(job.spec.engine, WasmSpec)
        assert job.spec.engine.module == BytesSource(MODULE.read_bytes())

        # An evaluation is queued, and the scheduler looks
        explanation = await cluster.explain(spec)
        assert explanation.candidates == ("local",)

        # A plan becomes records, and records become messages
        (execution,) = job.executions
        assert (execution.node, execution.partition_index, execution.attempt) == ("local", 0, 1)

        # The node bids
        states = [event.execution_state async for event in job.events() if event.execution_state]
        assert states[:2] == [ExecutionState.ASK_FOR_BID, ExecutionState.BID_ACCEPTED]

        # Inputs are staged
        assert "/inputs/one.txt" in (await anext(job.logs())).text
        (books / "one.txt").write_text("changed afterwards: what was staged is a copy\n")

        # The executor runs it
        assert states[2] is ExecutionState.RUNNING
        entries = [entry async for entry in job.logs()]
        assert [(entry.stream, entry.text) for entry in entries] == [
            ("stdout", "      5 words  /inputs/one.txt"),
            ("stdout", "1 files, 5 words, 4 of them different"),
        ]

        # Results are collected and published
        result = await job.result()
        assert (result.outputs["counts"].path / "words.csv").read_text().splitlines()[:2] == [
            "word,count",
            "the,2",
        ]
        folder = result.stdout_path.parent
        assert sorted(path.name for path in folder.iterdir()) == ["counts", "exitCode", "stderr", "stdout"]
        assert (folder / "exitCode").read_text() == "0"

        # The end is recorded
        assert states[3:] == [ExecutionState.PUBLISHING, ExecutionState.COMPLETED]
        assert job.state is bac.JobState.COMPLETED

        # The result is read
        assert (result.exit_code, result.node, result.attempt) == (0, "local", 1)
        assert result.stdout.endswith("4 of them different\n")

    # The cluster closes
    assert not folder.exists()
    with pytest.raises(bac.errors.ResultsGoneError):
        _ = result.outputs["counts"].path


def test_the_page_has_the_headings_of_the_test() -> None:
    page = (PROJECT / "docs" / "explanation" / "journey-of-a-job.md").read_text()
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    comments = re.findall(r"^ +# (.+)$", inspect.getsource(test_the_journey_of_a_job), re.MULTILINE)
    assert headings == comments


def test_the_page_names_files_that_exist() -> None:
    page = (PROJECT / "docs" / "explanation" / "journey-of-a-job.md").read_text()
    source = PROJECT / "src" / "bacalhau_sdk"
    known = {str(path.relative_to(source)) for path in source.rglob("*.py")} | {
        p.name for p in source.rglob("*.py")
    }
    named = set(re.findall(r"`([a-z_/]+\.py)`", page)) - {"tests/test_journey.py"}
    assert named
    assert named <= known
