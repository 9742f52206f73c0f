"""The real runner in a world of faults: a whole `Cluster` under virtual time, its ports played, its history kept.

What the pure world (`world.World`) leaves out is here: the tasks, queues and cancel scopes of ``cluster/``, on both backends. A
fault of the store ends the cluster, as it does in production; the next one goes on with the same store.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import anyio
from attrs import define, field

from ...abc.executor import TaskIO
from ...cluster.job import Job
from ...cluster.node import Node
from ...errors import (
    BacalhauError,
    ClusterClosedError,
    ClusterFailedError,
    ExecutionError,
    StoreError,
    TransientError,
)
from ...host.channel import Watch
from ...model.execution import ExecutionState, Task
from ...model.frozenmap import FrozenMap
from ...model.job import JobSpec, JobState
from ...model.node import Check, NodeInfo, Refusal
from ...model.record import Batch
from ...stores.memory import MemoryStore
from ..cluster import VirtualCluster
from ..engine import SimulatedEngine
from ..history import History, HistoryEntry
from ..transport import LinkFault, MessageFault, SimulatedTransport, link, messages
from ..virtual import BackendName, run
from .chance import Chance
from .faults import Faults, draw_faults
from .notes import node_entry, recorded, submitted
from .shapes import draw_nodes, draw_spec

__all__ = ["run_cluster"]

_SUBMITTED_BY = 120.0
_FAULTS_UNTIL = 150.0
_LIMIT = 4000.0
_GONE = (ClusterFailedError, ClusterClosedError)


def run_cluster(
    seed: int,
    faults: Faults | None = None,
    *,
    jobs: int = 40,
    nodes: int = 5,
    backend: BackendName = "asyncio",
) -> History:
    """Run a cluster in the world of a seed to its end, and return what happened.

    Args:
        seed: Equal seeds give equal worlds.
        faults: What goes wrong, as far as it can at the ports; None draws it from the seed.
        jobs: How many jobs are submitted.
        nodes: How many nodes there are.
        backend: The event loop.

    Raises:
        VirtualTimeError: It does not come to its end.
    """
    history = History()
    chance = Chance(seed)
    given = faults if faults is not None else draw_faults(chance)
    with tempfile.TemporaryDirectory() as folder:
        cluster_run = ClusterRun(history, chance, given, draw_nodes(chance, nodes), Path(folder), jobs)
        run(cluster_run.play, backend=backend, seed=seed, limit=_LIMIT)
    return history


class RecordingStore(MemoryStore):
    """A store in memory that keeps nothing for a while, and writes down what it keeps.

    Args:
        history: Where that is written down.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self.full = False
        self._history = history

    async def _commit(self, batch: Batch) -> None:
        if self.full:
            raise StoreError("the disk is full, as the seed wants it")
        for entry in recorded(batch, self._executions, anyio.current_time()):
            self._history.add(entry)
        await super()._commit(batch)


