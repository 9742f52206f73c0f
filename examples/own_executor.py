"""An executor of your own: programs of this machine, as processes (POSIX). `docs/how-to/your-own-executor.md` explains it."""

import os
import shutil
import signal
from contextlib import suppress

import anyio
from anyio.abc import ByteReceiveStream, Process
from attrs import frozen

from bacalhau_sdk import abc


@frozen
class ProgramSpec(abc.EngineSpec):
    engine = "program"
    argv: tuple[str, ...]  # the guest path of an input or output becomes its path on this machine


class ProgramExecutor(abc.Executor):
    engine = "program"

    async def _probe(self) -> abc.EngineInfo:
        return abc.EngineInfo(self.engine)

    async def _check(self, task: abc.Task) -> abc.Refusal | None:
        name = task.engine.argv[0] if isinstance(task.engine, ProgramSpec) else ""
        return None if shutil.which(name) else abc.Refusal("", abc.Check.ENGINE, name, "no such program")

    async def _run(self, task: abc.Task, io: abc.TaskIO) -> abc.RunResult:
        assert isinstance(task.engine, ProgramSpec)
        argv = [str({**io.inputs, **io.outputs}.get(word, word)) for word in task.engine.argv]
        env = {"PATH": os.environ.get("PATH", os.defpath), **task.env}
        async with await anyio.open_file(io.stdin or os.devnull, "rb") as stdin:
            process: Process | None = None
            with anyio.CancelScope(shield=True):  # a process that has begun is known, and so can be killed
                process = await anyio.open_process(
                    argv, stdin=stdin.wrapped, env=env, cwd=io.scratch, start_new_session=True
                )
            assert process is not None
            io.started()
            async with process, anyio.create_task_group() as tasks:
                tasks.start_soon(copy, process.stdout, io.stdout)
                tasks.start_soon(copy, process.stderr, io.stderr)
                try:
                    await process.wait()
                finally:  # it has ended, or the run is cancelled: kill its whole group, with what it has left behind
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        code = process.returncode or 0
        return abc.RunResult(code if code >= 0 else 128 - code)  # of a signal, as a shell says it


async def copy(stream: ByteReceiveStream | None, sink: abc.ByteSink) -> None:
    assert stream is not None
    async for chunk in stream:
        sink.write(chunk)
        await sink.drain()
