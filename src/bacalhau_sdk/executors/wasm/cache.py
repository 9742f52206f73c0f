"""Keeps compiled modules: in memory, and on the disk through wasmtime's own cache."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio import CapacityLimiter, Event, to_thread
from anyio.abc import TaskGroup
from attrs import define, field

from ...errors import BacalhauError, EngineError, TransientError
from ...host.threads import run_stoppable
from .modules import CompiledModule, compile_module, runtime_version

__all__ = ["ModuleCache"]

_logger = logging.getLogger("bacalhau_sdk")

_BYTES_MAX = 256 << 20
_INLINE_DIGEST_MAX = 1 << 20  # takes less time than the way to a thread and back


@define
class _Flight:
    """A compilation under way and those who wait for it."""

    landed: Event = field(factory=Event)
    outcome: CompiledModule | BacalhauError = field(
        factory=lambda: TransientError("the executor was closed before the module was compiled")
    )


class ModuleCache:
    """Compiles modules and keeps the results; no module is compiled twice at once.

    Args:
        fuel: Whether the modules are for engines with fuel.
        directory: Where wasmtime keeps compiled modules; None is a folder in the user's cache directory. What
            is in it is executed, so one that is not the user's own is not used, nor one that cannot be
            written.
    """

    def __init__(self, fuel: bool, directory: Path | None) -> None:
        self._fuel = fuel
        self._directory = directory
        self._kept: OrderedDict[bytes, CompiledModule] = OrderedDict()
        self._kept_bytes = 0
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: TaskGroup | None = None
        self._limiter: CapacityLimiter | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Let modules be compiled; leaving waits for the compilations that run, for nothing can end them."""
        failure: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._limiter = CapacityLimiter(max(2, os.cpu_count() or 1))
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, where no group is put around it
                failure = error
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()  # what waits for its turn is dropped; what runs is outlasted
        if failure is not None:
            raise failure

    async def get(self, module: bytes) -> CompiledModule:
        """Return a module, compiled now or before.

        A cancelled call returns at once; the compilation goes on, and what comes of it is kept.

        Raises:
            InvalidModuleError: It cannot be compiled.
            ModuleLinkError: It imports what nothing here provides.
            EngineError: The cache is not open.
            TransientError: It was closed meanwhile, or the machine could not do it.
        """
        if len(module) <= _INLINE_DIGEST_MAX:
            digest = hashlib.sha256(module).digest()
        else:
            hasher = await to_thread.run_sync(hashlib.sha256, module, limiter=CapacityLimiter(1))
            digest = hasher.digest()
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        if digest not in self._flights:
            if self._tasks is None:
                raise EngineError("the executor is not open", hint="enter it with 'async with' first")
            self._flights[digest] = _Flight()
            self._tasks.start_soon(self._fly, digest, module)
        flight = self._flights[digest]
        await flight.landed.wait()
        if isinstance(flight.outcome, BacalhauError):
            raise copy.copy(flight.outcome)  # each of those who wait gets a traceback of its own
        return flight.outcome

    async def _fly(self, digest: bytes, module: bytes) -> None:
        flight = self._flights[digest]
        assert self._limiter is not None
        try:
            # Nothing stops a compilation, so a cancellation of this task waits for it.
            compiled = await run_stoppable(partial(self._compile, module), _nothing, limiter=self._limiter)
            self._keep(digest, compiled)
            flight.outcome = compiled
        except BacalhauError as error:
            flight.outcome = error
        except Exception as error:  # noqa: BLE001 - goes to those who wait; it must not end the executor
            flight.outcome = TransientError(f"wasmtime failed: {type(error).__name__}: {error}")
        finally:
            del self._flights[digest]
            flight.landed.set()

    def _compile(self, module: bytes) -> CompiledModule:
        runtime_version()
        return compile_module(module, self._fuel, _disk_cache(self._directory))

    def _keep(self, digest: bytes, compiled: CompiledModule) -> None:
        self._kept[digest] = compiled
        self._kept_bytes += len(compiled.code)
        while self._kept_bytes > _BYTES_MAX:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped.code)


def _nothing() -> None:
    """Do nothing."""


def _disk_cache(directory: Path | None) -> str | None:
    """Return the path of the configuration of wasmtime's cache, or None when there can be none; blocks."""
    try:
        if directory is None:
            import platformdirs

            directory = platformdirs.user_cache_path("bacalhau_sdk", appauthor=False) / "wasm"
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(directory)
        return str(_configuration(directory))
    except OSError as error:
        _logger.warning("compiled WASM modules are not kept on disk: %s", error)
        return None


def _require_private(directory: Path) -> None:
    if sys.platform == "win32":
        return
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user, who could put code into it")
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _configuration(directory: Path) -> Path:
    # A TOML string is written as a JSON one is. A folder of its own, for wasmtime removes what it does not know.
    text = f"[cache]\ndirectory = {json.dumps(str(directory / 'wasmtime'))}\n"
    path = directory / "wasmtime.toml"
    try:
        if path.read_text(encoding="utf-8") == text:
            return path
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    with tempfile.NamedTemporaryFile(
        "w", dir=directory, suffix=".toml", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    Path(file.name).replace(path)  # whole or not at all, whoever else does the same
    return path
