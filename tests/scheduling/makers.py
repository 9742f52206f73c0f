"""Makes the values that the tests of scheduling are about, with what does not matter filled in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Unpack

from attrs import evolve

from bacalhau_sdk.model.evaluation import Evaluation, Trigger
from bacalhau_sdk.model.execution import Execution, ExecutionState, Failure, FailureKind, Location, Outcome
from bacalhau_sdk.model.frozenmap import FrozenMap
from bacalhau_sdk.model.job import JobOptions, JobSpec, JobState
from bacalhau_sdk.model.message import ORCHESTRATOR, AskForBid, Envelope, Heartbeat, Message
from bacalhau_sdk.model.node import Check, EngineInfo, NodeInfo, Refusal
from bacalhau_sdk.model.platform import Platform, PlatformSupport
from bacalhau_sdk.model.record import JobRecord
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.node_index import NodeEntry, NodeIndex, NodeSet
from bacalhau_sdk.scheduling.plan import Plan
from bacalhau_sdk.scheduling.ranking import Ranker, default_rank
from bacalhau_sdk.scheduling.schedule import ClusterSnapshot, schedule

FAILED = Outcome(failure=Failure(FailureKind.PERMANENT, "wasm.invalid_module", "no module"))
FAULT = Outcome(failure=Failure(FailureKind.INFRASTRUCTURE, "node.io", "disk full"))
ACCEPTED = frozenset(
    {
        ExecutionState.BID_ACCEPTED,
        ExecutionState.RUNNING,
        ExecutionState.PUBLISHING,
        ExecutionState.COMPLETED,
        ExecutionState.FAILED,
    }
)
DONE = Outcome(exit_code=0, location=Location("path", "/results"))


def wasm(**options: Unpack[JobOptions]) -> JobSpec:
    """Return a spec for a module that says nothing."""
    return JobSpec.wasm(b"\0asm", **options)


def docker(*platforms: str, emulated: Iterable[str] = ()) -> EngineInfo:
    """Return what an executor for containers broadcasts."""
    supports = [PlatformSupport(Platform.parse(platform)) for platform in platforms]
    supports += [PlatformSupport(Platform.parse(platform), emulated=True) for platform in emulated]
    return EngineInfo("docker", tuple(supports))


def node(
    name: str = "n1",
    *engines: EngineInfo,
    labels: dict[str, str] | None = None,
    cpu: float = 4,
    memory: str | int = "8GiB",
    disk: int = 0,
    gpu: int = 0,
    **changes: Any,
) -> NodeInfo:
    """Return a node with 4 CPUs, 8 GiB and, unless engines are given, WASM and containers for linux/amd64."""
    known = engines or (EngineInfo("wasm"), docker("linux/amd64"))
    return NodeInfo(
        name,
        FrozenMap({"name": name, **(labels or {})}),
        FrozenMap({engine.name: engine for engine in known}),
        capacity=Resources(cpu=cpu, memory=memory, disk=disk, gpu=gpu),
        **changes,
    )


def index(*infos: NodeInfo) -> NodeIndex:
    """Return an index over nodes."""
    made = NodeIndex()
    for info in infos:
        made.put(info)
    return made


def entry(nodes: NodeIndex, name: str) -> NodeEntry:
    """Return a node that is there."""
    found = nodes.get(name)
    assert found is not None, f"no node {name}"
    return found


def fill(nodes: NodeIndex, name: str, execution_id: str, resources: Resources) -> None:
    """Reserve on a node, and note it in the index."""
    assert entry(nodes, name).account.reserve(execution_id, resources)
    nodes.refresh(entry(nodes, name))


def job(spec: JobSpec | None = None, **changes: Any) -> JobRecord:
    """Return a job ``j``, submitted at 1 s."""
    return evolve(JobRecord("j", spec or wasm(), JobState.PENDING, 1.0, 1.0), **changes)


def execution(
    serial: int = 0,
    state: ExecutionState = ExecutionState.RUNNING,
    partition_index: int = 0,
    node: str = "n1",
    **changes: Any,
) -> Execution:
    """Return an execution ``j-<serial>`` of job ``j``; all that its state says has happened to it at 1 s."""
    made = Execution(
        id=f"j-{serial}",
        job_id="j",
        partition_index=partition_index,
        attempt=1,
        node=node,
        node_revision=0,
        state=state,
        created_at=1.0,
        modified_at=1.0,
        accepted_at=1.0 if state in ACCEPTED else None,
        started_at=1.0 if state in ACCEPTED - {ExecutionState.BID_ACCEPTED, ExecutionState.FAILED} else None,
        ended_at=1.0 if state.terminal else None,
    )
    return evolve(made, **changes)


def refusal(node: str = "n1", *, lasting: bool = True, check: Check | None = None) -> Refusal:
    """Return a refusal by the node itself: for good by its engine, or else for want of room."""
    check = check or (Check.ENGINE if lasting else Check.CAPACITY)
    return Refusal(node, check, "all", "nothing", lasting=lasting)


def refused(serial: int, node: str, *, lasting: bool = True, **changes: Any) -> Execution:
    """Return an offer that a node has refused."""
    refusals = (refusal(node, lasting=lasting),)
    return execution(serial, ExecutionState.ASK_FOR_BID_REJECTED, node=node, refusals=refusals, **changes)


def planned(
    record: JobRecord,
    executions: Iterable[Execution] = (),
    nodes: NodeIndex | None = None,
    *,
    ranker: Ranker = default_rank,
    settled_at: float = -math.inf,
    withheld: NodeSet = 0,
    now: float = 10.0,
) -> Plan:
    """Return what the scheduler makes of a job, at 10 s unless said otherwise."""
    by_id = {each.id: each for each in executions}
    cluster = ClusterSnapshot(
        {record.id: record},
        {record.id: by_id},
        index(node()) if nodes is None else nodes,
        ranker,
        settled_at,
    )
    look = Evaluation(record.id, record.spec.priority, record.created_at, Trigger.JOB_REGISTER)
    return schedule(cluster, look, now, withheld)


def offer(execution_id: str = "j-0", spec: JobSpec | None = None, **changes: Any) -> AskForBid:
    """Return the offer of a first try of partition 0 to a node of revision 0."""
    spec = spec or wasm()
    job_id = execution_id.partition("-")[0]
    return evolve(AskForBid(execution_id, job_id, 0, spec.count, 1, 0, spec), **changes)


def from_node(node: str, message: Message, sequence: int = 0) -> Envelope:
    """Return a message of a node to the orchestrator."""
    return Envelope(node, ORCHESTRATOR, message, sequence)


def to_node(node: str, message: Message) -> Envelope:
    """Return a message of the orchestrator to a node."""
    return Envelope(ORCHESTRATOR, node, message)


def heartbeat(info: NodeInfo, **executions: ExecutionState) -> Envelope:
    """Return a heartbeat; executions by their ids, with ``_`` for ``-``."""
    listed = tuple((key.replace("_", "-"), state) for key, state in executions.items())
    return from_node(info.name, Heartbeat(info, listed))
