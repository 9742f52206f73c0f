"""How the pytest plugin runs a test: what its marks say, the cluster around it, virtual time, and what is left afterwards."""

from __future__ import annotations

import inspect
import unittest
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import frozen

import bacalhau_sdk as bac

from .. import testing
from ..errors import InvalidSpecError, Problem, VirtualTimeError
from ..model.problems import is_number, shown
from ..testing.virtual import LIMIT, limit_virtual_time, run_here
from .leaks import watch_leaks

__all__ = ["check_caller", "make_cluster", "marked_limit", "run_watched", "under_virtual_time"]

T = TypeVar("T")

_MARK = "pytest.mark.bacalhau"
_NODE_MARK = "pytest.mark.bacalhau_node"
_EVERY_ENGINE = ("docker", "wasm", "function")
_PORTABLE = ("wasm", "function")  # engines whose jobs run on every platform
_PLATFORMS = ("linux/amd64", "linux/arm64")
# Steps that a task which has been told to end is given for doing so.
_LAST_STEPS = 10


@frozen
class _Settings:
    """What the marks ``bacalhau`` of a test say together."""

    faults: Iterable[testing.LinkFault | testing.MessageFault]
    limit: float | None
    leak_check: bool


# ---- What the fixtures give ----


def make_cluster(item: pytest.Function, seed: int) -> testing.VirtualCluster:
    """Make the cluster that the marks of a test describe, which is not open yet.

    Raises:
        InvalidSpecError: An argument of a mark, or the seed, makes no sense.
    """
    __tracebackhide__ = True
    settings, nodes = _settings(item), _nodes(item)
    _check_seed(seed)
    transport = _renaming(
        "plan", f"{_MARK}.faults", lambda: testing.SimulatedTransport(settings.faults, seed=seed)
    )
    return _renaming(
        "transport.plan",
        f"{_MARK}.faults",
        lambda: testing.VirtualCluster(nodes, transport=transport, seed=seed, limit=settings.limit),
    )


def marked_limit(item: pytest.Function) -> float | None:
    """Return the seconds of virtual time that the marks of a test give it; None where they do not say.

    Raises:
        InvalidSpecError: An argument of a mark makes no sense.
    """
    __tracebackhide__ = True
    return _settings(item).limit


def run_watched(
    left: list[str],
    function: Callable[[], Awaitable[T]],
    backend: testing.BackendName,
    seed: int,
    limit: float | None,
) -> T:
    """Run a function of a test under virtual time, and add to a list, a line each, the tasks that it leaves behind.

    Raises:
        InvalidSpecError: The backend, the seed or the limit makes no sense.
        VirtualTimeError: As `testing.run`; or an event loop for async fixtures is there already.
        BaseException: What the function raises.
    """
    __tracebackhide__ = True
    _check_seed(seed)
    begun = False

    async def watched() -> T:
        __tracebackhide__ = True
        nonlocal begun
        begun = True
        async with _watch_tasks(left):
            return await function()

    try:
        return run_here(watched, backend, seed, LIMIT if limit is None else limit)
    except RuntimeError as error:
        if begun or not str(error).startswith("Already running"):
            raise
        raise VirtualTimeError(
            "an async fixture of this test runs in real time, so the test cannot run under virtual time",
            hint="have a fixture anyio_backend return testing.virtual_backend('asyncio'), for the test and its fixtures",
        ) from error


# ---- The call of a test ----


def check_caller(item: pytest.Function) -> None:
    """See that a test that is to run under virtual time is one that pytest calls.

    Raises:
        InvalidSpecError: It is an async test of a class of unittest, which calls it itself.
    """
    __tracebackhide__ = True
    asked = item.get_closest_marker("bacalhau") is not None or "bacalhau_cluster" in item.fixturenames
    of_unittest = item.cls is not None and issubclass(item.cls, unittest.TestCase)
    if asked and of_unittest and inspect.iscoroutinefunction(inspect.unwrap(item.obj)):
        raise InvalidSpecError(
            [Problem("unittest.TestCase", "it would run an async test in real time, outside of any cluster")],
            hint="write 'def', and call testing.run in the body of the test; or take the test out of the class",
        )


