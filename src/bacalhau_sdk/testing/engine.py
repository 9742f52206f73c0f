"""An engine that runs nothing: stands in for a real one where placement is tested."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from ..abc.executor import Executor, TaskIO
from ..model.execution import RunResult, Task
from ..model.network import NetworkType
from ..model.node import EngineInfo, Refusal
from ..model.platform import Platform, PlatformSupport

__all__ = ["SimulatedEngine"]

Behaviour: TypeAlias = Callable[[Task, TaskIO], Awaitable[int | None]]


class SimulatedEngine(Executor):
    """Takes the jobs of an engine, on the platforms that it is told, and does what ``behaviour`` does.

    Args:
        engine: The name of the engine that it stands in for, such as ``"docker"``.
        platforms: What it claims to run natively; nothing at all for an engine that does not care.
        emulated: What it claims to run by emulation.
        behaviour: Awaited for every task; returns the exit code, None is 0. Without one, tasks end at once with 0.
        check: Called for every bid; a `Refusal` makes the node refuse.
    """

    def __init__(
        self,
        engine: str,
        platforms: Iterable[str | Platform] = (),
        *,
        emulated: Iterable[str | Platform] = (),
        behaviour: Behaviour | None = None,
        check: Callable[[Task], Refusal | None] | None = None,
    ) -> None:
        self.engine = engine
        self._platforms = (
            *(PlatformSupport(Platform.parse(platform)) for platform in platforms),
            *(PlatformSupport(Platform.parse(platform), emulated=True) for platform in emulated),
        )
        self._behaviour = behaviour
        self._refuse = check

    async def _probe(self) -> EngineInfo:
        return EngineInfo(self.engine, self._platforms, tuple(NetworkType))

    async def _check(self, task: Task) -> Refusal | None:
        return self._refuse(task) if self._refuse is not None else None

    async def _run(self, task: Task, io: TaskIO) -> RunResult:
        io.started()
        code = await self._behaviour(task, io) if self._behaviour is not None else None
        return RunResult(code or 0)
