"""The lines of an explanation that are about executions and waiting."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.evaluation import Explanation
from ..model.execution import Execution
from ..model.job import JobSpec
from ..model.node import Check, Refusal
from ..model.record import JobRecord
from .answers import answers_of
from .matching import Demand
from .node_index import NodeIndex, NodeSet
from .reconcile import reconcile
from .schedule import ClusterSnapshot, reach_of, refusals_of

__all__ = ["execution_line", "explain_nodes", "waiting_lines"]


def explain_nodes(
    nodes: NodeIndex, spec: JobSpec, executions: Sequence[Execution] = (), now: float = 0.0, kept: NodeSet = 0
) -> Explanation:
    """Say which nodes could take a job now, and why the others do not.

    Args:
        nodes: The nodes that are known.
        spec: Of the job.
        executions: Of the job, for what its nodes have answered.
        now: Seconds of the clock.
        kept: The nodes that are kept for jobs that go before it.
    """
    refusals = refusals_of(nodes, Demand.of(spec), answers_of(nodes, executions, now), now)
    refusing = {refusal.node for refusal in refusals}
    able = [entry for entry in nodes if entry.info.name not in refusing]
    offered, hint = "it is kept for a job that has waited for too long", "it comes after that one"
    refusals += tuple(
        Refusal(entry.info.name, Check.CAPACITY, str(spec.resources), offered, hint, lasting=False)
        for entry in able
        if kept >> entry.slot & 1
    )
    names = tuple(entry.info.name for entry in able if not kept >> entry.slot & 1)
    reason = f"{len(names)} of {len(nodes)} nodes could take it now"
    return Explanation("", None, reason, (), names, refusals)


def execution_line(execution: Execution, may_hold: bool) -> str:
    """Say where an execution is and how it goes.

    Args:
        execution: The execution.
        may_hold: Whether it may still be on its node.
    """
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
    if execution.fenced:
        gone = "it is gone from there by now"
        alive = "it may still run there; it is killed as soon as its node can do that, and nothing that it reports is recorded"
        line += f" (fenced: {alive if may_hold else gone})"
    return line


def waiting_lines(
    job: JobRecord, executions: Sequence[Execution], cluster: ClusterSnapshot, now: float
) -> tuple[str, ...]:
    """Say what a job waits for: nodes that may come back, the next try of a partition, a limit."""
    reach = reach_of(cluster, executions, now)
    needs = reconcile(job, executions, reach, now)
    lines = [
        f"partition {execution.partition_index}: node {execution.node} cannot be reached, it may come back"
        for execution in executions
        if execution.node in reach.lost and not execution.state.terminal
    ]
    lines += [
        f"partition {missing.partition_index}: attempt {missing.attempt} follows in {missing.not_before - now:.1f} s"
        for missing in needs.later
    ]
    if now < reach.settled_at:
        lines.append(f"limits and silent nodes count in {reach.settled_at - now:.1f} s, after a standstill")
    return tuple(lines)
