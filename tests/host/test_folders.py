"""Walking, protecting and removing folders, whatever is in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_sdk.host.folders import make_read_only, make_writable, remove_folder, walk
from tests.storage.trees import (
    SPECIAL,
    as_another_user,
    below,
    deep_folder,
    fingerprint,
    make_deep,
    make_tree,
    mode_of,
    open_descriptors,
)

STRANGE = {
    "f": b"1",
    "a/b/c": b"2",
    "a/empty": None,
    "a\nb": b"3",
    os.fsdecode(b"\xff"): b"4",
    "n" * 255: b"5",
}


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with deep_folder() as folder:
        yield folder


# ---- Walking ----


def test_everything_is_found_a_folder_before_what_is_in_it(tmp_path: Path) -> None:
    make_tree(tmp_path / "t", STRANGE)
    found = list(walk(tmp_path / "t"))
    assert sorted(found) == below(tmp_path / "t")
    assert all(found.index(path.parent) < found.index(path) for path in found if path.parent in found)


def test_a_walk_follows_no_link(tmp_path: Path) -> None:
    make_tree(tmp_path / "other", {"f": b"1"})
    make_tree(tmp_path / "t", {"a/f": b"1", "l": "../other", "m": "a", "dangling": "x", "loop": "loop"})
    assert sorted(walk(tmp_path / "t")) == below(tmp_path / "t")


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_walk_opens_nothing_but_folders(kind: str, tmp_path: Path) -> None:
    SPECIAL[kind](tmp_path / "special")
    assert list(walk(tmp_path)) == [tmp_path / "special"]


def test_a_walk_goes_as_deep_as_paths_go(in_memory: Path) -> None:
    make_deep(in_memory / "deep", 1900)
    before = open_descriptors()
    assert len(list(walk(in_memory / "deep"))) == 1901
    assert open_descriptors() <= before
    make_deep(in_memory / "deeper", 2500)
    with pytest.raises(OSError, match="File name too long") as caught:
        list(walk(in_memory / "deeper"))
    assert str(caught.value.filename).startswith(f"{in_memory}/deeper/d/d/d")


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_walk_needs_a_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=name):
        list(walk(tmp_path / name))


# ---- Permissions ----


def test_a_folder_becomes_read_only_and_writable_again(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "t", {**STRANGE, "l": "f", "out": "../other"})
    other = tmp_path / "other"
    other.touch(mode=0o666)
    (tree / "f").chmod(0o777)
    (tree / "a").chmod(0o770)
    (tree / "a/b/c").chmod(0o400)
    before = fingerprint(other)
    make_read_only(tree)
    assert mode_of(tree / "f") == 0o555
    assert mode_of(tree / "a") == 0o550
    assert mode_of(tree / "a/b/c") == 0o400
    assert all(mode_of(path) & 0o222 == 0 for path in (tree, *below(tree)) if not path.is_symlink())
    make_writable(tree)
    assert mode_of(tree / "f") == 0o755
    assert mode_of(tree / "a") == 0o750
    assert mode_of(tree / "a/b/c") == 0o600
    assert all(mode_of(path) & 0o222 == 0o200 for path in (tree, *below(tree)) if not path.is_symlink())
    assert fingerprint(other) == before


def test_a_file_becomes_read_only_and_writable_again(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    file.chmod(0o666)
    make_read_only(file)
    assert mode_of(file) == 0o444
    make_writable(file)
    assert mode_of(file) == 0o644


@pytest.mark.parametrize("target", ["f", "t", "missing"])
def test_what_a_link_leads_to_is_left_alone(target: str, tmp_path: Path) -> None:
    make_tree(tmp_path, {"f": b"1", "t/g": b"2", "l": target})
    before = fingerprint(tmp_path)
    make_read_only(tmp_path / "l")
    assert fingerprint(tmp_path) == before
    (tmp_path / "f").chmod(0o444)
    (tmp_path / "t/g").chmod(0o444)
    before = fingerprint(tmp_path)
    make_writable(tmp_path / "l")
    assert fingerprint(tmp_path) == before


def protected(folder: Path) -> None:
    tree = make_tree(folder / "t", {"a/f": b"1", "g": b"2"})
    make_read_only(tree)
    with pytest.raises(PermissionError):
        (tree / "a/f").write_bytes(b"2")
    with pytest.raises(PermissionError):
        (tree / "a/new").touch()
    with pytest.raises(PermissionError):
        (tree / "g").unlink()
    with pytest.raises(PermissionError):
        (tree / "a").rename(tree / "b")
    assert (tree / "a/f").read_bytes() == b"1"
    make_writable(tree)
    (tree / "a/f").write_bytes(b"2")
    (tree / "g").unlink()


def test_what_is_read_only_cannot_be_changed_by_somebody_who_is_not_root() -> None:
    as_another_user(protected)


# ---- Removing ----


def test_a_folder_is_removed_and_what_its_links_lead_to_is_not(tmp_path: Path) -> None:
    other = make_tree(tmp_path / "other", {"a/f": b"1", "g": b"2"})
    before = fingerprint(other)
    tree = make_tree(tmp_path / "t", {**STRANGE, "l": "../other", "a/m": "../../other/a", "n": "f", "o": "o"})
    for kind, make in SPECIAL.items():
        make(tree / kind)
    (tree / "a/m/..").resolve(strict=True)
    remove_folder(tree)
    assert not tree.exists()
    assert fingerprint(other) == before


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    remove_folder(tmp_path / "missing")
    remove_folder(tmp_path / "missing/missing")
    make_tree(tmp_path / "t", {"f": b"1"})
    remove_folder(tmp_path / "t")
    remove_folder(tmp_path / "t")
    assert below(tmp_path) == []


@pytest.mark.parametrize("target", ["t", "f", "missing"])
def test_a_link_in_place_of_a_folder_is_not_followed(target: str, tmp_path: Path) -> None:
    make_tree(tmp_path, {"t/f": b"1", "f": b"2", "l": target})
    before = fingerprint(tmp_path)
    for name in ("l", "f"):
        with pytest.raises(NotADirectoryError, match=f"/{name}'$"):
            remove_folder(tmp_path / name)
    assert fingerprint(tmp_path) == before


# 2500 levels are more than a path can name; 5000, more than a process has descriptors.
@pytest.mark.parametrize("depth", [300, 1900, 2500, 5000])
def test_a_folder_may_be_as_deep_as_can_be(depth: int, in_memory: Path) -> None:
    make_deep(in_memory / "t", depth)
    before = open_descriptors()
    remove_folder(in_memory / "t")
    assert open_descriptors() <= before
    assert below(in_memory) == []


def test_long_names_make_no_path_that_is_too_long(tmp_path: Path) -> None:
    deepest = tmp_path / "t"
    while len(str(deepest)) < 3500:
        deepest /= "n" * 255
    deepest.mkdir(parents=True)
    (deepest / ("m" * 255)).touch()
    remove_folder(tmp_path / "t")
    assert below(tmp_path) == []


def locked(folder: Path) -> None:
    for mode in (0o555, 0o000, 0o333, 0o666, 0o111):
        tree = make_tree(folder / "t", {"a/b/f": b"1", "a/g": b"2", "a/empty": None, "l": "a"})
        for name in ("a/b/f", "a/g", "a/empty", "a/b", "a", "."):
            (tree / name).chmod(mode)
        remove_folder(tree)
        assert list(folder.iterdir()) == []
    make_deep(folder / "t", 250)
    deep = folder / "t"
    for _ in range(250):
        deep /= "d"
    while deep != folder:
        deep.chmod(0)
        deep = deep.parent
    remove_folder(folder / "t")
    assert list(folder.iterdir()) == []


def test_a_folder_without_permissions_is_removed_by_somebody_who_is_not_root() -> None:
    as_another_user(locked)


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path / "t", {"f": b"1"})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted", "f")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_folder(tmp_path / "t")
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "t")
