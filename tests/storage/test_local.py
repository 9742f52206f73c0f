"""What `LocalStorage` copies, what it refuses, and that it can be stopped."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InputChangedError, InputError, TransientError, UnsafePathError
from bacalhau_sdk.host.folders import remove_folder
from bacalhau_sdk.model.data import BytesSource, PathSource, UrlSource
from bacalhau_sdk.storage import local
from bacalhau_sdk.storage.local import LocalStorage
from tests.storage.trees import (
    SPECIAL,
    Tree,
    as_another_user,
    below,
    deep_folder,
    fingerprint,
    make_deep,
    make_tree,
    mode_of,
    open_descriptors,
    read_tree,
)

HANG = 60
storage = LocalStorage()


async def copy(source: Path, into: Path) -> None:
    """Copy, and see that the source is as it was."""
    before = fingerprint(source)
    try:
        with anyio.fail_after(HANG):
            await storage.fetch(PathSource(str(source)), into)
    finally:
        assert fingerprint(source) == before


# ---- What is copied ----


@pytest.mark.parametrize(
    "data", [b"", b"\0\xff\r\n", b"x" * (3 * (1 << 20) + 1)], ids=["empty", "binary", "large"]
)
async def test_bytes_become_a_file(data: bytes, tmp_path: Path) -> None:
    await storage.fetch(BytesSource(data), tmp_path / "into")
    assert (tmp_path / "into").read_bytes() == data


@pytest.mark.parametrize(
    "data", [b"", b"\0\xff\r\n", b"x" * (3 * (1 << 20) + 1)], ids=["empty", "binary", "large"]
)
async def test_a_file_is_copied(data: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    await copy(source, tmp_path / "into")
    assert (tmp_path / "into").read_bytes() == data


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({}, id="empty"),
        pytest.param({"a": b"1", "b": b""}, id="files"),
        pytest.param({"a/b/c/d": b"1", "a/b/e": b"2", "a/f": None, "g/h": None}, id="nested"),
        pytest.param(
            {"ä\u0308 ☃": b"1", "a\nb": b"2", "\x1b[31m": b"3", " ": b"4", "-rf": b"5"}, id="strange names"
        ),
        pytest.param(
            {os.fsdecode(b"\xff\xfe"): b"1", "\u202e": b"2", "A": b"3", "a": b"4"}, id="stranger names"
        ),
        pytest.param({"n" * 255: b"1", ".hidden": b"2", "...": b"3", "~": b"4"}, id="long and hidden names"),
        pytest.param({f"{i}": b"%d" % i for i in range(1000)}, id="many"),
    ],
)
async def test_a_folder_is_copied(tree: Tree, tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", tree)
    await copy(source, tmp_path / "into")
    assert read_tree(tmp_path / "into") == read_tree(source)


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)


def laid_out(nested: dict[str, object]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name, content in nested.items():
        if isinstance(content, dict):
            found[name] = None
            found.update({f"{name}/{inner}": each for inner, each in laid_out(content).items()})
        else:
            assert isinstance(content, bytes)
            found[name] = content
    return found


@given(
    st.recursive(
        st.binary(max_size=20), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12
    )
)
async def test_any_tree_is_copied(nested: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = make_tree(Path(folder, "source"), laid_out({"root": nested}))
        await copy(source / "root", Path(folder, "into"))
        assert read_tree(Path(folder, "into")) == read_tree(source / "root")


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o444, 0o755, 0o777])
async def test_a_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1"})
    (source / "f").chmod(mode)
    await copy(source, tmp_path / "into")
    await copy(source / "f", tmp_path / "alone")
    assert mode_of(tmp_path / "into/f") == mode_of(tmp_path / "alone") == mode


async def test_a_file_loses_what_gives_the_rights_of_others(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1"})
    (source / "f").chmod(0o7755)
    await copy(source, tmp_path / "into")
    assert mode_of(tmp_path / "into/f") == 0o755


async def test_a_read_only_folder_is_copied_into_one_that_is_none(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {"a/f": b"1"})
    (source / "a").chmod(0o555)
    await copy(source, tmp_path / "into")
    assert mode_of(tmp_path / "into/a") & stat.S_IWUSR


# ---- Links ----


@pytest.mark.parametrize(
    ("link", "target", "copied"),
    [
        pytest.param("l", "f", "f", id="to a file"),
        pytest.param("l", "a", "a", id="to a folder"),
        pytest.param("l", "a/b/g", "a/b/g", id="down"),
        pytest.param("a/b/l", "../../f", "../../f", id="up"),
        pytest.param("a/b/l", "../../a/b/../../f", "../../f", id="by a detour"),
        pytest.param("a/l", ".", ".", id="to its own folder"),
        pytest.param("a/l", "..", "..", id="to the whole"),
        pytest.param("l", "../source/f", "f", id="out and in again"),
        pytest.param("l", "{source}/a/b", "a/b", id="absolute"),
        pytest.param("l", "known", "f", id="to a link"),
        pytest.param("a/l", "../folder/g", "b/g", id="through a linked folder"),
        pytest.param("l\n", "f", "f", id="with a strange name"),
    ],
)
async def test_a_link_inside_is_kept_as_a_relative_one(
    link: str, target: str, copied: str, tmp_path: Path
) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1", "a/b/g": b"2", "known": "f", "folder": "a/b"})
    (source / link).symlink_to(target.format(source=source))
    await copy(source, tmp_path / "into")
    moved = (tmp_path / "into").rename(tmp_path / "moved")
    leads_to = (source / link).resolve().relative_to(source)
    source.rename(tmp_path / "gone")
    assert (moved / link).readlink() == Path(copied)
    assert (moved / link).resolve(strict=True) == moved / leads_to


async def test_a_folder_whose_path_has_a_link_is_copied_with_its_links(tmp_path: Path) -> None:
    make_tree(tmp_path / "real/source", {"f": b"1", "a/l": "../f"})
    (tmp_path / "linked").symlink_to("real")
    await copy(tmp_path / "linked/source", tmp_path / "into")
    assert (tmp_path / "into/a/l").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param("l", "../secret", id="out"),
        pytest.param("l", "..", id="to the parent"),
        pytest.param("a/b/l", "../../../secret", id="out from below"),
        pytest.param("l", "../source-secret", id="to a neighbour whose name begins alike"),
        pytest.param("l", "/etc/passwd", id="absolute"),
        pytest.param("l", "/", id="to the root"),
        pytest.param("l", "/dev/null", id="to a device"),
        pytest.param("l", "missing", id="dangling"),
        pytest.param("l", "/missing", id="dangling outside"),
        pytest.param("l", "f/x", id="through a file"),
        pytest.param("l", "l", id="to itself"),
        pytest.param("l", "a/loop", id="to a loop"),
        pytest.param("l", "/proc/self/root", id="to what is no link of the file system"),
    ],
)
async def test_a_link_that_leads_elsewhere_is_refused(link: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "source-secret").write_bytes(b"secret")
    source = make_tree(tmp_path / "source", {"f": b"1", "a/b/g": b"2"})
    if target == "a/loop":
        (source / "a/loop").symlink_to("../l")
    (source / link).symlink_to(target)
    with pytest.raises(
        UnsafePathError, match=rf"'({link}|a/loop)' in the input '{source}' is a link that leads"
    ):
        await copy(source, tmp_path / "into")
    assert b"secret" not in read_tree(tmp_path / "into").values()


async def test_a_link_through_a_linked_parent_is_refused_when_that_leads_out(tmp_path: Path) -> None:
    make_tree(tmp_path / "other", {"f": b"secret"})
    source = make_tree(tmp_path / "source", {"a/l": "../parent/f"})
    (source / "parent").symlink_to("../other")
    with pytest.raises(UnsafePathError, match="is a link that leads out"):
        await copy(source, tmp_path / "into")


# ---- What is refused ----


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("place", ["", "a/b/bad"], ids=["the input itself", "an entry"])
async def test_what_is_no_file_is_refused_without_a_look_into_it(
    kind: str, place: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / place).parent.mkdir(parents=True, exist_ok=True)
    SPECIAL[kind](source / place)
    with pytest.raises(UnsafePathError) as caught:
        await copy(source, tmp_path / "into")
    assert repr(place or str(source)) in caught.value.message
    assert f"is a {kind}" in caught.value.message


async def test_an_entry_is_named_in_printable_characters(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {})
    os.mkfifo(source / os.fsdecode(b"\x1b[31m\n\xff"))
    with pytest.raises(UnsafePathError) as caught:
        await copy(source, tmp_path / "into")
    assert caught.value.message.isprintable()
    assert r"\x1b[31m\n\udcff" in caught.value.message


@pytest.mark.parametrize(
    "change", ["missing", "a file for a parent", "a link", "a link to itself", "a loop above"]
)
async def test_an_input_that_vanished_or_became_a_link_has_changed(change: str, tmp_path: Path) -> None:
    source = tmp_path / "above/source"
    match change:
        case "missing":
            pass
        case "a file for a parent":
            source.parent.write_bytes(b"")
        case "a link":
            make_tree(tmp_path / "above/other", {"f": b"1"})
            source.symlink_to("other")
        case "a link to itself":
            source.parent.mkdir()
            source.symlink_to("source")
        case _:
            source.parent.symlink_to("above")
    with pytest.raises(InputChangedError, match=str(source)):
        await storage.fetch(PathSource(str(source)), tmp_path / "into")
    assert not (tmp_path / "into").exists()


def at_opening(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], object], *, after: bool = False
) -> None:
    """Do something once, right before or after an entry of that name is opened."""
    real_open = os.open
    changes = [change]

    def open_late(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        now = Path(path).name == name and bool(changes)
        if now and not after:
            changes.pop()()
        opened = real_open(path, flags, mode, dir_fd=dir_fd)
        if now and after:
            changes.pop()()
        return opened

    monkeypatch.setattr(os, "open", open_late)


@pytest.mark.parametrize("name", ["f", "a"])
@pytest.mark.parametrize(
    "becomes", ["nothing", "a link", "a link to nothing", "a folder or a file", *SPECIAL]
)
async def test_an_entry_that_changes_while_it_is_copied(
    name: str, becomes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1", "a/g": b"2"})
    make_tree(tmp_path / "other", {"f": b"secret", "a/g": b"secret"})

    def change() -> None:
        path = source / name
        path.rename(tmp_path / "was")
        match becomes:
            case "nothing":
                pass
            case "a link":
                path.symlink_to(tmp_path / "other" / name)
            case "a link to nothing":
                path.symlink_to("nothing")
            case "a folder or a file":
                (path.mkdir if name == "f" else path.touch)()
            case _:
                SPECIAL[becomes](path)

    await to_thread.run_sync(open_descriptors)  # the thread, and what it needs, are there
    before = open_descriptors()
    at_opening(monkeypatch, name, change)
    with anyio.fail_after(HANG), pytest.raises(InputChangedError, match=f"'{name}' in the input"):
        await storage.fetch(PathSource(str(source)), tmp_path / "into")
    assert open_descriptors() <= before
    assert b"secret" not in read_tree(tmp_path / "into").values()


async def test_a_folder_that_is_replaced_by_a_link_is_copied_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link comes when the folder has been opened, and before what is in it is."""
    source = make_tree(tmp_path / "source", {"a/f": b"1", "a/l": "f"})
    make_tree(tmp_path / "other", {"f": b"secret", "l": "f"})

    def change() -> None:
        (source / "a").rename(tmp_path / "was")
        (source / "a").symlink_to(tmp_path / "other")

    at_opening(monkeypatch, "f", change)
    with suppress(UnsafePathError):  # of the link, if it was looked at after the change
        await storage.fetch(PathSource(str(source)), tmp_path / "into")
    assert b"secret" not in read_tree(tmp_path / "into").values()
    assert (tmp_path / "into/a/f").read_bytes() == b"1"


