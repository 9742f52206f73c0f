"""The conductor: what should become of one job now. Read this first.

overtaken   which limits have passed, which nodes are lost?
reconcile   what does the job still need?
match       which nodes could run it, and which have room now?
rank        which of them first?
place       one execution for each partition that needs one
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ..model.evaluation import Evaluation
from ..model.execution import Execution, ExecutionState, Failure, FailureKind
from ..model.job import JobState, JobType
from ..model.node import Check, Refusal
from ..model.record import JobRecord
from .answers import Answers, answers_of
from .deadlines import Reach, fence, next_deadline, overtaken, stop
from .lifecycle import advance, end_job, move_job
from .matching import Demand, lasting_refusal, room_refusal
from .membership import standing_refusal
from .node_index import NodeEntry, NodeIndex, NodeSet
from .plan import Plan, Want
from .ranking import Choice, Ranker, default_rank
from .reconcile import Ending, Missing, Needs, after_failure, reconcile

__all__ = ["ClusterSnapshot", "is_choosing", "queue_reason", "reach_of", "refusals_of", "schedule"]

_NOWHERE = "no known node could ever run the job ({} known)"
_FULL = "{} of {} nodes match, none takes it now"
_DRAINING = "every node that matches is being drained"
_REFUSALS_TOLD = 100
# The field of the spec that says what a check holds a node against.
_FIELDS: Mapping[Check, str] = {
    Check.ENGINE: "engine",
    Check.PLATFORM: "engine.platform",
    Check.SELECTOR: "selector",
    Check.INPUTS: "inputs",
    Check.NETWORK: "network",
    Check.TOTAL_CAPACITY: "resources",
}


@frozen
class ClusterSnapshot:
    """What the scheduler sees of the world; it changes nothing of it.

    Attributes:
        jobs: All jobs, by id.
        executions: The executions of each job, by their ids, in the order in which they were made.
        nodes: The nodes that are known.
        ranker: Ranks the nodes that match.
        settled_at: From when on every node that there is has had the time to make itself known, so that limits and silence count.
        suffix: Ends the ids of new executions: no other life of the orchestrator has given the same.
    """

    jobs: Mapping[str, JobRecord]
    executions: Mapping[str, Mapping[str, Execution]]
    nodes: NodeIndex
    ranker: Ranker = default_rank
    settled_at: float = -math.inf
    suffix: str = ""


@frozen
class _View:
    """What of the world concerns one job, at one time."""

    job: JobRecord
    executions: tuple[Execution, ...]
    cluster: ClusterSnapshot
    reach: Reach
    withheld: NodeSet
    now: float

    @property
    def settled(self) -> bool:
        return self.now >= self.reach.settled_at


def schedule(cluster: ClusterSnapshot, evaluation: Evaluation, now: float, withheld: NodeSet = 0) -> Plan:
    """Decide what should become of a job now; equal arguments give equal plans.

    Args:
        cluster: The jobs and the nodes.
        evaluation: Which job is looked at, and why.
        now: Seconds of the cluster's clock.
        withheld: The nodes that the job may not have, because they are kept for others that go before it.
    """
    job = cluster.jobs[evaluation.job_id]
    executions = tuple(cluster.executions.get(job.id, {}).values())
    reach = reach_of(cluster, executions, now)
    changed = overtaken(job, executions, reach, now)
    executions = _with(executions, changed)
    view = _View(job, executions, cluster, reach, withheld, now)
    needs = reconcile(job, executions, reach, now)
    if needs.ending is not None:
        plan = _end(view, _told(view, needs.ending))
    else:
        if needs.running and job.state is not JobState.RUNNING:
            view = evolve(view, job=move_job(job, JobState.RUNNING, now))
        plan = _place(view, needs)
    made = _with(changed, plan.executions)
    later = (plan.wake_at, *(missing.not_before for missing in needs.later))
    wake_at = next_deadline(plan.job, _with(executions, plan.executions), later, reach, now)
    return Plan(plan.job, made, plan.blocked, wake_at)


def reach_of(cluster: ClusterSnapshot, executions: Iterable[Execution], now: float) -> Reach:
    """Find out which nodes of a job's live executions cannot be reached."""
    if now < cluster.settled_at:
        return Reach({}, cluster.settled_at)
    lost: dict[str, float] = {}
    for execution in executions:
        if not execution.state.terminal:
            entry = cluster.nodes.get(execution.node)
            if entry is None:
                # Of an earlier life of the orchestrator, and not heard of in this one.
                lost[execution.node] = max(cluster.settled_at, execution.created_at)
            elif entry.lost_at is not None:
                lost[execution.node] = entry.lost_at
    return Reach(lost, cluster.settled_at)


