"""The pytest plugin, in suites that pytest runs in a process of its own, with no configuration."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.integrations import how_to

pytest_plugins = ["pytester"]

MODULE = "bacalhau_sdk.integrations.pytest_plugin"
# Where the library is installed, as by nox, pytest has found the plugin already.
LOADED = () if any(found.value == MODULE for found in entry_points(group="pytest11")) else ("-p", MODULE)
HEAD = """
import asyncio, os, subprocess, sys, tempfile, threading
import anyio, pytest
import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.testing import link, messages, on

SPEC = bac.JobSpec.docker("busybox:1.37")
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a module of tests, if one is given, and run it."""
    # Where one of these is set, pytest writes each failure a second time, whole, into its summary.
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)

    def run(code: str = "", *arguments: str) -> pytest.RunResult:
        if code:
            (pytester.path / "test_jobs.py").write_text(HEAD + code, encoding="utf-8")
        return pytester.runpytest_subprocess(*LOADED, "-W", "error", *arguments)

    return run


def messages_of(result: pytest.RunResult) -> str:
    """Return what pytest wrote, without the marks at the beginnings of lines."""
    return re.sub(r"^E +", "", result.stdout.str(), flags=re.MULTILINE)


# ---- Clusters ----


def test_the_marks_say_what_the_nodes_are(run: Run) -> None:
    result = run("""
@pytest.mark.bacalhau_node("edge", engines="wasm", labels={"zone": "field"})
@pytest.mark.bacalhau_node("rack", engines=["wasm", "docker"], platforms="linux/arm64", emulated=["linux/amd64"],
                           resources=bac.Resources(cpu=2, memory="1GiB", disk="1GiB"))
async def test_nodes(bacalhau_cluster):
    edge, rack = (state.info for state in await bacalhau_cluster.nodes())
    assert (edge.name, rack.name) == ("edge", "rack")
    assert edge.labels["zone"] == "field"
    assert list(edge.engines) == ["wasm"]
    assert rack.capacity.cpu == 2
    assert [(str(found.platform), found.emulated) for found in rack.engines["docker"].platforms] == [
        ("linux/arm64", False), ("linux/amd64", True)]

@pytest.mark.bacalhau_node("rack", plan=[on().runs(7 * 3600).exits(3)])
async def test_hours(bacalhau_cluster):
    result = await bacalhau_cluster.run(SPEC, check=False)
    assert (result.node, result.exit_code, result.ended_at) == ("rack", 3, 7 * 3600)

async def test_without_a_mark_there_is_a_node_for_everything(bacalhau_cluster):
    for spec in (SPEC, bac.JobSpec.function("count"), bac.JobSpec.docker("busybox", platform="linux/arm64")):
        assert (await bacalhau_cluster.run(spec)).node == "virtual"

@pytest.mark.bacalhau_node("shared", labels={"of": "class"})
class TestOfAClass:
    async def test_of_the_class(self, bacalhau_cluster):
        [state] = await bacalhau_cluster.nodes()
        assert (type(self).__name__, state.info.labels["of"]) == ("TestOfAClass", "class")

    @pytest.mark.bacalhau_node("shared", labels={"of": "test"})
    @pytest.mark.bacalhau_node("more")
    async def test_a_closer_mark_wins(self, bacalhau_cluster):
        assert [(state.info.name, state.info.labels.get("of")) for state in await bacalhau_cluster.nodes()] == [
            ("shared", "test"), ("more", None)]

@pytest.mark.bacalhau(faults=[link("lost").cut(10)])
@pytest.mark.bacalhau_node("lost", plan=[on().runs(600)])
@pytest.mark.bacalhau_node("other")
async def test_faults(bacalhau_cluster):
    spec = bac.JobSpec.docker("busybox", selector=bac.Selector(prefer="name = lost"), retry=bac.RetryPolicy(2))
    assert (await bacalhau_cluster.run(spec)).node == "other"

@pytest.mark.usefixtures("bacalhau_cluster")
async def test_virtual_time():
    await anyio.sleep(80000)
    assert anyio.current_time() == 80000

