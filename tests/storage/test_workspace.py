"""The folders of a cluster, and that what goes after a crash is all of the dead and nothing of the living."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.storage.workspace import Workspace
from tests.storage.trees import ROOT, as_another_user, below, fingerprint, make_tree, mode_of, read_tree

# Opens a workspace with some files, says where, and lives until it is told to close, or killed.
LIVE = """
import json, sys
from pathlib import Path
from bacalhau_sdk.storage.workspace import Workspace
state, data, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    workspace = Workspace(Path(data) if data else None, state)
    workspace.open()
    (workspace.staging / "node").mkdir()
    (workspace.staging / "node" / "f").write_bytes(b"1")
    (workspace.results / workspace.nonce).mkdir()
    (workspace.results / workspace.nonce / "f").write_bytes(b"2")
    if number == rounds - 1:
        told = [str(workspace.staging), str(workspace.results), workspace.nonce]
        print(json.dumps(told), flush=True)
        sys.stdin.read()
    assert (workspace.staging / "node" / "f").read_bytes() == b"1"
    assert (workspace.results / workspace.nonce / "f").read_bytes() == b"2"
    assert (state / f"{workspace.nonce}.lock").exists()
    workspace.close()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private folders are made, for this test and for its processes; nothing else that matters is near."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_warning(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test in which something is logged clears it."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


@contextmanager
def opened(data_dir: Path | None, state: Path) -> Iterator[Workspace]:
    workspace = Workspace(data_dir, state)
    workspace.open()
    try:
        yield workspace
    finally:
        workspace.close()