def _with(executions: Sequence[Execution], changed: Sequence[Execution]) -> tuple[Execution, ...]:
    """Return the executions with the changed ones in their places, and new ones at the end."""
    if not changed:
        return tuple(executions)
    by_id = {execution.id: execution for execution in executions}
    by_id.update((execution.id, execution) for execution in changed)
    return tuple(by_id.values())


def _end(view: _View, ending: Ending) -> Plan:
    """Stop what is live; the job takes its terminal state when nothing is, or when what is left cannot be reached."""
    job, now = view.job, view.now
    if job.ending is None:
        job = evolve(
            job,
            ending=ending.state,
            reason=ending.reason,
            failure=ending.failure,
            refusals=ending.refusals,
            modified_at=now,
        )
    changed: list[Execution] = []
    dying = False
    for execution in view.executions:
        if execution.state.terminal:
            continue
        if execution.ending is ExecutionState.TIMED_OUT:
            # It was kept, had it come to its end after all; now nobody wants it any more.
            execution = evolve(execution, ending=ExecutionState.CANCELLED, modified_at=now)  # noqa: PLW2901
            changed.append(execution)
        if execution.node in view.reach.lost:
            changed.append(fence(execution, execution.ending or ExecutionState.CANCELLED, now))
            continue
        dying = True
        if not execution.stop_requested:
            changed.append(stop(execution, ExecutionState.CANCELLED, now))
    return Plan(job if dying else end_job(job, now), tuple(changed))


def _place(view: _View, needs: Needs) -> Plan:
    """Make an execution for each partition that needs one, as far as there is room."""
    job, nodes, now = view.job, view.cluster.nodes, view.now
    everywhere = job.spec.type is JobType.OPS
    choosing = is_choosing(job, needs, view.executions)
    if not needs.missing and not choosing:
        return Plan(job)
    demand = Demand.of(job.spec)
    answers = answers_of(nodes, view.executions, now)
    want = Want(demand, answers.revisions, priority=job.spec.priority)
    able = nodes.matching(demand) & ~nodes.named(answers.for_good)
    if not able:
        return _without_match(view, needs, want)
    if choosing:
        if not view.settled:
            return _queued(view, want, "waiting for all nodes to make themselves known")
        targets = tuple(entry.info.name for entry in nodes.entries(able) if not entry.info.draining)
        if not targets:
            return _queued(view, want, _DRAINING)
        job = evolve(job, targets=targets, chosen_after=len(view.executions), modified_at=now)
        view = evolve(view, job=job)
        needs = evolve(needs, missing=tuple(Missing(index) for index in range(len(job.targets))))
    gone = _gone(view, needs, able) if everywhere else None
    if gone is not None:
        return _end(view, gone)
    roomy = nodes.with_room(demand, able & ~nodes.named(answers.for_now) & ~view.withheld)
    choice = Choice(nodes, roomy, demand, job.id, view.executions, view.cluster.ranker, len(needs.missing))
    made: list[Execution] = []
    left: list[Missing] = []
    serial = len(view.executions)
    for missing in needs.missing:
        only = job.targets[missing.partition_index] if everywhere else None
        entry = choice.take(f"{job.id}-{serial}", only)
        if entry is None:
            left.append(missing)
            continue
        if missing.replaces is not None:
            state = ExecutionState.FAILED if missing.after is not None else ExecutionState.CANCELLED
            made.append(fence(missing.replaces, state, now))
        made.append(_offer(view, entry, serial, missing))
        serial += 1
    if not left:
        return Plan(job, tuple(made))
    if everywhere:
        want = evolve(want, only=tuple(job.targets[missing.partition_index] for missing in left))
    queued = _queued(view, want, _FULL.format(able.bit_count(), len(nodes)))
    return Plan(queued.job, tuple(made), want, answers.again_at)


def _told(view: _View, ending: Ending) -> Ending:
    """Return an ending with what the nodes have to say, when none of them has taken the job."""
    if not ending.unplaced or view.job.ending is not None:
        return ending
    refusals = _refusals(view)
    reason = _lines(f"{ending.reason}; {queue_reason(view.cluster.nodes, refusals)}", refusals)
    return evolve(ending, reason=reason, refusals=refusals)


def _refusals(view: _View) -> tuple[Refusal, ...]:
    nodes, now = view.cluster.nodes, view.now
    return refusals_of(
        nodes, Demand.of(view.job.spec), answers_of(nodes, view.executions, now), now, view.withheld
    )


def _gone(view: _View, needs: Needs, able: NodeSet) -> Ending | None:
    """Say how an ops job ends of which a node, after a failure there, is not known any more or does not match any more."""
    for missing in needs.missing:
        name = view.job.targets[missing.partition_index]
        entry = view.cluster.nodes.get(name)
        if view.settled and (entry is None or not able >> entry.slot & 1):
            what = "does not match" if entry else "is not known"
            message = f"node {name}, which partition {missing.partition_index} is for, {what} any more"
            failure = Failure(FailureKind.INFRASTRUCTURE, "node.lost", message)
            return after_failure(missing, Ending(JobState.FAILED, message, failure))
    return None