@pytest.mark.bacalhau
async def test_a_cluster_of_ones_own():
    async with testing.VirtualCluster() as cluster:
        assert (await cluster.run(SPEC)).exit_code == 0
""")
    result.assert_outcomes(passed=8)


@pytest.mark.parametrize("given", ["marks", "anyio_mode=auto"])
def test_both_backends(run: Run, given: str) -> None:
    mark, mode = ("@pytest.mark.anyio", "strict") if given == "marks" else ("", "auto")
    result = run(
        f"""
seen = set()

{mark}
async def test_hours(bacalhau_cluster, anyio_backend_name):
    await anyio.sleep(80000)
    assert (await bacalhau_cluster.run(SPEC)).ended_at == 80000
    seen.add(type(anyio.lowlevel.current_token().native_token).__module__.partition(".")[0])
    assert anyio_backend_name in str(anyio.lowlevel.current_token().native_token) or anyio_backend_name == "asyncio"

@pytest.fixture(scope="module", autouse=True)
def both():
    yield
    assert seen == {{"bacalhau_sdk", "trio"}}  # whose event loops they are
""",
        "-o",
        f"anyio_mode={mode}",
    )
    result.assert_outcomes(passed=2)


def test_async_fixtures_share_the_virtual_loop_of_the_backend(run: Run) -> None:
    result = run(f"""
pytestmark = pytest.mark.anyio

{how_to.async_fixture()}
@pytest.fixture
async def slept():
    await anyio.sleep(3600)
    return anyio.lowlevel.current_token()

async def test_the_loop_is_one(bacalhau_cluster, slept):
    assert anyio.current_time() == 3600
    assert anyio.lowlevel.current_token() == slept
    assert (await bacalhau_cluster.run(SPEC)).ended_at == 3600

@pytest.mark.bacalhau(limit=60)
async def test_the_limit_holds(slept):
    with pytest.raises(TimeoutError):
        with anyio.fail_after(59):
            await anyio.sleep_forever()
    await anyio.sleep(2)
""")
    result.assert_outcomes(passed=2, failed=2)
    assert "VirtualTimeError: ran out of virtual time: not done after 60 seconds" in messages_of(result)


def test_async_fixtures_in_real_time_are_refused(run: Run) -> None:
    result = run("""
@pytest.fixture
async def real():
    await anyio.sleep(0)

@pytest.mark.anyio
async def test_with_it(bacalhau_cluster, real):
    pass
""")
    result.assert_outcomes(failed=2)
    assert messages_of(result).count("an async fixture of this test runs in real time") == 2
    assert "have a fixture anyio_backend return testing.virtual_backend(" in messages_of(result)


def test_an_error_of_the_test_is_never_taken_for_that(run: Run) -> None:
    result = run("""
async def fails():
    raise RuntimeError("Already running: migration 7")

def test_plain(bacalhau_run):
    bacalhau_run(fails)

async def test_async(bacalhau_cluster):
    await fails()
""")
    result.assert_outcomes(failed=2)
    assert messages_of(result).count("\nRuntimeError: Already running: migration 7") == 2
    assert "VirtualTimeError" not in result.stdout.str()


def test_an_async_property_is_refused(run: Run) -> None:
    result = run("""
from hypothesis import given, strategies

@pytest.mark.anyio
@pytest.mark.bacalhau
@given(hours=strategies.integers(1, 8))
async def test_async(hours):
    await anyio.sleep(0)

@pytest.mark.bacalhau
@given(hours=strategies.integers(1, 8))
def test_plain(hours):
    testing.run(anyio.sleep, hours * 3600)
""")
    result.assert_outcomes(failed=2, passed=1)
    told = messages_of(result)
    assert (
        told.count("hypothesis.given: it would run an async test in real time, outside of any cluster") == 2
    )
    assert told.count("Hint: write 'def', and call testing.run in the body of the test") == 2


def test_an_async_test_of_a_class_of_unittest_is_refused(run: Run) -> None:
    result = run("""
