"""Why the scheduler looks at a job, and what it can tell about it."""

from __future__ import annotations

import enum
from xml.etree.ElementTree import Element

from attrs import frozen

from .display import ROWS_MAX, card, counted, element, state_badge, table, visible
from .job import JobState
from .node import Refusal

__all__ = ["Evaluation", "Explanation", "Trigger"]

REASON_MAX = 1000


class Trigger(enum.Enum):
    """What made the scheduler look at a job."""

    JOB_REGISTER = "job-register"
    JOB_CANCEL = "job-cancel"
    EXECUTION_UPDATE = "exec-update"
    DEADLINE = "deadline"
    NODE_JOIN = "node-join"
    NODE_LEAVE = "node-leave"
    RECOVERY = "recovery"


@frozen
class Evaluation:
    """One look of the scheduler at one job; at most one is waiting for each job.

    Attributes:
        job_id: The job.
        priority: Of the job; higher goes first.
        created_at: When the job was submitted; older goes first among equals.
        trigger: What made it necessary.
    """

    job_id: str
    priority: int
    created_at: float
    trigger: Trigger


@frozen
class Explanation:
    """Why a job is where it is, why not elsewhere, or why not at all. ``str()`` is for a terminal; a notebook shows a table.

    Attributes:
        job_id: The job, or empty when a spec was asked about that has not been submitted.
        state: Where the job stands, or None for such a spec.
        reason: What the state comes from.
        placed: One line for each execution: where it is and how it goes.
        candidates: The names of the nodes that could take an execution now.
        refusals: For every other node, why not.
        outlook: ``placed``, ``queued`` or ``refused``: what would become of such a spec now; empty for a job.
    """

    job_id: str
    state: JobState | None
    reason: str
    placed: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    outlook: str = ""

    def __str__(self) -> str:
        """Return the explanation, one line for each node."""
        head = (
            f"job {self.job_id} is {self.state.value}" if self.state else f"this job would be {self.outlook}"
        )
        lines = [f"{head}: {self.reason}" if self.reason else head]
        lines += [f"  {line}" for line in self.placed]
        lines += [f"  node {name}: could take it now" for name in self.candidates]
        lines += [f"  {refusal}" for refusal in self.refusals]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if self.state is not None:
            head = [element("strong", f"job {visible(self.job_id)} "), state_badge(self.state.value)]
        else:
            head = [element("strong", f"this job would be {visible(self.outlook)}")]
        parts: list[Element] = []
        if self.reason:
            parts.append(element("div", visible(self.reason, REASON_MAX), class_="bac-note"))
        if self.placed:
            parts.append(table(("executions",), [(line,) for line in self.placed[:ROWS_MAX]]))
        rows: list[tuple[str, ...]] = [(name, "could take it now", "", "", "") for name in self.candidates]
        rows += [(each.node, each.check.value, each.asked, each.offered, each.hint) for each in self.refusals]
        if rows:
            parts.append(table(("node", "check", "asked for", "offers", "hint"), rows[:ROWS_MAX]))
        left = max(0, len(self.placed) - ROWS_MAX) + max(0, len(rows) - ROWS_MAX)
        if left:
            parts.append(element("div", f"and {counted(left, 'more line')}", class_="bac-note"))
        return card(head, *parts)
