"""What an execution finds when it begins, and what is taken of what it leaves."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.abc.executor import TaskIO
from bacalhau_sdk.abc.storage import Storage
from bacalhau_sdk.cluster.staging import Staging
from bacalhau_sdk.errors import (
    InputChangedError,
    InputError,
    OutputError,
    TransientError,
    UnsafePathError,
)
from bacalhau_sdk.model.data import Input, PathSource, Source
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.storage.local import LocalStorage
from bacalhau_sdk.storage.log import ExecutionLog
from tests.storage.trees import SPECIAL, as_another_user, below, fingerprint, make_tree, mode_of, read_tree


class UrlStorage(Storage):
    """Fetches what a test says, or fails."""

    schemes = ("https",)

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def _fetch(self, source: Source, into: Path) -> None:
        self.fetched.append(str(source))
        if "folder" in str(source):
            await to_thread.run_sync(make_tree, into, {"f": b"1"})
        elif "dangling" in str(source):
            await to_thread.run_sync(make_tree, into, {"link": "../elsewhere"})
        elif "file" in str(source):
            await to_thread.run_sync(into.write_bytes, b"1")
        else:
            raise ValueError("a foreign error")


def nothing() -> None:
    pass


def stage(folder: Path, spec: JobSpec, *, scratch: bool = True) -> Staging:
    log = ExecutionLog(folder / "e-1.log", lambda: 0.0, nothing)
    return Staging(folder / "e-1", "j-1", spec, log, [LocalStorage(), UrlStorage()], scratch=scratch)


def spec(**options: Any) -> JobSpec:
    return JobSpec.function("f", **options)


@asynccontextmanager
async def staged(folder: Path, **options: Any) -> AsyncIterator[TaskIO]:
    """Prepare, and see that all is removed."""
    staging = stage(folder, spec(**options))
    try:
        yield await staging.prepare(nothing)
    finally:
        await staging.remove()
        assert await to_thread.run_sync(below, folder / "e-1") == []
        assert not await to_thread.run_sync((folder / "e-1").exists)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return make_tree(
        tmp_path / "books", {"a.txt": b"a", "deep/b.txt": b"b", "deep/l": "../a.txt", "empty": None}
    )


# ---- Inputs ----


async def test_all_inputs_are_in_one_tree_that_mirrors_the_guest(node: Path, books: Path) -> None:
    inputs = {
        "/data": books,
        "/data/more": b"inside",
        "/data/deep/er/c.txt": b"deeper",
        "relative/place": books / "a.txt",
        "/data2": b"another",
        "//a//b/./c": books,
        "/ünï\n☃": b"strange",
    }
    async with staged(node, inputs=inputs) as io:
        assert set(io.inputs) == set(inputs)
        root = io.inputs["/data"].parent
        for guest, path in io.inputs.items():
            assert path == root / "/".join(part for part in guest.split("/") if part not in ("", "."))
        assert read_tree(root) == {
            ".": None,
            "a": None,
            "a/b": None,
            "a/b/c": None,
            **{f"a/b/c/{name}".removesuffix("/."): each for name, each in read_tree(books).items()},
            "data": None,
            **{f"data/{name}".removesuffix("/."): each for name, each in read_tree(books).items()},
            "data/more": b"inside",
            "data/deep/er": None,
            "data/deep/er/c.txt": b"deeper",
            "data2": b"another",
            "relative": None,
            "relative/place": b"a",
            "ünï\n☃": b"strange",
        }
        assert io.writable == frozenset()
        assert io.stdin is None


async def test_the_whole_root_can_be_an_input_with_others_in_it(node: Path, books: Path) -> None:
    async with staged(node, inputs={"/deep/c": b"c", "/": books, "/new/d": b"d"}) as io:
        assert read_tree(io.inputs["/"]) == {
            **read_tree(books),
            "deep/c": b"c",
            "new": None,
            "new/d": b"d",
        }


async def test_an_executor_without_scratch_has_no_folder_made_for_nothing(node: Path) -> None:
    staging = stage(node, spec(), scratch=False)
    await staging.prepare(nothing)
    assert read_tree(node) == {".": None}
    results = await staging.collect(0)
    assert read_tree(node) == {
        ".": None,
        results.name: None,
        **{f"{results.name}/{name}": data for name, data in read_tree(results).items() if name != "."},
    }
    assert set(read_tree(results)) == {".", "stdout", "stderr", "exitCode"}


async def test_what_was_cancelled_before_is_not_prepared_when_there_is_nothing_to_prepare(node: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stage(node, spec(), scratch=False).prepare(nothing)
    assert scope.cancelled_caught


async def test_without_inputs_there_is_nothing_but_a_scratch_folder(node: Path) -> None:
    async with staged(node) as io:
        assert (io.inputs, io.outputs, io.stdin) == ({}, {}, None)
        assert read_tree(node / "e-1") == {".": None, "scratch": None}
        assert io.scratch == node / "e-1/scratch"


async def test_an_input_is_laid_into_a_folder_that_a_link_of_another_one_leads_to(
    node: Path, tmp_path: Path
) -> None:
    source = make_tree(tmp_path / "source", {"real/f": b"1", "l": "real"})
    async with staged(node, inputs={"/data": source, "/data/l/new": b"2"}) as io:
        assert read_tree(io.inputs["/data"])["real/new"] == b"2"


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"/data": "{books}", "/data/a.txt": b"x"}, id="a file of another one"),
        pytest.param({"/data": "{books}", "/data/deep": "{books}"}, id="a folder of another one"),
        pytest.param({"/data": "{books}", "/data/deep/l": b"x"}, id="a link of another one"),
        pytest.param({"/data": b"x", "/data/a": b"x"}, id="below a file"),
        pytest.param({"/data": b"x", "/data/a/b/c": b"x"}, id="far below a file"),
        pytest.param({"/data": "{books}", "/data/a.txt/b": b"x"}, id="below a file of another one"),
        pytest.param({"/data": "{books}", "/data/deep/l/b": b"x"}, id="below a link to a file"),
        pytest.param({"/": b"x", "/data": b"x"}, id="below a root that is a file"),
        pytest.param({"/data": b"x", "data/b": b"x"}, id="below a file, relative"),
        pytest.param({"/data": "https://dangling", "/data/link": b"x"}, id="a link that leads nowhere"),
    ],
)
async def test_inputs_that_are_in_each_others_way(inputs: dict[str, Any], node: Path, books: Path) -> None:
    given = {
        path: str(each).format(books=books) if isinstance(each, str) else each
        for path, each in inputs.items()
    }
    with pytest.raises(InputError) as caught:
        async with staged(node, inputs=given):
            pytest.fail("it was staged")
    assert caught.value.field == f"inputs.{max(given, key=len)}"
    assert caught.value.field in caught.value.message
    assert "would replace a part of another input" in caught.value.message


@pytest.mark.parametrize("path", ["/" + "n" * 256, "/n" * 2040])
async def test_a_path_may_be_too_long(path: str, node: Path) -> None:
    with pytest.raises(InputError, match="too long"):
        async with staged(node, inputs={path: b"x"}):
            pytest.fail("it was staged")


async def test_a_failure_of_a_storage_is_raised_and_all_can_be_removed(
    node: Path, books: Path, tmp_path: Path
) -> None:
    unsafe = make_tree(tmp_path / "unsafe", {"a/f": b"1", "z": "/etc"})
    failing: list[tuple[Any, type[Exception]]] = [
        (unsafe, UnsafePathError),
        (tmp_path / "missing", InputChangedError),
        ("https://broken", TransientError),
        ("s3://bucket/key", InputError),
    ]
    for source, error in failing:
        with pytest.raises(error):
            async with staged(node, inputs={"/a": books, "/b": source}):
                pytest.fail("it was staged")
        with pytest.raises(error):
            async with staged(node, inputs={"/a": books}, stdin=source):
                pytest.fail("it was staged")


async def test_a_source_is_fetched_by_the_storage_of_its_scheme(node: Path) -> None:
    async with staged(
        node, inputs={"/a": "https://folder", "/a/b": "https://file"}, stdin="HTTPS://file"
    ) as io:
        assert read_tree(io.inputs["/a"]) == {".": None, "f": b"1", "b": b"1"}
        assert io.stdin is not None
        assert io.stdin.read_bytes() == b"1"


# ---- What may be changed ----


async def test_inputs_are_read_only_unless_they_are_writable(node: Path, books: Path) -> None:
    (books / "a.txt").chmod(0o444)
    before = fingerprint(books)
    inputs = {
        "/outer": books,
        "/outer/inner": Input(books, writable=True),
        "/outer/inner/again": b"1",
        "/outer/deep/file": Input(b"1", writable=True),
        "/free": Input(books, writable=True),
        "/free/fixed": books,
        "/alone": books / "a.txt",
    }
    async with staged(node, inputs=inputs) as io:
        assert io.writable == {"/outer/inner", "/outer/deep/file", "/free"}
        changeable = {
            str(path.relative_to(node / "e-1/inputs"))
            for path in below(node / "e-1/inputs")
            if not path.is_symlink() and mode_of(path) & 0o222
        }
        inside = {"a.txt", "deep", "deep/b.txt", "empty"}
        assert changeable == {
            "outer/inner",
            *(f"outer/inner/{name}" for name in inside),
            "outer/deep/file",
            "free",
            *(f"free/{name}" for name in inside),
        }
        assert all(mode_of(node / "e-1/inputs" / name) & 0o200 for name in changeable)
        (io.inputs["/free"] / "a.txt").write_bytes(b"changed")
        (io.inputs["/free"] / "deep/l").unlink()
    assert fingerprint(books) == before


def protected(folder: Path) -> None:
    async def main() -> None:
        books = make_tree(folder / "books", {"a": b"1", "deep/b": b"2"})
        (books / "a").chmod(0o400)
        before = fingerprint(books)
        node = folder / "node"
        node.mkdir()
        async with staged(node, inputs={"/r": books, "/r/w": Input(books, writable=True), "/f": b"1"}) as io:
            reading, writing = io.inputs["/r"], io.inputs["/r/w"]
            assert read_tree(writing) == read_tree(books)
            for change in (
                lambda: (reading / "a").write_bytes(b"2"),
                lambda: (reading / "deep/b").unlink(),
                lambda: (reading / "new").touch(),
                lambda: (reading / "deep").rename(reading / "moved"),
                lambda: io.inputs["/f"].write_bytes(b"2"),
            ):
                with pytest.raises(PermissionError):
                    change()
            (writing / "a").write_bytes(b"changed")
            (writing / "deep/b").unlink()
            (writing / "new").touch()
        assert fingerprint(books) == before

    anyio.run(main)


def test_a_workload_that_is_not_root_can_change_what_is_writable_and_nothing_else() -> None:
    as_another_user(protected)


# ---- Standard input, outputs, output streams ----


@pytest.mark.parametrize("kind", ["bytes", "a path"])
async def test_stdin_is_a_file(kind: str, node: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\0input\n")
    async with staged(node, stdin=b"\0input\n" if kind == "bytes" else tmp_path / "in") as io:
        assert io.stdin == node / "e-1/stdin"
        assert io.stdin.read_bytes() == b"\0input\n"


async def test_a_stdin_that_became_a_folder_has_changed(node: Path, books: Path) -> None:
    with pytest.raises(InputChangedError, match=f"stdin: {books} is a folder"):
        async with staged(node, stdin=books):
            pytest.fail("it was staged")


async def test_outputs_are_empty_folders_and_the_streams_those_of_the_log(node: Path, books: Path) -> None:
    calls: list[str] = []
    outputs = {"counts": "/outputs/counts", "ünï": "/data/out", "n" * 255: "/n"}
    staging = stage(node, spec(inputs={"/data": books}, outputs=outputs))
    io = await staging.prepare(lambda: calls.append("started"))
    assert set(io.outputs) == set(outputs.values())
    assert len(set(io.outputs.values())) == 3
    for path in io.outputs.values():
        assert read_tree(path) == {".": None}
        assert mode_of(path) & 0o700 == 0o700
    assert not any(path.is_relative_to(node / "e-1/inputs") for path in io.outputs.values())
    assert (io.stdout, io.stderr) == (staging.log.stdout, staging.log.stderr)
    io.started()
    assert calls == ["started"]
    await staging.remove()


# ---- Collecting ----


async def test_results_are_laid_out_and_nothing_staged_is_left(node: Path, books: Path) -> None:
    staging = stage(
        node, spec(inputs={"/data": books}, stdin=b"x", outputs={"counts": "/counts", "none": "/none"})
    )
    io = await staging.prepare(nothing)
    make_tree(io.outputs["/counts"], {"a/f": b"1", "l": "a/f", "m\n": b""})
    make_tree(io.scratch, {"a/f": b"1"})
    io.stdout.write(b"out\xff\n\nlast")
    io.stderr.write(b"err\r\n")
    await staging.log.close()
    results = await staging.collect(137)
    assert read_tree(results) == {
        ".": None,
        "stdout": b"out\xff\n\nlast",
        "stderr": b"err\r\n",
        "exitCode": b"137",
        "counts": None,
        "counts/a": None,
        "counts/a/f": b"1",
        "counts/l": "a/f",
        "counts/m\n": b"",
        "none": None,
    }
    assert (results / "counts/l").read_bytes() == b"1"
    assert sorted(node.iterdir()) == [node / "e-1.log", results]
    await staging.remove()
    await staging.remove()
    assert list(node.iterdir()) == [node / "e-1.log"]


async def test_results_without_output(node: Path) -> None:
    staging = stage(node, spec())
    await staging.prepare(nothing)
    await staging.log.close()
    assert read_tree(await staging.collect(0)) == {".": None, "stdout": b"", "stderr": b"", "exitCode": b"0"}


@pytest.mark.parametrize(
    "bad", ["a link out", "an absolute link", "no folder", "a link for the folder", *SPECIAL]
)
async def test_an_output_that_cannot_be_kept_leaves_nothing_to_publish(
    bad: str, node: Path, tmp_path: Path
) -> None:
    secret = make_tree(tmp_path / "secret", {"f": b"secret"})
    before = fingerprint(secret)
    staging = stage(node, spec(outputs={"first": "/first", "second": "/second"}))
    io = await staging.prepare(nothing)
    make_tree(io.outputs["/first"], {"f": b"1"})
    second = make_tree(io.outputs["/second"], {"a/f": b"1"})
    name = "'a/bad' in the output 'second'"
    match bad:
        case "a link out":
            (second / "a/bad").symlink_to("../../first/f")
        case "an absolute link":
            (second / "a/bad").symlink_to(second / "a/f")
        case "no folder":
            second.rename(io.scratch / "moved")
            name = "the output 'second'"
        case "a link for the folder":
            second.rename(io.scratch / "moved")
            second.symlink_to(secret)
            name = "the output 'second'"
        case _:
            SPECIAL[bad](second / "a/bad")
    await staging.log.close()
    with anyio.fail_after(60), pytest.raises(OutputError, match=name):
        await staging.collect(0)
    await staging.remove()
    assert sorted(node.iterdir()) == []
    assert fingerprint(secret) == before


async def test_a_log_that_could_not_be_written_fails_the_collection(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = stage(node, spec())
    io = await staging.prepare(nothing)
    staging.log.path = node / "missing/log"
    io.stdout.write(b"lost\n")
    await staging.log.close()
    with pytest.raises(FileNotFoundError):
        await staging.collect(0)
    await staging.remove()
    assert list(node.iterdir()) == []


def locked(folder: Path) -> None:
    async def main() -> None:
        node = folder / "node"
        node.mkdir()
        staging = stage(node, spec(outputs={"out": "/out"}, inputs={"/a/b": b"1"}))
        io = await staging.prepare(nothing)
        make_tree(io.outputs["/out"], {"a/f": b"1"})
        for path in (io.outputs["/out"] / "a", io.outputs["/out"]):
            path.chmod(0o555)
        await staging.log.close()
        results = await staging.collect(0)
        assert read_tree(results / "out") == {".": None, "a": None, "a/f": b"1"}
        await staging.remove()
        assert list(node.iterdir()) == []

    anyio.run(main)


def test_outputs_that_were_made_read_only_are_collected_and_removed() -> None:
    as_another_user(locked)


async def test_removing_what_was_never_prepared(node: Path) -> None:
    await stage(node, spec()).remove()
    assert list(node.iterdir()) == []


async def test_a_cancelled_preparation_can_be_removed(
    node: Path, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = stage(node, spec(inputs={"/a": books, "/b": PathSource("/never")}))
    fetch = LocalStorage._fetch

    async def held(storage: LocalStorage, source: Source, into: Path) -> None:
        if str(source) != "/never":
            await fetch(storage, source, into)
        else:
            scope.cancel()
            await anyio.sleep_forever()

    monkeypatch.setattr(LocalStorage, "_fetch", held)
    with anyio.CancelScope() as scope:
        await staging.prepare(nothing)
    assert scope.cancelled_caught
    assert (node / "e-1/inputs/a/a.txt").exists()
    await staging.remove()
    assert list(node.iterdir()) == []


parts = st.sampled_from(["a", "b", "ü"])
guests = st.lists(parts, max_size=4).map(lambda found: "/" + "/".join(found))


@given(st.dictionaries(guests, st.tuples(st.booleans(), st.booleans()), max_size=6))
async def test_any_inputs_are_laid_out_or_refused(inputs: dict[str, tuple[bool, bool]]) -> None:
    """Whatever the guest paths are: each input is where its guest path says, or one is in another one's way."""
    with tempfile.TemporaryDirectory() as name:
        source = make_tree(Path(name, "source"), {"f": b"1", "a/g": b"2"})
        before = fingerprint(source)
        sources = {
            guest: Input(source if is_folder else b"bytes", writable)
            for guest, (is_folder, writable) in inputs.items()
        }
        Path(name, "node").mkdir()
        clash = any(
            guest != other
            and Path(other).is_relative_to(guest)
            and (not is_folder or Path(other).relative_to(guest).parts == ("a",))
            for guest, (is_folder, _) in inputs.items()
            for other in inputs
        )
        try:
            async with staged(Path(name, "node"), inputs=sources) as io:
                assert not clash
                for guest, (is_folder, writable) in inputs.items():
                    path = io.inputs[guest]
                    assert path == Path(name, "node/e-1/inputs" + guest.rstrip("/"))
                    file = path / "a/g" if is_folder else path
                    assert file.read_bytes() == (b"2" if is_folder else b"bytes")
                    assert bool(mode_of(file) & 0o222) == writable
        except InputError:
            assert clash
        assert fingerprint(source) == before