import unittest

class TestAsync(unittest.IsolatedAsyncioTestCase):
    @pytest.mark.bacalhau
    async def test_marked(self):
        pass

    @pytest.mark.usefixtures("bacalhau_cluster")
    async def test_in_a_cluster(self):
        pass

    async def test_of_its_own(self):
        pass

class TestPlain(unittest.TestCase):
    @pytest.mark.bacalhau
    def test_plain(self):
        testing.run(anyio.sleep, 3600)
""")
    result.assert_outcomes(failed=2, passed=2)
    told = messages_of(result)
    assert (
        told.count("unittest.TestCase: it would run an async test in real time, outside of any cluster") == 2
    )
    assert told.count("Hint: write 'def', and call testing.run in the body of the test") == 2


def test_plain_tests_run_functions_under_virtual_time(run: Run) -> None:
    result = run("""
async def night(hours, error=None):
    async with testing.VirtualCluster() as cluster:
        await anyio.sleep(hours * 3600)
        if error:
            raise error
        return (await cluster.run(SPEC)).ended_at

@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_it_returns(bacalhau_run, backend):
    assert bacalhau_run(night, 8, backend=backend) == 8 * 3600

def test_what_it_raises(bacalhau_run):
    error = LookupError("mine")
    with pytest.raises(LookupError) as raised:
        bacalhau_run(night, 1, error)
    assert raised.value is error

def test_what_is_no_function(bacalhau_run):
    with pytest.raises(bac.errors.InvalidSpecError, match="give it without calling it"):
        bacalhau_run(8)
    for backend in ("asyncio", "trio"):
        with pytest.raises(bac.errors.InvalidSpecError) as raised:
            bacalhau_run(lambda what: what, 8, backend=backend)
        assert str(raised.value).startswith("function: <function test_what_is_no_function.<locals>.<lambda>")
        assert "is not an async function: it returned 8; write 'async def'" in str(raised.value)

@pytest.mark.bacalhau(limit=100)
def test_the_limit(bacalhau_run):
    with pytest.raises(bac.errors.VirtualTimeError, match="after 100 seconds"):
        bacalhau_run(night, 1)
    with pytest.raises(bac.errors.VirtualTimeError, match="after 200 seconds"):
        bacalhau_run(night, 1, limit=200)
""")
    result.assert_outcomes(passed=5)


def test_decorated_tests_run_as_they_are_decorated(run: Run, pytester: pytest.Pytester) -> None:
    # The session `wheel` of nox does this beside pytest-asyncio.
    shutil.copy(Path(__file__).parent / "decorated.py", pytester.path / "test_decorated.py")
    run().assert_outcomes(passed=5)


# ---- The seed ----


FAILS_WITH_SEVEN = """
async def test_chance(bacalhau_cluster, bacalhau_seed):
    assert bacalhau_seed != 7
"""


def test_a_failure_shows_the_seed_and_how_to_repeat_it(run: Run) -> None:
    assert run(FAILS_WITH_SEVEN).ret == 0
    failed = run("", "--bacalhau-seed=7")
    failed.assert_outcomes(failed=1)
    [line] = re.findall(r"^seed 7; again: pytest (.*)$", failed.stdout.str(), re.MULTILINE)
    again = run("", *shlex.split(line))
    again.assert_outcomes(failed=1)
    assert "- bacalhau -" in again.stdout.str()
    assert "seed 7; again" in again.stdout.str()
    assert "- bacalhau -" not in run("", "--bacalhau-seed=8").stdout.str()


def test_a_seed_that_is_a_parameter_is_the_one_that_is_shown(run: Run) -> None:
    result = run("@pytest.mark.parametrize('bacalhau_seed', [7])" + FAILS_WITH_SEVEN)
    result.assert_outcomes(failed=1)
    assert "seed 7; again: pytest 'test_jobs.py::test_chance[7]' --bacalhau-seed=7" in result.stdout.str()


def test_a_parameter_that_is_no_seed_is_called_what_it_is_called(run: Run) -> None:
    result = run("""