async def test_a_link_whose_folder_is_replaced_by_a_deeper_one_stays_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1", "a/l": "../f", "p/q/r/s/l": "../../../../f"})

    def change() -> None:
        (source / "a").rename(tmp_path / "was")
        (source / "a").symlink_to("p/q/r/s")

    at_opening(monkeypatch, "a", change, after=True)
    await storage.fetch(PathSource(str(source)), tmp_path / "into")
    assert (tmp_path / "into/a/l").resolve(strict=True) == tmp_path / "into/f"


def unreadable(folder: Path) -> None:
    source = make_tree(folder / "source", {"a/f": b"1", "b/g": b"2", "h": b"3", "c/d/i": b"4"})
    for name, mode in (("h", 0o000), ("a", 0o000), ("b", 0o600), ("c/d", 0o300)):
        (source / name).chmod(mode)
    for name, entry in (("h", "h"), ("a", "a"), ("b", "g"), ("c", "d"), ("a/f", "a/f")):
        with pytest.raises(InputError, match=rf"'[^ ]*{entry}'.* cannot be read: Permission denied"):
            anyio.run(
                storage.fetch, PathSource(str(source / name)), folder / f"into-{name.replace('/', '-')}"
            )
    for name, mode in (("h", 0o600), ("a", 0o700), ("b", 0o700), ("c/d", 0o700)):
        (source / name).chmod(mode)
    anyio.run(storage.fetch, PathSource(str(source)), folder / "into")
    assert read_tree(folder / "into") == read_tree(source)


