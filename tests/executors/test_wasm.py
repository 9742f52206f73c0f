from __future__ import annotations

import asyncio
import errno
import gc
import importlib.metadata
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

import anyio
import pytest
import wasmtime
from anyio.abc import TaskStatus
from wasmtime._func import FUNCTIONS

from bacalhau_sdk import errors
from bacalhau_sdk.abc import (
    BytesSource,
    DockerSpec,
    EngineInfo,
    NetworkType,
    PathSource,
    RunResult,
    UrlSource,
    WasmSpec,
)
from bacalhau_sdk.executors.wasm import cache as wasm_cache
from bacalhau_sdk.executors.wasm import guest as wasm_guest
from bacalhau_sdk.executors.wasm import modules as wasm_modules
from bacalhau_sdk.executors.wasm import poll as wasm_poll
from bacalhau_sdk.executors.wasm import streams as wasm_streams
from bacalhau_sdk.executors.wasm.executor import WasmExecutor
from bacalhau_sdk.model.resources import Resources
from tests.executors.harness import Job, Sink, make_job

GUESTS = Path(__file__).parent.parent / "guests"
HANG = 60  # seconds after which a test has failed; none needs more than a few

MakeJob = Callable[..., Job]


@cache
def guest(name: str) -> bytes:
    """Return a module of tests/guests."""
    text = GUESTS / f"{name}.wat"
    return wat(text.read_text()) if text.exists() else (GUESTS / f"{name}.wasm").read_bytes()


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def spec(module: str | bytes, *args: str, entry_point: str = "_start") -> WasmSpec:
    source = BytesSource(guest(module) if isinstance(module, str) else module)
    return WasmSpec(source, args, entry_point, module if isinstance(module, str) else "main.wasm")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def job(tmp_path: Path) -> MakeJob:
    return partial(make_job, tmp_path)


@pytest.fixture(autouse=True)
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """The threads that run a guest; none is left when a test has ended."""
    threads: list[threading.Thread] = []
    run = wasm_guest.Guest.run

    def counted(self: wasm_guest.Guest) -> wasm_guest.GuestEnd:
        threads.append(threading.current_thread())
        try:
            return run(self)
        finally:
            threads.remove(threading.current_thread())

    monkeypatch.setattr(wasm_guest.Guest, "run", counted)
    yield threads
    assert threads == []


@asynccontextmanager
async def opened(cache_dir: Path, **options: object) -> AsyncIterator[WasmExecutor]:
    with anyio.fail_after(HANG):
        async with WasmExecutor(isolation="thread", cache_dir=cache_dir, **options) as executor:  # type: ignore[arg-type]
            yield executor


async def run(cache_dir: Path, job: Job, **options: object) -> int:
    """Run a job to its end in an executor of its own, and return its exit code."""
    async with opened(cache_dir, **options) as executor:
        return (await executor.run(job.task, job.io)).exit_code


async def cancel_when(executor: WasmExecutor, job: Job, ready: Callable[[], Awaitable[None]]) -> None:
    """Run a job, cancel it once it is ready, and check that it has let the cancellation through."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await ready()
                scope.cancel()

            tasks.start_soon(cancel)
            await executor.run(job.task, job.io)
            pytest.fail("the job has ended by itself")
    assert scope.cancelled_caught


# ---- The constructor, the import, the probe ----


def test_isolation_must_be_said() -> None:
    with pytest.raises(TypeError, match="isolation"):
        WasmExecutor()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        WasmExecutor("thread")  # type: ignore[call-arg]


def test_process_isolation_is_to_come() -> None:
    with pytest.raises(errors.UnsupportedSpecError, match="does not exist yet") as caught:
        WasmExecutor(isolation="process")  # type: ignore[arg-type]
    assert caught.value.field == "isolation"
    assert "thread" in caught.value.hint


def test_every_argument_that_makes_no_sense_is_named() -> None:
    with pytest.raises(errors.InvalidSpecError) as caught:
        WasmExecutor(isolation="fibre", memory_limit="a lot", fuel=0)  # type: ignore[arg-type]
    assert [problem.path for problem in caught.value.problems] == ["isolation", "memory_limit", "fuel"]


@pytest.mark.parametrize("fuel", [0, -1, True, 1.5, "10", 2**64])
def test_fuel_is_a_number_of_units(fuel: object) -> None:
    with pytest.raises(errors.InvalidSpecError, match="fuel"):
        WasmExecutor(isolation="thread", fuel=fuel)  # type: ignore[arg-type]


def test_wasmtime_is_imported_only_when_used() -> None:
    code = """
