"""What may be among the outputs, and how results get to where they stay, and away again."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import OutputError, TransientError
from bacalhau_sdk.host.folders import make_read_only
from bacalhau_sdk.model.execution import Location
from bacalhau_sdk.storage.results import LocalPublisher, check_outputs
from tests.conftest import Require
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
    read_tree,
)

# ---- What may be among the outputs ----


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"f": b"1", "a/b/c": b"", "a/empty": None}, id="files and folders"),
        pytest.param(
            {"a\nb": b"1", "\x1b[2J": b"2", os.fsdecode(b"\xff"): b"3", "n" * 255: b"4"}, id="strange names"
        ),
        pytest.param({"A": b"1", "a": b"2"}, id="twins"),
        pytest.param({"f": b"1", "l": "f", "a/l": "../f", "m": "a", "n": "l", "o": "a/l"}, id="links"),
        pytest.param(
            {"a/b/f": b"1", "a/l": "b", "m": "a/l/../b/f", "n": "a/l/f", "o": "."}, id="links through links"
        ),
        pytest.param({"l": "missing", "m": "missing/x", "n": "l"}, id="links that lead nowhere"),
        pytest.param({"l": "l", "m": "n", "n": "m", "a/o": "../a/o/x"}, id="loops"),
        pytest.param({f"l{i}": f"l{i + 1}" for i in range(100)} | {"l100": b""}, id="a long chain"),
    ],
)
def test_files_folders_and_links_inside_are_outputs(tree: Tree, tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "out", tree)
    before = fingerprint(folder)
    check_outputs(folder)
    assert fingerprint(folder) == before


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        pytest.param({"a/l": "/etc/passwd"}, "a/l", id="absolute"),
        pytest.param({"l": "/"}, "l", id="the root"),
        pytest.param({"l": ".."}, "l", id="the parent"),
        pytest.param({"a/l": "../../secret"}, "a/l", id="out"),
        pytest.param({"a/l": "../../out-other"}, "a/l", id="a neighbour whose name begins alike"),
        pytest.param({"l": "../out/f", "f": b""}, "l", id="out and in again"),
        pytest.param({"f": b"", "l": "{out}/f"}, "l", id="absolute and inside"),
        pytest.param(
            {"p/q/a": "../..", "b": "p/q/a/../secret"}, "b", id="out by way of a link, inside by its text"
        ),
        pytest.param(
            {"a/b/c/d": None, "l": "a/b/c/d", "m": "l/../../../../../secret"}, "m", id="out of a link"
        ),
        pytest.param({"l": "missing/../../secret"}, "l", id="out of nowhere"),
        pytest.param({"a\n\x1b[31m": "/etc"}, r"a\n\x1b[31m", id="a strange name"),
    ],
)
def test_a_link_that_leads_out_is_no_output(tree: Tree, name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "out-other").touch()
    folder = tmp_path / "out"
    make_tree(
        folder,
        {key: each.format(out=folder) if isinstance(each, str) else each for key, each in tree.items()},
    )
    with pytest.raises(OutputError) as caught:
        check_outputs(folder)
    assert f"'{name}' in the output 'out' is a link that leads out" in caught.value.message
    assert caught.value.hint


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
targets = st.lists(st.sampled_from(["a", "b", "c", "..", "..", "."]), min_size=1, max_size=6).map("/".join)


@given(st.dictionaries(paths, st.none() | targets, max_size=6))
def test_no_link_that_passes_leads_out(tree: dict[str, str | None]) -> None:
    """Whatever passes leads to the same place when the folder is alone in the world, which the system itself tells."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "x/y/z/out")
        folder.mkdir(parents=True)
        for path, target in sorted(tree.items()):
            linked = any((folder / above).is_symlink() for above in Path(path).parents)
            if not linked and not os.path.lexists(folder / path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).mkdir() if target is None else (folder / path).symlink_to(target)
        try:
            check_outputs(folder)
        except OutputError:
            return
        for link in below(folder):
            if link.is_symlink():
                try:
                    leads_to = link.resolve(strict=True)
                except (OSError, RuntimeError):
                    continue
                assert leads_to.is_relative_to(folder.resolve())


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_no_output(kind: str, tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "out", {"a/f": b"1"})
    SPECIAL[kind](folder / "a/bad\n")
    with pytest.raises(
        OutputError, match=r"'a/bad\\n' in the output 'out' is neither a file, a folder nor a link"
    ):
        check_outputs(folder)


