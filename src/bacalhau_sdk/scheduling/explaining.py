"""The lines of an explanation that are about executions and waiting."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.execution import Execution
from ..model.record import JobRecord
from .reconcile import reconcile
from .schedule import ClusterSnapshot, reach_of

__all__ = ["execution_line", "waiting_lines"]


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
    failure = execution.outcome.failure if execution.outcome else None
    if failure is not None:
        line += f": {failure.message}"
    if execution.stop_requested and not execution.state.terminal:
        line += " (told to stop)"
    if execution.fenced:
        gone = "it is gone from there by now"
        back = (
            "it may still run there, is killed when the node is back, and nothing that it reports is recorded"
        )
        line += f" (fenced: {back if may_hold else gone})"
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
