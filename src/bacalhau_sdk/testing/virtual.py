"""Virtual time: an event loop that does not sleep, but sets its clock to the time of the next timer.

Nothing may work in a thread meanwhile: nobody is waiting for anything else, so that the clock would jump. See `VirtualCluster`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import selectors
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, Literal, TypeAlias, TypeVar, TypeVarTuple

import anyio
from anyio import lowlevel
from anyio.lowlevel import RunVar

from ..abc.clock import Clock
from ..errors import VirtualTimeError
from ..host.cancellation import from_any_thread
from ..host.threads import use_no_threads
from ..model.problems import invalid, is_number, shown

__all__ = ["BackendName", "VirtualClock", "VirtualEventLoop", "run", "virtual_backend"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BackendName: TypeAlias = Literal["asyncio", "trio"]
"""The event loop that virtual time is for."""

_limited: RunVar[bool] = RunVar("bacalhau_sdk.testing limited")

LIMIT = 24 * 3600.0
"""Seconds of virtual time after which a test is given up, unless it says otherwise. A node that waits for nothing beats its heart
17,000 times in these, which takes a few real seconds."""


def run(
    function: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    backend: BackendName = "asyncio",
    seed: int = 0,
    limit: float = LIMIT,
) -> T:
    """Run an async function under virtual time, which begins at 0 seconds, and return what it returns.

    Whatever has the same arguments takes the same course, as long as it uses no threads, no sockets and no real clock. Where an
    event loop runs already, as in the cells of a notebook, it has one of its own in another thread, and that one waits for it; an
    interrupt (Ctrl-C) of the wait cancels the function, and context variables of the caller are not seen there.

    Args:
        function: What to run, with ``args``.
        args: The arguments.
        backend: The event loop: ``"asyncio"`` or ``"trio"``.
        seed: On trio, the seed of the order in which tasks that could run at the same time do; asyncio has but one order.
        limit: After how many seconds of virtual time to give up.

    Raises:
        VirtualTimeError: The function has not returned after ``limit`` seconds, or nothing is left that could wake it; or the
            backend cannot be had.
        InvalidSpecError: An argument makes no sense.
        BaseException: What the function raises.
    """
    check_callable(function)
    if not _in_event_loop():
        return run_here(awaiting(function, *args), backend, seed, limit)
    stoppable = _Stoppable(awaiting(function, *args))
    with ThreadPoolExecutor(1) as beside:  # a thread has one event loop at most
        try:
            return beside.submit(run_here, stoppable, backend, seed, limit).result()
        except BaseException:
            stoppable.stop()
            raise


def run_here(function: Callable[[], Awaitable[T]], backend: BackendName, seed: int, limit: float) -> T:
    """Do what `run` does, in this thread.

    Raises:
        RuntimeError: An event loop is there already. And what `run` raises.
    """
    check_limit(limit)

    async def limited() -> T:
        use_no_threads()
        _limited.set(True)
        with _limit(limit):
            return await function()

    name, options = virtual_backend(backend, seed=seed)
    return anyio.run(limited, backend=name, backend_options=options)


def awaiting(function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Callable[[], Awaitable[T]]:
    """Return an async function that calls one with arguments.

    Raises:
        InvalidSpecError: From the function: what it returned cannot be awaited.
    """

    async def call() -> T:
        __tracebackhide__ = True
        made = function(*args)
        if not inspect.isawaitable(made):
            raise invalid(
                f"{shown(function)} is not an async function: it returned {shown(made)}; write 'async def'",
                "function",
            )
        return await made

    return call


class _Stoppable(Generic[T]):
    """An async function that another thread can cancel."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._stopped = False
        self._cancel: Callable[[], object] | None = None

    async def __call__(self) -> T:
        with anyio.CancelScope() as scope:
            self._cancel = from_any_thread(scope.cancel)
            if self._stopped:
                scope.cancel()
            return await self._function()
        raise VirtualTimeError("it was interrupted")  # where the interrupt itself is on its way

    def stop(self) -> None:
        """Cancel it, now or when it begins; it may have ended."""
        self._stopped = True
        if self._cancel is not None:
            self._cancel()


def _in_event_loop() -> bool:
    # anyio alone does not see callbacks of asyncio, such as the lines of a prompt.
    for find in (lowlevel.current_token, asyncio.get_running_loop):
        with suppress(RuntimeError):
            find()
            return True
    return False


def virtual_backend(backend: BackendName, *, seed: int = 0) -> tuple[BackendName, dict[str, object]]:
    """Return a value for the ``anyio_backend`` fixture of anyio's pytest plugin: a backend under virtual time from 0 seconds.

    Each test needs a value of its own, hence a fixture with the scope of a function::

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return testing.virtual_backend(request.param)

    A test that waits for something that never happens fails at once on asyncio, and goes on for ever on trio; a `VirtualCluster`
    has a limit on both.

    Args:
        backend: The event loop: ``"asyncio"`` or ``"trio"``.
        seed: As for `run`.

    Raises:
        VirtualTimeError: The backend cannot be had.
        InvalidSpecError: There is no such backend, or the seed is none.
    """
    check_seed(seed)
    if backend == "asyncio":
        return backend, {"loop_factory": VirtualEventLoop}
    if backend == "trio":
        return backend, {"clock": _trio_clock(seed)}
    raise invalid(f"{shown(backend)} is no backend: it is 'asyncio' or 'trio'", "backend")