@pytest.mark.parametrize("becomes", ["nothing", "a file", "a link", "a link to nothing", *SPECIAL])
def test_an_output_that_is_no_folder_any_more(becomes: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "other", {"f": b"secret"})
    folder = tmp_path / "out"
    match becomes:
        case "nothing":
            pass
        case "a file":
            folder.touch()
        case "a link":
            folder.symlink_to("other")
        case "a link to nothing":
            folder.symlink_to("missing")
        case _:
            SPECIAL[becomes](folder)
    with pytest.raises(OutputError, match="the output 'out'"):
        check_outputs(folder)


def test_an_output_may_be_deep_but_not_deeper_than_paths_go(tmp_path: Path) -> None:
    with deep_folder() as folder:
        make_deep(folder / "out", 1100)
        check_outputs(folder / "out")
    deepest = tmp_path / "long"
    while len(str(deepest)) < 3900:
        deepest /= "n" * 150
    deepest.mkdir(parents=True)
    descriptor = os.open(deepest, os.O_RDONLY)
    os.mkdir("m" * 250, dir_fd=descriptor)
    os.close(descriptor)
    with pytest.raises(OutputError, match=r"nnn.*in the output 'long' cannot be read: File name too long"):
        check_outputs(tmp_path / "long")


def unreadable(folder: Path) -> None:
    for name, mode, what in (
        ("f", 0o000, "'f' in the output 'out' has no permission to be read"),
        ("a", 0o300, "'a' in the output 'out' has no permission to be read"),
        ("a", 0o600, "'a/g' in the output 'out' cannot be read: Permission denied"),
        (".", 0o000, "the output 'out' cannot be read: Permission denied"),
    ):
        out = make_tree(folder / "out", {"f": b"1", "a/g": b"2"})
        (out / name).chmod(mode)
        with pytest.raises(OutputError) as caught:
            check_outputs(out)
        assert caught.value.message == what, caught.value.message
        (out / name).chmod(0o700)
        check_outputs(out)


def test_an_output_that_cannot_be_read_is_named() -> None:
    as_another_user(unreadable)


# ---- Publishing ----


@pytest.fixture
def publisher(tmp_path: Path) -> LocalPublisher:
    return LocalPublisher(tmp_path / "root")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "made", {"stdout": b"1", "counts/a/b": b"2", "counts/l": "a", "empty": None})


async def test_results_are_moved(publisher: LocalPublisher, made: Path, tmp_path: Path) -> None:
    before, inode = read_tree(made), made.stat().st_ino
    location = await publisher.publish(made, "j-1/e-1")
    target = tmp_path / "root/j-1/e-1"
    assert location == Location("path", str(target))
    assert read_tree(target) == before
    assert target.stat().st_ino == inode
    assert not made.exists()


async def test_results_are_seen_as_a_whole(publisher: LocalPublisher, tmp_path: Path) -> None:
    tree = {f"{number}/f": b"1" for number in range(50)}
    target = tmp_path / "root/j/e"
    seen: list[int] = []
    begun = threading.Event()

    def watch() -> None:
        while not seen:
            begun.set()
            if target.exists():
                seen.append(len(list(target.iterdir())))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun.wait()
    await publisher.publish(make_tree(tmp_path / "made", tree), "j/e")
    watcher.join()
    assert seen == [50]


@pytest.mark.parametrize(
    "there", ["a folder", "a file", "a link", "a link to nothing", "a file for a parent"]
)
async def test_what_is_there_already_stays(
    there: str, publisher: LocalPublisher, made: Path, tmp_path: Path
) -> None:
    root = make_tree(tmp_path / "root", {"j/other/f": b"1"})
    match there:
        case "a folder":
            make_tree(root / "j/e", {"f": b"old"})
        case "a file":
            (root / "j/e").write_bytes(b"old")
        case "a link":
            (root / "j/e").symlink_to("other")
        case "a link to nothing":
            (root / "j/e").symlink_to("missing")
        case _:
            (root / "k").write_bytes(b"old")
    before, found = fingerprint(made), read_tree(root)
    with pytest.raises(TransientError) as caught:
        await publisher.publish(made, "k/e" if "parent" in there else "j/e")
    assert isinstance(caught.value.__cause__, OSError)
    if "parent" not in there:
        assert caught.value.message == f"{root}/j/e exists already"
        assert "earlier job" in caught.value.hint
    assert fingerprint(made) == before
    assert read_tree(root) == found


