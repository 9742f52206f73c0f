"""What the nodes have answered to the offers of a job: which of them it need not ask again, or not yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from ..model.execution import Execution, ExecutionState
from ..model.node import Check, Refusal
from .node_index import NodeIndex

__all__ = ["ASK_AGAIN_AFTER", "ASK_AGAIN_MAX", "Answers", "answers_of", "is_about_the_job"]

ASK_AGAIN_AFTER = 5.0
"""Seconds for which a node is not asked again that refused a job for now; they double with each such answer."""
ASK_AGAIN_MAX = 300.0
"""Seconds up to which they double."""
_OF_THE_NODE = frozenset({Check.CAPACITY, Check.DRAINING, Check.BROADCAST})
"""What is no answer to the job: it ends with the node's next heartbeat, at the latest."""


@frozen
class Answers:
    """The refusals that still hold.

    Attributes:
        for_good: By node, the refused offer, with the revision of the node for which that holds.
        for_now: By node, the refused offer, and when the node may be asked again.
    """

    for_good: Mapping[str, Execution] = field(factory=dict[str, Execution])
    for_now: Mapping[str, tuple[Execution, float]] = field(factory=dict[str, tuple[Execution, float]])

    @property
    def revisions(self) -> tuple[tuple[str, int], ...]:
        """The nodes that get no offer now, each with the revision for which that holds."""
        refused = {name: execution.node_revision for name, execution in self.for_good.items()}
        refused.update((name, execution.node_revision) for name, (execution, _) in self.for_now.items())
        return tuple(sorted(refused.items()))

    @property
    def again_at(self) -> float:
        """When the first node may be asked again; infinity when there is none to wait for."""
        return min((again_at for _, again_at in self.for_now.values()), default=math.inf)

    def refusal_of(self, node: str, now: float) -> Refusal | None:
        """Say why a node is not asked, or None when it may be."""
        if node in self.for_good:
            return next(refusal for refusal in self.for_good[node].refusals if refusal.lasting)
        if node not in self.for_now:
            return None
        execution, again_at = self.for_now[node]
        refusal = next(filter(is_about_the_job, execution.refusals))
        again = f"it is asked again in {again_at - now:.1f} s"
        return evolve(refusal, hint=f"{refusal.hint}; {again}" if refusal.hint else again)


def answers_of(nodes: NodeIndex, executions: Iterable[Execution], now: float) -> Answers:
    """Find the refusals that still hold.

    They hold for the broadcast that the offer was made for: a node that has changed since may be asked at once.

    Args:
        nodes: The nodes that are known.
        executions: Of one job, in the order in which they were made.
        now: Seconds of the clock.
    """
    for_good: dict[str, Execution] = {}
    for_now: dict[str, tuple[Execution, float]] = {}
    rounds: dict[str, int] = {}
    for execution in executions:
        name = execution.node
        if execution.state is not ExecutionState.ASK_FOR_BID_REJECTED:
            accepted_at = execution.accepted_at
            if name in for_now and accepted_at is not None and accepted_at >= for_now[name][0].modified_at:
                rounds[name] = 0  # but the wait goes on: nobody looks at the job again only because of that
            continue
        entry = nodes.get(name)
        if entry is None or execution.node_revision != entry.info.revision:
            continue
        if any(refusal.lasting for refusal in execution.refusals):
            for_good[name] = execution
        elif any(map(is_about_the_job, execution.refusals)):
            known = for_now.get(name)
            if known is None or execution.created_at >= known[1]:
                rounds[name] = rounds.get(name, 0) + 1
            elif execution.modified_at < known[0].modified_at:
                continue
            wait = min(ASK_AGAIN_AFTER * 2.0 ** min(max(rounds[name] - 1, 0), 64), ASK_AGAIN_MAX)
            for_now[name] = execution, execution.modified_at + wait
    return Answers(for_good, {name: answer for name, answer in for_now.items() if answer[1] > now})


def is_about_the_job(refusal: Refusal) -> bool:
    """Say whether a refusal for now is an answer to the job, and not the same for each that the node is offered."""
    return not refusal.lasting and refusal.check not in _OF_THE_NODE
