"""Why a job is where it is, why not elsewhere, what it waits for: in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..model.evaluation import Explanation
from ..model.execution import Execution, ExecutionState
from ..model.job import JobSpec, JobState, JobType
from ..model.node import Refusal
from ..model.record import JobRecord
from .answers import answers_of
from .deadlines import Reach
from .matching import Demand
from .node_index import NodeIndex, NodeSet
from .reconcile import Needs, reconcile
from .schedule import ClusterSnapshot, is_choosing, queue_reason, reach_of, refusals_of

__all__ = ["explain_job", "explain_spec"]


def explain_spec(nodes: NodeIndex, spec: JobSpec, kept: NodeSet) -> Explanation:
    """Say which nodes could take a job of a spec now, and why the others do not.

    Args:
        nodes: The nodes that are known.
        spec: The spec.
        kept: The nodes that are kept for jobs that would go before it.
    """
    refusals = refusals_of(nodes, Demand.of(spec), kept=kept)
    names = _others(nodes, refusals)
    reason, outlook = f"{len(names)} of {len(nodes)} nodes could take it now", "placed"
    if not names:
        patient = spec.timeouts.queue is not None or not all(refusal.lasting for refusal in refusals)
        reason, outlook = queue_reason(nodes, refusals), "queued" if patient else "refused"
    return Explanation("", None, reason, (), names, refusals, outlook)


def explain_job(
    job: JobRecord,
    cluster: ClusterSnapshot,
    may_hold: Callable[[Execution], bool],
    kept: NodeSet,
    now: float,
) -> Explanation:
    """Say where a job is and what it waits for; of the nodes, only if it still needs one.

    Args:
        job: The job.
        cluster: The jobs and the nodes.
        may_hold: Whether an execution may still be on its node.
        kept: The nodes that are kept for jobs that go before it.
        now: Seconds of the clock.
    """
    executions = tuple(cluster.executions.get(job.id, {}).values())
    placed = tuple(
        _execution_line(execution, may_hold(execution))
        for execution in executions
        if execution.state is not ExecutionState.ASK_FOR_BID_REJECTED
    )
    if job.spec.type is JobType.OPS:
        placed += tuple(_dropped_lines(job, executions))
    reason = job.reason.partition("\n")[0]
    if job.state.terminal:
        return Explanation(job.id, job.state, reason, placed, (), job.refusals)
    if job.ending is not None:
        reason = f"it is to end as {job.ending.value} once nothing of it runs any more: {reason}"
    reach = reach_of(cluster, executions, now)
    needs = reconcile(job, executions, reach, now)
    placed += tuple(_waiting_lines(executions, needs, reach, now))
    choosing = is_choosing(job, needs, executions)
    if job.ending is not None or not (needs.missing or needs.later or choosing):
        return Explanation(job.id, job.state, reason, placed)
    answers = answers_of(cluster.nodes, executions, now)
    refusals = refusals_of(cluster.nodes, Demand.of(job.spec), answers, now, kept)
    names = _others(cluster.nodes, refusals)
    if job.state is not JobState.RUNNING and not names:
        reason = queue_reason(cluster.nodes, refusals)  # it may have become another one since it was queued
    if job.targets and not choosing:
        # Each partition is for one node; the others do not matter to it.
        only = {job.targets[missing.partition_index] for missing in (*needs.missing, *needs.later)}
        names = tuple(name for name in names if name in only)
        refusals = tuple(refusal for refusal in refusals if refusal.node in only)
    return Explanation(job.id, job.state, reason, placed, names, refusals)


def _others(nodes: NodeIndex, refusals: Iterable[Refusal]) -> tuple[str, ...]:
    """Return the names of the nodes that refuse nothing."""
    refusing = {refusal.node for refusal in refusals}
    return tuple(entry.info.name for entry in nodes if entry.info.name not in refusing)


def _dropped_lines(job: JobRecord, executions: Sequence[Execution]) -> Iterator[str]:
    """Say which of the nodes that an ops job is for have refused it for good."""
    for execution in executions[job.chosen_after :]:
        lasting = [refusal for refusal in execution.refusals if refusal.lasting]
        if lasting:
            yield f"partition {execution.partition_index}: has nothing to do: {lasting[0]}"


def _execution_line(execution: Execution, may_hold: bool) -> str:
    """Say where an execution is and how it goes."""
    line = (
        f"partition {execution.partition_index}, attempt {execution.attempt}: {execution.state.value} "
        f"on node {execution.node}"
    )
    outcome = execution.outcome
    if outcome is not None and outcome.failure is not None:
        line += f": {outcome.failure.message}"
    elif outcome is not None and outcome.exit_code:
        line += f", exit code {outcome.exit_code}"
    if execution.stop_requested and not execution.state.terminal:
        line += " (told to stop)"
    elif execution.state is ExecutionState.ASK_FOR_BID:
        line += " (it has not answered yet)"
    if execution.fenced:
        gone = "it is gone from there by now"
        alive = "it may still run there; it is killed as soon as its node can do that, and nothing that it reports is recorded"
        line += f" (fenced: {alive if may_hold else gone})"
    return line


def _waiting_lines(executions: Iterable[Execution], needs: Needs, reach: Reach, now: float) -> Iterator[str]:
    """Say what a job waits for: nodes that may come back, the next try of a partition, a limit."""
    for execution in executions:
        if execution.node in reach.lost and not execution.state.terminal:
            yield (
                f"partition {execution.partition_index}: node {execution.node} cannot be reached, it may come back"
            )
    if needs.missing:
        several = f"{len(needs.missing)} partitions wait" if len(needs.missing) > 1 else "it waits"
        again = sum(missing.attempt > 1 for missing in needs.missing)
        yield f"{several} for a node{f', {again} of them for a further attempt' if again else ''}"
    for missing in needs.later:
        wait = f"{missing.not_before - now:.1f} s"
        yield f"partition {missing.partition_index}: attempt {missing.attempt} follows in {wait}"
    if now < reach.settled_at:
        yield f"limits and silent nodes count in {reach.settled_at - now:.1f} s, after a standstill"
