# ruff: noqa: E501 - a table is read row by row
"""What is wrong with a job, or with what is asked of a cluster: found out by a cluster that is open."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from anyio import to_thread

import bacalhau_sdk
from bacalhau_sdk import errors, testing
from bacalhau_sdk.cluster.submission import MODULE_SIZE_MAX
from tests.hostile.rows import CONTROL, FAILED, RIGHT_TO_LEFT, Row, Unshowable
from tests.hostile.site import Site, guest, wat
from tests.hostile.values import spec

# No type checker lets through what is given here; a notebook has none.
bac: Any = bacalhau_sdk
START = '(func (export "_start"))'
NOT_FOUND, UNSAFE, INPUT = errors.InputNotFoundError, errors.UnsafePathError, errors.InputError
CLOSED = errors.ClusterClosedError


def failed(name: str, give: Any, code: str, field: str, says: str, todo: str) -> Row:
    """Make a row whose job fails, with the code and the field of the root failure."""
    return Row(name, give, field, says, todo, FAILED, code)


def module(name: str, data: bytes, says: str, todo: str, code: str = "wasm.invalid_module", field: str = "engine.module", **options: object) -> Row:  # fmt: skip
    """Make a row with the bytes of a module."""
    return failed(name, lambda site: site.wasm(data, **options), code, field, says, todo)


def nowhere(
    name: str, give: Any, field: str, says: str, todo: str = "give the cluster a node that fits"
) -> Row:
    """Make a row whose job fits nowhere."""
    return Row(name, give, field, says, todo, errors.NoMatchingNodeError, "job.no_matching_node")


def sparse(site: Site) -> Path:
    """Make a file that is too large for a module, and takes no room."""
    with (site.files / "large.wasm").open("wb") as file:
        file.truncate(MODULE_SIZE_MAX + 1)
    return site.files / "large.wasm"


def bomb() -> bytes:
    """Return a module of some 300 kB that takes a second or more to compile, and is in no cache."""
    adds = f"(local.set 0 (i32.add (local.get 0) (i32.const {next(_FRESH)})))" * 40_000
    return wat(f"(module (func (param i32) {adds}) {START})")


_FRESH = itertools.count(time.time_ns() % 2**30)


async def long_to_compile(site: Site) -> None:
    module = bomb()
    try:
        await site.wasm(module, timeouts=bac.Timeouts(total=0.05))
    finally:
        await site.wasm(module)  # the compilation has gone on meanwhile


MODULES = [
    module("empty", b"", "it is empty", "submit the .wasm file"),
    module("text", b"(module)", "is WebAssembly text", "wat2wasm"),
    module("a component", b"\0asm\x0d\0\1\0", "is a WebAssembly component", "wasm32-wasip1"),
    module("native code", b"\x7fELF\2\1\1", "is native code", "instead of the .cwasm"),
    module("a script", b"#!/usr/bin/env python3\n", "is not a WebAssembly binary: it begins with b'#!/usr/b'", "submit the .wasm file"),
    module("an archive", b"PK\3\4" + bytes(30), "is not a WebAssembly binary", "submit the .wasm file"),
    module("of another version", b"\0asm\2\0\0\0", "is not a WebAssembly binary", "submit the .wasm file"),
    module("only begun", b"\0asm", "is not a WebAssembly binary", "submit the .wasm file"),
    module("cut off", guest("hello")[:999], "cannot be compiled", "build or copy it anew"),
    module("with a byte that is wrong", guest("hello")[:500] + b"\xff" + guest("hello")[501:], "cannot be compiled", "build or copy it anew"),
    module("random bytes after the head", b"\0asm\1\0\0\0" + bytes(range(256)) * 40, "cannot be compiled", "build or copy it anew"),
    module("with threads", wat("(module (memory 1 1 shared))"), "cannot be compiled", "WebAssembly 2.0"),
    module("with 64-bit memory", wat("(module (memory i64 1))"), "cannot be compiled", "WebAssembly 2.0"),
    module("with a garbage collector", wat("(module (type (struct)))"), "cannot be compiled", "WebAssembly 2.0"),
    module("without an entry point", wat("(module)"), "'_start' is not exported", "exports '_start'", "wasm.entry_point", "engine.entry_point"),
    module("with another entry point", guest("entry_points"), "'_start' is not exported", "good, other", "wasm.entry_point", "engine.entry_point"),
    module("with an entry point that takes something", guest("entry_points"), "has 1 parameters", "good, other", "wasm.entry_point", "engine.entry_point", entry_point="with_parameter"),
    module("with an entry point that is a memory", guest("entry_points"), "'memory' is a memory", "good, other", "wasm.entry_point", "engine.entry_point", entry_point="memory"),
    module("with a misspelt entry point", guest("hello"), "'_strat' is not exported", "_start", "wasm.entry_point", "engine.entry_point", entry_point="_strat"),
    module("with imports of a browser", guest("missing_imports"), "env.first", "WASI preview 1", "wasm.link"),
    module("with an import of the wrong type", wat(f'(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32))) {START})'), "has the wrong type", "build it anew", "wasm.link"),
    module("with 10,000 imports", wat("(module" + "".join(f'(import "env" "f{n}" (func))' for n in range(10_000)) + f"{START})"), "and 9990 more", "WASI preview 1", "wasm.link"),
    module("with imports in control characters", wat(f'(module (import "\\07\\1b[31m" "\\e2\\80\\ae" (func)) {START})'), "imports what nothing here provides", "WASI preview 1", "wasm.link"),
    module("with more memory than it may have", wat(f"(module (memory 33) {START})"), "its memory limit is 2 MiB", "resources=Resources(memory=...)", field="resources.memory", resources=bac.Resources(memory="2MiB")),
    module("with a table of a million", wat(f"(module (table 1000001 funcref) {START})"), "cannot begin within its limits", "smaller tables"),
    Row("larger than any", lambda site: site.wasm(bytes(MODULE_SIZE_MAX + 1)), "engine.module", "is too large", "strip debug information", errors.InvalidModuleError, "wasm.invalid_module"),
    Row("a file larger than any", lambda site: site.wasm(sparse(site)), "engine.module", "is too large", "strip debug information", errors.InvalidModuleError, "wasm.invalid_module"),
    Row("a path that is not there", lambda site: site.wasm("wordcuont.wasm"), "engine.module", "'wordcuont.wasm' does not exist", "has no 'wordcuont.wasm'", NOT_FOUND, "input.not_found"),
    Row("a folder", lambda site: site.wasm(site.files), "engine.module", "is a folder, a file is needed", "give the path of one of the files", INPUT, "input.error"),
    Row("a device without end", lambda site: site.wasm("/dev/zero"), "engine.module", "is neither a file nor a folder", "give it as bytes", UNSAFE, "path.unsafe"),
    Row("a URL", lambda site: site.wasm("https://example.com/a.wasm"), "engine.module", "a module from https", "give its path or its bytes", errors.UnsupportedSpecError, "spec.unsupported"),
    Row("one that traps", lambda site: site.wasm(guest("trap")), "", "exit code 1", "check=False", errors.NonZeroExitError, "job.nonzero_exit"),
    Row("one that says that it failed", lambda site: site.wasm(guest("exit"), "3"), "", "exit code 3", "check=False", errors.NonZeroExitError, "job.nonzero_exit"),
    Row("one that never ends", lambda site: site.wasm(guest("loop"), timeouts=bac.Timeouts(execution=0.2)), "timeouts", "more than its limit of 0.2 s", "Timeouts(...)", errors.JobTimeoutError, "job.timeout"),
    Row("one that sleeps", lambda site: site.wasm(guest("sleep"), "3600000", timeouts=bac.Timeouts(execution=0.2)), "timeouts", "more than its limit", "Timeouts(...)", errors.JobTimeoutError, "job.timeout"),
    Row("one that never begins", lambda site: site.wasm(guest("loop_in_start"), timeouts=bac.Timeouts(total=0.5)), "timeouts", "longer than its total limit", "Timeouts(...)", errors.JobTimeoutError, "job.timeout"),
    Row("one that takes long to compile", long_to_compile, "timeouts", "longer than its total limit", "Timeouts(...)", errors.JobTimeoutError, "job.timeout"),
]  # fmt: skip


def link_loop(site: Site) -> Path:
    (site.files / "a").symlink_to("b")
    (site.files / "b").symlink_to("a")
    return site.files / "a"


def folder_with(site: Site, name: str, target: str | Path) -> Path:
    """Make a folder with a link in it."""
    (site.files / "data").mkdir()
    (site.files / "data" / name).symlink_to(target)
    return site.files / "data"


def deep(site: Site) -> Path:
    """Make a folder with 250 others in each other."""
    Path(site.files, *["deep"] * 250).mkdir(parents=True)
    return site.files / "deep"


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def inputs(site: Site, **options: object) -> Awaitable[Any]:
    return site.function("canary", "", **options)


INPUTS = [
    Row("a relative path that is not there", lambda site: site.with_input("boks/a.txt"), "inputs./in", "'boks/a.txt' does not exist", "has no 'boks'", NOT_FOUND, "input.not_found"),
    Row("an absolute path that is not there", lambda site: site.with_input("/nowhere/books"), "inputs./in", "'/nowhere/books' does not exist", "'/' has no 'nowhere'", NOT_FOUND, "input.not_found"),
    Row("a text instead of a path", lambda site: site.with_input("some\ntext"), "inputs./in", r"'some\ntext' does not exist", "a text is given as bytes", NOT_FOUND, "input.not_found"),
    Row("a path in control characters", lambda site: site.with_input(CONTROL), "inputs./in", r"'bell\x07\x1b[31m' does not exist", "has no", NOT_FOUND, "input.not_found"),
    Row("a path written backwards", lambda site: site.with_input(RIGHT_TO_LEFT), "inputs./in", r"'abc\u202egpj.exe' does not exist", "has no", NOT_FOUND, "input.not_found"),
    Row("at a place in control characters", lambda site: inputs(site, inputs={CONTROL: "x"}), r"inputs.'bell\x07\x1b[31m'", "does not exist", "has no 'x'", NOT_FOUND, "input.not_found"),
    Row("a path through a file", lambda site: site.with_input("/etc/passwd/x"), "inputs./in", "cannot be read: Not a directory", "a file is on the way", INPUT, "input.error"),
    Row("a name of 300 bytes", lambda site: site.with_input("n" * 300), "inputs./in", "cannot be read: File name too long", "a text is given as bytes", INPUT, "input.error"),
    Row("the home of nobody", lambda site: site.with_input("~no-such-user/x"), "inputs./in", "cannot be read", "give the whole path", INPUT, "input.error"),
    Row("a loop of links", lambda site: site.with_input(link_loop(site)), "inputs./in", "cannot be read", "a link leads back to itself", INPUT, "input.error"),
    Row("a FIFO", lambda site: site.with_special("FIFO", "it"), "inputs./in", "is neither a file nor a folder", "give it as bytes", UNSAFE, "path.unsafe"),
    Row("a socket", lambda site: site.with_special("socket", "it"), "inputs./in", "is neither a file nor a folder", "give it as bytes", UNSAFE, "path.unsafe"),
    Row("a device", lambda site: site.with_input("/dev/zero"), "inputs./in", "is neither a file nor a folder", "give it as bytes", UNSAFE, "path.unsafe"),
    failed("a folder with a FIFO", lambda site: site.with_special("FIFO", ""), "path.unsafe", "inputs./in", "'it' in the input", "take it out of the folder"),
    failed("a folder with a socket", lambda site: site.with_special("socket", ""), "path.unsafe", "inputs./in", "is a socket", "take it out of the folder"),
    failed("a folder with a device", lambda site: site.with_special("device", ""), "path.unsafe", "inputs./in", "is a device", "take it out of the folder"),
    failed("a folder with a link that leads out", lambda site: site.with_input(folder_with(site, "l", "/etc/passwd")), "path.unsafe", "inputs./in", "'l' in the input", "copy what it leads to"),
    failed("a folder with a link up", lambda site: site.with_input(folder_with(site, "l", "../..")), "path.unsafe", "inputs./in", "leads out of it", "copy what it leads to"),
    failed("a folder with a link to nothing", lambda site: site.with_input(folder_with(site, "l", "gone")), "path.unsafe", "inputs./in", "leads nowhere", "remove it"),
    failed("a folder with a link to itself", lambda site: site.with_input(folder_with(site, "l", "l")), "path.unsafe", "inputs./in", "leads nowhere", "remove it"),
    failed("a folder with a link in control characters", lambda site: site.with_input(folder_with(site, CONTROL, "/etc")), "path.unsafe", "inputs./in", r"'bell\x07\x1b[31m' in the input", "copy what it leads to"),
    failed("a folder that is too deep", lambda site: site.with_input(deep(site)), "input.error", "inputs./in", "more than 200 folders deep", "into an archive"),
    failed("the folder that all is staged in", lambda site: site.with_input(site.data_dir), "input.error", "inputs./in", "contains the folder in which inputs are staged", "choose a smaller folder"),
    failed("one below a file", lambda site: inputs(site, inputs={"/a": b"", "/a/b": b""}), "input.error", "inputs./a/b", "would replace a part of another input", "give it another path"),
    failed("a place of 256 bytes", lambda site: inputs(site, inputs={"/" + "n" * 256: b""}), "input.error", f"inputs.'/{'n' * 36}...{'n' * 38}'", "too long for this machine", "a shorter path"),
    failed("a file where an output is", lambda site: site.wasm(guest("hello"), inputs={"/out/f": b""}, outputs={"out": "/out"}), "input.error", "inputs./out/f", "cannot be shown in '/out'", "a folder that is no output"),
    failed("one that vanished", lambda site: site.after_a_change(site.files / "f", Path.unlink), "input.changed", "inputs./in", "vanished or changed", "submit again"),
    failed("one that became a folder", lambda site: site.after_a_change(site.files / "f", become_a_folder), "input.changed", "inputs./in", "became a folder", "submit again"),
    failed("one that became a link", lambda site: site.after_a_change(site.files / "f", become_a_link), "input.changed", "inputs./in", "became a link", "submit again"),
    nowhere("a URL that nothing fetches", lambda site: site.with_input("s3://bucket/key"), "inputs", "inputs by s3, offers bytes, path"),
    Row("standard input that is a folder", lambda site: inputs(site, stdin=site.files), "stdin", "is a folder, a file is needed", "one of the files", INPUT, "input.error"),
    Row("standard input that is a text", lambda site: inputs(site, stdin="hello"), "stdin", "'hello' does not exist", "a text is given as bytes", NOT_FOUND, "input.not_found"),
]  # fmt: skip

OUTPUTS = [
    *(
        failed(f"a {kind}", lambda site, kind=kind: site.output_of(kind), "output.error", "outputs.odd", says, todo)
        for kind, says, todo in (
            ("FIFO", "'it' in the output 'odd' is neither", "have the job remove it"),
            ("socket", "'it' in the output 'odd' is neither", "have the job remove it"),
            ("device", "'it' in the output 'odd' is neither", "have the job remove it"),
            ("link that leads out", "'it' in the output 'odd' is a link that leads out", "make it a relative link"),
            ("link to its neighbours", "is a link that leads out", "make it a relative link"),
            ("file in its place", "the output 'odd' is no folder any more", "write into it, not replace it"),
            ("link in its place", "the output 'odd' is no folder any more", "write into it, not replace it"),
            ("nothing in its place", "the output 'odd' is gone", "leave the folder there"),
            ("name of control characters", r"'\x07\x1b[31m\u202e' in the output 'odd'", "have the job remove it"),
        )
    ),
    failed("a text for an exit code", lambda site: site.function("answer", "text"), "execution.failed", "engine.name", "'answer' returned 'done'", "task.stdout"),
    failed("True for an exit code", lambda site: site.function("answer", "True"), "execution.failed", "engine.name", "'answer' returned True", "task.stdout"),
    failed("an exit code of 33 bits", lambda site: site.function("answer", "large"), "execution.failed", "", "fits 32 bits", "a number from 0 to 255"),
    failed("a fault of the infrastructure", lambda site: site.function("fail"), "execution.transient", "", "the licence server is away", "start it"),
    Row("an exception", lambda site: site.function("answer", "nothing"), "", "KeyError: 'nothing'", "check=False", errors.NonZeroExitError, "job.nonzero_exit"),
]  # fmt: skip

PLACEMENTS = [
    nowhere("a function that nobody has", lambda site: site.function("cannary"), "engine", "the function 'cannary', offers answer, canary"),
    nowhere("a zone that there is not", lambda site: site.function("canary", selector="zone = moon"), "selector", "zone = moon"),
    nowhere("more CPUs than any node has", lambda site: site.function("canary", resources=bac.Resources(cpu=5)), "resources", "cpu 5 of 4"),
    nowhere("more memory than any node has", lambda site: site.function("canary", resources=bac.Resources(memory="9GiB")), "resources", "memory 9 GiB of 8 GiB"),
    nowhere("a GPU", lambda site: site.function("canary", resources=bac.Resources(gpu="all")), "resources", "gpu all of 0"),
    nowhere("a network for a module", lambda site: site.wasm(guest("hello"), network=bac.Network("bridge")), "network", "network"),
    Row("a container", lambda site: site.cluster.run(bac.JobSpec.docker("busybox")), "engine", "does not do Docker jobs yet", "SimulatedEngine('docker')", errors.UnsupportedSpecError, "spec.unsupported"),
    Row("a service", lambda site: site.function("canary", type="service"), "type", "does not do service jobs yet", "use type='batch'", errors.UnsupportedSpecError, "spec.unsupported"),
    Row("a job that waits for a node", lambda site: site.function("canary", selector="gpu", timeouts=bac.Timeouts(queue=0.2)), "timeouts", "within its queue limit of 0.2 s", "Timeouts(...)", errors.JobTimeoutError, "job.timeout"),
]  # fmt: skip


async def conflict(site: Site) -> None:
    await site.cluster.submit(bac.JobSpec.function("canary", "1"), "same")
    await site.cluster.submit(bac.JobSpec.function("canary", "2"), "same")


async def earlier_life(site: Site) -> None:
    (site.data_dir / "known").mkdir()
    try:
        await site.cluster.submit(bac.JobSpec.function("canary"), "known")
    finally:
        (site.data_dir / "known").rmdir()


async def ambiguous(site: Site) -> None:
    for name in ("twin-a", "twin-b"):
        await (await site.cluster.submit(bac.JobSpec.function("canary"), name)).wait()
    await site.cluster.job("twin")


async def two_partitions(site: Site) -> None:
    await (await site.cluster.submit(bac.JobSpec.function("canary", count=2))).result()


async def cancel(site: Site, reason: object) -> None:
    async with await site.cluster.submit(
        bac.JobSpec.function("canary", selector="gpu", timeouts=bac.Timeouts(queue=60))
    ) as job:
        try:
            await job.cancel(reason)
        finally:
            await job.cancel("enough")


async def was_cancelled(site: Site) -> None:
    job = await site.cluster.submit(
        bac.JobSpec.function("canary", selector="gpu", timeouts=bac.Timeouts(queue=60))
    )
    await job.cancel("no time for it")
    await job.result()


def bad_id(name: str, job_id: object, says: str, todo: str = "1 to 63 of a-z") -> Row:
    return Row(name, lambda site: site.cluster.submit(spec(), job_id), "job_id", says, todo)


CALLS = [
    Row("a text for a spec", lambda site: site.cluster.submit("echo hello"), "spec", "'echo hello' is not a JobSpec", "use JobSpec.wasm"),
    Row("nothing for a spec", lambda site: site.cluster.run(None), "spec", "None is not a JobSpec", "use JobSpec.wasm"),
    Row("a class for a spec", lambda site: site.cluster.explain(bac.JobSpec), "spec", "is not a JobSpec", "use JobSpec.wasm"),
    Row("an unshowable spec", lambda site: site.cluster.submit(Unshowable()), "spec", "<Unshowable instance", "use JobSpec.wasm"),
    Row("a megabyte for a spec", lambda site: site.cluster.submit("x" * 10**6), "spec", "xxx...xxx", "use JobSpec.wasm"),
    bad_id("an id that is a path", "../x", "'../x' is not a job id"),
    bad_id("an id of nothing", "", "'' is not a job id"),
    bad_id("an id of 5,000 characters", "x" * 5000, "xxx...xxx"),
    bad_id("an id of a device", "con", "'con' is not a job id", "choose another"),
    bad_id("an id written backwards", RIGHT_TO_LEFT, r"'abc\u202egpj.exe' is not a job id"),
    bad_id("an id that is a number", 7, "7 is not a job id"),
    Row("an id of another job", conflict, "job_id", "job same exists with another spec", "submit under another id", errors.JobConflictError, "job.conflict"),
    Row("an id of an earlier life", earlier_life, "job_id", "has results of an earlier job", "use another id", errors.JobConflictError, "job.conflict"),
    Row("to run two partitions", lambda site: site.cluster.run(spec(count=2)), "count", "takes a batch job of one partition", "take its results()", errors.MultipleResultsError, "job.multiple_results"),
    Row("to run everywhere", lambda site: site.cluster.run(spec(type="ops")), "type", "takes a batch job of one partition", "take its results()", errors.MultipleResultsError, "job.multiple_results"),
    Row("one result of two", two_partitions, "count", "has 2 partitions", "results() returns the results of all", errors.MultipleResultsError, "job.multiple_results"),
    Row("a job of no id", lambda site: site.cluster.job(""), "job_id", "'' is no id of a job", "jobs() returns all", errors.JobNotFoundError, "job.not_found"),
    Row("a job of a number", lambda site: site.cluster.job(7), "job_id", "7 is no id of a job", "jobs() returns all", errors.JobNotFoundError, "job.not_found"),
    Row("a job that there is not", lambda site: site.cluster.job("x" * 10**6), "job_id", "no job has the id", "jobs() returns all", errors.JobNotFoundError, "job.not_found"),
    Row("one job of two", ambiguous, "job_id", "2 jobs have ids that begin with 'twin'", "give more of it", errors.AmbiguousJobIdError, "job.ambiguous_id"),
    Row("to drain a node that there is not", lambda site: site.cluster.drain("there"), "node", "no node 'there'", "it has here", errors.NodeNotFoundError, "node.not_found"),
    Row("to drain nothing", lambda site: site.cluster.drain(None), "node", "no node None", "it has here", errors.NodeNotFoundError, "node.not_found"),
    Row("to resume a number", lambda site: site.cluster.resume(1), "node", "no node 1", "it has here", errors.NodeNotFoundError, "node.not_found"),
    Row("to cancel for a number", lambda site: cancel(site, 5), "reason", "5 is not a text that says why", "leave it out"),
    Row("to cancel for a NUL", lambda site: cancel(site, "a\0"), "reason", r"'a\x00' is not a text", "leave it out"),
    Row("a result of what was cancelled", was_cancelled, "", "was cancelled: no time for it", "submit it again", errors.JobCancelledError, "job.cancelled"),
]  # fmt: skip


async def copy_to(site: Site, destination: object) -> None:
    output = await site.output()
    await to_thread.run_sync(output.copy_to, destination)


async def copy_into_itself(site: Site) -> None:
    output = await site.output()
    await to_thread.run_sync(output.copy_to, output.path / "copy")


async def copy_over_a_file(site: Site) -> None:
    (site.files / "taken").write_text("x")
    await copy_to(site, site.files / "taken")


async def copy_what_was_removed(site: Site) -> None:
    output = await site.output()
    shutil.rmtree(output.path)
    await to_thread.run_sync(output.copy_to, site.files / "copy")


async def read_what_was_removed(site: Site) -> None:
    job = await site.cluster.submit(bac.JobSpec.function("canary"))
    await job.wait()
    shutil.rmtree(site.data_dir / job.id)
    await job.result()


async def use_what_was_removed(site: Site) -> None:
    output = await site.output()
    shutil.rmtree(output.path)
    await site.with_input(output)


def copy(name: str, destination: object, says: str, todo: str) -> Row:
    return Row(name, lambda site: copy_to(site, destination), "destination", says, todo)


RESULTS = [
    copy("a copy to nowhere", None, "None is not a folder", "give its path"),
    copy("a copy to a number", 5, "5 is not a folder", "give its path"),
    copy("a copy to an empty path", "", "'' is not a folder", "'.' is this one"),
    copy("a copy to bytes", b"x", "b'x' is not a folder of this machine", "give its path"),
    copy("a copy to a NUL", "a\0b", r"'a\x00b' is not a folder", "give its path"),
    copy("a copy to the clouds", "s3://bucket/x", "'s3://bucket/x' is not a folder of this machine", "give its path"),
    copy("a copy to the home of nobody", "~no-such-user/x", "'~no-such-user/x' cannot be found", "Give its whole path"),
    Row("a copy over a file", copy_over_a_file, "destination", "is a file", "give a folder, or a new name"),
    Row("a copy into itself", copy_into_itself, "destination", "lies in the output itself", "give a folder elsewhere"),
    Row("a copy of what was removed", copy_what_was_removed, "", "is not there any more", "run the job again", errors.ResultsGoneError, "results.gone"),
    Row("a result that was removed", read_what_was_removed, "", "is not there any more", "run the job again", errors.ResultsGoneError, "results.gone"),
    Row("an input that was an output", use_what_was_removed, "inputs./in", "does not exist", "has no 'song'", NOT_FOUND, "input.not_found"),
]  # fmt: skip


async def before_it_opens(site: Site) -> None:
    await bac.Cluster([]).submit(spec())


async def after_it_has_closed(site: Site, verb: str, *args: object) -> None:
    async with bac.Cluster([]) as cluster:
        pass
    await getattr(cluster, verb)(*args)


async def twice(site: Site) -> None:
    async with bac.Cluster([]) as cluster:
        pass
    async with cluster:
        pass


async def after_its_cluster(site: Site, use: Any) -> None:
    async with testing_cluster() as cluster:
        result = await cluster.run(bac.JobSpec.function("f", outputs={"o": "/o"}))
        job = (await cluster.jobs())[0]
    used = use(result, job)
    if isinstance(used, Awaitable):
        await used


async def nothing(task: object) -> None: ...


def testing_cluster(**options: object) -> Any:
    return bac.Cluster([bac.Node("n", [bac.FunctionExecutor({"f": nothing})])], **options)


async def one_transport_for_two(site: Site) -> None:
    transport = bac.MemoryTransport()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(bac.Cluster([], transport=transport))


async def enter(cluster: Any) -> None:
    async with cluster:
        pass


def data_dir_file(site: Site, *parts: str) -> Path:
    (site.files / "taken").write_text("x")
    return site.files.joinpath("taken", *parts)


def closed(name: str, give: Any, says: str = "is not open", todo: str = "inside its block") -> Row:
    return Row(name, give, "", says, todo, CLOSED, "cluster.closed")


GONE = errors.ResultsGoneError
CLUSTERS = [
    closed("a job before it opens", before_it_opens),
    closed("a job after it has closed", lambda site: after_it_has_closed(site, "submit", spec())),
    closed("its jobs after it has closed", lambda site: after_it_has_closed(site, "jobs")),
    closed("its nodes after it has closed", lambda site: after_it_has_closed(site, "nodes")),
    closed("an explanation after it has closed", lambda site: after_it_has_closed(site, "explain", spec())),
    closed("to drain after it has closed", lambda site: after_it_has_closed(site, "drain", "n")),
    closed("its events after it has closed", lambda site: after_it_has_closed(site, "events")),
    closed("a second block", twice, "was entered before", "make a new Cluster object"),
    closed("a log after it has closed", lambda site: after_its_cluster(site, lambda result, job: job.logs())),
    closed("to explain a job after it has closed", lambda site: after_its_cluster(site, lambda result, job: job.explain())),
    Row("an output after it has closed", lambda site: after_its_cluster(site, lambda result, job: result.outputs["o"].path), "", "lay in the private folder", "give the cluster a data_dir", GONE, "results.gone"),
    Row("a stream after it has closed", lambda site: after_its_cluster(site, lambda result, job: result.stdout_path), "", "lay in the private folder", "give the cluster a data_dir", GONE, "results.gone"),
    Row("a result after it has closed", lambda site: after_its_cluster(site, lambda result, job: job.result()), "", "lay in the private folder", "give the cluster a data_dir", GONE, "results.gone"),
    Row("one transport for two", one_transport_for_two, "", "receives already", "give each cluster a transport of its own", errors.ClusterFailedError, "cluster.failed"),
    Row("results at a file", lambda site: enter(bac.Cluster([], data_dir=data_dir_file(site))), "data_dir", "a file is there, or on the way", "give one that you can write to"),
    Row("results below a file", lambda site: enter(bac.Cluster([], data_dir=data_dir_file(site, "x"))), "data_dir", "a file is there, or on the way", "give one that you can write to"),
    Row("results in /proc", lambda site: enter(bac.Cluster([], data_dir="/proc/results")), "data_dir", "cannot be used as a folder", "give one that you can write to"),
    Row("results at 5 kB of path", lambda site: enter(bac.Cluster([], data_dir="d" * 5000)), "data_dir", "File name too long", "give one that you can write to"),
    Row("results at the home of nobody", lambda site: enter(bac.Cluster([], data_dir="~no-such-user")), "data_dir", "cannot be used as a folder", "give one that you can write to"),
    Row("virtual time that is real", lambda site: enter(testing.VirtualCluster()), "", "is a real one", "call testing.run()", errors.VirtualTimeError, "testing.virtual_time"),
]  # fmt: skip


def locked(site: Site, *parts: str) -> Path:
    """Make a file, or a folder with one in it, that nobody but root may read."""
    path = site.files.joinpath("locked", *parts)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(guest("hello"))
    path.chmod(0)
    return site.files / "locked"


def sealed(site: Site) -> Path:
    """Make a folder that nobody but root may look into or write to."""
    (site.files / "sealed").mkdir(mode=0o000)
    return site.files / "sealed" / "x"


LOCKED = [
    failed("a file", lambda site: site.with_input(locked(site)), "input.error", "inputs./in", "cannot be read: Permission denied", "see to its permissions"),
    failed("a folder with a file", lambda site: site.with_input(locked(site, "in")), "input.error", "inputs./in", "'in' in the input", "take it out of the folder"),
    Row("a path through a folder", lambda site: site.with_input(sealed(site)), "inputs./in", "cannot be read: Permission denied", "see to its permissions", INPUT, "input.error"),
    Row("a module", lambda site: site.wasm(locked(site)), "engine.module", "cannot be read: Permission denied", "see to its permissions", INPUT, "input.error"),
    Row("results", lambda site: enter(bac.Cluster([], data_dir=sealed(site))), "data_dir", "Permission denied", "give one that you can write to"),
]  # fmt: skip

TABLES: dict[str, list[Row]] = {
    "module": MODULES,
    "input": INPUTS,
    "output": OUTPUTS,
    "placement": PLACEMENTS,
    "call": CALLS,
    "result": RESULTS,
    "cluster": CLUSTERS,
}
