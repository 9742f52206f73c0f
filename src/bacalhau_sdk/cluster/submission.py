"""What `submit` does before a job exists: refuses what cannot be done yet, and reads what travels with the spec."""

from __future__ import annotations

import stat
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Never

from attrs import evolve

from ..errors import InputError, InputNotFoundError, UnsafePathError, UnsupportedSpecError
from ..host.threads import run_blocking
from ..model.data import BytesSource, Input, PathSource, Source
from ..model.frozenmap import FrozenMap
from ..model.job import JobSpec, JobType, WasmSpec
from ..model.problems import invalid

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
            f"{spec!r} is not a JobSpec: use JobSpec.wasm, JobSpec.function or JobSpec.docker", "spec"
        )
    if spec.type not in (JobType.BATCH, JobType.OPS):
        _refuse("type", f"{spec.type.value} jobs", "use type='batch' or type='ops'")
    if spec.engine.engine == "docker" and "docker" not in engines:
        _refuse(
            "engine", "Docker jobs", "testing.SimulatedEngine('docker') stands in where placement is tested"
        )


async def prepare(spec: JobSpec, modules: MutableMapping[bytes, BytesSource]) -> JobSpec:
    """Return the spec as it is recorded: paths absolute and checked, the WASM module read.

    Args:
        spec: What was submitted.
        modules: Those that were read before, by digest: jobs with the same module share its bytes.

    Raises:
        InputNotFoundError: A path does not exist.
        UnsafePathError: A path is neither a file nor a folder.
        InputError: A path cannot be read, or is a folder where a file is needed.
    """
    sources = [*(given.source for given in spec.inputs.values()), spec.stdin, _module(spec)]
    if any(isinstance(source, PathSource) for source in sources):
        return await run_blocking(_prepare, spec, modules)
    return spec


def _prepare(spec: JobSpec, modules: MutableMapping[bytes, BytesSource]) -> JobSpec:
    inputs = FrozenMap(
        {
            path: Input(_absolute(given.source, f"inputs.{path}"), given.writable)
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
            f"{field}: {source.path!r} does not exist", hint=f"relative paths count from {Path.cwd()}"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{field}: {source.path!r} cannot be read: {error}") from error
    if stat.S_ISDIR(mode) and only_file:
        raise InputError(f"{field}: {source.path!r} is a folder, a file is needed")
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise UnsafePathError(f"{field}: {source.path!r} is neither a file nor a folder")
    return PathSource(str(path), folder=stat.S_ISDIR(mode))


def _read(module: PathSource) -> BytesSource:
    path = _absolute(module, "engine.module", only_file=True)
    assert isinstance(path, PathSource)
    try:
        size = Path(path.path).stat().st_size
        if size > MODULE_SIZE_MAX:
            raise InputError(
                f"engine.module: {module.path!r} has {size} bytes, at most {MODULE_SIZE_MAX} are taken"
            )
        return BytesSource(Path(path.path).read_bytes())
    except OSError as error:
        raise InputError(f"engine.module: {module.path!r} cannot be read: {error}") from error


def _refuse(field: str, what: str, hint: str) -> Never:
    raise UnsupportedSpecError(f"{field}: this version does not do {what} yet", field=field, hint=hint)
