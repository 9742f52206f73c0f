"""The wasmtime that is installed, and the modules that it compiles."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from attrs import frozen

from ...errors import (
    EngineError,
    EntryPointError,
    InvalidModuleError,
    ModuleLinkError,
    VulnerableRuntimeError,
)
from ...model.problems import printable, shown

if TYPE_CHECKING:
    from wasmtime import Engine, Module

__all__ = [
    "WASI",
    "CompiledModule",
    "compile_module",
    "new_engine",
    "require_binary",
    "runtime_version",
    "summary",
]

WASI = "wasi_snapshot_preview1"
_WASMTIME_MIN = 48
_BINARY, _COMPONENT = b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"
_NAMES_SHOWN, _NAME_LENGTH = 10, 80

# What a module may not use of WebAssembly: that by which wasmtime was attacked, that whose memory the limits
# of a store do not count, and that whose results differ from machine to machine.
_FEATURES_OFF = (
    "shared_memory",
    "wasm_component_model",
    "wasm_custom_page_sizes",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_relaxed_simd",
    "wasm_stack_switching",
    "wasm_threads",
    "wasm_wide_arithmetic",
)

# The two functions of WASI that may end a guest, as a module that traps. A Python callback could only raise, and what
# one raises may surface in another thread; an epoch lets the guest go on until its next loop or call, whereas after
# this trap nothing of it runs. (wasmtime's own proc_exit, besides, loses every code from 126 up.)
_ENDING_MODULE = """
(module
  (import "host" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (global $exited (export "exited") (mut i32) (i32.const 0))
  (global $code (export "code") (mut i32) (i32.const 0))
  (func (export "proc_exit") (param i32)
    (global.set $exited (i32.const 1))
    (global.set $code (local.get 0))
    unreachable)
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) (local $errno i32)
    (local.set $errno (call $poll_oneoff (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (if (i32.lt_s (local.get $errno) (i32.const 0)) (then unreachable))
    (local.get $errno)))
"""


def runtime_version() -> str:
    """Return the version of the installed wasmtime; reads files.

    Raises:
        EngineError: There is none.
        VulnerableRuntimeError: It is older than 48: its guests can reach files that they were not given.
    """
    try:
        version = importlib.metadata.version("wasmtime")
    except importlib.metadata.PackageNotFoundError:
        raise EngineError(
            "wasmtime is not installed", hint=f"pip install 'wasmtime>={_WASMTIME_MIN}'"
        ) from None
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < _WASMTIME_MIN:
        raise VulnerableRuntimeError(
            f"wasmtime {version} has a known sandbox escape (GHSA-vqjp-4c8c-hfgg), mended in {_WASMTIME_MIN}",
            hint=f"pip install 'wasmtime>={_WASMTIME_MIN}'",
        )
    return version


def new_engine(fuel: bool, cache: str | None = None) -> Engine:
    """Make an engine whose guests can be interrupted; engines of equal ``fuel`` take each other's compiled modules.

    Args:
        fuel: Whether guests use up fuel.
        cache: The path of wasmtime's configuration of its cache on disk, or None.
    """
    from wasmtime import Config, Engine

    config = Config()
    config.epoch_interruption = True
    config.consume_fuel = fuel
    # With signals, a faulthandler that is enabled later makes every trap the death of the process, and each
    # guest reserves 4 GiB of address space.
    config.signals_based_traps = False
    for feature in _FEATURES_OFF:
        setattr(config, feature, False)
    if cache is not None:
        config.cache = cache
    return Engine(config)


def require_binary(module: bytes) -> None:
    """Check that bytes begin as a binary module does.

    Raises:
        InvalidModuleError: They do not; the message says what they are instead.
    """
    if module.startswith(_BINARY):
        return
    if module.startswith(_COMPONENT):
        raise InvalidModuleError(
            "the module is a WebAssembly component; what runs here is a core module with WASI preview 1",
            field="engine.module",
            hint="build it for wasm32-wasip1 (wasm32-wasi) instead of wasm32-wasip2",
        )
    if module.lstrip().startswith((b"(", b";;")):
        raise InvalidModuleError(
            "the module is WebAssembly text",
            field="engine.module",
            hint="translate it into a binary with wat2wasm",
        )
    if module.startswith(b"\x7fELF"):
        raise InvalidModuleError(
            "the module is native code, which is never loaded",
            field="engine.module",
            hint="submit the .wasm instead of the .cwasm file",
        )
    found = f"begins with {module[:8]!r}" if module else "is empty"
    raise InvalidModuleError(
        f"the module is not a WebAssembly binary: it {found}",
        field="engine.module",
        hint="submit the .wasm file that a compiler for wasm32-wasip1 (zig: wasm32-wasi) makes",
    )


@frozen
class CompiledModule:
    """A module as native code; made here, never taken from anybody.

    Attributes:
        code: The module as wasmtime serialises it.
        ending_module: The same of the small module that gives it ``proc_exit`` and ``poll_oneoff``.
        exports: By name, what makes an export unfit to be the entry point; empty for one that is fit.
    """

    code: bytes | bytearray
    ending_module: bytes | bytearray
    exports: Mapping[str, str]

    def require_entry_point(self, name: str) -> None:
        """Check that the entry point is there and can be called.

        Raises:
            EntryPointError: It is not there, is no function, or has parameters or results.
        """
        unfit = self.exports.get(name, "is not exported")
        if unfit:
            fit = [other for other, reason in self.exports.items() if not reason]
            raise EntryPointError(
                f"the entry point {shown(name)} {unfit}; it must be a function without parameters and results",
                field="engine.entry_point",
                hint=(
                    f"the module exports {_listed(fit)}: name one of them as entry_point"
                    if fit
                    else "the module exports none: build it as a command, which exports '_start'"
                ),
            )


def compile_module(module: bytes, fuel: bool, cache: str | None) -> CompiledModule:
    """Compile a module for engines of that ``fuel``; blocks, for seconds when it is large, and cannot be interrupted.

    Args:
        module: The binary.
        fuel: As in `new_engine`.
        cache: As in `new_engine`.

    Raises:
        InvalidModuleError: It is no valid module, or uses what is not allowed.
        ModuleLinkError: It imports what nothing here provides; every such import is named.
    """
    from wasmtime import Module, WasmtimeError

    with closing(new_engine(fuel, cache)) as engine:
        try:
            compiled = Module(engine, module)
        except WasmtimeError as error:
            raise InvalidModuleError(
                f"the module cannot be compiled: {summary(error)}",
                field="engine.module",
                hint="WebAssembly 2.0 with tail calls is what a module may use; if it should be that, build or copy it anew",
            ) from None
        with closing(compiled):
            _require_imports(engine, compiled)
            return CompiledModule(compiled.serialize(), _ending_module(fuel), _exports(compiled))


@functools.cache
def _ending_module(fuel: bool) -> bytes:
    from wasmtime import Module, wat2wasm

    with (
        closing(new_engine(fuel)) as engine,
        closing(Module(engine, bytes(wat2wasm(_ENDING_MODULE)))) as module,
    ):
        return bytes(module.serialize())


def _exports(module: Module) -> dict[str, str]:
    from wasmtime import FuncType

    unfit: dict[str, str] = {}
    for export in module.exports:
        kind = export.type
        if not isinstance(kind, FuncType):
            unfit[export.name] = f"is a {type(kind).__name__.removesuffix('Type').lower()}"
        else:
            # Counted only: to look at a v128 aborts the whole process in wasmtime 50.
            counts = len(kind.params), len(kind.results)
            unfit[export.name] = f"has {counts[0]} parameters and {counts[1]} results" if any(counts) else ""
    return unfit


def _require_imports(engine: Engine, module: Module) -> None:
    from wasmtime import Linker, Store, WasmtimeError

    with ExitStack() as closed:
        store = closed.enter_context(closing(Store(engine)))
        linker = closed.enter_context(closing(Linker(engine)))
        linker.define_wasi()
        missing: list[str] = []
        for wanted in module.imports:
            try:
                linker.get(store, wanted.module, wanted.name or "")
            except WasmtimeError:
                missing.append(f"{wanted.module}.{wanted.name}")
        if missing:
            raise ModuleLinkError(
                f"the module imports what nothing here provides: {_listed(missing)}",
                field="engine.module",
                hint=f"build it as a command for WASI preview 1, whose functions are in {WASI}",
            )
        try:
            closed.enter_context(closing(linker.instantiate_pre(module)))
        except WasmtimeError as error:
            raise ModuleLinkError(
                f"an import of the module has the wrong type: {summary(error)}",
                field="engine.module",
                hint="build it anew as a command for WASI preview 1",
            ) from None


def summary(error: Exception) -> str:
    """Return what wasmtime says in several lines as one."""
    lines = (line.strip() for line in str(error).splitlines())
    return printable(": ".join(line for line in lines if line and line != "Caused by:"))


def _listed(names: list[str]) -> str:
    # The names are the module's, which may try to command a terminal.
    told = ", ".join(printable(name[:_NAME_LENGTH]) for name in names[:_NAMES_SHOWN])
    return f"{told} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else told