import sys
from bacalhau_sdk.executors.wasm.executor import WasmExecutor
WasmExecutor(isolation="thread", fuel=5)
sys.exit("wasmtime" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_probe_says_what_it_can_do(cache_dir: Path) -> None:
    async with opened(cache_dir) as executor:
        info = await executor.probe()
    version = importlib.metadata.version("wasmtime")
    assert info == EngineInfo("wasm", platforms=(), networks=(NetworkType.NONE,), version=version)
    assert WasmExecutor.engine == "wasm"


@pytest.mark.parametrize("version", ["47.0.4", "1.0.0", "47.0.0rc1", "unknown", ""])
async def test_a_vulnerable_wasmtime_is_refused(
    version: str, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    task = job(spec("hello"))
    async with opened(tmp_path / "cache") as executor:
        with pytest.raises(errors.VulnerableRuntimeError, match=r"sandbox escape.*48"):
            await executor.probe()
        with pytest.raises(errors.VulnerableRuntimeError):
            await executor.run(task.task, task.io)
    assert task.started == []


@pytest.mark.parametrize("version", ["48.0.0", "50.0.1", "100.0.0", "48.0.0rc1"])
async def test_a_safe_wasmtime_is_taken(
    version: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    async with opened(cache_dir) as executor:
        assert (await executor.probe()).version == version


async def test_a_missing_wasmtime_is_an_engine_error(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    async with opened(cache_dir) as executor:
        with pytest.raises(errors.EngineError, match="not installed") as caught:
            await executor.probe()
    assert not isinstance(caught.value, errors.VulnerableRuntimeError)


async def test_an_executor_runs_nothing_before_it_is_entered(job: MakeJob, cache_dir: Path) -> None:
    executor = WasmExecutor(isolation="thread", cache_dir=cache_dir)
    task = job(spec("hello"))
    with pytest.raises(errors.EngineError, match="not open"):
        await executor.run(task.task, task.io)
    async with executor:
        assert await executor.run(task.task, task.io) == RunResult(0)
    other = job(spec("exit"), execution_id="other")
    with pytest.raises(errors.EngineError, match="not open"):
        await executor.run(other.task, other.io)


async def test_what_the_block_raises_leaves_it_as_itself(cache_dir: Path) -> None:
    for error in (ValueError("mine"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            async with WasmExecutor(isolation="thread", cache_dir=cache_dir):
                raise error
        assert caught.value is error


async def test_an_executor_can_be_entered_again(job: MakeJob, cache_dir: Path) -> None:
    executor = WasmExecutor(isolation="thread", cache_dir=cache_dir)
    for number in range(2):
        task = job(spec("hello"), execution_id=str(number))
        async with executor:
            assert await executor.run(task.task, task.io) == RunResult(0)


# ---- What a guest is given, and its exit code ----


async def test_both_streams_arrive(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("hello"))
    assert await run(cache_dir, task) == 0
    assert task.stdout.text == "Hello, world!\n"
    assert task.stderr.text == "Hello, errors!\n"


async def test_a_guest_sees_its_arguments_its_environment_and_nothing_else(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_HOST", "secret")
    env = {"B": "two words", "A": "ä=b", "EMPTY": ""}
    task = job(spec("echo", "one", "zwei drei", "", "ü"), env=env)
    assert await run(cache_dir, task) == 0
    expected = "arg echo\narg one\narg zwei drei\narg \narg ü\nenv B=two words\nenv A=ä=b\nenv EMPTY=\n"
    assert task.stdout.text == expected


async def test_no_environment_is_an_empty_one(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("echo"))
    assert await run(cache_dir, task) == 0
    assert task.stdout.text == "arg echo\n"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("0", 0),
        ("1", 1),
        ("42", 42),
        ("125", 125),
        ("126", 126),
        ("127", 127),
        ("134", 134),
        ("255", 255),
        ("256", 256),
        ("2147483647", 2**31 - 1),
        ("-1", 2**32 - 1),
    ],
)
async def test_any_exit_code_is_a_result(asked: str, code: int, job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("exit", asked))
    assert await run(cache_dir, task) == code
    assert task.stderr.text == ""


async def test_nothing_runs_after_proc_exit(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("exit_then_write"))
    assert await run(cache_dir, task) == 200
    assert task.stdout.text == ""
    assert task.stderr.text == ""


async def test_a_start_section_may_exit(job: MakeJob, cache_dir: Path) -> None:
    assert await run(cache_dir, job(spec("exit_in_start"))) == 7


async def test_a_named_entry_point_is_called(job: MakeJob, cache_dir: Path) -> None:
    assert await run(cache_dir, job(spec("entry_points", entry_point="other"))) == 0


# ---- Traps ----


# A custom section, which is what compilers write unless they are told not to.
@pytest.mark.parametrize(
    "debugging", [b"", b"\x00\x0c\x0b.debug_info"], ids=["bare", "debugging information"]
)
async def test_a_trap_is_exit_code_1_with_the_reason_on_a_line_of_its_own(
    debugging: bytes, job: MakeJob, cache_dir: Path
) -> None:
    task = job(spec(guest("trap") + debugging))
    assert await run(cache_dir, task) == 1
    lines = task.stderr.text.splitlines()
    assert lines[0] == "half a line"
    assert "`unreachable` instruction executed" in lines[1]
    assert "innermost (0x" in lines[2]
    assert lines[3:] == []
    assert task.stderr.text.endswith("\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("(drop (i32.load (i32.const -1)))", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(call $main)", "call stack exhausted"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        # What WASI cannot answer, because it finds no memory, is a trap as well.
        (
            "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0)))",
            "missing required memory",
        ),
    ],
)
async def test_the_reason_of_a_trap_is_told(body: str, reason: str, job: MakeJob, cache_dir: Path) -> None:
    module = f"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (memory 1) (table 1 funcref)
      (func $main (export "_start") {body}))"""
    task = job(spec(wat(module)))
    assert await run(cache_dir, task) == 1
    assert reason in task.stderr.text
    assert len(task.stderr.text) < 5000


@pytest.mark.parametrize(
    "module",
    [
        '(module (func $start unreachable) (start $start) (func (export "_start")))',
        '(module (memory 1) (data (i32.const 65536) "x") (func (export "_start")))',
    ],
    ids=["start section", "data segment"],
)
async def test_a_trap_before_the_entry_point_is_a_trap(module: str, job: MakeJob, cache_dir: Path) -> None:
    task = job(spec(wat(module)))
    assert await run(cache_dir, task) == 1
    assert "wasm trap" in task.stderr.text
    assert task.started == [""]


async def test_a_long_backtrace_is_cut(job: MakeJob, cache_dir: Path) -> None:
    name = "x" * 20_000
    task = job(spec(wat(f'(module (func ${name} unreachable) (func (export "_start") (call ${name})))')))
    assert await run(cache_dir, task) == 1
    assert "xxx" in task.stderr.text
    assert len(task.stderr.text) < 5000


def test_a_trap_survives_a_faulthandler_that_is_enabled_later(tmp_path: Path) -> None:
    """It takes the signals by which wasmtime otherwise notices a trap, and ends the process."""
    script = """
import faulthandler, sys
from pathlib import Path
import anyio
from tests.executors.harness import make_job
from tests.executors.test_wasm import spec, wat
from bacalhau_sdk.executors.wasm.executor import WasmExecutor

TRAPS = '(module (memory 1) (func (export "_start") (drop (i32.load (i32.const -1)))))'

async def main(folder):
    async with WasmExecutor(isolation="thread", cache_dir=folder / "cache") as executor:
        for number, module in enumerate(("hello", wat(TRAPS), "hello")):
            job = make_job(folder, spec(module), execution_id=str(number))
            result = await executor.run(job.task, job.io)
            assert result.exit_code == (1 if number == 1 else 0), job.stderr.text
            faulthandler.enable()

anyio.run(main, Path(sys.argv[1]))
"""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, env=os.environ | {"PYTHONPATH": path}
    )


async def test_fuel_bounds_the_work(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("loop"))
    assert await run(cache_dir, task, fuel=100_000) == 1
    assert task.stdout.text == "ready\n"
    assert task.stderr.text.startswith("the guest is out of fuel: it has used up its 100000 units\n")
    enough = job(spec("hello"), execution_id="other")
    assert await run(cache_dir, enough, fuel=100_000) == 0


# ---- Modules that cannot run ----


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (b"", "is empty"),
        (b"(module)", "is WebAssembly text"),
        (b"  \n;; comment\n(module)", "is WebAssembly text"),
        (b"\0asm\x0d\0\x01\0", "is a WebAssembly component"),
        (b"\x7fELF\x02\x01", "native code, which is never loaded"),
        (b"#!/bin/sh\n", r"not a WebAssembly binary: it begins with b'#!/bin/s'"),
        (b"\0asm\x02\0\0\0", "not a WebAssembly binary"),
        (b"\0asm", "not a WebAssembly binary"),
        (
            b"\0asm\x01\0\0\0\x07garbage",
            r"cannot be compiled: failed to parse WebAssembly module: unexpected end",
        ),
    ],
)
async def test_what_is_no_module_is_refused(
    module: bytes, message: str, job: MakeJob, cache_dir: Path
) -> None:
    task = job(spec(module))
    with pytest.raises(errors.InvalidModuleError, match=message):
        await run(cache_dir, task)
    assert task.started == []


@pytest.mark.parametrize(
    "module",
    [
        "(module (memory 1 1 shared))",
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (type (struct)))",
        "(module (tag) (func (throw 0)))",
        "(module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))",
    ],
    ids=["threads", "memory64", "multi-memory", "gc", "exceptions", "relaxed-simd"],
)
async def test_what_a_module_may_not_use_is_refused(module: str, job: MakeJob, cache_dir: Path) -> None:
    task = job(spec(wat(module)))
    with pytest.raises(errors.InvalidModuleError, match="cannot be compiled") as caught:
        await run(cache_dir, task)
    assert "\n" not in caught.value.message
    assert task.started == []


async def test_serialised_native_code_is_never_loaded(job: MakeJob, cache_dir: Path) -> None:
    compiled = wasm_modules.compile_module(guest("hello"), False, None)
    with pytest.raises(errors.InvalidModuleError, match="native code"):
        await run(cache_dir, job(spec(bytes(compiled.code))))


@pytest.mark.parametrize("source", [PathSource("/x.wasm"), UrlSource("https://example.com/x.wasm")])
async def test_a_module_must_have_been_read(
    source: PathSource | UrlSource, job: MakeJob, cache_dir: Path
) -> None:
    with pytest.raises(errors.InvalidModuleError, match=r"x\.wasm was not read"):
        await run(cache_dir, job(WasmSpec(source)))


async def test_another_kind_of_program_is_refused(job: MakeJob, cache_dir: Path) -> None:
    with pytest.raises(errors.ExecutionError, match="not a DockerSpec"):
        await run(cache_dir, job(DockerSpec("busybox")))


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        ("_start", "'_start' is not exported"),
        ("memory", "'memory' is a memory"),
        ("global", "'global' is a global"),
        ("with_parameter", "'with_parameter' has 1 parameters and 0 results"),
        ("with_result", "'with_result' has 0 parameters and 1 results"),
        ("with_vectors", "'with_vectors' has 1 parameters and 1 results"),
    ],
)
async def test_an_entry_point_must_be_fit(
    entry_point: str, message: str, job: MakeJob, cache_dir: Path
) -> None:
    task = job(spec("entry_points", entry_point=entry_point))
    with pytest.raises(errors.EntryPointError, match=message) as caught:
        await run(cache_dir, task)
    assert caught.value.hint == "the module exports good, other: name one of them as entry_point"
    assert task.started == []


async def test_a_module_without_functions_has_no_entry_point(job: MakeJob, cache_dir: Path) -> None:
    with pytest.raises(errors.EntryPointError, match="not exported"):
        await run(cache_dir, job(spec(wat("(module)"))))


async def test_every_import_that_is_missing_is_named(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("missing_imports"))
    with pytest.raises(errors.ModuleLinkError) as caught:
        await run(cache_dir, task)
    assert caught.value.message.endswith(": env.first, wasi:http/requests.second")
    assert task.started == []


async def test_many_missing_imports_are_counted(job: MakeJob, cache_dir: Path) -> None:
    imports = "".join(f'(import "env" "f{number}" (func))' for number in range(12))
    with pytest.raises(errors.ModuleLinkError, match=r"env\.f9 and 2 more"):
        await run(cache_dir, job(spec(wat(f"(module {imports})"))))


async def test_an_import_of_the_wrong_type_is_named(job: MakeJob, cache_dir: Path) -> None:
    module = (
        '(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32))) (func (export "_start")))'
    )
    task = job(spec(wat(module)))
    with pytest.raises(errors.ModuleLinkError, match=r"wrong type.*fd_write.*expected type"):
        await run(cache_dir, task)
    assert task.started == []


# ---- Memory ----


async def test_the_task_says_how_much_memory_there_is(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("memory"), resources=Resources(memory="16MiB"))
    assert await run(cache_dir, task, memory_limit="1GiB") == 0
    assert task.stdout.text == "15\n"  # and less than 1 MiB to begin with


async def test_the_executor_says_it_where_the_task_does_not(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("memory"))
    assert await run(cache_dir, task, memory_limit="32MiB") == 0
    assert task.stdout.text == "31\n"


async def test_the_default_is_all_that_a_module_can_address(job: MakeJob, cache_dir: Path) -> None:
    module = """(module (memory 1) (func (export "_start")
        (if (i32.ne (memory.grow (i32.const 65535)) (i32.const 1)) (then unreachable))))"""
    assert await run(cache_dir, job(spec(wat(module)))) == 0


async def test_a_module_that_needs_more_from_the_start_is_refused(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec(wat('(module (memory 33) (func (export "_start")))')), resources=Resources(memory="2MiB"))
    with pytest.raises(
        errors.InvalidModuleError, match=r"33 pages exceeds memory limits.*limit is 2 MiB"
    ) as caught:
        await run(cache_dir, task)
    assert "resources=Resources(memory=...)" in caught.value.hint
    fits = job(
        spec(wat('(module (memory 32) (func (export "_start")))')),
        resources=Resources(memory="2MiB"),
        execution_id="fits",
    )
    assert await run(cache_dir, fits) == 0


@pytest.mark.parametrize("tables", ["(table 1000001 funcref)", "(table 1 funcref)" * 17])
async def test_tables_have_limits(tables: str, job: MakeJob, cache_dir: Path) -> None:
    module = f'(module {tables} (func (export "_start")))'
    with pytest.raises(errors.InvalidModuleError, match="limit"):
        await run(cache_dir, job(spec(wat(module))))


async def test_a_table_cannot_grow_beyond_its_limit(job: MakeJob, cache_dir: Path) -> None:
    module = """(module (table $t 0 funcref) (func (export "_start")
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 1000001)) (i32.const -1)) (then unreachable))
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const 0)) (then unreachable))))"""
    task = job(spec(wat(module)))
    assert await run(cache_dir, task) == 0, task.stderr.text


# ---- Files ----


def files(*steps: str) -> WasmSpec:
    """Return the guest that does what the words say, such as ``cat inputs/f``."""
    return spec("files", *(word for step in steps for word in step.split()))


async def test_an_input_folder_is_seen_at_its_path_and_cannot_be_changed(
    job: MakeJob, cache_dir: Path
) -> None:
    steps = [
        "cat /inputs/f",
        "cat inputs/f",
        "cat ./inputs/sub/g",
        "list /inputs",
        "cd /inputs",
        "cat f",
        "cat sub/g",
        "append f",
        "write f",
        "write new",
        "mkdir new",
        "remove f",
        "move f new",
        "link f new",
    ]
    task = job(files(*steps), inputs={"/inputs": {"f": b"[f]", "sub": {"g": b"[g]"}}})
    assert await run(cache_dir, task) == 0
    denied = "Operation not permitted"
    assert task.stdout.text.splitlines() == [
        "[f]cat /inputs/f: ok",
        "[f]cat inputs/f: ok",
        "[g]cat ./inputs/sub/g: ok",
        "f sub list /inputs: ok",
        "cd /inputs: ok",
        "[f]cat f: ok",
        "[g]cat sub/g: ok",
        f"append f: {denied}",
        f"write f: {denied}",
        f"write new: {denied}",
        f"mkdir new: {denied}",
        f"remove f: {denied}",
        f"move f: {denied}",
        f"link f: {denied}",
    ]
    staged = task.io.inputs["/inputs"]
    assert sorted(path.name for path in staged.rglob("*")) == ["f", "g", "sub"]
    assert (staged / "f").read_bytes() == b"[f]"


async def test_a_writable_input_can_be_changed(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files("write /rw/f", "write /rw/new", "remove /rw/old", "write /ro/f"),
        inputs={"/rw": {"f": b"", "old": b""}, "/ro": {"f": b""}},
        writable=["/rw"],
    )
    assert await run(cache_dir, task) == 0
    assert [line.split(": ")[1] for line in task.stdout.text.splitlines()] == ["ok"] * 3 + [
        "Operation not permitted"
    ]
    assert sorted(path.name for path in task.io.inputs["/rw"].iterdir()) == ["f", "new"]


async def test_outputs_are_written(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files(
            "write /outputs/f",
            "mkdir /outputs/sub",
            "write outputs/sub/g",
            "cd /a/b",
            "write f",
            "cat /outputs/f",
        ),
        outputs=["/outputs", "/a/b"],
    )
    assert await run(cache_dir, task) == 0
    assert "[" not in task.stdout.text
    assert (task.output("/outputs") / "f").read_text() == "written"
    assert (task.output("/outputs") / "sub" / "g").read_text() == "written"
    assert (task.output("/a/b") / "f").read_text() == "written"


async def test_file_inputs_are_seen(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files(
            "cat /x/y.txt",
            "cat x/z.txt",
            "cat /top.txt",
            "cat top.txt",
            "list /x",
            "append /x/y.txt",
            "write /x/new",
        ),
        inputs={"/x/y.txt": b"[y]", "x/z.txt": b"[z]", "top.txt": b"[top]"},
    )
    assert await run(cache_dir, task) == 0
    assert task.stdout.text.splitlines() == [
        "[y]cat /x/y.txt: ok",
        "[z]cat x/z.txt: ok",
        "[top]cat /top.txt: ok",
        "[top]cat top.txt: ok",
        "y.txt z.txt list /x: ok",
        "append /x/y.txt: Operation not permitted",
        "write /x/new: Operation not permitted",
    ]


async def test_a_root_input_and_what_lies_over_it(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files(
            "cat /f",
            "cat f",
            "list .",
            "cat /sub/g",
            "cat /deep/h",
            "write /f",
            "write /outputs/o",
            "write /deep/h",
        ),
        inputs={"/": {"f": b"[f]", "sub": {"g": b"[g]"}}, "/deep": {"h": b"[h]"}},
        writable=["/deep"],
        outputs=["/outputs"],
    )
    assert await run(cache_dir, task) == 0
    assert task.stdout.text.splitlines() == [
        "[f]cat /f: ok",
        "[f]cat f: ok",
        "deep f sub list .: ok",
        "[g]cat /sub/g: ok",
        "[h]cat /deep/h: ok",
        "write /f: Operation not permitted",
        "write /outputs/o: ok",
        "write /deep/h: ok",
    ]
    assert (task.output("/outputs") / "o").exists()


async def test_a_file_shares_the_rights_of_its_folder(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files("append /x/a", "append /x/b", "append /y/a"),
        inputs={"/x/a": b"", "/x/b": b"", "/y/a": b""},
        writable=["/x/b"],
    )
    assert await run(cache_dir, task) == 0
    assert [line.split(": ")[1] for line in task.stdout.text.splitlines()] == [
        "ok",
        "ok",
        "Operation not permitted",
    ]


async def test_a_file_input_cannot_be_shown_in_an_output(job: MakeJob, cache_dir: Path) -> None:
    task = job(files("list /outputs"), inputs={"/outputs/f": b""}, outputs=["/outputs"])
    with pytest.raises(errors.InputError, match=r"inputs\./outputs/f: cannot be shown in '/outputs'"):
        await run(cache_dir, task)
    assert task.stdout.text == ""


async def test_a_folder_input_is_seen_below_an_output(job: MakeJob, cache_dir: Path) -> None:
    task = job(
        files("cat /outputs/in/f", "write /outputs/o"),
        inputs={"/outputs/in": {"f": b"[f]"}},
        outputs=["/outputs"],
    )
    assert await run(cache_dir, task) == 0
    assert task.stdout.text.splitlines() == ["[f]cat /outputs/in/f: ok", "write /outputs/o: ok"]


async def test_a_guest_cannot_leave_its_folders(job: MakeJob, cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"[secret]")
    task = job(
        files(
            "cat /inputs/../../../secret",
            "cat /inputs/link",
            f"cat /inputs/..{tmp_path}/secret",
            f"cat {tmp_path}/secret",
            "cat /etc/passwd",
            "write /outputs/../escaped",
            "move /outputs/../x /outputs/y",
            "cat /dev/fd/0",
            "list /",
        ),
        inputs={"/inputs": {}},
        outputs=["/outputs"],
    )
    (task.io.inputs["/inputs"] / "link").symlink_to(tmp_path / "secret")
    assert await run(cache_dir, task) == 0
    assert "secret]" not in task.stdout.text
    assert "root:" not in task.stdout.text
    assert ": ok" not in task.stdout.text
    assert [path.name for path in (tmp_path / "e-1" / "outputs").iterdir()] == ["0"]


# ---- Streams ----


async def test_all_that_was_written_is_there_at_the_end(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("flood", "4096"))
    assert await run(cache_dir, task) == 0
    block = b"x" * 1023 + b"\n"
    assert task.stdout.data == block * 4096
    assert task.stderr.data == block * 4096


async def test_a_guest_waits_for_a_slow_sink(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("flood", "4096"))
    task.stdout.gate = anyio.Event()
    async with opened(cache_dir) as executor, anyio.create_task_group() as tasks:
        tasks.start_soon(executor.run, task.task, task.io)
        await task.stdout.drained()
        for number in range(20):  # time for a guest that did not wait to write everything
            other = job(spec("flood", "200"), execution_id=f"other-{number}")
            assert (await executor.run(other.task, other.io)).exit_code == 0
        assert len(task.stdout.data) <= wasm_streams._CHUNK
        assert task.stdout.drains == 1
        task.stdout.gate.set()
    assert len(task.stdout.data) == 4096 * 1024
    assert task.stdout.drains > 10


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how full a pipe is")
@pytest.mark.parametrize("name", ["flood", "big_writes"])
async def test_a_job_whose_sink_is_stuck_can_be_cancelled(
    name: str,
    job: MakeJob,
    cache_dir: Path,
    alive: list[threading.Thread],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import fcntl
    import termios

    readers: list[int] = []
    pipe = os.pipe

    def noted_pipe() -> tuple[int, int]:
        reader, writer = pipe()
        readers.append(reader)
        return reader, writer

    async def full() -> None:
        """Wait until the guest waits for room in the pipe, which nobody makes."""
        await task.stdout.drained()
        before, left = -1, 0
        # Pages of a pipe need not be full, so it may hold less than its capacity; more than half is more than one page is.
        while left != before or left <= fcntl.fcntl(readers[0], fcntl.F_GETPIPE_SZ) // 2:
            await anyio.to_thread.run_sync(bool)
            before, left = (
                left,
                int.from_bytes(fcntl.ioctl(readers[0], termios.FIONREAD, bytes(4)), sys.byteorder),
            )

    task = job(spec(name))
    task.stdout.gate = task.stderr.gate = anyio.Event()
    async with opened(cache_dir) as executor:
        monkeypatch.setattr(os, "pipe", noted_pipe)
        await cancel_when(executor, task, full)
        assert alive == []


async def test_what_is_written_after_the_sink_got_stuck_is_there_at_the_end(
    job: MakeJob, cache_dir: Path
) -> None:
    task = job(spec("sleep", "100"))
    task.stdout.gate = anyio.Event()
    assert await run(cache_dir, task) == 0
    assert task.stdout.text == "ready\ndone\n"


async def test_the_end_of_the_guest_ends_the_streams_even_if_a_forked_process_holds_them(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    pipe = os.pipe

    def held_pipe() -> tuple[int, int]:
        reader, writer = pipe()
        held.append(os.dup(writer))
        return reader, writer

    monkeypatch.setattr(os, "pipe", held_pipe)
    task = job(spec("flood", "100"))
    async with opened(cache_dir) as executor:
        assert (await executor.run(task.task, task.io)).exit_code == 0
    monkeypatch.undo()
    assert len(held) >= 2
    for descriptor in held:
        os.close(descriptor)
    assert len(task.stdout.data) == len(task.stderr.data) == 100 * 1024


async def test_a_sink_that_breaks_its_promise_ends_the_guest(
    job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    def fail(data: bytes) -> None:
        raise OSError("the disk is full")

    task = job(spec("loop"))
    task.io.stdout = Sink()
    task.io.stdout.write = fail  # type: ignore[method-assign]
    async with opened(cache_dir) as executor:
        with pytest.raises(errors.TransientError, match="OSError: the disk is full"):
            await executor.run(task.task, task.io)
        assert alive == []


@pytest.fixture
def no_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the streams what they are on Windows."""
    monkeypatch.setattr(wasm_streams, "PIPES_HAVE_PATHS", False)