class Process:
    """Another process with a workspace that is open."""

    def __init__(self, state: Path, data_dir: str = "", rounds: int = 1) -> None:
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", LIVE, str(state), data_dir, str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )

    def wait(self) -> None:
        """Wait until it has said where its workspace is."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(self._process.communicate()[1])
        staging, results, self.nonce = json.loads(line)
        self.staging, self.results = Path(staging), Path(results)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL

    def close(self) -> None:
        _, errors = self._process.communicate("")
        assert (self._process.returncode, errors) == (0, "")


def live(state: Path, data_dir: str = "") -> Process:
    process = Process(state, data_dir)
    process.wait()
    return process


# ---- Folders ----


def test_a_private_workspace_is_nobody_elses_and_goes(temporary: Path, state: Path) -> None:
    umask = os.umask(0)
    try:
        with opened(None, state) as workspace:
            assert workspace.private
            root = workspace.results.parent
            assert root.parent == temporary
            assert workspace.staging.parent == root
            assert mode_of(root) == mode_of(workspace.staging) == 0o700
            assert mode_of(state) == 0o700
            make_tree(workspace.staging, {"a/f": b"1", "l": "/etc"})
            make_tree(workspace.results, {"a/f": b"1"})
            (workspace.results / "a").chmod(0)
            assert len(list(state.iterdir())) == 1
    finally:
        os.umask(umask)
    assert list(temporary.iterdir()) == []
    assert list(state.iterdir()) == []
    workspace.close()


@pytest.mark.parametrize("name", ["results", "a/b/c", "with spaces ", "ünï☃", "line\nfeed", "-rf", "..."])
def test_results_stay_in_a_data_dir_and_the_staging_goes(
    name: str, state: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        with opened(path, state) as workspace:
            assert not workspace.private
            assert workspace.results == tmp_path / name
            assert workspace.staging.parent == workspace.results
            assert mode_of(workspace.staging) == 0o700
            make_tree(workspace.staging, {"node/a/f": b"1"})
            make_tree(workspace.results, {"j-1/e-1/f": b"2"})
            monkeypatch.chdir("/")
        monkeypatch.chdir(tmp_path)
        assert read_tree(tmp_path / name) == {
            ".": None,
            "j-1": None,
            "j-1/e-1": None,
            "j-1/e-1/f": b"2",
        }
    assert list(temporary.iterdir()) == []


def test_a_data_dir_may_be_in_the_home_directory(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with opened(Path("~/results"), state) as workspace:
        assert workspace.results == tmp_path / "home/results"
    assert (tmp_path / "home/results").is_dir()
    assert not Path("~").exists()


def test_a_data_dir_may_be_behind_a_link(state: Path, tmp_path: Path) -> None:
    make_tree(tmp_path / "real", {"kept": b"1"})
    (tmp_path / "linked").symlink_to("real")
    with opened(tmp_path / "linked", state) as workspace:
        assert (tmp_path / "real" / workspace.staging.name).is_dir()
    assert read_tree(tmp_path / "real") == {".": None, "kept": b"1"}


@pytest.mark.parametrize(
    "data_dir", ["file", "file/below", "to-nothing", "loop", "n" * 256, "~no-such-user/x", "nul\0", "\ud800"]
)
def test_a_data_dir_that_can_be_none_is_named(data_dir: str, state: Path, tmp_path: Path) -> None:
    make_tree(tmp_path, {"file": b"1", "to-nothing": "missing", "loop": "loop", "state": None})
    before = read_tree(tmp_path)
    path = Path(data_dir) if data_dir.startswith("~") else tmp_path / data_dir
    workspace = Workspace(path, state)
    with pytest.raises(InvalidSpecError) as caught:
        workspace.open()
    workspace.close()
    assert [problem.path for problem in caught.value.problems] == ["data_dir"]
    assert repr(data_dir)[1:-1][-50:] in str(caught.value)
    assert str(caught.value).isprintable()
    assert read_tree(tmp_path) == before  # the state directory has no lock file either


def unwritable(folder: Path) -> None:
    (folder / "data").mkdir(mode=0o555)
    (folder / "state").mkdir(mode=0o555)
    with pytest.raises(InvalidSpecError, match=r"data_dir: .* cannot be used as a folder: Permission denied"):
        Workspace(folder / "data", folder / "other-state").open()
    workspace = Workspace(folder / "other-data", folder / "state")
    workspace.open()
    assert workspace.staging.is_dir()
    workspace.close()
    assert not workspace.staging.exists()


def test_a_data_dir_that_cannot_be_written_to_is_named() -> None:
    as_another_user(unwritable)


def test_closing_what_was_never_opened_removes_nothing(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path / "current", {"f": b"1"})
    monkeypatch.chdir(tmp_path / "current")
    before = fingerprint(tmp_path)
    Workspace(None, state).close()
    Workspace(tmp_path / "data", state).close()
    assert fingerprint(tmp_path) == before


def test_a_private_folder_that_cannot_be_made(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        Workspace(None, state).open()
    assert list(state.iterdir()) == []


def test_what_cannot_be_removed_is_told_and_left_to_the_next(
    state: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(None, state)
    workspace.open()
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        patch.setattr(os, "rmdir", refuse)
        with pytest.raises(PermissionError):
            workspace.close()
    assert len(list(temporary.iterdir())) == 1
    with opened(None, state) as other:
        assert list(temporary.iterdir()) == [other.results.parent]


# ---- Others that live ----


def test_two_in_one_process_leave_each_other_alone(state: Path, tmp_path: Path) -> None:
    with opened(None, state) as first, opened(tmp_path / "data", state) as second:
        with opened(tmp_path / "data", state) as third:
            assert len({first.nonce, second.nonce, third.nonce}) == 3
            for each in (first, second, third):
                assert each.staging.is_dir()
                assert each.results.is_dir()
        assert first.staging.is_dir()
        assert second.staging.is_dir()
        assert not third.staging.exists()


def test_a_workspace_of_another_process_is_not_touched(state: Path, tmp_path: Path) -> None:
    others = [live(state), live(state, str(tmp_path / "data"))]
    before = [fingerprint(other.staging) for other in others]
    with opened(None, state), opened(tmp_path / "data", state):
        assert [fingerprint(other.staging) for other in others] == before
        for other in others:
            assert (other.results / other.nonce / "f").read_bytes() == b"2"
    assert [fingerprint(other.staging) for other in others] == before
    for other in others:
        other.close()
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("data_dir", ["", "data"])
def test_what_a_killed_process_has_left_is_removed_and_nothing_else(
    data_dir: str, state: Path, tmp_path: Path, temporary: Path
) -> None:
    where = str(tmp_path / data_dir) if data_dir else ""
    neighbours = make_tree(
        tmp_path / (data_dir or "tmp"), {"mine/f": b"1", f".staging-{uuid.uuid4().hex}/f": b"1"}
    )
    dead, alive = live(state, where), live(state, where)
    dead.kill()
    assert dead.staging.exists()
    before = fingerprint(alive.staging)
    mine = fingerprint(neighbours / "mine")
    with opened(None, state) as workspace:
        assert not dead.staging.exists()
        assert (dead.results / dead.nonce).exists() == bool(data_dir)  # results in a data_dir stay
        assert fingerprint(alive.staging) == before
        assert fingerprint(neighbours / "mine") == mine
        assert sorted(state.iterdir()) == sorted(state / f"{each.nonce}.lock" for each in (alive, workspace))
        assert len([path for path in neighbours.iterdir() if path.name.startswith(".staging")]) == (
            2 if data_dir else 1
        )
    alive.close()
    assert list(temporary.glob("bacalhau-*")) == []


def test_many_that_open_at_once_never_remove_one_that_lives(
    state: Path, tmp_path: Path, temporary: Path
) -> None:
    """Each opens and closes again and again, and checks what it has; some are killed meanwhile."""
    processes = [
        Process(state, str(tmp_path / "data") if number % 2 else "", rounds=15) for number in range(6)
    ]
    for process in processes:
        process.wait()
    for process in processes[:2]:
        process.kill()
    with opened(None, state):
        for process in processes[:2]:
            assert not process.staging.exists()
        for process in processes[2:]:
            assert read_tree(process.staging) == {".": None, "node": None, "node/f": b"1"}
    for process in processes[2:]:
        process.close()
    assert list(state.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert not list((tmp_path / "data").glob(".staging*"))


def test_a_process_that_was_forked_keeps_the_lock(state: Path) -> None:
    """It may still work in the folders: nothing is removed before it has ended, too."""
    code = f"""
