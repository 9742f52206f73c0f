"""Runs a compute node: hands events to its core, and performs the effects.

A container or a guest is killed here, in `ComputeNode._kill`: the scope in which its executor's ``run`` waits is cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ..abc.clock import Clock
from ..abc.executor import Executor
from ..abc.storage import Publisher, Storage
from ..abc.transport import Transport
from ..errors import BacalhauError, EngineError, TransientError, TransportError
from ..host.cancellation import being_cancelled
from ..host.channel import Channel, ChannelClosedError, Watch
from ..model.execution import Failure, FailureKind, Location, RunResult, Task
from ..model.job import JobSpec
from ..model.node import EngineInfo
from ..model.problems import printable_lines, shown
from ..scheduling.compute import ComputeCore
from ..scheduling.effects import (
    CheckBid,
    DiscardResults,
    Effect,
    KillExecution,
    Publish,
    Send,
    StartExecution,
    WakeAt,
)
from ..scheduling.events import (
    BidChecked,
    ComputeEvent,
    Deliver,
    Drain,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)
from ..storage.log import ExecutionLog
from .alarm import Alarm
from .node import Node
from .staging import Staging

__all__ = ["ComputeNode"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger("bacalhau_sdk")


class ComputeNode:
    """A node at work.

    Args:
        node: What it is.
        transport: Carries.
        clock: Tells the time.
        folder: Where it stages, and keeps logs; it exists, and is the node's alone.
        storages: Fetch inputs.
        publisher: Keeps results.
    """

    def __init__(
        self,
        node: Node,
        *,
        transport: Transport,
        clock: Clock,
        folder: Path,
        storages: Sequence[Storage],
        publisher: Publisher,
    ) -> None:
        self.node = node
        self._transport = transport
        self._clock = clock
        self._folder = folder
        self._storages = storages
        self._publisher = publisher
        self._executors: dict[str, Executor] = {executor.engine: executor for executor in node.executors}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._stagings: dict[str, Staging] = {}
        self._exit_codes: dict[str, int] = {}
        self._logs: dict[str, ExecutionLog] = {}
        self._grown: dict[str, None] = {}
        self._log_signal = anyio.Event()
        self._inbox: Channel[ComputeEvent] = Channel()
        self._alarm = Alarm(clock, lambda: self._inbox.put_nowait(Tick()))
        self._idle = Watch()
        self._tasks: TaskGroup | None = None
        self._core: ComputeCore | None = None
        self._draining = False
        self._over = False

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Enter the executors, find out what they can do, and work until `stop`.

        Raises:
            EngineError: An executor cannot be used; nothing was started.
        """
        async with AsyncExitStack() as executors:
            engines = [await self._enter(executor, executors) for executor in self.node.executors]
            sources = {scheme for storage in self._storages for scheme in storage.schemes}
            info = self.node.info(engines, sources, revision=int(self._clock.now() * 1000))
            try:
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._receive)
                    self._tasks.start_soon(self._alarm.run)
                    self._tasks.start_soon(self._flush_logs)
                    task_status.started()
                    with suppress(ChannelClosedError):
                        self._core = ComputeCore(info)
                        await self._work(self._core)
                    self._tasks.cancel_scope.cancel()
            finally:
                # Nothing runs any more, also what was cancelled before its first step.
                self._scopes.clear()
                self._over = True
                self._idle.notify()

    async def _enter(self, executor: Executor, executors: AsyncExitStack) -> EngineInfo:
        try:
            await executors.enter_async_context(executor)
        except BacalhauError:
            raise
        except Exception as error:
            raise EngineError(
                f"{shown(executor)} of node {self.node.name} could not be entered: {printable_lines(error)}",
                hint="mend what it says, or leave the executor out of the node",
            ) from error
        return await executor.probe()

    async def drain(self) -> None:
        """Take nothing new, and wait until what the node has is over, or until it is resumed."""
        self._inbox.put_nowait(Drain(draining=True))
        self._draining = True
        # The core has done the last step of an execution when it has given its capacity back.
        while (
            self._draining
            and not self._over
            and (self._core is None or not self._core.info.draining or len(self._core.account))
        ):
            await self._idle.changed()

    def resume(self) -> None:
        """Take executions again."""
        self._draining = False
        self._inbox.put_nowait(Drain(draining=False))

    async def stop(self) -> None:
        """Kill every execution, wait until all are dead, and let `run` come to its end."""
        while self._scopes:
            for execution_id in self._scopes:
                self._kill(execution_id)
            await self._idle.changed()
        self._inbox.close()

    # Events in, effects out

    async def _work(self, core: ComputeCore) -> None:
        self._transport.serve(self.node.name, self._open)
        self._inbox.put_nowait(Tick())
        while True:
            event = await self._inbox.get()
            for effect in core.handle(event, self._clock.now()):
                await self._perform(effect)
            self._idle.notify()

    async def _perform(self, effect: Effect) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("node %s: %s", self.node.name, _named(effect))
        match effect:
            case Send(envelope):
                try:
                    await self._transport.send(envelope)
                except TransportError as error:
                    # The next heartbeat says it again.
                    _log.debug("node %s: not sent: %s", self.node.name, error)
            case CheckBid(task):
                self._spawn(task.execution_id, self._check, task)
            case StartExecution(task, spec):
                self._stagings[task.execution_id] = self._stage(task, spec)
                self._spawn(task.execution_id, self._execute, task)
            case Publish(execution_id):
                self._spawn(execution_id, self._publish, execution_id)
            case KillExecution(execution_id):
                self._kill(execution_id)
            case DiscardResults(execution_id, location):
                # In order: what is reported afterwards says that nothing is left.
                await self._discard(execution_id, location)
            case WakeAt(time):
                self._alarm.set(time)
            case _:
                raise AssertionError(f"a node has no use for {effect}")

    def _spawn(
        self,
        execution_id: str,
        work: Callable[[anyio.CancelScope, T], Coroutine[Any, Any, ComputeEvent]],
        argument: T,
    ) -> None:
        """Work for an execution in a task of its own, in a scope that can be cancelled before the task has begun."""
        scope = self._scopes[execution_id] = anyio.CancelScope()
        self._start(self._occupy, execution_id, scope, work, argument)

    async def _occupy(
        self,
        execution_id: str,
        scope: anyio.CancelScope,
        work: Callable[[anyio.CancelScope, T], Coroutine[Any, Any, ComputeEvent]],
        argument: T,
    ) -> None:
        """Hand in what has become of a piece of work, once it is over."""
        try:
            event = await work(scope, argument)
        finally:
            self._scopes.pop(execution_id, None)
            self._idle.notify()
        self._inbox.put_nowait(event)

    def _kill(self, execution_id: str) -> None:
        """Cancel what goes on for an execution; its task answers once it is dead."""
        if execution_id in self._scopes:
            self._scopes[execution_id].cancel()

    # One execution: check, stage, run, collect, publish

    async def _check(self, scope: anyio.CancelScope, task: Task) -> ComputeEvent:
        refusal = None
        with scope:
            refusal = await self._executors[task.engine.engine].check(task)
        return BidChecked(task.execution_id, refusal)

    async def _execute(self, scope: anyio.CancelScope, task: Task) -> ComputeEvent:
        result: RunResult | Failure | None = None
        log = self._logs[task.execution_id]
        with scope:
            result = await self._stage_and_run(task)
        await log.close()
        if isinstance(result, RunResult):
            self._exit_codes[task.execution_id] = result.exit_code
        else:
            await self._discard(task.execution_id, None)
        return WorkloadEnded(task.execution_id, result, log.stdout.truncated, log.stderr.truncated)

    async def _stage_and_run(self, task: Task) -> RunResult | Failure:
        started = WorkloadStarted(task.execution_id)
        try:
            io = await self._stagings[task.execution_id].prepare(lambda: self._inbox.put_nowait(started))
            return await self._executors[task.engine.engine].run(task, io)
        except Exception as error:  # noqa: BLE001 - what a workload does must not end the node
            return _failure(error)
        except anyio.get_cancelled_exc_class():
            if await being_cancelled():
                raise
            return _failure(TransientError(f"{task.execution_id} met a cancellation that was not its own"))

    async def _publish(self, scope: anyio.CancelScope, execution_id: str) -> ComputeEvent:
        result: Location | Failure | None = None
        with scope:
            try:
                staging = self._stagings[execution_id]
                folder = await staging.collect(self._exit_codes.pop(execution_id))
                result = await self._publisher.publish(folder, f"{staging.job_id}/{execution_id}")
                del self._stagings[execution_id]
            except Exception as error:  # noqa: BLE001 - what a workload has left must not end the node
                result = _failure(error)
        if not isinstance(result, Location):
            await self._discard(execution_id, None)
        return ResultsPublished(execution_id, result)

    async def _discard(self, execution_id: str, location: Location | None) -> None:
        """Remove what an execution has staged and published; its log stays readable."""
        self._exit_codes.pop(execution_id, None)
        staging = self._stagings.pop(execution_id, None)
        try:
            if staging is not None:
                await staging.remove()
            if location is not None:
                await self._publisher.discard(location)
        except (BacalhauError, OSError) as error:
            _log.warning(
                "node %s: what %s has left could not be removed: %s", self.node.name, execution_id, error
            )

    def _stage(self, task: Task, spec: JobSpec) -> Staging:
        execution_id = task.execution_id
        log = ExecutionLog(
            self._folder / f"{execution_id}.log", self._clock.now, lambda: self._log_grew(execution_id)
        )
        self._logs[execution_id] = log
        scratch = self._executors[task.engine.engine].needs_scratch
        return Staging(self._folder / execution_id, task.job_id, spec, log, self._storages, scratch=scratch)

    # Logs

    def _log_grew(self, execution_id: str) -> None:
        self._grown[execution_id] = None
        self._log_signal.set()

    async def _flush_logs(self) -> None:
        """Write out the logs that have grown, one after the other."""
        while True:
            await self._log_signal.wait()
            self._log_signal = anyio.Event()
            grown, self._grown = self._grown, {}
            for execution_id in grown:
                await self._logs[execution_id].flush()

    async def _open(self, ref: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Open a stream of the node: ``logs/<execution id>``."""
        kind, _, execution_id = ref.partition("/")
        log = self._logs.get(execution_id) if kind == "logs" else None
        if log is None:
            raise TransportError(f"node {self.node.name} has no stream {ref}")
        async with aclosing(log.read(offset)) as chunks:
            async for chunk in chunks:
                yield chunk

    # Tasks

    async def _receive(self) -> None:
        async with aclosing(self._transport.receive(self.node.name)) as envelopes:
            async for envelope in envelopes:
                self._inbox.put_nowait(Deliver(envelope))

    def _start(self, work: Callable[[*Ts], Coroutine[Any, Any, None]], *arguments: *Ts) -> None:
        assert self._tasks is not None, "the node runs"
        self._tasks.start_soon(work, *arguments)


def _failure(error: Exception) -> Failure:
    """Tell faults of the infrastructure, which another try may mend, from permanent ones."""
    if isinstance(error, BacalhauError):
        kind = FailureKind.INFRASTRUCTURE if isinstance(error, TransientError) else FailureKind.PERMANENT
        return Failure(kind, error.code, error.message, error.hint, error.field)
    code = "node.io" if isinstance(error, OSError) else "node.fault"
    _log.debug("a fault of the node", exc_info=error)
    return Failure(FailureKind.INFRASTRUCTURE, code, f"{type(error).__name__}: {error}")


def _named(effect: Effect) -> str:
    """Name an effect for the log, by its type, job and execution: what is in it may be secret."""
    about = (
        getattr(effect, "task", None) or getattr(getattr(effect, "envelope", None), "message", None) or effect
    )
    ids = [str(getattr(about, name)) for name in ("job_id", "execution_id") if hasattr(about, name)]
    kind = (
        type(effect).__name__
        if about is effect or hasattr(effect, "task")
        else f"Send {type(about).__name__}"
    )
    return " ".join([kind, *ids])