async def nothing():
    pass

@pytest.mark.parametrize("bacalhau_seed", ["a", True])
async def test_in_a_cluster(bacalhau_cluster):
    pass

@pytest.mark.parametrize("bacalhau_seed", ["a"])
def test_plain(bacalhau_run, bacalhau_seed):
    bacalhau_run(nothing)

@pytest.mark.bacalhau
@pytest.mark.parametrize("bacalhau_seed", ["a"])
async def test_marked(bacalhau_seed):
    pass
""")
    result.assert_outcomes(errors=2, failed=2)
    told = messages_of(result)
    assert told.count("InvalidSpecError: bacalhau_seed: 'a' is not a whole number") == 3
    assert told.count("InvalidSpecError: bacalhau_seed: True is not a whole number") == 1


def test_what_no_node_has_is_told_with_what_they_have(run: Run) -> None:
    result = run("""
@pytest.mark.bacalhau_node("a", engines=["dokcer", "wasm"])
async def test_it(bacalhau_cluster):
    await bacalhau_cluster.run(SPEC)
""")
    result.assert_outcomes(failed=1)
    assert "placement is tested; the nodes have dokcer, wasm" in messages_of(result)


def test_the_seed_decides_what_happens(run: Run) -> None:
    code = """
@pytest.mark.anyio
@pytest.mark.bacalhau(faults=[messages().lost(0.3).delayed(0.5, 0.1, 6)])
async def test_course(bacalhau_cluster, bacalhau_seed, anyio_backend):
    jobs = [await bacalhau_cluster.submit(SPEC) for _ in range(3)]
    ends = [(await job.wait(), anyio.current_time()) for job in jobs]
    with open(f"{bacalhau_seed}-{anyio_backend}", "a") as file:
        print([job.id for job in jobs], ends, sep=";", file=file)

@pytest.mark.parametrize("bacalhau_seed", [5, 6])
def test_a_parameter_wins(bacalhau_seed, bacalhau_run):
    assert bacalhau_seed in (5, 6)

@pytest.mark.bacalhau(seed=9)
def test_a_mark_wins(bacalhau_seed):
    assert bacalhau_seed == 9
"""
    first = run(code, "--bacalhau-seed=1")
    first.assert_outcomes(passed=5)
    run("", "--bacalhau-seed=1")
    run("", "--bacalhau-seed=2")
    for backend in ("asyncio", "trio"):
        one, again = Path(f"1-{backend}").read_text(encoding="utf-8").splitlines()
        assert one == again
        [other] = Path(f"2-{backend}").read_text(encoding="utf-8").splitlines()
        assert all(ours != theirs for ours, theirs in zip(one.split(";"), other.split(";"), strict=True))


def test_a_seed_can_be_drawn(run: Run) -> None:
    code = "def test_it(bacalhau_seed):\n    assert bacalhau_seed < 0\n"
    shown = re.compile(r"^seed (\d+); again: .* --bacalhau-seed=(\d+)$", re.MULTILINE)
    seeds = {shown.findall(run(code, "--bacalhau-seed=random").stdout.str())[0] for _ in range(2)}
    assert len(seeds) == 2
    assert all(seed == again for seed, again in seeds)


def test_a_seed_that_is_none_is_refused(run: Run) -> None:
    result = run(FAILS_WITH_SEVEN, "--bacalhau-seed=seven")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--bacalhau-seed: 'seven' is neither a whole number nor 'random'" in result.stderr.str()


# ---- What a test leaves behind ----


LEAKS = {
    "task": (
        "keep.append(asyncio.create_task(asyncio.sleep(100), name='forgotten'))",
        "task 'forgotten': sleep",
    ),
    "thread": (
        "keep.append(threading.Event()); threading.Thread(target=keep[-1].wait, name='busy', daemon=True).start()",
        "thread 'busy'",
    ),
    "descriptor": ("keep.append(open(__file__))", "file descriptor"),
    "process": (
        "keep.append(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE))",
        "child process",
    ),
    "zombie": (
        "keep.append(subprocess.Popen(['true'])); os.waitid(os.P_PID, keep[-1].pid, os.WEXITED | os.WNOWAIT)",
        "which has ended, but nobody waited for it",
    ),
    "folder": ("keep.append(tempfile.mkdtemp(prefix='mine-'))", "temporary folder mine-"),
    "file": (
        "keep.append(tempfile.mkstemp(prefix='mine-')); os.close(keep[-1][0])",
        "temporary file mine-",
    ),
    "file_of_a_process": (
        "subprocess.run([sys.executable, '-c', 'import tempfile; tempfile.mkdtemp(prefix=\"mine-\")'], check=True)",
        "temporary folder mine-",
    ),
}
TIDY = """
@pytest.mark.bacalhau
async def test_a_task_that_has_been_told_to_end():
    asyncio.create_task(asyncio.sleep(100)).cancel()