import os, sys
from pathlib import Path
from bacalhau_sdk.storage.workspace import Workspace
workspace = Workspace(None, Path({str(state)!r}))
workspace.open()
if os.fork():
    print(workspace.staging, flush=True)
    os.kill(os.getpid(), 9)
sys.stdin.read()
os._exit(0)
"""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        staging = Path(parent.stdout.readline().strip())
        parent.wait()
        with opened(None, state):
            assert staging.is_dir()
        parent.stdin.close()
        assert parent.stdout.read() == ""  # the child has ended
    with opened(None, state):
        assert not staging.exists()


# ---- What else is in the state directory ----

NONCE = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param(f"{NONCE}.lock", "", id="empty"),
        pytest.param(f"{NONCE}.lock", "garbage {", id="no JSON"),
        pytest.param(f"{NONCE}.lock", "\0" * 80, id="zeros"),
        pytest.param(f"{NONCE}.lock", "[" * 100_000, id="deep JSON"),
        pytest.param(f"{NONCE}.lock", "\udcff", id="no UTF-8"),
        pytest.param(f"{NONCE}.lock", "null", id="null"),
        pytest.param(f"{NONCE}.lock", "[]", id="a list"),
        pytest.param(f"{NONCE}.lock", "{}", id="no folder"),
        pytest.param(f"{NONCE}.lock", '{"folder": null}', id="null folder"),
        pytest.param(f"{NONCE}.lock", '{"folder": 1}', id="a number"),
        pytest.param(f"{NONCE}.lock", '{"folder": "bacalhau-NONCE"}', id="relative"),
        pytest.param("keep.lock", '{"folder": "KEEP"}', id="another name that is in the folder's"),
        pytest.param(".lock", '{"folder": "KEEP"}', id="no name"),
        pytest.param(f"{NONCE}.new", '{"folder": "TMP/bacalhau-NONCE"}', id="not renamed"),
        pytest.param(f"{NONCE}.lock.old", '{"folder": "TMP/bacalhau-NONCE"}', id="another suffix"),
        pytest.param(f"{NONCE.upper()}.lock", '{"folder": "TMP/bacalhau-NONCE"}', id="upper case"),
    ],
)
def test_what_is_no_lock_file_is_left(
    name: str, content: str, state: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(temporary)
    kept = [make_tree(temporary / folder, {"f": b"1"}) for folder in ("keep", f"bacalhau-{NONCE}")]
    content = content.replace("KEEP", str(kept[0])).replace("TMP", str(temporary)).replace("NONCE", NONCE)
    state.mkdir()
    (state / name).write_text(content, errors="surrogateescape")
    before = [fingerprint(folder) for folder in (*kept, state / name)]
    with opened(None, state):
        pass
    assert [fingerprint(folder) for folder in (*kept, state / name)] == before


@pytest.mark.parametrize(
    "folder",
    [
        "{tmp}/keep",
        "{tmp}/keep-{nonce}",
        "{tmp}/bacalhau-{nonce}x",
        "{tmp}/bacalhau-{nonce}/..",
        "{tmp}/{nonce}",
        "{tmp}",
        "/",
        "{tmp}/staging-{nonce}",
        "{tmp}/bacalhau-00000000000000000000000000000000",
    ],
)
def test_no_folder_without_the_nonce_is_removed(folder: str, state: Path, temporary: Path) -> None:
    folder = folder.format(tmp=temporary, nonce=NONCE)
    make_tree(temporary if folder == "/" else Path(folder), {"f": b"1"})
    state.mkdir()
    (state / f"{NONCE}.lock").write_text(json.dumps({"folder": folder}))
    before = read_tree(temporary)
    with opened(None, state):
        assert not (state / f"{NONCE}.lock").exists()
    assert read_tree(temporary) == before


@pytest.mark.parametrize("becomes", ["a link", "gone", "a NUL"])
def test_a_folder_that_is_something_else_now(
    becomes: str, state: Path, temporary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_tree(tmp_path / "other", {f"bacalhau-{NONCE}-x/f": b"1", "f": b"1"})
    folder = temporary / f"bacalhau-{NONCE}"
    if becomes == "a link":
        folder.symlink_to(other)
    state.mkdir()
    text = (
        json.dumps({"folder": str(folder)})
        if becomes != "a NUL"
        else json.dumps({"folder": f"/\0/{folder.name}"})
    )
    (state / f"{NONCE}.lock").write_text(text)
    before = fingerprint(other)
    with opened(None, state):
        assert fingerprint(other) == before
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (1 if becomes == "a link" else 0)
    assert all(
        f"{NONCE}.lock, left by a cluster that died, could not be cleaned up" in each for each in messages
    )
    caplog.clear()


def test_a_lock_file_that_another_one_has_just_removed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.mkdir()
    gone = state / f"{NONCE}.lock"
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone]))
    with opened(None, state):
        pass


@pytest.mark.parametrize("obstacle", ["a file", "a file above", "locks do not work"])
def test_without_a_state_directory_there_is_a_warning(
    obstacle: str, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    match obstacle:
        case "a file":
            state.touch()
        case "a file above":
            state.touch()
            state /= "state"
        case _:

            def refuse(*_: object) -> None:
                raise OSError(37, "No locks available")

            monkeypatch.setattr(fcntl, "flock", refuse)
    with opened(None, state) as workspace:
        assert workspace.staging.is_dir()
    assert not workspace.results.parent.exists()
    assert [(record.levelname, record.name) for record in caplog.records] == [("WARNING", "bacalhau_sdk")]
    assert "no clean-up after a crash" in caplog.text
    assert below(state) == []
    caplog.clear()


def test_the_state_directory_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    workspace = Workspace(None)
    workspace.open()
    found = [path for path in below(tmp_path) if path.name == f"{workspace.nonce}.lock"]
    workspace.close()
    assert len(found) == 1
    if sys.platform == "linux":
        assert found == [tmp_path / f"state-home/bacalhau_sdk/clusters/{workspace.nonce}.lock"]


def test_a_user_without_a_home_gets_a_warning_and_no_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import platformdirs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platformdirs, "user_state_path", lambda *_: Path("~/.local/state"))
    workspace = Workspace(None)
    workspace.open()
    workspace.close()
    assert "no home directory" in caplog.text
    assert not Path("~").exists()
    caplog.clear()


def test_what_another_machine_has_locked_is_left_alone(state: Path, temporary: Path) -> None:
    folder = temporary / f"bacalhau-{NONCE}"
    make_tree(folder, {"f": b"1"})
    state.mkdir()
    (state / f"{NONCE}.lock").write_text(json.dumps({"folder": str(folder), "host": "elsewhere"}))
    with opened(None, state):
        assert (folder / "f").exists()
    assert (state / f"{NONCE}.lock").exists()