@define(eq=False)
class ClusterRun:
    """The users, the nodes and the faults of one run."""

    history: History
    chance: Chance
    faults: Faults
    infos: list[NodeInfo]
    folder: Path
    count: int
    cluster: VirtualCluster | None = None
    watch: Watch = field(factory=Watch)
    left: int = 0

    async def play(self) -> None:
        """Let one cluster after the other work on the same store, until every job has ended."""
        store = RecordingStore(self.history)
        self.left = self.count
        for info in self.infos:
            self.history.add(node_entry(info, 0.0))
        async with anyio.create_task_group() as tasks:
            for number in range(self.count):
                at = self.chance.between(0.0, _SUBMITTED_BY)
                spec = draw_spec(self.chance)
                cancel = self.chance.between(0.0, 20.0) if self.chance.happens(self.faults.cancels) else None
                tasks.start_soon(self._use, f"j{number}", spec, at, cancel)
            tasks.start_soon(self._fill_disk, store)
            while self.left:
                await self._live(store)
        self._note("end", detail=FrozenMap({"expect_all_ended": True}))

    async def _live(self, store: RecordingStore) -> None:
        """Enter one cluster, and stay until all is done or its store fails."""
        began = anyio.current_time()
        plan = self._plan(began)
        transport = SimulatedTransport(plan, seed=int(self.chance.random() * 2**32))
        nodes = [self._node(info) for info in self.infos]
        if began:
            detail = FrozenMap({"rolled_back": False, "clock_jumped": False, "noticed": True})
            self._note("orchestrator-up", detail=detail)
        async with anyio.create_task_group() as tasks:
            # From the very beginning: a node that is cut off early holds up the entering.
            tasks.start_soon(self._note_cuts, [fault for fault in plan if isinstance(fault, LinkFault)])
            await self._inside(VirtualCluster(nodes, transport=transport, store=store, data_dir=self.folder))
            tasks.cancel_scope.cancel()
        if self.left:
            self._note("orchestrator-down")
            for info in self.infos:
                self._note("cut", node=info.name, detail=FrozenMap({"heard": False}))
            store.full = False
            await anyio.sleep(self.chance.between(0.1, 20.0))
            for info in self.infos:
                self._note("joined", node=info.name)

    async def _inside(self, cluster: VirtualCluster) -> None:
        """Be inside a cluster until all is done, or its store fails."""
        try:
            async with cluster:
                self._enter(cluster)
                while self.left:
                    await self.watch.changed()
        except (ClusterFailedError, StoreError):
            pass
        finally:
            self.cluster = None
            self.watch.notify()

    # Users

    async def _use(self, job_id: str, spec: JobSpec, at: float, cancel: float | None) -> None:
        """Submit a job, perhaps cancel it, and read its results."""
        await anyio.sleep_until(at)
        await self._submit(job_id, spec)
        self.history.add(submitted(job_id, spec, anyio.current_time()))
        async with anyio.create_task_group() as tasks:
            if cancel is not None:
                tasks.start_soon(self._cancel, job_id, cancel)
            await self._results(job_id)
        self.left -= 1
        self.watch.notify()

    async def _submit(self, job_id: str, spec: JobSpec) -> None:
        while True:
            cluster = await self._entered()
            try:
                await cluster.submit(spec, job_id)
            except _GONE:
                await self._another(cluster)
            else:
                return

    async def _cancel(self, job_id: str, after: float) -> None:
        await anyio.sleep(after)
        while True:
            cluster = await self._entered()
            self._note("cancel-called", job_id=job_id)
            try:
                state = await (await cluster.job(job_id)).cancel("a user wants it so")
            except _GONE:
                self._note("cancel-abandoned", job_id=job_id)
                await self._another(cluster)
            else:
                self._note("cancel-returned", job_id=job_id, state=state.value)
                return

    async def _ended(self, job_id: str) -> Job:
        """Wait for the end of a job, in whichever cluster that comes."""
        while True:
            cluster = await self._entered()
            try:
                job = await cluster.job(job_id)
                await job.wait()
            except _GONE:
                await self._another(cluster)
            else:
                return job

    async def _results(self, job_id: str) -> None:
        job = await self._ended(job_id)
        completed = [e for e in job.executions if e.state is ExecutionState.COMPLETED]
        try:
            if completed and job.state is JobState.COMPLETED:
                await job.results()
            ok = True
        except BacalhauError:
            ok = False
        for execution in completed:
            self._note("results-read", job_id=job_id, execution_id=execution.id, detail=FrozenMap({"ok": ok}))

    # Nodes

    def _node(self, info: NodeInfo) -> Node:
        async def behaviour(task: Task, io: TaskIO) -> int:
            return await self._work(info.name, task, io)

        engines = [
            SimulatedEngine(
                engine.name,
                [known.platform for known in engine.platforms if not known.emulated],
                emulated=[known.platform for known in engine.platforms if known.emulated],
                behaviour=behaviour,
                check=lambda _: self._check(info.name),
            )
            for engine in info.engines.values()
        ]
        labels = {key: value for key, value in info.labels.items() if key not in ("name", "arch", "os")}
        return Node(
            info.name,
            engines,
            labels=labels,
            resources=info.capacity,
            max_executions=info.max_executions,
        )

    def _check(self, name: str) -> Refusal | None:
        if not self._goes_wrong(self.faults.refusals):
            return None
        lasting = self.chance.happens(0.3)
        return Refusal(name, Check.ENGINE, "this task", "no such thing", lasting=lasting)

    async def _work(self, name: str, task: Task, io: TaskIO) -> int:
        """Do what a workload does; a kill may take a while."""
        about = {"job_id": task.job_id, "execution_id": task.execution_id, "node": name}
        resources = FrozenMap({"cpu": task.resources.cpu, "memory": task.resources.memory})
        self._note("started", partition_index=task.partition_index, detail=resources, **about)
        try:
            io.stdout.write(b"hello\n")
            await anyio.sleep(0.1 + 20.0 * self.chance.random() ** 3)
            if self._goes_wrong(self.faults.run_faults):
                raise TransientError("as the seed wants it")
            if self._goes_wrong(self.faults.run_faults / 4):
                raise ExecutionError("as the seed wants it, for good")
            return 1 if self.chance.happens(0.1) else 0
        finally:
            if self._goes_wrong(self.faults.kill_faults):
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(self.chance.between(1.0, 45.0))
            self._note("stopped", **about)

    # Faults

    def _goes_wrong(self, probability: float) -> bool:
        return anyio.current_time() < _FAULTS_UNTIL and self.chance.happens(probability)

    def _plan(self, began: float) -> list[MessageFault | LinkFault]:
        """Draw what goes wrong on the network; its times count from the beginning of the cluster."""
        faults, left = self.faults, _FAULTS_UNTIL - began
        if left <= 0:
            return []
        plan: list[MessageFault | LinkFault] = [messages().delayed(1.0, 0.01, 0.3)]
        if faults.loss:
            plan.append(messages().lost(faults.loss).between(0.0, left))
        if faults.doubling:
            plan.append(messages().doubled(faults.doubling).between(0.0, left))
        if faults.lateness:
            plan.append(messages().delayed(faults.lateness, 1.0, 50.0).between(0.0, left))
        at = self.chance.interval(faults.partitions) if faults.partitions else left
        while at < left:
            name = self.chance.of(self.infos).name
            end = min(left, at + self.chance.between(1.0, 60.0))
            plan.append(link(name).cut(at, end))
            at = end + self.chance.interval(faults.partitions)
        return plan

    async def _note_cuts(self, cuts: list[LinkFault]) -> None:
        """Write down which nodes are cut off, as that changes; no two cuts of a node overlap."""
        began = anyio.current_time()
        changes = [(began + cut.start, cut.first, True) for cut in cuts]
        changes += [(began + cut.end, cut.first, False) for cut in cuts]
        for time, name, cut_off in sorted(changes):
            await anyio.sleep_until(time)
            if cut_off:
                self._note("cut", node=name, detail=FrozenMap({"heard": False}))
            else:
                self._note("joined", node=name)

    async def _fill_disk(self, store: RecordingStore) -> None:
        """Let the store fail now and then."""
        mean = self.faults.full_disks
        while mean and anyio.current_time() < _FAULTS_UNTIL:
            await anyio.sleep(self.chance.interval(mean))
            store.full = anyio.current_time() < _FAULTS_UNTIL

    # The cluster that is open

    def _enter(self, cluster: VirtualCluster) -> None:
        self.cluster = cluster
        self.watch.notify()

    async def _entered(self) -> VirtualCluster:
        while self.cluster is None:
            await self.watch.changed()
        return self.cluster

    async def _another(self, cluster: VirtualCluster) -> None:
        while self.cluster is cluster:
            await self.watch.changed()

    def _note(self, kind: str, **values: object) -> None:
        self.history.add(HistoryEntry(anyio.current_time(), kind, **values))  # type: ignore[arg-type]