@pytest.mark.bacalhau
async def test_a_file_in_a_cycle():
    cycle = [open(__file__)]
    cycle.append(cycle)

@pytest.mark.bacalhau
async def test_a_thread_that_is_about_to_end():
    class Ends(threading.Thread):
        def join(self, timeout=None):
            last.set()
            super().join(timeout)
    last = threading.Event()
    Ends(target=last.wait, daemon=True).start()

async def test_what_is_tidied_up(bacalhau_cluster):
    with tempfile.TemporaryDirectory(), tempfile.NamedTemporaryFile(), open(__file__):
        pass
    thread = threading.Thread(target=int)
    thread.start()
    subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.fixture
def held(tmp_path):
    with open(__file__) as file:
        yield file

async def test_what_a_fixture_holds(bacalhau_cluster, held, tmp_path):
    (tmp_path / "file").touch()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors and processes are looked at on Linux only")
def test_what_is_left_behind_is_named(run: Run) -> None:
    tests = "".join(
        f"@pytest.mark.bacalhau\nasync def test_{name}():\n    {statement}\n\n"
        for name, (statement, _) in LEAKS.items()
    )
    result = run(
        "keep = []\n" + tests + TIDY, "-W", "default::ResourceWarning", "-p", "no:unraisableexception"
    )
    result.assert_outcomes(failed=len(LEAKS), passed=5)
    for name, (_, expected) in LEAKS.items():
        [told] = re.findall(
            rf"^_+ test_{name} _+\nthe test left behind:\n((?:  .*\n)+)", result.stdout.str(), re.MULTILINE
        )
        assert expected in told
        # A process has a pipe, too.
        assert told.count("\n") == (2 if name == "process" else 1), told


def test_what_lives_as_long_as_the_process_is_no_leak_and_stays(run: Run) -> None:
    result = run(
        """
import multiprocessing, trio

def echo():
    context = multiprocessing.get_context("forkserver")
    with context.Manager() as manager:
        assert manager.list([1])[0] == 1

@pytest.mark.bacalhau
def test_of_multiprocessing():
    echo()

def test_of_multiprocessing_later():
    echo()

@pytest.mark.bacalhau
def test_of_trio():
    trio.run(trio.to_thread.run_sync, int)

@pytest.mark.bacalhau
def test_of_a_folder_of_the_process():
    keep.append(tempfile.gettempdir())

def test_of_a_folder_of_the_process_later():
    assert os.path.isdir(keep[0])

keep = []
""",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=5)