def check_callable(function: object) -> None:
    """See that what is to be run can be called.

    Raises:
        InvalidSpecError: It cannot; it may have been called already.
    """
    if not callable(function):
        raise invalid(f"{shown(function)} is not an async function: give it without calling it", "function")


def check_seed(seed: object) -> None:
    """See that a seed is one: the same number gives the same course.

    Raises:
        InvalidSpecError: It is not.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise invalid(f"{shown(seed)} is not a seed: give a whole number", "seed")


def check_limit(limit: object) -> None:
    """See that a limit is a number of seconds, or None.

    Raises:
        InvalidSpecError: It is not.
    """
    if limit is not None and not (is_number(limit) and limit > 0):
        raise invalid(f"{shown(limit)} is not a number of seconds above 0", "limit")


@contextmanager
def limit_virtual_time(limit: float | None) -> Generator[None]:
    """Cancel the block after ``limit`` seconds; None is a day, or no limit of its own inside `run`, which has one.

    Raises:
        VirtualTimeError: That has happened.
    """
    with _limit(limit if limit is not None else math.inf if _limited.get(False) else LIMIT):
        yield


def require_virtual_time() -> None:
    """See that the current event loop has a virtual clock.

    Raises:
        VirtualTimeError: It has a real one.
    """
    token = lowlevel.current_token().native_token
    if not isinstance(token, VirtualEventLoop) and not _on_virtual_trio(token):
        raise VirtualTimeError(
            "the clock of this event loop is a real one",
            hint="call testing.run(), or have the anyio_backend fixture return testing.virtual_backend()",
        )


class VirtualClock(Clock):
    """The clock of the current event loop, which is at 0 seconds when a virtual loop begins."""

    def now(self) -> float:
        """Return the loop's time in seconds."""
        return anyio.current_time()

    async def sleep_until(self, time: float) -> None:
        """Wait until ``now()`` is at least ``time`` seconds; cancellable."""
        await anyio.sleep_until(time)
        while self.now() < time:  # noqa: ASYNC110 - a sum of floats may be a little less
            await anyio.sleep_until(time)


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio under virtual time; it begins at 0 seconds.

    ``asyncio.Runner(loop_factory=VirtualEventLoop)`` uses it, as does whatever else takes a ``loop_factory``.

    Raises:
        VirtualTimeError: While it runs: nothing is left to happen, or a thread would be needed.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer is due once its time is less than this away. asyncio's own nanosecond is lost when it is added to the seconds of
        # more than three months, and the timer would never be due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.time

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Refuse: the clock would jump while a thread works.

        Raises:
            VirtualTimeError: Always.
        """
        raise VirtualTimeError(
            f"no thread may work under virtual time, so {func!r} was not called in one",
            hint="replace what needs it by something that does not, or test it in real time",
        )


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for files as others do, but for no time."""

    time = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise VirtualTimeError(
                f"a deadlock under virtual time: after {self.time:g} seconds every task waits, none for a time",
                hint="they wait for each other, for something from outside, or for a thread, which is not possible",
            )
        self.time += timeout
        return ready


@contextmanager
def _limit(limit: float) -> Generator[None]:
    with anyio.move_on_after(limit) as scope:
        yield
    if scope.cancelled_caught:
        raise VirtualTimeError(
            f"ran out of virtual time: not done after {limit:g} seconds",
            hint="it waits for something that never happens, or needs a larger limit",
        )


def _on_virtual_trio(token: object) -> bool:
    if type(token).__module__.partition(".")[0] != "trio":
        return False
    import trio.testing

    return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


def _trio_clock(seed: int) -> object:
    """Return a virtual clock for a run of trio, and let that run be decided by the seed.

    Trio shuffles what can run at the same time, to show mistakes. It offers no public way to make that repeatable: this is what
    its own tests do.
    """
    try:
        import trio.testing
    except ImportError as error:
        raise VirtualTimeError(
            f"virtual time on trio needs trio: {error}", hint="pip install 'bacalhau-sdk[trio]'"
        ) from error
    internals = vars(importlib.import_module("trio._core._run"))
    if "_ALLOW_DETERMINISTIC_SCHEDULING" not in internals or "_r" not in internals:
        raise VirtualTimeError(
            f"trio {trio.__version__} cannot be made to take the same course twice",
            hint="use another version of trio, or the asyncio backend",
        )
    internals["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    internals["_r"].seed(seed)
    return trio.testing.MockClock(autojump_threshold=0)
