"""The pytest plugin: clusters under virtual time for tests of job logic, a seed, and a check for what a test leaves behind.

pytest finds it by its entry point, in every suite beside which the library is installed. So it imports nothing of the library
until a test uses it, which a test does by an argument or by a mark::

    @pytest.mark.bacalhau_node("rack", engines="docker", platforms="linux/arm64", plan=[on().runs(3600)])
    async def test_it_takes_an_hour(bacalhau_cluster):
        result = await bacalhau_cluster.run(JobSpec.docker("busybox"))
        assert result.ended_at == 3600

The how-to is ``docs/how-to/test-job-logic.md``.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple, cast

import pytest

if TYPE_CHECKING:
    from ..testing import BackendName, VirtualCluster

__all__ = ["VirtualRun"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_FIXTURES = frozenset({"bacalhau_cluster", "bacalhau_run", "bacalhau_seed"})
_MARK = (
    "bacalhau(*, faults=(), seed=None, limit=None, leak_check=True): run the test, if it is async, under virtual time, and see "
    "that it leaves nothing behind. faults: the plan of a SimulatedTransport for bacalhau_cluster; seed: instead of that of the "
    "command line; limit: seconds of virtual time after which the test is given up."
)
_NODE_MARK = (
    "bacalhau_node(name, *, engines, platforms, emulated, plan, labels, resources): one node of bacalhau_cluster; a mark for "
    "each. engines: 'docker', 'wasm', 'function' or others, those three by default; platforms: what they run natively; "
    "emulated: what they run by emulation; plan: what executions do, each entry begun by bacalhau_sdk.testing.on()."
)
# The tasks that a run of a test has left behind.
_tasks_left = pytest.StashKey[list[str]]()


class VirtualRun(Protocol):
    """The type of the fixture `bacalhau_run`, for annotations."""

    def __call__(
        self,
        function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        backend: BackendName = "asyncio",
        limit: float | None = None,
    ) -> T:
        """Do what `bacalhau_sdk.testing.run` does, with the seed of the test."""
        ...


@pytest.fixture
def bacalhau_cluster(request: pytest.FixtureRequest, bacalhau_seed: int) -> VirtualCluster:
    """A VirtualCluster for an async test, open while the test runs, under virtual time: hours of jobs take milliseconds.

    Its nodes are those of the marks ``bacalhau_node``; without one it is a node that takes every job and ends it with 0. No
    other plugin is needed; a test that anyio's plugin parametrizes runs on each of its backends, any other on asyncio. For a
    cluster of your own making write ``async with testing.VirtualCluster(...)`` in a test with the mark ``bacalhau``.
    """
    __tracebackhide__ = True
    from .pytest_run import make_cluster

    return make_cluster(_function(request.node), bacalhau_seed)


@pytest.fixture
def bacalhau_run(request: pytest.FixtureRequest, bacalhau_seed: int) -> VirtualRun:
    """``bacalhau_run(async_function, *args)`` runs a function under virtual time and returns what it returns; for plain tests.

    It does what `bacalhau_sdk.testing.run` does, with the seed of the test, and also takes ``backend=`` and ``limit=``.
    """
    from ..testing.virtual import awaiting, check_callable
    from .pytest_run import marked_limit, run_watched

    item = _function(request.node)

    def run(
        function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        backend: BackendName = "asyncio",
        limit: float | None = None,
    ) -> T:
        __tracebackhide__ = True
        check_callable(function)
        limit = marked_limit(item) if limit is None else limit
        return run_watched(_left(item), awaiting(function, *args), backend, bacalhau_seed, limit)

    return run


@pytest.fixture
def bacalhau_seed(request: pytest.FixtureRequest) -> int:
    """The seed of the test: of the mark ``bacalhau``, or else of ``--bacalhau-seed``, which is 0 unless told otherwise.

    For chances of your own. ``@pytest.mark.parametrize("bacalhau_seed", range(20))`` tries many.
    """
    return _seed(_function(request.node))


# ---- Hooks ----


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--bacalhau-seed``."""
    parser.getgroup("bacalhau", "jobs under virtual time (bacalhau_sdk)").addoption(
        "--bacalhau-seed",
        type=_parse_seed,
        default=0,
        metavar="N",
        help="Seed of the tests that use a fixture or mark of bacalhau_sdk: a number, or 'random' for one that is drawn (by each "
        "worker of pytest-xdist); default: 0. A test that fails shows it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    config.addinivalue_line("markers", _MARK)
    config.addinivalue_line("markers", _NODE_MARK)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Call a test that uses the plugin under virtual time, and fail it for what it leaves behind."""
    __tracebackhide__ = True
    if not _is_used_by(pyfuncitem):
        return (yield)
    from .pytest_run import under_virtual_time

    with under_virtual_time(pyfuncitem, _seed(pyfuncitem), _left(pyfuncitem)):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Refuse a test of a class of unittest that is to run under virtual time: unittest itself calls it, in real time."""
    __tracebackhide__ = True
    if isinstance(item, pytest.Function) and _is_used_by(item):
        from .pytest_run import check_caller

        check_caller(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the seed of a test that failed, and how to repeat it; forget what the test has left when its run is over."""
    report = yield
    if report.when == "teardown":  # the test may be run again
        item.stash.get(_tasks_left, list[str]()).clear()
    if report.failed and _is_used_by(item):
        seed = _seed(_function(item))
        again = f"pytest {shlex.quote(item.nodeid)} --bacalhau-seed={seed}"
        report.sections.append(("bacalhau", f"seed {seed}; again: {again}"))
    return report


def _is_used_by(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and (
        not _FIXTURES.isdisjoint(item.fixturenames) or item.get_closest_marker("bacalhau") is not None
    )


def _left(item: pytest.Function) -> list[str]:
    return item.stash.setdefault(_tasks_left, [])


def _seed(item: pytest.Function) -> int:
    # A suite may have a fixture or a parameter of that name.
    seeds = [item.funcargs.get("bacalhau_seed"), *_marked_seeds(item)]
    chosen = next((seed for seed in seeds if seed is not None), item.config.getoption("bacalhau_seed"))
    return cast("int", chosen)


def _marked_seeds(item: pytest.Function) -> Iterator[object]:
    return (mark.kwargs.get("seed") for mark in item.iter_markers("bacalhau"))


def _function(node: object) -> pytest.Function:
    assert isinstance(node, pytest.Function), "the fixtures have the scope of a function"
    return node


def _parse_seed(text: str) -> int:
    if text == "random":
        import secrets

        return secrets.randbelow(2**32)
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor 'random'") from None