def under_virtual_time(item: pytest.Function, seed: int, left: list[str]) -> AbstractContextManager[None]:
    """Have a block, which calls a test, do so under virtual time if the test is async; then fail it for what it left behind.

    The list has what this run of the test has left already, in its fixtures.

    Raises:
        InvalidSpecError: An argument of a mark makes no sense, or a plain test has a cluster, which it cannot use, or the test
            is an async property of hypothesis.
    """
    __tracebackhide__ = True
    settings = _settings(item)
    if _async_function(item, getattr(getattr(item.obj, "hypothesis", None), "inner_test", None)):
        raise InvalidSpecError(
            [Problem("hypothesis.given", "it would run an async test in real time, outside of any cluster")],
            hint="write 'def', and call testing.run in the body of the test",
        )
    function = _async_function(item, item.obj)
    if function is None and "bacalhau_cluster" in item.funcargs:
        raise InvalidSpecError(
            [Problem("bacalhau_cluster", "it is open in an event loop, and a plain test has none")],
            hint="write 'async def'; or run a function with bacalhau_run, and enter a testing.VirtualCluster in it",
        )
    # What is not async is called by pytest itself, and left alone by the other plugins for async tests.
    return _calling(
        item, item.obj if function is None else _prepare(item, function, seed, left), settings, left
    )


@contextmanager
def _calling(
    item: pytest.Function, function: object, settings: _Settings, left: list[str]
) -> Generator[None]:
    """Have the block call a function instead of the test."""
    __tracebackhide__ = True
    original, item.obj = item.obj, function
    try:
        with watch_leaks(left) if settings.leak_check else nullcontext():
            yield
    finally:
        item.obj = original
    if left and settings.leak_check:
        pytest.fail(
            "the test left behind:\n"
            + "".join(f"  {what}\n" for what in left)
            + "Hint: end, close or remove these in the test; "
            "@pytest.mark.bacalhau(leak_check=False) looks for none",
            pytrace=False,
        )


def _async_function(item: pytest.Function, function: object) -> Callable[..., Awaitable[object]] | None:
    """Return the function of a test as its author wrote it if it is async."""
    if callable(function) and item.get_closest_marker("asyncio") is not None:
        # pytest-asyncio has wrapped it already, for an event loop of its own; what is below is the user's.
        function = inspect.unwrap(function, stop=inspect.iscoroutinefunction)
    return (
        cast("Callable[..., Awaitable[object]]", function) if inspect.iscoroutinefunction(function) else None
    )


def _prepare(
    item: pytest.Function, function: Callable[..., Awaitable[object]], seed: int, left: list[str]
) -> Callable[..., object]:
    """Return what pytest, or anyio's plugin, is to call instead of an async test function."""
    cluster = cast("testing.VirtualCluster | None", item.funcargs.get("bacalhau_cluster"))
    backend = item.funcargs.get("anyio_backend", "asyncio")
    name, options = cast(
        "tuple[testing.BackendName, Mapping[str, object]]",
        backend if isinstance(backend, tuple) else (backend, {}),
    )

    async def in_cluster(**arguments: object) -> object:
        async with cluster or nullcontext():
            return await function(**arguments)

    async def watched(**arguments: object) -> object:
        async with _watch_tasks(left):
            with limit_virtual_time(marked_limit(item)):
                return await in_cluster(**arguments)

    def run(**arguments: object) -> object:
        return run_watched(left, partial(in_cluster, **arguments), name, seed, marked_limit(item))

    # A backend of anyio's plugin that is virtual already also runs the async fixtures of the test.
    virtual = options.get("loop_factory") is testing.VirtualEventLoop or "clock" in options
    return watched if virtual else run


@asynccontextmanager
async def _watch_tasks(left: list[str]) -> AsyncGenerator[None]:
    """Note the tasks that began in the block, and go on after it."""
    before = {task.id for task in anyio.get_running_tasks()}
    yield
    for _ in range(_LAST_STEPS):
        await checkpoint()
    left += [
        f"task {task.name!r}: {getattr(task.coro, '__qualname__', task.coro)}"
        for task in anyio.get_running_tasks()
        if task.id not in before
    ]


# ---- What the marks say ----


def _settings(item: pytest.Function) -> _Settings:
    """Return what the marks ``bacalhau`` say; where several say the same, the closest to the test wins.

    Raises:
        InvalidSpecError: An argument makes no sense.
    """
    __tracebackhide__ = True
    arguments: dict[str, object] = {}
    for mark in reversed(list(item.iter_markers("bacalhau"))):
        _bind(_check_settings, mark)
        arguments |= mark.kwargs
    return _under(_MARK, lambda: _check_settings(**arguments))