def test_the_temporary_folder_is_empty_whatever_the_tests_before_did(run: Run) -> None:
    result = run(
        """
import shutil

@pytest.mark.bacalhau
def test_that_fails():
    tempfile.mkdtemp(prefix="mine-")
    raise ValueError("on purpose")

@pytest.mark.bacalhau
@pytest.mark.parametrize("time", [1, 2])
def test_that_removes_it(time):
    assert os.listdir(tempfile.gettempdir()) == []
    shutil.rmtree(tempfile.gettempdir())
""",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines("E  *ValueError: on purpose")


def test_tmp_path_may_be_used_first_in_a_test_that_is_watched(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytester gives pytest a folder in two ways, with either of which this would always pass.
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT")
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("temporary")))
    pytester.makepyfile("""
import pytest

@pytest.mark.bacalhau
def test_first(request):
    (request.getfixturevalue("tmp_path") / "file").touch()

def test_later(tmp_path):
    (tmp_path / "file").touch()
""")
    result = pytester.run(sys.executable, "-m", "pytest", *LOADED, "-W", "error", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
    # The folders of the last runs are kept, as ever; of the check itself nothing is left.
    [kept] = Path("temporary").iterdir()
    assert kept.name.startswith("pytest-of-")


def test_a_leak_in_a_plain_test_or_on_trio_is_found(run: Run) -> None:
    result = run("""
keep = []

async def forgets():
    keep.append(asyncio.create_task(asyncio.sleep(100), name="forgotten"))

def test_plain(bacalhau_run):
    bacalhau_run(forgets)

@pytest.mark.anyio
@pytest.mark.bacalhau
async def test_both():
    import trio
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        await forgets()
    else:
        keep.append(trio.lowlevel.spawn_system_task(trio.sleep, 100, name="forgotten"))
""")
    result.assert_outcomes(failed=3)
    assert result.stdout.str().count("task 'forgotten'") == 3


def test_a_test_that_fails_is_not_told_what_it_leaves(run: Run) -> None:
    result = run("""
async def test_it(bacalhau_cluster):
    tempfile.mkdtemp()
    raise LookupError("mine")
""")
    result.assert_outcomes(failed=1)
    assert "LookupError: mine" in messages_of(result)
    assert "left behind" not in result.stdout.str()
    assert "pytest_run.py" not in result.stdout.str()


AGAIN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem, log=False)
"""


def test_a_run_is_not_blamed_for_what_an_earlier_run_of_the_test_has_left(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(AGAIN)  # what a plugin for repeated runs does
    result = run("""
runs = []

async def forgets():
    runs.append(asyncio.create_task(asyncio.sleep(100), name="forgotten"))

@pytest.fixture
def forgetful(request, bacalhau_run):
    if not runs and request.param == "before":
        bacalhau_run(forgets)
        raise LookupError("only in the first run")
    yield
    if request.param == "after":
        bacalhau_run(forgets)

@pytest.mark.parametrize("forgetful", ["before", "after"], indirect=True)
async def test_of_a_fixture(forgetful):
    pass

async def test_itself(bacalhau_cluster):
    if test_itself not in runs:
        runs.append(test_itself)
        await forgets()
""")
    result.assert_outcomes(passed=3)


def test_the_check_can_be_turned_off(run: Run) -> None:
    result = run("""
@pytest.mark.bacalhau(leak_check=False)
async def test_it(bacalhau_cluster):
    keep = asyncio.create_task(asyncio.sleep(100))
