"""One guest: a WASI preview 1 command in a thread, which can be killed at any time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, cast

from attrs import frozen

from ...abc.executor import TaskIO
from ...errors import InputError, InvalidModuleError
from ...model.paths import normalise_guest_path
from ...model.problems import key_path, printable
from ...model.resources import format_bytes
from .modules import WASI, CompiledModule, new_engine
from .poll import Poll

if TYPE_CHECKING:
    from wasmtime import Engine, Linker, Module, Store

__all__ = ["Command", "Guest", "GuestEnd", "Preopen", "plan_preopens"]

# Far more than real modules have; so many elements take 8 MB of the host's memory.
_TABLE_ELEMENTS_MAX = 1_000_000
_TABLES_MAX = 16
_INSTANCES = 2  # the guest, and the module that may end it
_TRAP_LENGTH_MAX = 4096
# "    0:  0x28 - module!function", without the offset where the stack has overflowed.
_FRAME = re.compile(r" +\d+: +(?:(0x[0-9a-f]+) - )?[^!]*!(.*)")


# Before version 50, wasmtime-py keeps callbacks in a table that two threads must not change at once.
_CALLBACKS = threading.Lock()


@contextmanager
def _new_linker(engine: Engine) -> Generator[Linker]:
    """Make a linker; what was linked must be closed before it is left, for then its callbacks are given back."""
    from wasmtime import Linker

    linker = Linker(engine)
    try:
        yield linker
    finally:
        with _CALLBACKS:
            linker.close()


class _Global(Protocol):
    def value(self, store: Store) -> int: ...


@frozen
class Preopen:
    """A folder of the host that a guest sees.

    Attributes:
        guest: Its absolute path there.
        host: Its path here.
        writable: Whether the guest may change what is in it.
    """

    guest: str
    host: Path
    writable: bool


def plan_preopens(io: TaskIO) -> tuple[Preopen, ...]:
    """Say which folders show a task's inputs and outputs; looks at the file system.

    WASI shows nothing but folders. A file is shown by the folder that it is in, where there is nothing but
    inputs; that folder is writable when one of the inputs that need it is.

    Raises:
        InputError: Two folders of the host would have to be at one place.
    """
    plan: dict[str, Preopen] = {}
    for path, host in io.outputs.items():
        guest = normalise_guest_path(path)
        plan[guest] = Preopen(guest, host, writable=True)
    for path, host in io.inputs.items():
        guest, folder, writable = normalise_guest_path(path), host, path in io.writable
        if not host.is_dir():
            guest, folder = str(PurePosixPath(guest).parent), host.parent
        other = plan.get(guest, Preopen(guest, folder, writable))
        if other.host != folder:
            raise InputError(
                f"{key_path('inputs', path)}: cannot be shown in {guest!r}, where something else is",
                field=key_path("inputs", path),
                hint="WASI shows nothing but folders: a file input needs a folder that is no output",
            )
        plan[guest] = Preopen(guest, folder, writable or other.writable)
    return tuple(plan.values())


@frozen
class Command:
    """What is run, and within which limits.

    Attributes:
        module: The program.
        entry_point: The exported function that is called.
        argv: The program's name and its arguments.
        env: All of its environment.
        memory_limit: How many bytes of linear memory it may have.
        fuel: How many units of work it may do, or None for any number.
    """

    module: CompiledModule
    entry_point: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    memory_limit: int
    fuel: int | None


@frozen
class GuestEnd:
    """How a guest ended by itself.

    Attributes:
        exit_code: What it gave to ``proc_exit``, from 0 to 2**32 - 1; 0 when the entry point returned; 1
            after a trap.
        trap: Which trap, and where; empty when there was none.
    """

    exit_code: int
    trap: str = ""


class Guest:
    """Runs a command once: `run` in some thread, `kill` in another one.

    A kill takes effect in a sleep at once, else at the next loop or call of the guest. One bulk-memory instruction, such
    as a large ``memory.fill``, cannot be interrupted; the memory limit bounds how long it takes. The engine
    is the guest's own, because an epoch interrupts all that runs on an engine.
    """

    def __init__(self, command: Command, io: TaskIO, stdout: str, stderr: str) -> None:
        self._command = command
        self._io = io
        self._stdout = stdout
        self._stderr = stderr
        self._killed = threading.Event()
        self._poll = Poll(self._killed)
        self._engine = new_engine(command.fuel is not None)

    def kill(self) -> None:
        """Make `run` end, also when it has not begun; not after `close`."""
        # In this order: `run` looks at the event after it has set the deadline that this epoch reaches.
        self._killed.set()
        self._engine.increment_epoch()

    def close(self) -> None:
        """Release the engine; `run` must have ended, or never begin."""
        self._engine.close()

    def run(self) -> GuestEnd:
        """Run the command to its end; blocks. What it returns or raises after a `kill` says nothing.

        Raises:
            InputError: An input cannot be shown to it.
            InvalidModuleError: What it needs to begin is more than the limits allow.
        """
        from wasmtime import Module, Store

        engine, compiled = self._engine, self._command.module
        with (
            _new_linker(engine) as linker,
            closing(Store(engine)) as store,
            closing(Module.deserialize(engine, compiled.ending_module)) as ending_module,
            closing(Module.deserialize(engine, compiled.code)) as module,
        ):
            self._limit(store)
            self._give_wasi(store)
            exit_code = self._link(store, linker, ending_module)
            store.set_epoch_deadline(1)
            if self._killed.is_set():
                return GuestEnd(1)
            end: GuestEnd | Exception
            try:
                end = self._call(store, linker, module)
            except Exception as error:  # noqa: BLE001 - raised below
                end = error
            # First the code: wasmtime-py may raise here, in place of the trap, what somebody else's callback raised.
            code = exit_code()
            if code is not None:
                return GuestEnd(code)
            end = self._poll.fault or end
            if isinstance(end, Exception):
                raise end
            return end

    def _limit(self, store: Store) -> None:
        store.set_limits(
            memory_size=self._command.memory_limit,
            table_elements=_TABLE_ELEMENTS_MAX,
            instances=_INSTANCES,
            tables=_TABLES_MAX,
            memories=1,
        )
        if self._command.fuel is not None:
            store.set_fuel(self._command.fuel)

    def _give_wasi(self, store: Store) -> None:
        from wasmtime import WasiConfig

        with closing(WasiConfig()) as config:
            self._poll.start_clock()
            config.argv = list(self._command.argv)
            config.env = list(self._command.env.items())
            if self._io.stdin is not None:
                config.stdin_file = str(self._io.stdin)
            config.stdout_file = self._stdout
            config.stderr_file = self._stderr
            for preopen in plan_preopens(self._io):
                config.preopen_dir(str(preopen.host), preopen.guest, preopen.writable)
            store.set_wasi(config)

    def _link(self, store: Store, linker: Linker, ending_module: Module) -> Callable[[], int | None]:
        from wasmtime import FuncType, ValType

        i32 = ValType.i32()
        kind, poll = FuncType([i32] * 4, [i32]), self._poll.poll_oneoff
        with _CALLBACKS:
            linker.define_func("host", "poll_oneoff", kind, poll, access_caller=True)
        exported = linker.instantiate(store, ending_module).exports(store)
        linker.define_wasi()
        linker.allow_shadowing = True
        for name in ("proc_exit", "poll_oneoff"):
            linker.define(store, WASI, name, exported[name])
        exited, code = cast("_Global", exported["exited"]), cast("_Global", exported["code"])

        def exit_code() -> int | None:
            return code.value(store) & 0xFFFFFFFF if exited.value(store) else None

        return exit_code

    def _call(self, store: Store, linker: Linker, module: Module) -> GuestEnd:
        from wasmtime import Func, Trap, WasmtimeError

        try:
            exports = linker.instantiate(store, module).exports(store)
            self._poll.memory = exports.get("memory")
            entry = exports[self._command.entry_point]
            assert isinstance(entry, Func)
            entry(store)
        except Trap as trap:
            with closing(trap):  # it holds on to the module, and its traceback to it
                return GuestEnd(1, self._describe(trap))
        except WasmtimeError as error:
            first = str(error).partition("\n")[0]
            if first.startswith("error while executing"):  # what WASI did not want to answer with an errno
                with closing(error):
                    return GuestEnd(1, self._describe(error))
            if "limit" not in first:
                raise
            limit = format_bytes(self._command.memory_limit)
            raise InvalidModuleError(
                f"the module cannot begin within its limits: {printable(first)}"
                + (f"; its memory limit is {limit}" if "memory" in first else ""),
                field="resources.memory" if "memory" in first else "engine.module",
                hint=(
                    "ask for more with resources=Resources(memory=...)"
                    if "memory" in first
                    else "build the module with smaller tables"
                ),
            ) from None
        return GuestEnd(0)

    def _describe(self, trap: Exception) -> str:
        from wasmtime import Trap, TrapCode

        text = _in_two_lines(str(trap))[:_TRAP_LENGTH_MAX]
        if isinstance(trap, Trap) and trap.trap_code is TrapCode.OUT_OF_FUEL:
            return f"the guest is out of fuel: it has used up its {self._command.fuel} units\n{text}"
        return text


def _in_two_lines(text: str) -> str:
    """Shorten what wasmtime says about a trap to the reason and the functions, innermost first.

    Messages end with the last lines of a standard error, and the guest's own words should be among them.
    """
    backtrace, _, reason = text.partition("\n\nCaused by:\n")
    # A note says how to learn more, where the module has debugging information.
    lines = (line for line in backtrace.splitlines()[1:] if not line.startswith("note: "))
    frames = [_FRAME.fullmatch(line) for line in lines]
    if not reason or not all(
        frames
    ):  # WASMTIME_BACKTRACE_DETAILS is set, or it is another version of wasmtime
        return text
    where = (f"{frame[2]} ({frame[1]})" if frame[1] else frame[2] for frame in frames if frame)
    return f"{' '.join(reason.split())}\n  in {', '.join(where)}"