def test_what_cannot_be_read_is_named() -> None:
    as_another_user(unreadable)


@pytest.mark.parametrize("into", ["into", "a/b/into"])
async def test_a_folder_is_not_copied_into_itself(into: str, tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {"f": b"1", "a/b": None})
    with pytest.raises(InputError, match="contains the folder in which inputs are staged") as caught:
        await copy(source, source / into)
    assert "data_dir" in caught.value.hint
    (tmp_path / "linked").symlink_to("source/a")
    with pytest.raises(InputError, match="contains the folder"):
        await copy(source, tmp_path / "linked/into")
    await copy(source / "f", source / into)
    assert (source / into).read_bytes() == b"1"


@pytest.mark.parametrize(("depth", "fits"), [(200, True), (201, False), (1100, False)])
async def test_a_folder_may_not_be_too_deep(depth: int, fits: bool) -> None:
    with deep_folder() as folder:
        make_deep(folder / "source", depth)
        before = open_descriptors()
        if fits:
            await storage.fetch(PathSource(str(folder / "source")), folder / "into")
            assert len(below(folder / "into")) == depth + 1
        else:
            with pytest.raises(InputError, match="more than 200 folders deep"):
                await storage.fetch(PathSource(str(folder / "source")), folder / "into")
        assert open_descriptors() <= before + 4  # those of the event loop and its threads
        await to_thread.run_sync(remove_folder, folder)


