"""The conductor: what should become of one job now. Read this first.

reconcile   what does the job still need?
match       which nodes could run it, and which have room now?
rank        which of them first?
place       one execution for each partition that needs one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from ..model.evaluation import Evaluation
from ..model.execution import Execution, ExecutionState, Failure, FailureKind
from ..model.job import JobState
from ..model.node import Refusal
from ..model.record import JobRecord
from .lifecycle import advance, end_job, move_job
from .matching import Demand, lasting_refusal, room_refusal
from .node_index import NodeEntry, NodeIndex
from .plan import Plan, Want
from .ranking import Choice, Ranker, default_rank
from .reconcile import Ending, Needs, reconcile

__all__ = ["ClusterSnapshot", "JobSnapshot", "refusals_of", "schedule"]


@frozen
class JobSnapshot:
    """What of the world concerns one job.

    Attributes:
        job: The job.
        executions: All of its executions, in the order in which they were made.
        nodes: The nodes that are known.
        ranker: Ranks the nodes that match.
        complete: Whether every node that there is has had the time to make itself known.
    """

    job: JobRecord
    executions: tuple[Execution, ...]
    nodes: NodeIndex
    ranker: Ranker
    complete: bool


@frozen
class ClusterSnapshot:
    """What the scheduler sees of the world; it changes nothing of it.

    Attributes:
        jobs: All jobs, by id.
        executions: The executions of each job, by their ids, in the order in which they were made.
        nodes: The nodes that are known.
        ranker: Ranks the nodes that match.
        complete: Whether every node that there is has had the time to make itself known.
    """

    jobs: Mapping[str, JobRecord]
    executions: Mapping[str, Mapping[str, Execution]]
    nodes: NodeIndex
    ranker: Ranker = default_rank
    complete: bool = True

    def of(self, job_id: str) -> JobSnapshot:
        """Return what of it concerns one job."""
        executions = tuple(self.executions.get(job_id, {}).values())
        return JobSnapshot(self.jobs[job_id], executions, self.nodes, self.ranker, self.complete)


def schedule(cluster: ClusterSnapshot, evaluation: Evaluation, now: float) -> Plan:
    """Decide what should become of a job now; equal arguments give equal plans.

    Args:
        cluster: The jobs and the nodes.
        evaluation: Which job is looked at, and why.
        now: Seconds of the cluster's clock.
    """
    snapshot = cluster.of(evaluation.job_id)
    job = snapshot.job
    needs = reconcile(job, snapshot.executions)
    if needs.ending is not None:
        return _end(snapshot, needs.ending, now)
    if needs.running and job.state is not JobState.RUNNING:
        job = move_job(job, JobState.RUNNING, now)
    if not needs.missing:
        return Plan(job)
    return _place(evolve(snapshot, job=job), needs, Demand.of(job.spec), now)


def _end(snapshot: JobSnapshot, ending: Ending, now: float) -> Plan:
    """Stop what is live; the job takes its terminal state when nothing is."""
    job = snapshot.job
    if job.ending is None:
        job = evolve(
            job,
            ending=ending.state,
            reason=ending.reason,
            failure=ending.failure,
            refusals=ending.refusals,
            modified_at=now,
        )
    live = [execution for execution in snapshot.executions if not execution.state.terminal]
    if not live:
        return Plan(end_job(job, now))
    stop = (execution for execution in live if not execution.stop_requested)
    return Plan(job, tuple(evolve(execution, stop_requested=True, modified_at=now) for execution in stop))


def _place(snapshot: JobSnapshot, needs: Needs, demand: Demand, now: float) -> Plan:
    """Make an execution for each partition that needs one, as far as there is room."""
    job, nodes = snapshot.job, snapshot.nodes
    refused = _refused_for_good(nodes, snapshot.executions)
    able = nodes.matching(demand)
    for name in refused:
        able = nodes.without(able, name)
    if not able and snapshot.complete:
        return _end(snapshot, _nowhere(snapshot, demand), now)
    roomy = nodes.with_room(demand, able)
    choice = Choice(nodes, roomy, demand, job.id, snapshot.executions, snapshot.ranker, len(needs.missing))
    made: list[Execution] = []
    for serial, (partition_index, attempt) in enumerate(needs.missing, len(snapshot.executions)):
        entry = choice.take(f"{job.id}-{serial}")
        if entry is None:
            break
        made.append(_offer(job, entry, serial, partition_index, attempt, now))
    if len(made) == len(needs.missing):
        return Plan(job, tuple(made))
    if job.state is JobState.PENDING:
        reason = f"{able.bit_count()} of {len(nodes)} nodes match, none has room now"
        job = move_job(job, JobState.QUEUED, now, reason)
    without = tuple((name, execution.node_revision) for name, execution in sorted(refused.items()))
    return Plan(job, tuple(made), blocked=Want(demand, without))


def _refused_for_good(nodes: NodeIndex, executions: Sequence[Execution]) -> dict[str, Execution]:
    """Return, by node, the refused offers that hold because the node's broadcast has not changed since."""
    found: dict[str, Execution] = {}
    for execution in executions:
        if execution.state is ExecutionState.ASK_FOR_BID_REJECTED:
            entry = nodes.get(execution.node)
            same = entry is not None and execution.node_revision == entry.info.revision
            if same and any(refusal.lasting for refusal in execution.refusals):
                found[execution.node] = execution
    return found


def _offer(
    job: JobRecord, entry: NodeEntry, serial: int, partition_index: int, attempt: int, now: float
) -> Execution:
    new = Execution(
        id=f"{job.id}-{serial}",
        job_id=job.id,
        partition_index=partition_index,
        attempt=attempt,
        node=entry.info.name,
        node_revision=entry.info.revision,
        state=ExecutionState.NEW,
        created_at=now,
        modified_at=now,
    )
    return advance(new, ExecutionState.ASK_FOR_BID, now)


def _nowhere(snapshot: JobSnapshot, demand: Demand) -> Ending:
    refusals = refusals_of(snapshot.nodes, demand, snapshot.executions)
    head = f"no known node could ever run the job ({len(snapshot.nodes)} known)"
    message = "\n  ".join([head, *map(str, refusals)])
    failure = Failure(FailureKind.PERMANENT, "job.no_matching_node", message)
    return Ending(JobState.FAILED, message, failure, refusals)


def refusals_of(
    nodes: NodeIndex, demand: Demand, executions: Sequence[Execution] = ()
) -> tuple[Refusal, ...]:
    """Return why each node does not take a demand now, one refusal a node; nodes that could are left out.

    Args:
        nodes: The nodes that are known.
        demand: What is asked for.
        executions: Of the job, for what its nodes have answered.
    """
    refusals: list[Refusal] = []
    refused = _refused_for_good(nodes, executions)
    for entry in nodes:
        answer = refused.get(entry.info.name)
        refusal = lasting_refusal(entry.info, demand)
        if refusal is None and answer is not None:
            refusal = next(refusal for refusal in answer.refusals if refusal.lasting)
        refusal = refusal or room_refusal(entry.info, entry.account, demand)
        refusal = refusal or entry.saturated
        if refusal is not None:
            refusals.append(refusal)
    return tuple(refusals)