def _check_settings(
    *, faults: object = (), seed: object = None, limit: object = None, leak_check: object = True
) -> _Settings:
    __tracebackhide__ = True
    if seed is not None:
        _check_seed(seed, "seed")
    if limit is not None and not (is_number(limit) and limit > 0):
        raise _invalid("limit", f"{limit!r} is not a number of seconds above 0")
    if not isinstance(leak_check, bool):
        raise _invalid("leak_check", f"{leak_check!r} is neither True nor False")
    return _Settings(cast("Iterable[testing.LinkFault]", faults), limit, leak_check)


def _nodes(item: pytest.Function) -> list[bac.Node] | None:
    """Return the nodes of the marks ``bacalhau_node``, as one reads them; of several with a name the closest to the test wins."""
    __tracebackhide__ = True
    nodes: dict[str, tuple[object, bac.Node]] = {}
    for owner, mark in reversed(list(item.iter_markers_with_node("bacalhau_node"))):
        name: str = _bind(_make_node, mark).arguments["name"]
        where = f"{_NODE_MARK}({name!r})"
        if name in nodes and nodes[name][0] is owner:
            raise _invalid(where, "another mark of this test has that name")
        nodes[name] = (owner, _under(where, partial(_make_node, *mark.args, **mark.kwargs)))
    return [node for _, node in nodes.values()] or None


def _make_node(
    name: str,
    *,
    engines: str | Iterable[str] = _EVERY_ENGINE,
    platforms: str | Iterable[str] = _PLATFORMS,
    emulated: str | Iterable[str] = (),
    plan: Iterable[testing.Entry] = (),
    labels: Mapping[str, str] | None = None,
    resources: bac.Resources | None = None,
) -> bac.Node:
    __tracebackhide__ = True
    native, other = _platforms("platforms", platforms), _platforms("emulated", emulated)
    executors = [
        testing.SimulatedEngine(engine, plan=plan)
        if engine in _PORTABLE
        else testing.SimulatedEngine(engine, native, emulated=other, plan=plan)
        for engine in _texts("engines", engines)
    ]
    # Not those of this machine: a test should end alike everywhere.
    room = bac.Resources(cpu=16, memory="64GiB", disk="1TiB") if resources is None else resources
    return bac.Node(name, executors, labels=labels, resources=room)


def _bind(function: Callable[..., object], mark: pytest.Mark) -> inspect.BoundArguments:
    __tracebackhide__ = True
    try:
        return inspect.signature(function).bind(*mark.args, **mark.kwargs)
    except TypeError as error:
        raise InvalidSpecError(
            [Problem(f"pytest.mark.{mark.name}", str(error))], hint="pytest --markers shows the arguments"
        ) from None


def _platforms(path: str, values: str | Iterable[str]) -> list[bac.Platform]:
    __tracebackhide__ = True
    texts = _texts(path, values)
    return _under(path, lambda: [bac.Platform.parse(text) for text in texts])


def _texts(path: str, values: str | Iterable[str]) -> tuple[str, ...]:
    """Return what an argument holds; one text is as good as a list of it."""
    __tracebackhide__ = True
    if isinstance(values, str):
        return (values,)
    if not isinstance(values, Iterable):
        raise _invalid(path, f"{values!r} is neither a text nor a list of texts")
    return tuple(values)


def _check_seed(seed: object, path: str = "bacalhau_seed") -> None:
    """See that a seed is one: of a mark, or of the fixture, which a suite may replace or parametrize."""
    __tracebackhide__ = True
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise _invalid(path, f"{shown(seed)} is not a whole number")


def _invalid(path: str, message: str) -> InvalidSpecError:
    return InvalidSpecError([Problem(path, message)])


def _under(where: str, make: Callable[[], T]) -> T:
    """Return what a function makes; in front of the paths of its `InvalidSpecError` comes where they are."""
    __tracebackhide__ = True
    try:
        return make()
    except InvalidSpecError as error:
        problems = [Problem(f"{where}.{path}".rstrip("."), message) for path, message in error.problems]
        raise InvalidSpecError(problems, hint=error.hint) from None


def _renaming(given: str, written: str, make: Callable[[], T]) -> T:
    """Return what a function makes; its `InvalidSpecError` names an argument as the user wrote it."""
    __tracebackhide__ = True
    try:
        return make()
    except InvalidSpecError as error:
        problems = [
            Problem(written + path.removeprefix(given) if path.startswith(given) else path, message)
            for path, message in error.problems
        ]
        raise InvalidSpecError(problems, hint=error.hint) from None
