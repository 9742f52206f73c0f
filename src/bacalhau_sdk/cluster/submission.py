"""What `submit` does before a job exists: refuses what cannot be done yet, and reads what travels with the spec."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Never

from attrs import evolve

from ..errors import (
    InputError,
    InputNotFoundError,
    InvalidModuleError,
    UnsafePathError,
    UnsupportedSpecError,
)
from ..host.threads import run_blocking
from ..model.data import BytesSource, Input, PathSource, Source, UrlSource
from ..model.frozenmap import FrozenMap
from ..model.job import JobSpec, JobType, WasmSpec
from ..model.problems import invalid, key_path, printable, shown, shown_path
from ..model.resources import format_bytes

__all__ = ["prepare", "refuse_unsupported"]

MODULE_SIZE_MAX = 256 * 1024 * 1024
"""Bytes of a WASM module at most."""


def refuse_unsupported(spec: JobSpec, engines: frozenset[str]) -> None:
    """See that this version of the library does all that a spec asks for.

    Args:
        spec: The spec.
        engines: The engines of the cluster's nodes.

    Raises:
        InvalidSpecError: It is no spec.
        UnsupportedSpecError: It asks for something that is still to come; the error names the field.
    """
    if not isinstance(spec, JobSpec):
        raise invalid(
            f"{shown(spec)} is not a JobSpec: use JobSpec.wasm, JobSpec.function or JobSpec.docker", "spec"
        )
    if spec.type not in (JobType.BATCH, JobType.OPS):
        _refuse("type", f"{spec.type.value} jobs", "use type='batch' or type='ops'")
    if spec.engine.engine == "docker" and "docker" not in engines:
        _refuse(
            "engine",
            "Docker jobs",
            "testing.SimulatedEngine('docker') stands in where placement is tested; "
            f"the nodes have {printable(', '.join(sorted(engines)))}",
        )
    module = _module(spec)
    if isinstance(module, UrlSource):
        _refuse("engine.module", f"a module from {module.scheme}://", "give its path or its bytes")


async def prepare(spec: JobSpec, modules: MutableMapping[bytes, BytesSource]) -> JobSpec:
    """Return the spec as it is recorded: paths absolute and checked, the WASM module read.

    Args:
        spec: What was submitted.
        modules: Those that were read before, by digest: jobs with the same module share its bytes.

    Raises:
        InputNotFoundError: A path does not exist.
        UnsafePathError: A path is neither a file nor a folder.
        InputError: A path cannot be read, or is a folder where a file is needed.
        InvalidModuleError: The module is too large.
    """
    module = _module(spec)
    if isinstance(module, BytesSource):
        _check_size(len(module.data), "the module")
    sources = [*(given.source for given in spec.inputs.values()), spec.stdin, module]
    if any(isinstance(source, PathSource) for source in sources):
        return await run_blocking(_prepare, spec, modules)
    return spec


def _prepare(spec: JobSpec, modules: MutableMapping[bytes, BytesSource]) -> JobSpec:
    inputs = FrozenMap(
        {
            path: Input(_absolute(given.source, key_path("inputs", path)), given.writable)
            for path, given in spec.inputs.items()
        }
    )
    stdin = None if spec.stdin is None else _absolute(spec.stdin, "stdin", only_file=True)
    engine = spec.engine
    if isinstance(engine, WasmSpec) and isinstance(engine.module, PathSource):
        module = _read(engine.module)
        engine = evolve(engine, module=modules.setdefault(sha256(module.data).digest(), module))
    options = spec.options()
    options["inputs"] = inputs
    options["stdin"] = stdin
    return JobSpec(engine, **options)


def _module(spec: JobSpec) -> Source | None:
    return spec.engine.module if isinstance(spec.engine, WasmSpec) else None


def _absolute(source: Source, field: str, *, only_file: bool = False) -> Source:
    if not isinstance(source, PathSource):
        return source
    try:
        path = Path(source.path).expanduser().resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputNotFoundError(
            f"{field}: {shown_path(source.path)} does not exist",
            field=field,
            hint=_where_it_ends(source.path, field),
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, or no such user
        raise _unreadable(source.path, field, error) from error
    if stat.S_ISDIR(mode) and only_file:
        raise InputError(
            f"{field}: {shown_path(source.path)} is a folder, a file is needed",
            field=field,
            hint="give the path of one of the files in it",
        )
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise UnsafePathError(
            f"{field}: {shown_path(source.path)} is neither a file nor a folder",
            field=field,
            hint="write what it gives into a file, or give it as bytes",
        )
    return PathSource(str(path), folder=stat.S_ISDIR(mode))


def _where_it_ends(given: str, field: str) -> str:
    """Say how far a path that does not exist can be followed."""
    path = Path(given).expanduser().absolute()
    missing = next((each for each in (*reversed(path.parents), path) if not each.exists()), path)
    hint = f"{shown_path(missing.parent)} has no {shown(missing.name)}"
    if Path(given).is_absolute() or field == "engine.module":
        return hint
    return f"{hint}; a text is given as bytes: b'...'"


def _unreadable(path: str, field: str, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error).rstrip(".")
    return InputError(
        f"{field}: {shown_path(path)} cannot be read: {reason}", field=field, hint=_how_to_read(error)
    )


def _how_to_read(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ELOOP or "loop" in str(error):  # a RuntimeError before Python 3.13
        return "a link leads back to itself: give the path of what it was to lead to"
    if number == errno.ENAMETOOLONG:
        return "check the path; a text is given as bytes: b'...'"
    if number == errno.ENOTDIR:
        return "a file is on the way: check the path"
    if isinstance(error, RuntimeError):
        return "give the whole path instead of '~'"
    return "see to its permissions, or copy it to where it can be read"


def _read(module: PathSource) -> BytesSource:
    field = "engine.module"
    path = _absolute(module, field, only_file=True)
    assert isinstance(path, PathSource)
    try:
        with Path(path.path).open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size, shown_path(module.path))
            return BytesSource(file.read())
    except OSError as error:
        raise _unreadable(module.path, field, error) from error


def _check_size(size: int, name: str) -> None:
    if size > MODULE_SIZE_MAX:
        field = "engine.module"
        raise InvalidModuleError(
            f"{field}: {name} is too large: {size} bytes, more than {format_bytes(MODULE_SIZE_MAX)}",
            field=field,
            hint="give data as inputs instead of building it in, and strip debug information",
        )


def _refuse(field: str, what: str, hint: str) -> Never:
    raise UnsupportedSpecError(f"{field}: this version does not do {what} yet", field=field, hint=hint)
