"""The face: submit, run, results, explain, nodes, jobs (design §3)."""

from __future__ import annotations

import copy as copying
import logging
import pickle
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.abc import Task, TaskIO
from bacalhau_sdk.errors import OutputNotFoundError
from bacalhau_sdk.testing import SimulatedEngine
from tests.cluster.harness import Workload, cluster, spec


async def copy(task: bac.FunctionTask) -> int | None:
    """Copy every input, and the standard input, to the output ``copies``."""
    for number, (path, source) in enumerate(sorted(task.inputs.items())):
        print(path, file=task.stdout)
        target = task.outputs["copies"] / str(number)
        await anyio.to_thread.run_sync(_copy, source, target)
    if task.stdin is not None:
        task.stdout.write(await anyio.Path(task.stdin).read_bytes())
    return int(task.args[0]) if task.args else None


def _copy(source: Path, target: Path) -> None:
    text = (
        source.read_text() if source.is_file() else ",".join(sorted(path.name for path in source.iterdir()))
    )
    target.write_text(text)


def functions() -> bac.Node:
    return bac.Node("only", [bac.FunctionExecutor({"copy": copy})])


class TestResults:
    async def test_inputs_of_every_kind_go_in_and_outputs_come_back(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "a.txt").write_text("in a folder")
        (tmp_path / "file.txt").write_text("a file")
        (tmp_path / "stdin").write_text("from stdin")
        job_spec = bac.JobSpec.function(
            "copy",
            inputs={"/bytes": b"some bytes", "/file": tmp_path / "file.txt", "/folder": str(folder)},
            outputs={"copies": "/out"},
            stdin=tmp_path / "stdin",
        )
        async with bac.Cluster([functions()]) as c:
            result = await c.run(job_spec)
            copies = {path.name: path.read_text() for path in result.outputs["copies"].path.iterdir()}
            assert copies == {"0": "some bytes", "1": "a file", "2": "a.txt"}
            assert result.stdout == "/bytes\n/file\n/folder\nfrom stdin"
            # The output of one job is the input of the next.
            again = bac.JobSpec.function(
                "copy", inputs={"/in": result.outputs["copies"]}, outputs={"copies": "/o"}
            )
            second = await c.run(again)
            assert (second.outputs["copies"].path / "0").read_text() == "0,1,2"
            with pytest.raises(
                OutputNotFoundError, match=r"no output 'copy'\nHint: it has 'copies'"
            ) as wrong:
                second.outputs["copy"]
            assert isinstance(wrong.value, KeyError)
            assert (second.outputs.get("copy"), "copy" in second.outputs) == (None, False)
            kept = await anyio.to_thread.run_sync(second.outputs["copies"].copy_to, tmp_path / "kept")
        assert (kept / "0").read_text() == "0,1,2"
        with pytest.raises(bac.errors.ResultsGoneError, match="data_dir"):
            _ = result.stdout_path

    async def test_a_job_of_many_outputs_names_some_of_them(self) -> None:
        outputs = {f"o{number}": f"/{number}" for number in range(100, 2000)}
        async with bac.Cluster([functions()]) as c:
            result = await c.run(bac.JobSpec.function("copy", outputs=outputs | {"copies": "/out"}))
            with pytest.raises(OutputNotFoundError, match=r"Hint: it has 'o100', .*, 'o109' and 1891 more$"):
                result.outputs["o1"]

    async def test_a_data_dir_keeps_the_results(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        async with bac.Cluster([functions()], data_dir="kept results") as c:
            result = await c.run(bac.JobSpec.function("copy", "7", outputs={"copies": "/out"}), check=False)
        folder = result.stdout_path.parent
        assert folder.is_relative_to(tmp_path / "kept results")
        assert sorted(path.name for path in folder.iterdir()) == ["copies", "exitCode", "stderr", "stdout"]
        assert (folder / "exitCode").read_text() == "7"
        assert [path.name for path in (tmp_path / "kept results").iterdir()] == [result.job_id]

    async def test_results_of_an_earlier_cluster_are_not_mixed_with_new_ones(self, tmp_path: Path) -> None:
        again = bac.JobSpec.function("copy", outputs={"copies": "/out"})
        for _ in range(2):
            async with bac.Cluster([functions()], data_dir=tmp_path) as c:
                await c.run(again)
        async with bac.Cluster([functions()], data_dir=tmp_path) as c:
            await (await c.submit(again, "named")).result()
            await (await c.submit(again, "named")).result()
        async with bac.Cluster([functions()], data_dir=tmp_path) as c:
            with pytest.raises(bac.errors.JobConflictError, match="results of an earlier job"):
                await c.submit(again, "named")
        assert len(list(tmp_path.iterdir())) == 3

    async def test_results_come_by_partition_and_one_result_needs_one_partition(self) -> None:
        async def which(task: Task, io: TaskIO) -> int:
            io.stdout.write(task.env["BACALHAU_PARTITION_INDEX"].encode())
            assert task.env["BACALHAU_PARTITION_COUNT"] == "5"
            return task.partition_index

        async with bac.Cluster([bac.Node("only", [SimulatedEngine("function", behaviour=which)])]) as c:
            job = await c.submit(spec("any", count=5))
            results = await job.results()
            assert [(r.partition_index, r.stdout, r.exit_code) for r in results] == [
                (i, str(i), i) for i in range(5)
            ]
            with pytest.raises(bac.errors.MultipleResultsError):
                await job.result()
            with pytest.raises(bac.errors.MultipleResultsError):
                await c.run(spec("any", count=2))
            assert len(await c.jobs()) == 1
            assert await (await c.submit(spec("any", count=0))).results() == ()

    async def test_more_partitions_than_room_all_run(self) -> None:
        async with cluster(Workload(), max_executions=2) as c:
            job = await c.submit(spec("ok", count=7))
            assert len(await job.results()) == 7

    async def test_timings_are_in_order(self) -> None:
        async with cluster(Workload()) as c:
            result = await c.run(spec("ok"))
        assert result.created_at <= result.started_at <= result.ended_at
        assert result.duration == result.ended_at - result.started_at

    async def test_a_failed_job_says_why_and_carries_what_did_finish(self) -> None:
        async with cluster(Workload()) as c:
            job = await c.submit(spec("broken"))
            with pytest.raises(bac.JobFailedError) as caught:
                await job.result()
        error = caught.value
        assert str(error).startswith(f"job {job.id} failed: no such thing")
        assert "stderr: it does not fit" in str(error)
        assert (error.failure_code, error.hint, error.job_id) == (
            "wasm.invalid_module",
            "use another",
            job.id,
        )
        assert [execution.id for execution in error.executions] == [e.id for e in job.executions]
        copied = pickle.loads(pickle.dumps(error))
        assert (str(copied), copied.failure_code) == (str(error), error.failure_code)

    async def test_an_infrastructure_fault_is_told_from_a_permanent_one(self) -> None:
        async with cluster(Workload()) as c:
            kinds = []
            for name in ("transient", "broken"):
                job = await c.submit(spec(name))
                await job.wait()
                outcome = job.executions[0].outcome
                assert outcome is not None
                assert outcome.failure is not None
                kinds.append(outcome.failure.kind.value)
        assert kinds == ["infrastructure", "permanent"]


class TestFunctions:
    async def test_what_a_function_gets_and_returns(self) -> None:
        async def show(task: bac.FunctionTask) -> int:
            print(*task.args, task.env["COLOUR"], task.env["BACALHAU_JOB_TYPE"], file=task.stdout)
            task.stderr.write("grüße")
            task.stdout.flush()
            return 3

        async with bac.Cluster([bac.Node("only", [bac.FunctionExecutor({"show": show})])]) as c:
            result = await c.run(bac.JobSpec.function("show", "a", "b", env={"COLOUR": "blue"}), check=False)
        assert (result.stdout, result.stderr, result.exit_code) == ("a b blue batch\n", "grüße", 3)

    async def test_an_exception_is_exit_code_1_with_the_traceback(self) -> None:
        async def fail(task: bac.FunctionTask) -> None:
            raise LookupError("where is it")

        async with bac.Cluster([bac.Node("only", [bac.FunctionExecutor({"fail": fail})])]) as c:
            with pytest.raises(bac.NonZeroExitError, match="LookupError: where is it") as caught:
                await c.run(bac.JobSpec.function("fail"))
        assert caught.value.exit_code == 1

    async def test_a_transient_error_fails_the_execution(self) -> None:
        async def fail(task: bac.FunctionTask) -> None:
            raise bac.errors.TransientError("try later")

        async with bac.Cluster([bac.Node("only", [bac.FunctionExecutor({"fail": fail})])]) as c:
            with pytest.raises(bac.JobFailedError, match="try later") as caught:
                await c.run(bac.JobSpec.function("fail"))
        assert caught.value.failure_code == "execution.transient"

    async def test_a_wrong_return_value_fails(self) -> None:
        async def text(task: bac.FunctionTask) -> int:
            return "0"  # type: ignore[return-value]

        async with bac.Cluster([bac.Node("only", [bac.FunctionExecutor({"text": text})])]) as c:
            with pytest.raises(bac.JobFailedError, match="exit code or None"):
                await c.run(bac.JobSpec.function("text"))

    async def test_the_variables_of_the_system_can_be_left_out(self) -> None:
        async def show(task: bac.FunctionTask) -> None:
            print(sorted(task.env), file=task.stdout)

        shown = []
        for system_env in (True, False):
            node = bac.Node("only", [bac.FunctionExecutor({"show": show}, system_env=system_env)])
            async with bac.Cluster([node]) as c:
                shown.append((await c.run(bac.JobSpec.function("show", env={"MINE": ""}))).stdout)
        assert shown == [
            (
                "['BACALHAU_EXECUTION_ID', 'BACALHAU_JOB_ID', 'BACALHAU_JOB_TYPE', 'BACALHAU_PARTITION_COUNT', "
                "'BACALHAU_PARTITION_INDEX', 'MINE']\n"
            ),
            "['MINE']\n",
        ]

    def test_only_async_functions_are_taken(self) -> None:
        def blocking(task: bac.FunctionTask) -> None: ...

        with pytest.raises(bac.errors.InvalidSpecError, match=r"functions\.blocking"):
            bac.FunctionExecutor({"blocking": blocking})  # type: ignore[dict-item]

    async def test_an_unknown_function_is_refused_by_name(self) -> None:
        async with bac.Cluster([functions()]) as c:
            job = await c.submit(bac.JobSpec.function("paste"))
            with pytest.raises(bac.NoMatchingNodeError, match=r"'paste', offers copy"):
                await job.result()


class TestPlacement:
    """Multi-arch, by simulated engines: a job runs only where its image can run, or says node by node why not."""

    def nodes(self) -> list[bac.Node]:
        return [
            bac.Node("amd", [SimulatedEngine("docker", ["linux/amd64"])], labels={"zone": "dc"}),
            bac.Node("arm", [SimulatedEngine("docker", ["linux/arm64"])], labels={"zone": "field"}),
            bac.Node("both", [SimulatedEngine("docker", ["linux/amd64"], emulated=["linux/arm64"])]),
            bac.Node("wasm", [SimulatedEngine("wasm")], labels={"zone": "dc"}),
        ]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"platform": "linux/arm64"}, {"arm"}),
            ({"platform": "linux/aarch64", "selector": "name != arm"}, {"both"}),
            ({"platform": "linux/amd64", "selector": "zone"}, {"amd"}),
            ({"selector": bac.Selector("zone in (dc, field)", prefer="zone = field")}, {"arm"}),
        ],
    )
    async def test_it_runs_where_it_can_and_should(
        self, options: dict[str, object], expected: set[str]
    ) -> None:
        async with bac.Cluster(self.nodes()) as c:
            job = await c.submit(bac.JobSpec.docker("busybox:1.37", **options))  # type: ignore[arg-type]
            assert {(await job.result()).node} == expected

    async def test_wasm_runs_anywhere(self) -> None:
        async with bac.Cluster(self.nodes()) as c:
            assert (await (await c.submit(bac.JobSpec.wasm(b"\0asm"))).result()).node == "wasm"

    async def test_a_job_that_fits_nowhere_says_why_node_by_node(self) -> None:
        job_spec = bac.JobSpec.docker("busybox:1.37", platform="linux/riscv64", selector="zone")
        async with bac.Cluster(self.nodes()) as c:
            before = await c.explain(job_spec)
            job = await c.submit(job_spec)
            with pytest.raises(bac.NoMatchingNodeError) as caught:
                await job.result()
            after = await job.explain()
        expected = [
            "node amd: platform: asked for linux/riscv64, offers linux/amd64",
            "node arm: platform: asked for linux/riscv64, offers linux/arm64",
            "node both: platform: asked for linux/riscv64, offers linux/amd64, linux/arm64 (emulated)",
            "node wasm: engine: asked for docker, offers wasm",
        ]
        for text in (str(caught.value), str(before), str(after)):
            lines = [line.strip() for line in text.splitlines() if line.strip().startswith("node ")]
            assert [line.partition(" (use")[0].partition(" (add")[0] for line in lines] == expected
            assert "(" in lines[0]
        assert after.state is bac.JobState.FAILED

    async def test_a_job_too_large_for_any_node_fails_and_one_that_only_waits_is_queued(self) -> None:
        workload = Workload()
        node = bac.Node("only", [workload], resources=bac.Resources(cpu=2, memory="1GiB"))
        async with bac.Cluster([node]) as c:
            large = await c.submit(spec("ok", resources=bac.Resources(cpu=3)))
            with pytest.raises(bac.NoMatchingNodeError, match="cpu 3 of 2"):
                await large.result()
            first = await c.submit(spec("hold", resources=bac.Resources(cpu=1.5)))
            second = await c.submit(spec("ok", resources=bac.Resources(cpu=1)))
            await workload.running.wait()
            small = await c.submit(spec("ok", resources=bac.Resources(cpu="500m")))
            assert (await small.result()).exit_code == 0
            assert second.state is bac.JobState.QUEUED
            assert "cpu 1 of 0.5" in str(await second.explain())
            (state,) = await c.nodes()
            assert (state.name, state.free.cpu, state.executions) == ("only", 0.5, 1)
            workload.release.set()
            assert (await second.result()).exit_code == 0
            assert first.state is bac.JobState.COMPLETED

    async def test_priority_orders_the_queue_then_age(self) -> None:
        workload = Workload()
        async with cluster(workload, max_executions=1) as c:
            await c.submit(spec("hold"), "first")
            await workload.running.wait()
            low, high = bac.JobSpec.function("ok", priority=-1), bac.JobSpec.function("ok", priority=5)
            for job_id, queued in (("low", low), ("old", spec("ok")), ("young", spec("ok")), ("high", high)):
                await c.submit(queued, job_id)
            workload.release.set()
            for job in await c.jobs():
                await job.wait()
        assert [execution.rsplit("-", 2)[0] for execution in workload.started] == [
            "first", "high", "old", "young", "low",
        ]  # fmt: skip

    async def test_no_node_at_all(self) -> None:
        async with bac.Cluster([]) as c:
            with pytest.raises(bac.NoMatchingNodeError, match="0 known"):
                await c.run(spec("ok"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("field", "job_spec"),
        [
            ("type", bac.JobSpec.function("ok", type="service")),
            ("type", bac.JobSpec.function("ok", type="daemon")),
            ("engine", bac.JobSpec.docker("busybox")),
        ],
    )
    async def test_what_is_still_to_come_is_refused_by_its_field(
        self, field: str, job_spec: bac.JobSpec
    ) -> None:
        async with cluster(Workload()) as c:
            for call in (c.submit(job_spec), c.run(job_spec), c.explain(job_spec)):
                with pytest.raises(bac.errors.UnsupportedSpecError) as caught:
                    await call
                assert caught.value.field == field
                assert caught.value.hint
            assert await c.jobs() == ()

    async def test_paths_are_checked_at_submit(self, tmp_path: Path) -> None:
        async with cluster(Workload()) as c:
            missing = tmp_path / "missing"
            with pytest.raises(bac.errors.InputNotFoundError, match=r"inputs\./in: .*missing"):
                await c.submit(bac.JobSpec.function("ok", inputs={"/in": missing}))
            with pytest.raises(bac.errors.InputNotFoundError, match=r"engine\.module"):
                await c.submit(bac.JobSpec.wasm(missing))
            with pytest.raises(bac.errors.InputError, match="folder"):
                await c.submit(bac.JobSpec.function("ok", stdin=tmp_path))
            with pytest.raises(bac.errors.UnsafePathError, match="neither"):
                await c.submit(bac.JobSpec.function("ok", inputs={"/in": "/dev/null"}))
            assert await c.jobs() == ()

    async def test_an_input_that_no_node_can_fetch_matches_no_node(self) -> None:
        async with cluster(Workload()) as c:
            with pytest.raises(bac.NoMatchingNodeError, match=r"inputs by s3, offers bytes, path"):
                await c.run(bac.JobSpec.function("ok", inputs={"/in": "s3://bucket/key"}))

    @asynccontextmanager
    async def waiting_with(self, given: Path) -> AsyncGenerator[tuple[bac.Job, Workload]]:
        """Have a job wait that takes a file; release the workload to let it begin."""
        workload = Workload()
        given.write_text("x")
        async with cluster(workload, max_executions=1) as c:
            await c.submit(spec("hold"))
            await workload.running.wait()
            yield await c.submit(bac.JobSpec.function("ok", inputs={"/in": given})), workload

    async def test_an_input_that_changes_its_type_after_submit_fails_the_job(self, tmp_path: Path) -> None:
        given = tmp_path / "given"
        async with self.waiting_with(given) as (job, workload):
            given.unlink()
            given.mkdir()
            workload.release.set()
            with pytest.raises(bac.JobFailedError, match="became a folder") as caught:
                await job.result()
        assert caught.value.failure_code == "input.changed"

    async def test_an_input_that_vanishes_after_submit_fails_the_job(self, tmp_path: Path) -> None:
        given = tmp_path / "given"
        async with self.waiting_with(given) as (job, workload):
            given.unlink()
            workload.release.set()
            with pytest.raises(bac.JobFailedError, match="vanished") as caught:
                await job.result()
        assert caught.value.failure_code == "input.changed"

    @pytest.mark.parametrize("job_id", ["", "UPPER", "../x", "a/b", "con", "x" * 64, "-x", 7])
    async def test_a_bad_id_is_refused(self, job_id: str) -> None:
        async with cluster(Workload()) as c:
            with pytest.raises(bac.errors.InvalidSpecError, match="job_id"):
                await c.submit(spec("ok"), job_id)

    async def test_something_else_than_a_spec_is_refused(self) -> None:
        async with cluster(Workload()) as c:
            with pytest.raises(bac.errors.InvalidSpecError, match="JobSpec"):
                await c.submit("echo hello")  # type: ignore[arg-type]

    def test_what_is_wrong_with_nodes_is_said_at_once(self) -> None:
        with pytest.raises(bac.errors.InvalidSpecError) as caught:
            executors: list[object] = [Workload(), Workload(), 3]
            bac.Node("Bad Name", executors, labels={"name": "x", "a b": "c"}, max_executions=-1)  # type: ignore[arg-type]
        assert [problem.path for problem in caught.value.problems] == [
            "name", "executors[1]", "executors[2]", "labels.name", "labels.a b", "max_executions",
        ]  # fmt: skip
        for make in (
            lambda: bac.Node("a", 3),  # type: ignore[arg-type]
            lambda: bac.Node("a", [], resources={"cpu": 1}),  # type: ignore[arg-type]
            lambda: bac.Node("a", [], labels=[1]),  # type: ignore[arg-type]
            lambda: bac.Node(None, []),  # type: ignore[arg-type]
            lambda: bac.Cluster("abc"),  # type: ignore[arg-type]
            lambda: bac.Cluster([Workload()]),  # type: ignore[list-item]
            lambda: bac.Cluster([], store=3),  # type: ignore[arg-type]
            lambda: bac.Cluster([], transport="x"),  # type: ignore[arg-type]
            lambda: bac.Cluster([], data_dir=3),  # type: ignore[arg-type]
            lambda: bac.FunctionExecutor([1]),  # type: ignore[arg-type]
            lambda: bac.FunctionExecutor({3: 4}),  # type: ignore[dict-item]
        ):
            with pytest.raises(bac.errors.InvalidSpecError):
                make()
        with pytest.raises(bac.errors.InvalidSpecError, match="earlier node"):
            bac.Cluster([bac.Node("a", []), bac.Node("a", [])])
        with pytest.raises(bac.errors.InvalidSpecError, match="taken"):
            bac.Node("orchestrator", [])


class TestLookUp:
    async def test_jobs_are_found_by_id_and_by_prefix(self) -> None:
        async with cluster(Workload()) as c:
            for job_id in ("alpha", "alpine", "beta"):
                await c.submit(spec("ok"), job_id)
            assert [job.id for job in await c.jobs()] == ["alpha", "alpine", "beta"]
            assert (await c.job("beta")).id == (await c.job("b")).id == "beta"
            with pytest.raises(bac.errors.AmbiguousJobIdError):
                await c.job("alp")
            with pytest.raises(bac.errors.JobNotFoundError):
                await c.job("gamma")

    @pytest.mark.parametrize("keep", [pickle.dumps, copying.deepcopy])
    async def test_a_live_job_says_what_to_keep_of_it(self, keep: Callable[[object], object]) -> None:
        async with cluster(Workload()) as c:
            job = await c.submit(spec("ok"), "alpha")
            for kept in (job, [job], await c.jobs()):
                with pytest.raises(TypeError, match=r"^job alpha is live .* keep its id, .*Output\.copy_to"):
                    keep(kept)

    async def test_ids_are_made_and_are_unique(self) -> None:
        async with cluster(Workload()) as c:
            ids = {(await c.submit(spec("ok"))).id for _ in range(20)}
            assert len(ids) == 20
            assert all(job_id.startswith("j-") for job_id in ids)

    async def test_a_store_remembers_for_the_next_cluster(self) -> None:
        store = bac.MemoryStore()
        async with cluster(Workload(), store=store) as c:
            await c.submit(spec("hold"), "unfinished")
            await (await c.submit(spec("ok"), "finished")).wait()
        async with cluster(Workload(), store=store) as c:
            assert {job.id: job.state.value for job in await c.jobs()} == {
                "unfinished": "CANCELLED", "finished": "COMPLETED",
            }  # fmt: skip
            assert (await anext((await c.job("finished")).events())).message == "job submitted"
            with pytest.raises(bac.errors.ResultsGoneError):
                await (await c.job("finished")).result()

    async def test_reprs_are_for_people(self) -> None:
        async with cluster(Workload()) as c:
            job = await c.submit(spec("ok"), "it")
            await job.wait()
            assert repr(job) == "<Job it: COMPLETED>"
            assert repr(c) == "<Cluster: only; 1 job>"
            assert (
                repr(bac.Node("n", [Workload()], resources=bac.Resources(cpu=1)))
                == "<Node 'n': function; cpu 1>"
            )

    async def test_every_effect_is_a_debug_line_with_job_and_execution(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "bacalhau_sdk"):
            async with cluster(Workload()) as c:
                await (await c.submit(spec("ok"), "it")).wait()
        lines = [record.getMessage() for record in caplog.records if record.name == "bacalhau_sdk"]
        for words in (
            ("commit", "it", "COMPLETED"),
            ("send", "it-0"),
            ("start", "it", "it-0"),
            ("publish", "it-0"),
        ):
            assert any(all(word in line.lower() or word in line for word in words) for line in lines), words