@pytest.mark.usefixtures("no_pipes")
async def test_streams_work_without_pipes(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("flood", "4096"))
    silent = job(spec("exit", "3"), execution_id="silent")
    async with opened(cache_dir) as executor:
        assert (await executor.run(task.task, task.io)).exit_code == 0
        assert (await executor.run(silent.task, silent.io)).exit_code == 3
    block = b"x" * 1023 + b"\n"
    assert task.stdout.data == block * 4096
    assert task.stderr.data == block * 4096
    assert silent.stdout.data == b""
    assert (task.io.scratch / "stdout").exists()


@pytest.mark.usefixtures("no_pipes")
async def test_a_job_whose_sink_is_stuck_can_be_cancelled_without_pipes(
    job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    task = job(spec("flood"))
    task.stdout.gate = task.stderr.gate = anyio.Event()
    async with opened(cache_dir) as executor:
        await cancel_when(executor, task, task.stdout.drained)
        assert alive == []


@pytest.mark.usefixtures("no_pipes")
async def test_output_is_seen_while_the_guest_runs_without_pipes(
    job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    task = job(spec("loop"))
    async with opened(cache_dir) as executor:
        await cancel_when(executor, task, lambda: task.stdout.wrote("ready\n"))
        assert alive == []


# ---- When the workload begins ----


async def test_started_is_called_after_the_compilation_and_before_the_guest(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, alive: list[threading.Thread]
) -> None:
    events: list[str] = []
    compile_module = wasm_modules.compile_module
    main = threading.current_thread()

    def compile_instead(*arguments: object) -> wasm_modules.CompiledModule:
        events.append("compiled")
        return compile_module(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(wasm_cache, "compile_module", compile_instead)
    task = job(spec("hello"))

    def started() -> None:
        events.append(f"started {task.stdout.text!r} {len(alive)} {threading.current_thread() is main}")

    task.io.started = started
    assert await run(cache_dir, task) == 0
    assert events == ["compiled", "started '' 0 True"]


# ---- Cancellation ----


@pytest.mark.parametrize("name", ["loop", "sleep", "sleep_then_write", "loop_in_start", "flood", "fill"])
async def test_a_cancelled_run_returns_when_the_guest_is_dead(
    name: str, job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    args = ("3600000",) if name == "sleep" else ()
    async with opened(cache_dir) as executor:
        for number in range(3):
            task = job(spec(name, *args), execution_id=str(number))
            await cancel_when(
                executor, task, partial(task.stdout.wrote, "x" if name == "flood" else "ready\n")
            )
            assert alive == []
            assert len(task.started) == 1
            assert name == "flood" or task.stdout.text == "ready\n"  # nothing ran after the kill

        canary = job(spec("hello"), execution_id="canary")
        assert (await executor.run(canary.task, canary.io)).exit_code == 0


async def test_a_cancelled_guest_takes_nobody_along(
    job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    victim, other, sleeper = (
        job(spec("loop"), execution_id="victim"),
        job(spec("loop"), execution_id="other"),
        job(spec("sleep", "3600000"), execution_id="sleeper"),
    )
    async with opened(cache_dir) as executor, anyio.create_task_group() as tasks:
        tasks.start_soon(executor.run, other.task, other.io)
        tasks.start_soon(executor.run, sleeper.task, sleeper.io)
        await other.stdout.wrote("ready\n")
        await sleeper.stdout.wrote("ready\n")
        await cancel_when(executor, victim, lambda: victim.stdout.wrote("ready\n"))
        canary = job(spec("hello"), execution_id="canary")
        assert (await executor.run(canary.task, canary.io)).exit_code == 0
        assert len(alive) == 2
        tasks.cancel_scope.cancel()
    assert alive == []


async def test_a_run_that_is_cancelled_beforehand_starts_nothing(job: MakeJob, cache_dir: Path) -> None:
    warm, task = job(spec("hello"), execution_id="warm"), job(spec("hello"))
    async with opened(cache_dir) as executor:
        await executor.run(warm.task, warm.io)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await executor.run(task.task, task.io)
        assert scope.cancelled_caught
    assert task.stdout.text == ""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", ["loop", "sleep", "fill"])
async def test_a_task_that_is_cancelled_natively_ends_when_the_guest_is_dead(
    name: str, job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    task = job(spec(name, "3600000"))
    async with opened(cache_dir) as executor:
        running = asyncio.create_task(executor.run(task.task, task.io))
        await task.stdout.wrote("ready\n")
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()  # impatient: this one comes while the death is waited for
        with pytest.raises(asyncio.CancelledError):
            await running
        assert alive == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_timeout_of_asyncio_ends_a_run(
    job: MakeJob, cache_dir: Path, alive: list[threading.Thread]
) -> None:
    task = job(spec("loop"))
    async with opened(cache_dir) as executor:
        timeout = asyncio.timeout(None)

        async def expire() -> None:
            await task.stdout.wrote("ready\n")
            timeout.reschedule(0)

        expiring = asyncio.create_task(expire())
        with pytest.raises(TimeoutError):
            async with timeout:
                await executor.run(task.task, task.io)
        assert alive == []
        await expiring


async def test_a_deadline_ends_a_run(job: MakeJob, cache_dir: Path, alive: list[threading.Thread]) -> None:
    task = job(spec("sleep", "3600000"))
    async with opened(cache_dir) as executor:
        scope = anyio.CancelScope()

        async def expire() -> None:
            await task.stdout.wrote("ready\n")
            scope.deadline = -1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expire)
            with scope:
                await executor.run(task.task, task.io)
            assert scope.cancelled_caught
            assert alive == []


# The window between a kill and the deadline that its epoch counts against: every place where a kill can come.


def command(module: str) -> wasm_guest.Command:
    compiled = wasm_modules.compile_module(guest(module), False, None)
    return wasm_guest.Command(compiled, "_start", ("x",), {}, 1 << 30, None)


@pytest.mark.parametrize("place", ["", "_limit", "_give_wasi", "_link", "set_epoch_deadline", "_call"])
@pytest.mark.parametrize("name", ["loop", "loop_in_start", "sleep_then_write"])
def test_a_kill_at_any_time_ends_the_guest(
    place: str, name: str, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [tmp_path / "stdout", tmp_path / "stderr"]
    killed = wasm_guest.Guest(command(name), job(spec(name)).io, *map(str, outputs))
    if place:
        owner: object = wasmtime.Store if place == "set_epoch_deadline" else killed
        verb = getattr(owner, place)

        def kill_first(*arguments: object) -> object:
            killed.kill()
            return verb(*arguments)

        monkeypatch.setattr(owner, place, kill_first)
    else:
        killed.kill()
    running = threading.Thread(target=killed.run, daemon=True)
    running.start()
    running.join(HANG)
    assert not running.is_alive()
    killed.close()
    if place != "_call":
        assert outputs[0].read_text() == ""


# ---- Compilation ----


class Compiler:
    """Stands in for the compiler: counts, and compiles nothing before it may."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.compiled: list[bytes] = []
        self.may = threading.Event()
        self._compile = wasm_modules.compile_module

    def __call__(self, module: bytes, fuel: bool, cache: str | None) -> wasm_modules.CompiledModule:
        self.begun.append(module)
        assert self.may.wait(HANG)
        self.compiled.append(module)
        return self._compile(module, fuel, cache)

    async def has_begun(self, count: int = 1) -> None:
        while len(self.begun) < count:
            await anyio.sleep(0)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(wasm_cache, "compile_module", compiler)
    return compiler


async def test_a_cancel_does_not_wait_for_a_compilation_but_the_executor_does(
    job: MakeJob, cache_dir: Path, compiler: Compiler
) -> None:
    task, again = job(spec("hello")), job(spec("hello"), execution_id="again")
    async with opened(cache_dir) as executor:
        await cancel_when(executor, task, compiler.has_begun)
        assert compiler.compiled == []
        assert task.started == []
        compiler.may.set()
        await executor.run(again.task, again.io)  # waits for the same compilation
        assert compiler.compiled == [guest("hello")]
    assert task.started == []
    assert task.stdout.text == ""


@pytest.mark.parametrize("how", ["normally", "cancelled", "raising"])
async def test_leaving_the_executor_waits_for_the_compilation(
    how: str, job: MakeJob, cache_dir: Path, compiler: Compiler
) -> None:
    task = job(spec("hello"))
    events: list[str] = []

    async def live(*, task_status: TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            try:
                async with WasmExecutor(isolation="thread", cache_dir=cache_dir) as executor:
                    await cancel_when(executor, task, compiler.has_begun)
                    task_status.started(scope)
                    if how == "cancelled":
                        await anyio.sleep_forever()
                    if how == "raising":
                        raise ValueError("mine")
            except ValueError:
                pass
            events.append(f"left after {len(compiler.compiled)}")

    with anyio.fail_after(HANG):
        async with anyio.create_task_group() as tasks:
            scope = await tasks.start(live)
            if how == "cancelled":
                scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert events == []
            compiler.may.set()
    if how == "cancelled":
        assert events == []  # the scope has ended with the block
    else:
        assert events == ["left after 1"]
    assert compiler.compiled == [guest("hello")]


async def test_a_module_is_compiled_once_for_all(job: MakeJob, cache_dir: Path, compiler: Compiler) -> None:
    compiler.may.set()
    jobs = [job(spec("hello"), execution_id=str(number)) for number in range(8)]
    async with opened(cache_dir) as executor:
        async with anyio.create_task_group() as tasks:
            for task in jobs:
                tasks.start_soon(executor.run, task.task, task.io)
        later = job(spec("hello"), execution_id="later")
        assert (await executor.run(later.task, later.io)).exit_code == 0
    assert compiler.compiled == [guest("hello")]
    assert [task.stdout.text for task in [*jobs, later]] == ["Hello, world!\n"] * 9


async def test_everyone_who_waits_for_a_bad_module_is_told_and_it_may_be_tried_again(
    job: MakeJob, cache_dir: Path, compiler: Compiler
) -> None:
    jobs = [job(spec("missing_imports"), execution_id=str(number)) for number in range(3)]
    caught: list[Exception] = []

    async def fail(task: Job) -> None:
        with pytest.raises(errors.ModuleLinkError, match=r"env\.first") as error:
            await executor.run(task.task, task.io)
        caught.append(error.value)

    async with opened(cache_dir) as executor:
        async with anyio.create_task_group() as tasks:
            for task in jobs:
                tasks.start_soon(fail, task)
            await compiler.has_begun()
            compiler.may.set()
        assert len(compiler.compiled) == 1
        await fail(jobs[0])
        assert len(compiler.compiled) == 2
    assert len({id(error) for error in caught}) == 4


async def test_a_fault_of_the_compiler_is_transient_and_ends_nothing(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_instead(*arguments: object) -> wasm_modules.CompiledModule:
        raise MemoryError("no room")

    task = job(spec("hello"))
    async with opened(cache_dir) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(wasm_cache, "compile_module", compile_instead)
            with pytest.raises(errors.TransientError, match="MemoryError: no room"):
                await executor.run(task.task, task.io)
        assert (await executor.run(task.task, task.io)).exit_code == 0


async def test_who_waits_for_a_compilation_that_never_begins_is_told(
    job: MakeJob, cache_dir: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    names = ["hello", "exit", "echo"]  # more than are compiled at once
    failures: list[str] = []

    async def fail(executor: WasmExecutor, name: str) -> None:
        task = job(spec(name), execution_id=name)
        try:
            await executor.run(task.task, task.io)
        except errors.TransientError as error:
            failures.append(f"{name}: {error.message}")

    with anyio.fail_after(HANG):
        async with (
            anyio.create_task_group() as tasks,
            WasmExecutor(isolation="thread", cache_dir=cache_dir) as executor,
        ):
            for name in names:
                tasks.start_soon(fail, executor, name)
            await compiler.has_begun(2)
            await anyio.wait_all_tasks_blocked()
            compiler.may.set()
    assert len(compiler.compiled) == 2
    (dropped,) = {guest(name) for name in names} - set(compiler.compiled)
    name = next(name for name in names if guest(name) == dropped)
    assert f"{name}: the executor was closed before the module was compiled" in failures


async def test_large_modules_are_known_again_too(job: MakeJob, cache_dir: Path, compiler: Compiler) -> None:
    compiler.may.set()
    custom = (
        b"\0" + b"\xfc\xff\x7f" + b"\x01x" + bytes((1 << 21) - 6)
    )  # a section of 2 MiB that means nothing
    large = guest("hello") + custom
    async with opened(cache_dir) as executor:
        for number in range(2):
            task = job(spec(large), execution_id=str(number))
            assert (await executor.run(task.task, task.io)).exit_code == 0
    assert len(compiler.compiled) == 1


async def test_what_is_kept_in_memory_has_a_bound(
    job: MakeJob, cache_dir: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.may.set()
    sizes = {
        name: len(wasm_modules.compile_module(guest(name), False, None).code)
        for name in ("hello", "exit", "loop")
    }
    monkeypatch.setattr(wasm_cache, "_BYTES_MAX", sum(sizes.values()) - 1)
    names = [
        "hello",
        "exit",
        "hello",
        "loop",
        "hello",
        "exit",
    ]  # loop puts out exit, which was used longest ago
    async with opened(cache_dir, fuel=10_000) as executor:
        for number, name in enumerate(names):
            task = job(spec(name), execution_id=str(number))
            await executor.run(task.task, task.io)
    assert compiler.compiled == [guest(name) for name in ("hello", "exit", "loop", "exit")]


# ---- The cache on disk ----


def cached(directory: Path) -> list[Path]:
    """Return the files of compiled modules."""
    return [path for path in directory.glob("wasmtime/modules/*/*") if path.is_file() and not path.suffix]


async def test_compiled_modules_are_kept_on_disk_for_the_user_alone(job: MakeJob, tmp_path: Path) -> None:
    directory = tmp_path / "not" / "yet"
    task = job(spec("hello"))
    assert await run(directory, task) == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.glob("*.toml")] == ["wasmtime.toml"]
    files = cached(directory)
    assert files
    before = (directory / "wasmtime.toml").stat()
    again = job(spec("hello"), execution_id="again")
    assert await run(directory, again) == 0
    assert cached(directory) == files
    assert (directory / "wasmtime.toml").stat().st_ino == before.st_ino


async def test_a_folder_that_others_can_enter_is_closed(job: MakeJob, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    directory.mkdir()
    directory.chmod(0o777)
    assert await run(directory, job(spec("hello"))) == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_the_folder_of_somebody_else_is_not_used(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "cache"
    directory.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    with caplog.at_level(logging.WARNING, "bacalhau_sdk"):
        assert await run(directory, job(spec("hello"))) == 0
    assert list(directory.iterdir()) == []
    assert "belongs to another user" in caplog.text


async def test_a_folder_that_cannot_be_made_is_done_without(
    job: MakeJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "bacalhau_sdk"):
        assert await run(tmp_path / "file" / "cache", job(spec("hello"))) == 0
    assert "not kept on disk" in caplog.text


async def test_the_default_folder_is_in_the_users_cache(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    task = job(spec("hello"))
    with anyio.fail_after(HANG):
        async with WasmExecutor(isolation="thread") as executor:
            await executor.run(task.task, task.io)
    assert (tmp_path / "bacalhau_sdk" / "wasm" / "wasmtime.toml").exists()


async def test_a_configuration_that_was_damaged_is_written_anew(job: MakeJob, tmp_path: Path) -> None:
    for number, damage in enumerate((b"\xff", b"[cache]\ndirectory = '/elsewhere'\n")):
        (tmp_path / "wasmtime.toml").write_bytes(damage)
        assert await run(tmp_path, job(spec("hello"), execution_id=str(number))) == 0
        assert str(tmp_path) in (tmp_path / "wasmtime.toml").read_text()


# ---- Sleeping in WASI ----


@pytest.mark.parametrize(
    ("subscriptions", "number", "slept", "events"),
    [
        ("relative 1 20000000", 0, 20, ["event 0 error 0 type 0 nbytes 0 flags 0"]),
        ("relative 0 20000000", 0, 20, ["event 0 error 0 type 0 nbytes 0 flags 0"]),
        ("absolute 1 20000000", 0, 20, ["event 0 error 0 type 0 nbytes 0 flags 0"]),
        ("absolute 0 20000000", 0, 19, ["event 0 error 0 type 0 nbytes 0 flags 0"]),
        ("relative 1 0", 0, 0, ["event 0 error 0 type 0 nbytes 0 flags 0"]),
        (
            "relative 1 3600000000000 absolute 0 0 relative 1 0",
            0,
            0,
            ["event 1 error 0 type 0 nbytes 0 flags 0", "event 2 error 0 type 0 nbytes 0 flags 0"],
        ),
        (
            "relative 1 3600000000000 read 0",
            0,
            0,
            ["event 1 error 0 type 1 nbytes 1 flags 0"],
        ),
        (
            "write 1 read 0 relative 0 3600000000000",
            0,
            0,
            ["event 0 error 0 type 2 nbytes 1 flags 0", "event 1 error 0 type 1 nbytes 1 flags 0"],
        ),
        ("", 28, 0, []),
        ("relative 2 1", 28, 0, []),
        ("relative 3 1", 28, 0, []),
        ("read 0 relative 9 1", 28, 0, []),
    ],
)
async def test_poll_oneoff_does_what_wasi_says(
    subscriptions: str, number: int, slept: int, events: list[str], job: MakeJob, cache_dir: Path
) -> None:
    task = job(spec("poll", *subscriptions.split()))
    assert await run(cache_dir, task) == 0, "memory beyond the events was written"
    lines = task.stdout.text.splitlines()
    assert lines[0] == f"errno {number} stored {len(events) or 99}"
    assert int(lines[1].split()[1]) >= slept  # never early; late is for the machine to say
    assert lines[2:] == events


async def test_a_guest_sleeps_as_long_as_it_wants(job: MakeJob, cache_dir: Path) -> None:
    task = job(spec("sleep", "100", "in parts"))
    assert await run(cache_dir, task) == 0
    assert task.stdout.text == "ready\ndone\n"


async def test_a_clock_that_is_set_wakes_the_guest(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = threading.Event()
    clock = wasm_poll.Poll._now

    def now(self: wasm_poll.Poll, clock_id: int) -> int:
        return clock(self, clock_id) + (7200 * 10**9 if ahead.is_set() and clock_id == 0 else 0)

    monkeypatch.setattr(wasm_poll.Poll, "_now", now)
    monkeypatch.setattr(wasm_poll, "_NAP_SECONDS", 0.001)
    waits = threading.Event.wait

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout == 0.001:
            ahead.set()
        return waits(self, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait)
    task = job(spec("poll", "absolute", "0", "3600000000000"))
    assert await run(cache_dir, task) == 0
    assert "event 0 error 0 type 0" in task.stdout.text


async def test_pointers_that_lead_out_of_memory_are_faults(job: MakeJob, cache_dir: Path) -> None:
    efault, einval = 21, 28
    assert await run(cache_dir, job(spec("poll_faults"))) == 4 * efault + einval


async def test_a_guest_without_exported_memory_cannot_poll(job: MakeJob, cache_dir: Path) -> None:
    module = """(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (memory 1)
      (func (export "_start")
        (call $proc_exit (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"""
    assert await run(cache_dir, job(spec(wat(module)))) == 28


async def test_a_start_section_cannot_sleep(job: MakeJob, cache_dir: Path) -> None:
    """There is no memory to read from yet, as in any host that is given the memory with the instance."""
    module = """(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (memory (export "memory") 1)
      (func $start
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (call $proc_exit (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
      (start $start)
      (func (export "_start")))"""
    assert await run(cache_dir, job(spec(wat(module)))) == 28


async def test_a_fault_in_our_own_host_function_is_told_and_stays_where_it_is(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: wasm_poll.Poll, *arguments: object) -> None:
        raise ZeroDivisionError("mine")

    task, other = job(spec("sleep", "1")), job(spec("trap"), execution_id="other")
    async with opened(cache_dir) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(wasm_poll.Poll, "_poll", fail)
            with pytest.raises(errors.TransientError, match="ZeroDivisionError: mine"):
                await executor.run(task.task, task.io)
        assert (
            await executor.run(other.task, other.io)
        ).exit_code == 1  # a trap, not somebody else's exception


async def test_an_exit_code_survives_what_somebody_elses_host_function_raised(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wasmtime-py keeps it in one place for all threads, and raises it in whichever traps next."""
    monkeypatch.setattr(wasmtime._func, "LAST_EXCEPTION", ZeroDivisionError("somebody else's"))
    assert await run(cache_dir, job(spec("exit", "3"))) == 3


# ---- Many ----


async def test_many_guests_run_side_by_side(job: MakeJob, cache_dir: Path) -> None:
    jobs = [
        job(
            files("write /outputs/f", "cat /inputs/f"),
            inputs={"/inputs": {"f": b"[%d]" % number}},
            outputs=["/outputs"],
            execution_id=str(number),
        )
        for number in range(60)
    ]
    async with opened(cache_dir) as executor, anyio.create_task_group() as tasks:
        for task in jobs:
            tasks.start_soon(executor.run, task.task, task.io)
    for number, task in enumerate(jobs):
        assert f"[{number}]cat" in task.stdout.text
        assert (task.output("/outputs") / "f").exists()


async def test_one_guest_at_a_time_touches_the_callbacks_of_wasmtime(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wasmtime-py 48 and 49 would otherwise give one guest the function of another."""
    touched: list[str] = []
    for name in ("allocate", "deallocate"):
        verb = getattr(FUNCTIONS, name)

        def locked(value: object, name: str = name, verb: Callable[[object], object] = verb) -> object:
            assert wasm_guest._CALLBACKS.locked()
            touched.append(name)
            return verb(value)

        monkeypatch.setattr(FUNCTIONS, name, locked)
    async with opened(cache_dir) as executor:
        for name, code in (("hello", 0), ("exit", 0), ("trap", 1)):
            task = job(spec(name), execution_id=name)
            assert (await executor.run(task.task, task.io)).exit_code == code
    assert touched == ["allocate", "deallocate"] * 3


async def test_more_guests_sleep_at_once_than_anyio_has_tokens(job: MakeJob, cache_dir: Path) -> None:
    jobs = [job(spec("sleep", "3600000"), execution_id=str(number)) for number in range(50)]
    async with opened(cache_dir) as executor, anyio.create_task_group() as tasks:
        for task in jobs:
            tasks.start_soon(executor.run, task.task, task.io)
        for task in jobs:
            await task.stdout.wrote("ready\n")
        tasks.cancel_scope.cancel()


def callbacks() -> int:
    """Return how many places there are in wasmtime's table of callbacks."""
    return len(vars(FUNCTIONS).get("handles", vars(FUNCTIONS).get("list", ())))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.usefixtures("no_pipes")
async def test_nothing_waits_for_the_threads_of_others(job: MakeJob, cache_dir: Path) -> None:
    limiter = anyio.to_thread.current_default_thread_limiter()
    occupied, padding = limiter.total_tokens, b"\0\xfc\xff\x7f\x01x" + bytes((1 << 21) - 6)
    limiter.total_tokens = 1
    await limiter.acquire_on_behalf_of("somebody else")
    try:
        task = job(spec(guest("hello") + padding))
        async with opened(cache_dir) as executor:
            await executor.probe()
            assert (await executor.run(task.task, task.io)).exit_code == 0
    finally:
        limiter.release_on_behalf_of("somebody else")
        limiter.total_tokens = occupied
    assert task.stdout.text == "Hello, world!\n"


async def test_want_of_files_is_transient_and_leaks_none(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes: list[tuple[int, int]] = []
    pipe = os.pipe

    def scarce() -> tuple[int, int]:
        if pipes:
            raise OSError(errno.EMFILE, "Too many open files")
        pipes.append(pipe())
        return pipes[-1]

    warm, task = job(spec("hello"), execution_id="warm"), job(spec("hello"))
    async with opened(cache_dir) as executor:
        await executor.run(warm.task, warm.io)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pipe", scarce)
            with pytest.raises(errors.TransientError, match="Too many open files"):
                await executor.run(task.task, task.io)
    assert task.started == []
    for descriptor in pipes[0]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


async def test_the_engine_of_a_guest_is_closed(
    job: MakeJob, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[wasmtime.Engine] = []

    def noted(fuel: bool) -> wasmtime.Engine:
        engines.append(wasm_modules.new_engine(fuel))
        return engines[-1]

    monkeypatch.setattr(wasm_guest, "new_engine", noted)
    ended, cancelled = job(spec("hello"), execution_id="ended"), job(spec("loop"), execution_id="cancelled")
    async with opened(cache_dir) as executor:
        await executor.run(ended.task, ended.io)
        await cancel_when(executor, cancelled, partial(cancelled.stdout.wrote, "ready\n"))
        assert len(engines) == 2
        for engine in engines:
            with pytest.raises(ValueError, match="already closed"):
                engine.ptr()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what Linux shows in /proc")
async def test_nothing_leaks(job: MakeJob, cache_dir: Path) -> None:
    number = 0

    async def round_trip(executor: WasmExecutor) -> None:
        nonlocal number
        for name, code in (("hello", 0), ("trap", 1), ("exit", 0)):
            number += 1
            task = job(spec(name), execution_id=str(number))
            assert (await executor.run(task.task, task.io)).exit_code == code
        number += 1
        task = job(
            spec("memory"),
            resources=Resources(memory=1),
            execution_id=str(number),
        )
        with pytest.raises(errors.InvalidModuleError):
            await executor.run(task.task, task.io)
        for name in ("loop", "sleep"):
            number += 1
            task = job(spec(name, "3600000"), execution_id=str(number))
            await cancel_when(executor, task, partial(task.stdout.wrote, "ready\n"))

    async with opened(cache_dir) as executor:
        for _ in range(3):
            await round_trip(executor)
        gc.collect()  # of other tests

        before, threads = (open_files(), callbacks()), threading.active_count()
        for _ in range(20):
            await round_trip(executor)
        assert (open_files(), callbacks()) == before
        # One more worker may be begun, when the last one is on its way to be idle.
        assert threading.active_count() <= threads + 2
