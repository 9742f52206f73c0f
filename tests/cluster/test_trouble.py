"""Trouble that comes from outside: second cancellations, ends of loops, functions that misbehave, transports that wait."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import anyio
import pytest

import bacalhau_sdk as bac
from bacalhau_sdk.abc import (
    Check,
    EngineInfo,
    Envelope,
    Executor,
    Refusal,
    RunResult,
    Snapshot,
    Task,
    TaskIO,
)
from bacalhau_sdk.errors import EngineError, ExecutionError, StoreError
from bacalhau_sdk.model.execution import ExecutionState
from bacalhau_sdk.stores.memory import MemoryStore
from bacalhau_sdk.testing import SimulatedEngine
from tests.cluster.harness import Workload, cluster, name_of, spec, until

COMPOSED = bac.Cluster([bac.Node("only", [SimulatedEngine("function")])])  # where no event loop runs


async def test_a_cluster_is_composed_anywhere() -> None:
    async with bac.Cluster([bac.Node("only", [SimulatedEngine("function")])]) as c:
        assert repr(c).startswith("<Cluster: only") == repr(COMPOSED).startswith("<Cluster: only")
        assert (await c.run(spec("any"))).exit_code == 0


class TestFunctionsThatMisbehave:
    async def run(self, function: object) -> bac.Result:
        node = bac.Node("only", [bac.FunctionExecutor({"it": function})])  # type: ignore[dict-item]
        async with bac.Cluster([node]) as c:
            with anyio.fail_after(20):
                return await c.run(bac.JobSpec.function("it"), check=False)

    @pytest.mark.parametrize(("code", "expected"), [(7, 7), (None, 0), ("message", 1)])
    async def test_exiting_is_an_exit_code(self, code: object, expected: int) -> None:
        async def leave(task: bac.FunctionTask) -> None:
            sys.exit(code)  # type: ignore[arg-type]

        assert (await self.run(leave)).exit_code == expected

    async def test_a_cancellation_of_its_own_is_a_failure_of_its_own(self) -> None:
        async def meet_another_s_cancellation(task: bac.FunctionTask) -> None:
            raise (anyio.get_cancelled_exc_class() if _on_asyncio() else ValueError("Cancelled"))

        result = await self.run(meet_another_s_cancellation)
        assert result.exit_code == 1
        assert "Cancelled" in result.stderr

    async def test_an_exit_code_that_is_none_fails_the_job_only(self) -> None:
        async def huge(task: bac.FunctionTask) -> int:
            return 10**5000

        with pytest.raises(bac.JobFailedError, match="exit code"):
            await self.run(huge)


HOSTILE = b"caf\xe9 \x1b[2J\x1b]0;owned\x07".decode("utf-8", "surrogateescape")
WRITTEN_OUT = r"caf\udce9 \x1b[2J\x1b]0;owned\x07"


class Rude(Executor):
    """Says what no terminal should be told, where the name of the job wants it."""

    engine = "function"

    async def _probe(self) -> EngineInfo:
        return EngineInfo("function")

    async def _check(self, task: Task) -> Refusal | None:
        name = name_of(task)
        if name == "check":
            raise RuntimeError(HOSTILE)
        return Refusal("", Check.ENGINE, HOSTILE, HOSTILE, HOSTILE) if name == "refuse" else None

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        raise RuntimeError(HOSTILE) if name_of(task) == "run" else ExecutionError(HOSTILE, hint=HOSTILE)


class RudeStore(MemoryStore):
    async def _load(self) -> Snapshot:
        raise RuntimeError(HOSTILE)


def fit_for_a_terminal(text: object) -> bool:
    return all(line.isprintable() for line in str(text).split("\n")) and WRITTEN_OUT in str(text)


class TestWordsOfStrangers:
    @pytest.mark.parametrize("how", ["run", "typed", "check", "refuse"])
    async def test_nothing_that_a_plugin_says_reaches_the_terminal_raw(self, how: str) -> None:
        async with bac.Cluster([bac.Node("n", [Rude()])]) as c:
            job = await c.submit(bac.JobSpec.function(how))
            with pytest.raises(bac.JobFailedError) as raised:
                await job.result()
            assert fit_for_a_terminal(raised.value)
            assert fit_for_a_terminal(await job.explain())

    @pytest.mark.parametrize("part", ["enter", "probe", "store"])
    async def test_what_cannot_be_entered_says_so_in_printable_characters(self, part: str) -> None:
        class Unusable(Rude):
            @asynccontextmanager
            async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
                if part == "enter":
                    raise RuntimeError(HOSTILE)
                yield self

            async def _probe(self) -> EngineInfo:
                raise RuntimeError(HOSTILE)

        node, store = bac.Node("n", [Unusable()]), None
        if part == "store":
            node, store = bac.Node("n", [Rude()]), RudeStore()
        with pytest.raises((EngineError, StoreError)) as raised:
            async with bac.Cluster([node], store=store):
                raise AssertionError
        assert fit_for_a_terminal(raised.value)

    async def test_so_are_the_reasons_of_a_cancellation(self) -> None:
        async with cluster(Workload()) as c:
            job = await c.submit(spec("hold"))
            await job.cancel("\x1b[2J\x1b]0;owned\x07")
            with pytest.raises(bac.JobCancelledError, match=re.escape(r"\x1b[2J\x1b]0;owned\x07")):
                await job.result()


def _on_asyncio() -> bool:
    try:
        return asyncio.get_running_loop() is not None
    except RuntimeError:
        return False


class TestOpeningAndClosing:
    async def test_entering_can_be_cancelled(self) -> None:
        reached = anyio.Event()

        class Slow(Executor):
            engine = "slow"

            async def _probe(self) -> EngineInfo:
                reached.set()
                await anyio.sleep_forever()
                raise AssertionError

            async def _run(self, task: Task, io: TaskIO) -> RunResult:
                raise AssertionError

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel() -> None:
                    await reached.wait()
                    scope.cancel()

                tasks.start_soon(cancel)
                async with bac.Cluster([bac.Node("only", [Slow()])]):
                    pytest.fail("the block must not begin")
        assert scope.cancelled_caught

    async def test_a_node_that_is_ready_once_entering_was_cancelled_is_no_fault(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        reached, release = anyio.Event(), anyio.Event()

        class Stubborn(Workload):
            async def _probe(self) -> EngineInfo:
                with anyio.CancelScope(shield=True):
                    reached.set()
                    await release.wait()
                return await super()._probe()

        async def enter() -> None:
            with pytest.raises(anyio.get_cancelled_exc_class()) as raised:
                async with cluster(Stubborn()):
                    pytest.fail("the block must not begin")
            assert not hasattr(raised.value, "__notes__")
            raise raised.value

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            await reached.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            release.set()
        assert caplog.messages == []

    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_an_interrupt_of_the_closing_comes_out_as_itself(
        self, cancelled: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        c, interrupt = bac.Cluster([bac.Node("only", [Workload()])]), KeyboardInterrupt()
        close, interrupts = c._close, [interrupt]

        async def interrupted() -> None:
            await close()
            if interrupts:
                raise interrupts.pop()

        monkeypatch.setattr(c, "_close", interrupted)
        with pytest.raises(KeyboardInterrupt) as raised, anyio.CancelScope() as scope:
            async with c:
                if cancelled:
                    scope.cancel()
                    await anyio.sleep_forever()
        assert raised.value is interrupt

    async def test_what_a_context_of_an_executor_raises_is_an_engine_error(self) -> None:
        workload = Workload()
        with pytest.raises(bac.errors.InvalidSpecError, match="each node needs its own"):
            bac.Cluster([bac.Node("a", [workload]), bac.Node("b", [workload])])

    @pytest.mark.parametrize("turns", range(30))
    async def test_entering_can_be_cancelled_at_any_point(self, turns: int) -> None:
        workload = Workload()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def use() -> None:
                    async with cluster(workload) as c:
                        await c.run(spec("hold"))

                tasks.start_soon(use)
                for _ in range(turns):
                    # A thread's turn is longer than the loop's: the steps of opening take some.
                    await anyio.to_thread.run_sync(bool) if turns % 2 else await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert scope.cancelled_caught
        assert not workload.alive

    async def test_what_waits_in_the_queue_is_not_started_by_the_closing(self) -> None:
        workload = Workload()
        async with cluster(workload, max_executions=2) as c:
            for _ in range(20):
                await c.submit(spec("hold"))
            await workload.running.wait()
            job = (await c.jobs())[1]
            await until(job, ExecutionState.RUNNING)
        assert len(workload.started) == 2

    async def test_two_clusters_cannot_share_a_transport_of_this_process(self) -> None:
        transport = bac.MemoryTransport()
        async with bac.Cluster([], transport=transport):
            with pytest.raises(bac.errors.ClusterFailedError, match="receives already"):
                async with bac.Cluster([bac.Node("other", [Workload()])], transport=transport) as second:
                    await second.run(spec("ok"))

    async def test_a_check_that_raises_is_a_reason(self) -> None:
        class Broken(Workload):
            async def _check(self, task: Task) -> Refusal | None:
                raise ZeroDivisionError("oops")

        async with cluster(Broken()) as c:
            with pytest.raises(bac.NoMatchingNodeError, match="ZeroDivisionError: oops"):
                await c.run(spec("ok"))

    async def test_no_job_is_taken_while_the_cluster_closes(self) -> None:
        workload, refused = Workload(), list[str]()
        async with anyio.create_task_group() as tasks, cluster(workload) as c:
            await c.submit(spec("stubborn"), "first")
            await workload.running.wait()

            async def submit_late() -> None:
                await workload.dying.wait()
                try:
                    await c.submit(spec("hold"), "late")
                except bac.errors.ClusterClosedError as error:
                    refused.append(str(error))
                workload.let_die.set()

            tasks.start_soon(submit_late)
        assert len(refused) == 1
        assert not workload.alive

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    @pytest.mark.parametrize("owner", ["cluster", "run", "job"])
    async def test_a_second_bare_cancel_does_not_cut_the_closing_short(self, owner: str) -> None:
        workload, inner = Workload(), anyio.Event()

        async def own(c: bac.Cluster) -> None:
            if owner == "run":
                await c.run(spec("stubborn"))
            elif owner == "job":
                async with await c.submit(spec("stubborn")):
                    await anyio.sleep_forever()
            else:
                await c.submit(spec("stubborn"))
                await anyio.sleep_forever()

        async def main() -> None:
            async with cluster(workload) as c:
                if owner == "cluster":
                    await own(c)
                task = asyncio.create_task(own(c))
                tasks.append(task)
                inner.set()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.shield(task)

        tasks = list[asyncio.Task[None]]()
        whole = asyncio.create_task(main())
        await workload.running.wait()
        target = whole if owner == "cluster" else tasks[0]
        for _ in range(3):
            target.cancel()
            await workload.dying.wait()
            await asyncio.sleep(0)
        assert not target.done()
        workload.let_die.set()
        with pytest.raises(asyncio.CancelledError):
            await target
        assert not workload.alive
        if target is not whole:
            await whole

    def test_a_loop_that_ends_takes_the_cluster_with_it(self) -> None:
        """``asyncio.run`` cancels all tasks when its main function returns; nobody may wait for one that is gone."""
        workload = list[Workload]()

        async def service() -> None:
            workload.append(Workload())
            async with cluster(workload[0]) as c:
                await c.submit(spec("hold"))
                await asyncio.sleep(3600)

        async def main() -> None:
            task = asyncio.create_task(service())
            while not workload:
                await asyncio.sleep(0)
            await workload[0].running.wait()
            assert not task.done()

        thread = threading.Thread(target=asyncio.run, args=[main()])
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive(), "it hangs"
        assert not workload[0].alive

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_an_interrupt_ends_a_script(self, backend: str, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        # Trio's own code does not bear an interrupt everywhere; this is what it offers for that.
        options = {"restrict_keyboard_interrupt_to_checkpoints": True} if backend == "trio" else {}
        script.write_text(
            "import anyio, signal, sys\nimport bacalhau_sdk as bac\n"
            # A test run in the background of a shell ignores interrupts, and so would the script.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "async def hold(task):\n    print('ready', flush=True)\n    await anyio.sleep_forever()\n"
            "async def main():\n"
            "    node = bac.Node('only', [bac.FunctionExecutor({'hold': hold})])\n"
            "    async with bac.Cluster([node]) as c:\n        await c.run(bac.JobSpec.function('hold'))\n"
            f"try:\n    anyio.run(main, backend={backend!r}, backend_options={options!r})\n"
            "except KeyboardInterrupt:\n    sys.exit(130)\n"
        )
        with subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(2)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr


class TestSubmitAndCancel:
    async def test_a_cancel_that_was_cancelled_at_once_stays_in_force(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            job = await c.submit(spec("hold"))
            await workload.running.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(job.cancel)
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            # Whether it had begun is the backend's choice; if it had, it holds.
            if any("cancelled" in event.message for event in job._view.events):
                assert await job.wait() is bac.JobState.CANCELLED

    async def test_an_equal_spec_finds_its_job_though_its_input_has_gone(self, tmp_path: Path) -> None:
        given = tmp_path / "given"
        given.write_text("x")
        job_spec = bac.JobSpec.function("ok", inputs={"/in": given})
        async with cluster(Workload()) as c:
            job = await c.submit(job_spec, "it")
            await job.wait()
            given.unlink()
            assert (await c.submit(job_spec, "it")).id == job.id

    async def test_jobs_with_the_same_module_share_its_bytes(self, tmp_path: Path) -> None:
        module = tmp_path / "module.wasm"
        module.write_bytes(b"\0asm" + bytes(1000))
        async with bac.Cluster([bac.Node("only", [SimulatedEngine("wasm")])]) as c:
            first, second = [await c.submit(bac.JobSpec.wasm(module)) for _ in range(2)]
            assert first.spec.engine.module is second.spec.engine.module  # type: ignore[attr-defined]

    async def test_threads_of_others_do_not_hold_up_the_library(self) -> None:
        async with bac.Cluster([bac.Node("only", [SimulatedEngine("function")])]) as c:
            release = threading.Event()

            async def occupy() -> None:
                await anyio.to_thread.run_sync(release.wait)

            async with anyio.create_task_group() as tasks:
                for _ in range(45):
                    tasks.start_soon(occupy)
                try:
                    with anyio.fail_after(20):
                        assert (await c.run(spec("any"))).exit_code == 0
                finally:
                    release.set()


class TestStreams:
    async def test_a_reader_that_was_forgotten_leaves_no_task(self) -> None:
        async def chatter(task: Task, io: TaskIO) -> int:
            io.stdout.write(b"line\n" * 10_000)
            return 0

        async with bac.Cluster([bac.Node("only", [SimulatedEngine("function", behaviour=chatter)])]) as c:
            job = await c.submit(spec("any"))
            await job.wait()
            await anyio.wait_all_tasks_blocked()
            before = len(anyio.get_running_tasks())
            for _ in range(20):
                async for _entry in job.logs():
                    break
                job.logs()
            for _ in range(100):
                # Readers that are in the middle of a read end with it; a thread's turn is longer than theirs.
                await anyio.to_thread.run_sync(gc.collect)
                if len(anyio.get_running_tasks()) == before:
                    break
            assert len(anyio.get_running_tasks()) == before

    async def test_a_log_that_cannot_be_read_harms_only_its_reader(self) -> None:
        workload = Workload()
        async with cluster(workload) as c:
            job = await c.submit(spec("hold"))
            assert (await anext(job.logs())).text == "ready"
            for path in c._workspace.staging.rglob("*.log"):
                path.unlink()
            assert [entry async for entry in _until_closed(job, workload)] == []
            assert (await c.run(spec("ok"))).exit_code == 0

    async def test_a_transport_that_waits_changes_nothing(self) -> None:
        class Slow(bac.MemoryTransport):
            async def _send(self, envelope: Envelope) -> None:
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                await super()._send(envelope)

        workload = Workload()
        async with bac.Cluster([bac.Node("only", [workload])], transport=Slow()) as c:
            job = await c.submit(spec("hold"))
            await until(job, ExecutionState.BID_ACCEPTED)
            assert (await anext(job.logs())).text == "ready"
            assert await job.cancel() is bac.JobState.CANCELLED

    async def test_no_secret_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, "bacalhau_sdk"):
            async with cluster(Workload()) as c:
                await c.run(bac.JobSpec.function("ok", env={"TOKEN": "hunter2"}, inputs={"/in": b"hunter2"}))
        assert caplog.messages
        assert "hunter2" not in caplog.text


async def _until_closed(job: bac.Job, workload: Workload):  # type: ignore[no-untyped-def]
    logs = job.logs()
    workload.release.set()
    await job.wait()
    async for entry in logs:
        yield entry