async def test_several_results_of_one_job_are_published_at_once(
    publisher: LocalPublisher, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            made = make_tree(tmp_path / f"made-{number}", {"f": b"%d" % number})
            tasks.start_soon(publisher.publish, made, f"j/e-{number}")
    for number in range(20):
        assert (tmp_path / f"root/j/e-{number}/f").read_bytes() == b"%d" % number


async def test_nothing_to_publish_may_be_tried_again(publisher: LocalPublisher, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="could not be published") as caught:
        await publisher.publish(tmp_path / "missing", "j/e")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.fixture
def elsewhere(tmp_path: Path, require: Require) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        require("a second file system", "/dev/shm is none")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


async def test_results_do_not_get_to_another_file_system(made: Path, elsewhere: Path) -> None:
    before = fingerprint(made)
    with pytest.raises(TransientError, match="cross-device"):
        await LocalPublisher(elsewhere).publish(made, "j/e")
    assert fingerprint(made) == before
    assert not (elsewhere / "j/e").exists()


def read_only_results(folder: Path) -> None:
    made = make_tree(folder / "made", {"counts/a/f": b"1"})
    make_read_only(made / "counts")
    publisher = LocalPublisher(folder / "root")
    location = anyio.run(publisher.publish, made, "j/e")
    assert mode_of(Path(location.path, "counts/a")) & 0o222 == 0
    anyio.run(publisher.discard, location)
    assert read_tree(folder / "root") == {".": None}


def test_read_only_results_are_published_and_discarded() -> None:
    as_another_user(read_only_results)


# ---- Discarding ----


async def test_results_are_discarded_and_those_of_others_are_not(
    publisher: LocalPublisher, made: Path, tmp_path: Path
) -> None:
    first = await publisher.publish(made, "j/e-1")
    second = await publisher.publish(make_tree(tmp_path / "made", {"f": b"1"}), "j/e-2")
    await to_thread.run_sync(make_read_only, Path(first.path))
    for _ in range(3):
        await publisher.discard(first)
    assert read_tree(tmp_path / "root") == {".": None, "j": None, "j/e-2": None, "j/e-2/f": b"1"}
    await publisher.discard(second)
    await publisher.discard(Location("path", str(tmp_path / "root/k/e")))
    assert read_tree(tmp_path / "root") == {".": None}


@pytest.mark.parametrize(
    "place",
    [
        "{root}",
        "{root}/.",
        "{root}/",
        "{root}/..",
        "{root}/../other",
        "{root}/j/../../other",
        "{root}/j/../e",
        "{root}/linked/f",
        "{root}/linked/a/f",
        "{root}/to-a-result",
        "{root}/j/f",
        "{root}-other/f",
        "{other}",
        "root/j/e",
        ".",
        "",
        "/",
    ],
)
async def test_nothing_but_results_is_discarded(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_tree(
        tmp_path / "root",
        {"j/e/f": b"1", "j/f": b"1", "linked": "../other", "to-a-result": "j/e", "e/f": b"1"},
    )
    other = make_tree(tmp_path / "other", {"a/f/g": b"1", "f/g": b"1"})
    make_tree(tmp_path / "root-other", {"f/g": b"1"})
    before = fingerprint(tmp_path)
    with pytest.raises(TransientError):
        await LocalPublisher(root).discard(Location("path", place.format(root=root, other=other)))
    assert fingerprint(tmp_path) == before


async def test_what_is_no_path_is_not_discarded(publisher: LocalPublisher, made: Path) -> None:
    location = await publisher.publish(made, "j/e")
    with pytest.raises(TransientError, match="is not a result of"):
        await publisher.discard(Location("ipfs", location.path))
    assert Path(location.path).exists()


async def test_the_root_may_be_behind_a_link(made: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    publisher = LocalPublisher(tmp_path / "root")
    location = await publisher.publish(made, "j/e")
    assert (tmp_path / "real/j/e/stdout").read_bytes() == b"1"
    await publisher.discard(location)
    assert read_tree(tmp_path / "real") == {".": None}