def _queued(view: _View, want: Want, reason: str) -> Plan:
    """Return the plan of a job that waits for room, or for a node."""
    job = view.job
    if job.state is JobState.PENDING:
        job = move_job(job, JobState.QUEUED, view.now, reason)
    return Plan(job, blocked=want)


def _without_match(view: _View, needs: Needs, want: Want) -> Plan:
    """Return the plan of a job that no known node could run: it waits while it may, else it ends."""
    patient = view.job.spec.timeouts.queue is not None and not needs.running
    if patient or not view.settled:
        first = view.job.state is JobState.PENDING
        return _queued(view, want, _nowhere(view).reason if first else "")
    if needs.missing and not needs.later and not _any_live(view.executions):
        tried = [missing.after for missing in needs.missing]
        if all(each is not None and each.state is ExecutionState.COMPLETED for each in tried):
            return _end(view, Ending(JobState.COMPLETED))  # with the exit codes that could have been better
    nowhere = _nowhere(view)
    return _end(view, after_failure(needs.missing[0], nowhere) if needs.missing else nowhere)


def _any_live(executions: Iterable[Execution]) -> bool:
    return any(not execution.state.terminal for execution in executions)


def is_choosing(job: JobRecord, needs: Needs, executions: Iterable[Execution]) -> bool:
    """Say whether an ops job is still to find its nodes: at first, and when those that it was for all refuse it."""
    everywhere = job.spec.type is JobType.OPS
    return everywhere and (not job.targets or not (needs.missing or needs.later or _any_live(executions)))


def _offer(view: _View, entry: NodeEntry, serial: int, missing: Missing) -> Execution:
    new = Execution(
        id=f"{view.job.id}-{serial}{view.cluster.suffix}",
        job_id=view.job.id,
        partition_index=missing.partition_index,
        attempt=missing.attempt,
        node=entry.info.name,
        node_revision=entry.info.revision,
        state=ExecutionState.NEW,
        created_at=view.now,
        modified_at=view.now,
    )
    return advance(new, ExecutionState.ASK_FOR_BID, view.now)


def _nowhere(view: _View) -> Ending:
    refusals = _refusals(view)
    message = _lines(_NOWHERE.format(len(view.cluster.nodes)), refusals)
    checks = {refusal.check for refusal in refusals}
    failure = Failure(
        FailureKind.PERMANENT,
        "job.no_matching_node",
        message,
        "ask for what one of the nodes offers, or give the cluster a node that fits",
        _FIELDS.get(checks.pop(), "") if len(checks) == 1 else "",
    )
    return Ending(JobState.FAILED, message, failure, refusals)


def _lines(head: str, refusals: Sequence[Refusal]) -> str:
    message = "\n  ".join([head, *map(str, refusals[:_REFUSALS_TOLD])])
    if len(refusals) > _REFUSALS_TOLD:
        message += f"\n  and {len(refusals) - _REFUSALS_TOLD} more nodes"
    return message


def queue_reason(nodes: NodeIndex, refusals: Sequence[Refusal]) -> str:
    """Say in one line why a job is queued, from why nodes do not take it."""
    for_now = [refusal for refusal in refusals if not refusal.lasting]
    matching = len(nodes) - len(refusals) + len(for_now)
    if not matching:
        return _NOWHERE.format(len(nodes))
    if len(for_now) == matching and all(refusal.check is Check.DRAINING for refusal in for_now):
        return _DRAINING
    return _FULL.format(matching, len(nodes))


def refusals_of(
    nodes: NodeIndex,
    demand: Demand,
    answers: Answers | None = None,
    now: float = -math.inf,
    kept: NodeSet = 0,
) -> tuple[Refusal, ...]:
    """Return why each node does not take a demand now, one refusal a node; nodes that could are left out.

    Args:
        nodes: The nodes that are known.
        demand: What is asked for.
        answers: What they have answered to the job that asks.
        now: Seconds of the clock.
        kept: The nodes that are kept for jobs that go before it.
    """
    refusals: list[Refusal] = []
    for entry in nodes:
        refusal = lasting_refusal(entry.info, demand)
        if refusal is None and answers is not None:
            refusal = answers.refusal_of(entry.info.name, now)
        refusal = refusal or standing_refusal(entry) or room_refusal(entry.info, entry.account, demand)
        refusal = refusal or entry.saturated
        if refusal is None and kept >> entry.slot & 1:
            offered, hint = "it is kept for a job that has waited for too long", "it comes after that one"
            refusal = Refusal(
                entry.info.name, Check.CAPACITY, str(demand.resources), offered, hint, lasting=False
            )
        if refusal is not None:
            refusals.append(refusal)
    return tuple(refusals)