""")
    result.assert_outcomes(passed=1)


# ---- Wrong arguments ----


WRONG = {
    "bacalhau(sed=3)": "pytest.mark.bacalhau: got an unexpected keyword argument 'sed'\n",
    "bacalhau(3)": "pytest.mark.bacalhau: too many positional arguments",
    "bacalhau(seed='x')": "pytest.mark.bacalhau.seed: 'x' is not a whole number",
    "bacalhau(limit=0)": "pytest.mark.bacalhau.limit: 0 is not a number of seconds above 0",
    "bacalhau(leak_check=1)": "pytest.mark.bacalhau.leak_check: 1 is neither True nor False",
    "bacalhau(faults=[3])": "pytest.mark.bacalhau.faults[0]: 3 does not say what goes wrong",
    "bacalhau(faults=[link('typo').cut(1)])": "pytest.mark.bacalhau.faults: 'typo' is no party: they are orchestrator, virtual",
    "bacalhau_node()": "pytest.mark.bacalhau_node: missing a required argument: 'name'",
    "bacalhau_node('a', engine='wasm')": "pytest.mark.bacalhau_node: got an unexpected keyword argument 'engine'",
    "bacalhau_node('a', platforms='x')": "pytest.mark.bacalhau_node('a').platforms: 'x' is not a platform",
    "bacalhau_node('a', engines=3)": "pytest.mark.bacalhau_node('a').engines: 3 is neither a text nor a list",
    "bacalhau_node('a', plan=3)": "pytest.mark.bacalhau_node('a').plan[0]: ",
    "bacalhau_node('a', labels=3)": "pytest.mark.bacalhau_node('a').labels: 3 is not a mapping",
    "bacalhau_node('')": "pytest.mark.bacalhau_node('').name: '' is not a node's name",
    "bacalhau_node('a')\n@pytest.mark.bacalhau_node('a')": "bacalhau_node('a'): another mark of this test has that name",
}


def test_wrong_arguments_are_told_where_they_are(run: Run) -> None:
    tests = "".join(
        f"@pytest.mark.{mark}\nasync def test_{number}(bacalhau_cluster):\n    pass\n\n"
        for number, mark in enumerate(WRONG)
    )
    result = run(f"{tests}\ndef test_plain(bacalhau_cluster):\n    pass\n", "-p", "no:randomly")
    result.assert_outcomes(errors=len(WRONG), failed=1)
    told = messages_of(result)
    for number, (mark, expected) in enumerate(WRONG.items()):
        [section] = re.findall(
            rf"^_+ ERROR at setup of test_{number} _+\n(.*?)^-+ bacalhau", told, re.MULTILINE | re.DOTALL
        )
        assert "bacalhau_sdk.errors.InvalidSpecError: " in section, mark
        assert expected in section, mark
    assert "bacalhau_cluster: it is open in an event loop, and a plain test has none" in told
    assert "Hint: write 'async def'; or run a function with bacalhau_run" in told


# ---- What it costs, and how it is found ----


MODULES = """
import json, sys

def pytest_unconfigure():
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)
"""


@pytest.mark.parametrize("what", ["run", "collect"])
def test_a_suite_that_does_not_use_it_loads_nothing(pytester: pytest.Pytester, what: str) -> None:
    pytester.makeconftest(MODULES)
    pytester.makepyfile("def test_it(tmp_path):\n    pass\n")
    alone = ("-p", "no:anyio", "-p", "no:randomly", "-p", "no:hypothesispytest")
    only = ("--collect-only",) if what == "collect" else ()

    def modules(*arguments: str) -> set[str]:
        assert pytester.runpytest_subprocess(*alone, *only, *arguments).ret == 0
        return set(json.loads(Path("modules.json").read_text(encoding="utf-8")))

    loaded = modules(*LOADED)
    ours = {name for name in loaded if name.partition(".")[0] == "bacalhau_sdk"}
    assert ours == {"bacalhau_sdk", "bacalhau_sdk.integrations", MODULE}
    without = modules(*(("-p", "no:bacalhau_sdk") if not LOADED else ()))
    assert {name.partition(".")[0] for name in loaded - without - ours} <= set(sys.stdlib_module_names)
    assert loaded.isdisjoint({"anyio", "attr", "cattrs", "docker", "trio", "wasmtime"})


def test_pytest_lists_fixtures_and_marks(run: Run) -> None:
    fixtures = run("", "--fixtures").stdout.str()
    for name in ("bacalhau_cluster", "bacalhau_run", "bacalhau_seed"):
        assert re.search(rf"^{name} -- .*\n    \S", fixtures, re.MULTILINE), name
    marks = run("", "--markers").stdout.str()
    assert "@pytest.mark.bacalhau(*, faults=()" in marks
    assert "@pytest.mark.bacalhau_node(name, *, engines" in marks


def test_the_code_of_the_how_to_runs(run: Run) -> None:
    code = how_to.module_of_tests()
    result = run(code)
    result.assert_outcomes(passed=len(re.findall("^(?:async )?def test_", code, re.MULTILINE)) + 4 + 1)
