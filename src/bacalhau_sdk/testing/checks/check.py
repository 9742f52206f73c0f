"""What a conformance check is: a name, the sentence of the port that it holds somebody to, and a body that looks."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Generic, TypeVar, cast

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint
from attrs import define, field, frozen

from ...errors import BacalhauError, CheckFailedError
from ...host.cancellation import being_cancelled
from ...host.folders import remove_folder
from ...host.threads import run_blocking

__all__ = [
    "LIMIT",
    "WATCH",
    "BrokenPromiseError",
    "Check",
    "awaiting",
    "cancel_after",
    "expect",
    "folder",
    "read_tree",
]

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

LIMIT = 60.0
"""Seconds after which a check is given up; none needs more than a few."""

WATCH = 0.3
"""Seconds for which a check watches that something does not happen any more."""


class BrokenPromiseError(Exception):
    """What the body of a check raises: what was seen instead of what was promised; from the error that made it so, if any."""


@define
class _Time:
    """That of a check, and what it was waiting for when that was up."""

    scope: CancelScope
    awaited: str = ""


_time: ContextVar[_Time | None] = ContextVar("_time", default=None)


@frozen
class Check(Generic[S_contra]):
    """One promise of a port, as a function that looks whether an implementation keeps it.

    It is called in any event loop of asyncio or trio, in real time, and knows of no test runner. Every call makes what it needs
    by itself, and leaves nothing.

    Attributes:
        name: Of the check: what is seen of an implementation that keeps the promise.
        port: The class, or the value that it is given, in whose documentation the promise stands.
        promise: The sentence that is checked, as it stands there.
    """

    name: str
    port: type[object]
    promise: str
    _look: Callable[[S_contra], Awaitable[None]] = field(repr=False)

    async def __call__(self, subject: S_contra, *, limit: float = LIMIT) -> None:
        """Hold an implementation to the promise.

        Args:
            subject: What makes the implementation, as the tuple of the checks says.
            limit: After how many seconds to give up. What cannot be cancelled, or blocks the event loop, delays that: the
                programs that checks run end by themselves after half a minute.

        Raises:
            CheckFailedError: The promise is broken, or whatever was called has raised or hung.
        """
        seen: str | None = None
        cause: BaseException | None = None
        time = _Time(CancelScope(deadline=anyio.current_time() + limit))
        token = _time.set(time)
        with time.scope as scope:
            try:
                await self._look(subject)
            except Exception as error:  # noqa: BLE001 - whatever an implementation raises, the check says which promise it broke
                cause = _first(error)
                seen = (
                    str(cause)
                    if isinstance(cause, BrokenPromiseError)
                    else f"{type(cause).__name__}: {cause}"
                )
                cause = (isinstance(cause, BrokenPromiseError) and cause.__cause__) or cause
            except anyio.get_cancelled_exc_class():
                if await being_cancelled():
                    raise
                seen = "a cancellation that nobody had asked for"
            finally:
                _time.reset(token)
        if scope.cancelled_caught:
            seen = f"it was not done after {limit:g} seconds{time.awaited and f': {time.awaited}'}"
        if seen is not None:
            raise CheckFailedError(
                f"{self.name}: {seen}\n{self.port.__name__} promises: {self.promise}",
                check=self.name,
                promise=self.promise,
                seen=seen,
            ) from cause

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Promises(Generic[S]):
    """Collects the checks of a port: each is an async function, decorated with the promise that it is about."""

    def __init__(self) -> None:
        self._checks: list[Check[S]] = []

    def __call__(
        self, port: type[object], promise: str
    ) -> Callable[[Callable[[S], Awaitable[None]]], Callable[[S], Awaitable[None]]]:
        """Note a function as a check; its name is the check's."""

        def note(look: Callable[[S], Awaitable[None]]) -> Callable[[S], Awaitable[None]]:
            name = getattr(look, "__name__", "").strip("_").replace("_", " ")
            self._checks.append(Check(name, port, promise, look))
            return look

        return note

    def __iter__(self) -> Iterator[Check[S]]:
        """Return the checks, in the order in which they were noted."""
        return iter(self._checks)


def expect(kept: object, seen: str) -> None:
    """See that a promise is kept.

    Raises:
        BrokenPromiseError: It is not; ``seen`` says what was seen instead.
    """
    if not kept:
        raise BrokenPromiseError(seen)


@contextmanager
def awaiting(missing: Callable[[], str]) -> Generator[None]:
    """Have a check say what is missing, in the words of a sentence, if its time is up within the block."""
    done = False
    try:
        yield
        done = True
    finally:
        time = _time.get()
        if not done and time is not None and time.scope.cancel_called:
            time.awaited = time.awaited or missing()


async def cancel_after(turns: int, scope: CancelScope) -> None:
    """Cancel a scope when the event loop has turned some times; a task for this is begun just before what is cancelled."""
    for _ in range(turns):
        await checkpoint()
    scope.cancel()


@asynccontextmanager
async def folder() -> AsyncGenerator[Path, None]:
    """Give an empty folder for the block, and remove it afterwards, unless what is checked is still at work in it."""
    made = Path(await run_blocking(tempfile.mkdtemp, None, "bacalhau-check-"))
    try:
        yield made
    finally:
        with CancelScope(shield=True), suppress(OSError):
            await run_blocking(remove_folder, made)


async def read_tree(path: Path) -> dict[str, bytes | None]:
    """Return the files of a folder by relative path, None for a folder; of a file under the name ``.``."""
    return await run_blocking(_read_tree, path)


def _read_tree(path: Path) -> dict[str, bytes | None]:
    if not path.is_dir():
        return {".": path.read_bytes()}
    return {
        each.relative_to(path).as_posix(): each.read_bytes() if each.is_file() else None
        for each in sorted(path.rglob("*"))
    }


def _first(error: Exception) -> Exception:
    """Return what was raised first of what a group holds; what was seen of a promise comes before the errors that follow it."""
    if not isinstance(error, ExceptionGroup):
        return error
    leaves = [_first(each) for each in cast("ExceptionGroup[Exception]", error).exceptions]
    known = [
        each for kind in (BrokenPromiseError, BacalhauError) for each in leaves if isinstance(each, kind)
    ]
    return (known or leaves)[0]