async def test_a_scheme_of_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="https://x"):
        await storage.fetch(UrlSource("https://x"), tmp_path / "into")


# ---- When this machine fails ----


@pytest.mark.parametrize("source", [BytesSource(b"1" * 100), PathSource("file"), PathSource("folder")])
async def test_a_copy_that_cannot_be_written_may_be_tried_again(
    source: BytesSource | PathSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"1" * 100)
    make_tree(Path("folder"), {"f": b"1" * 100})
    with pytest.raises(TransientError) as caught:
        await storage.fetch(source, Path("missing/into"))
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(TransientError, match=r"could not be fetched.*File too large") as caught:
            await storage.fetch(source, Path("into"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)


async def test_what_is_in_the_place_already_stays(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", {"f": b"new"})
    into = make_tree(tmp_path / "into", {"f": b"old"})
    for name in ("f", "."):
        with pytest.raises(TransientError):
            await copy(source / name, into / name)
    assert read_tree(into) == {".": None, "f": b"old"}


# ---- Being stopped ----


class Watched:
    """Says how far a copy has come."""

    def __init__(self, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended = threading.Event()
        self._into = into
        run = local._Copy.run

        def watched(copy: local._Copy, into: Path) -> None:
            try:
                run(copy, into)
            finally:
                self.ended.set()

        monkeypatch.setattr(local._Copy, "run", watched)

    async def has_begun(self) -> None:
        with anyio.fail_after(HANG):
            while not (self._into.exists() and self._into.stat().st_size):
                await anyio.sleep(0)

    def check(self, size: int) -> None:
        """See that the copy has ended early, and has left its thread."""
        assert self.ended.is_set()
        assert 0 < self._into.stat().st_size < size


LARGE = 1 << 26


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that takes very long to copy: in chunks of one byte."""
    monkeypatch.setattr(local, "_CHUNK", 1)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    return tmp_path / "large"


async def test_a_cancellation_stops_the_copy_of_a_file(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "into"
    watched = Watched(into, monkeypatch)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(storage.fetch, PathSource(str(large)), into)
        await watched.has_begun()
        tasks.cancel_scope.cancel()
    watched.check(LARGE)


async def test_a_cancellation_stops_the_copy_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(number) for number in range(2000)]
    source = make_tree(tmp_path / "source", dict.fromkeys(names, b"1"))
    watched = Watched(tmp_path / "into", monkeypatch)
    async with anyio.create_task_group() as tasks:
        at_opening(monkeypatch, names[1000], lambda: anyio.from_thread.run_sync(tasks.cancel_scope.cancel))
        await storage.fetch(PathSource(str(source)), tmp_path / "into")
        pytest.fail("it was not cancelled")
    assert watched.ended.is_set()
    assert 0 < len(below(tmp_path / "into")) < len(names)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_native_cancellation_stops_the_copy(
    times: int, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "into"
    watched = Watched(into, monkeypatch)
    task = asyncio.create_task(storage.fetch(PathSource(str(large)), into))
    await watched.has_begun()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    watched.check(LARGE)


async def test_a_cancellation_before_the_copy_leaves_nothing(large: Path, tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await storage.fetch(PathSource(str(large)), tmp_path / "into")
    assert scope.cancelled_caught
    assert not (tmp_path / "into").exists()
