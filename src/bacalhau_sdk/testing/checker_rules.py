"""The rules by which a log is judged that look at more than the entry at hand; each is given what is known."""

from __future__ import annotations

import math

from .checker_facts import (
    CANCEL_BOUND,
    CANCEL_SLACK,
    DELAY,
    FIRST_NEWS,
    GRACE,
    JOB_ENDED,
    KILL_SETTLE,
    LIMIT_LATE,
    LOST_AFTER,
    ROUNDING,
    TERMINAL,
    ExecutionFacts,
    Facts,
    JobFacts,
    NodeFacts,
    RunFacts,
    cite,
)
from .history import HistoryEntry

__all__ = [
    "judge_attempts",
    "judge_cancel_bound",
    "judge_cancelled",
    "judge_completed",
    "judge_end",
    "judge_ended_execution",
    "judge_ended_job",
    "judge_job_limits",
    "judge_kill",
    "judge_new_execution",
    "judge_record_after_cancel",
    "judge_running_time",
    "judge_start",
    "judge_told_out",
]

# ---- Records ----


def judge_new_execution(facts: Facts, execution: ExecutionFacts, *, after_end: bool) -> None:
    """Judge an execution that has been recorded for the first time, at the end of that commit."""
    job, partition, attempt = execution.job, execution.partition, execution.attempt
    if not job.state:
        facts.report(
            0, "job-unrecorded", f"{execution.name()} is recorded, and its job is not: {execution.last()}"
        )
    if len(partition.live) > 1:
        others = ", ".join(sorted(partition.live - {execution.id}))
        message = (
            f"{execution.name()} is recorded with {others} of the same partition live: {execution.last()}"
        )
        facts.report(3, "two-current", message)
    highest, partition.highest = partition.highest, max(partition.highest, attempt)
    judge_attempts(facts, job, execution.index, attempt)
    if facts.listing:
        return  # it is new to the judge only
    if attempt < highest:
        facts.report(3, "attempt-down", f"{execution.name()} follows attempt {highest}: {execution.last()}")
    elif attempt > highest + 1:
        facts.report(
            15, "attempt-skipped", f"{execution.name()} follows attempt {highest}: {execution.last()}"
        )
    # Several commits of one moment look like one, so a later try may be there when the earlier one is judged.
    earlier = partition.accepted.get(attempt)
    if earlier is not None and earlier.born < execution.born:
        message = (
            f"{execution.name()} has the attempt of {earlier.id}, which was accepted: {execution.last()}, "
        )
        facts.report(3, "attempt-repeated", message + earlier.last())
    earlier = partition.permanent
    if earlier is not None and earlier.born < execution.born:
        message = f"{execution.name()} follows a permanent fault of {earlier.id}: {execution.last()}, "
        facts.report(7, "retried-permanent", message + earlier.last())
    earlier = partition.completed
    # A policy may ask for another try after another exit code, which the log does not tell.
    if earlier is not None and earlier.born < execution.born and not earlier.entry.detail.get("exit_code"):
        message = f"{execution.name()} repeats {earlier.id}, which is complete: {execution.last()}, {earlier.last()}"
        facts.report(1, "tried-after-completed", message)
    elif after_end:
        facts.report(
            7,
            "tried-after-end",
            f"{execution.name()} is made after its job: {execution.last()}, {job.last()}",
        )
    node = facts.nodes.get(execution.node)
    if node is not None and node.silent_from is not None:
        # After a standstill nodes have their time to be heard, and only then is one missed.
        silent = facts.now - max(node.silent_from, facts.resumed)
        if silent > LOST_AFTER + DELAY:
            message = (
                f"{execution.name()} is offered to a node that is lost, silent from {node.silent_from:g} s: "
            )
            facts.report(15, "offered-to-lost", message + execution.last())


def judge_attempts(facts: Facts, job: JobFacts, index: int, attempt: int) -> None:
    """Judge the number of a try."""
    if job.spec is not None and attempt > job.spec.max_attempts:
        message = f"job {job.id} asks for {job.spec.max_attempts} attempts, partition {index} has attempt {attempt}: "
        facts.report(7, "too-many-attempts", message + facts.here("execution"))


def judge_completed(facts: Facts, job: JobFacts) -> None:
    """Judge whether a job that is recorded as completed is complete; one of nothing but refusals is not."""
    expected = set(range(job.spec.partitions)) if job.spec is not None else set[int]()
    done = {index for index, partition in job.partitions.items() if partition.completed is not None}
    missing = (expected | job.partitions.keys()) - done
    if job.spec is None or job.spec.type == "ops":  # which type it is may be told later
        missing = {index for index in missing if not _refused_for_good(job, index)}
    if missing or not done:
        named = ", ".join(map(str, sorted(missing))) or "0"
        message = f"job {job.id} has no completed execution of partition {named}: {job.last()}"
        facts.report(1, "completed-without-execution", message)


def _refused_for_good(job: JobFacts, index: int) -> bool:
    partition = job.partitions.get(index)
    last = partition.last if partition is not None else None
    return last is not None and last.state == "ASK_FOR_BID_REJECTED"


def judge_ended_execution(facts: Facts, execution: ExecutionFacts) -> None:
    """Judge an execution that has been recorded in a terminal state, at the end of that commit."""
    run = facts.runs.get(execution.id)
    if execution.state == "COMPLETED" and run is None:
        facts.report(1, "completed-unrun", f"{execution.name()} never ran: {execution.last()}")
    # A node whose process was down meanwhile may have begun it before, and knows no more of it.
    if (
        execution.state == "ASK_FOR_BID_REJECTED"
        and run is not None
        and not run.node.silent_since(execution.since)
    ):
        message = f"{execution.name()} was refused, and ran: {execution.last()}, {run.begin()}"
        facts.report(0, "refused-ran", message)
    elif run is not None and run.stopped is None and not execution.fenced:
        execution.reported = True
        message = f"{execution.name()} is over and not fenced, and runs: {execution.last()}, {run.begin()}"
        facts.report(0, "unfenced-runs", message)
    if execution.fenced:
        _judge_fence(facts, execution)
    if execution.state == "TIMED_OUT":
        judge_told_out(facts, execution)


def _judge_fence(facts: Facts, execution: ExecutionFacts) -> None:
    now = facts.now
    if execution.state in {"COMPLETED", "ASK_FOR_BID_REJECTED"}:
        message = f"{execution.name()} is fenced, and its state is the word of its node: {execution.last()}"
        facts.report(0, "fenced-state", message)
    if now < facts.settled_at - ROUNDING:
        message = f"{execution.name()} is fenced while nodes have until {facts.settled_at:g} s to be heard: "
        facts.report(14, "fenced-settling", message + execution.last())
        return
    node = facts.nodes.get(execution.node)
    told = execution.told_at is not None and (
        execution.told_at <= facts.jumped_at or now - execution.told_at >= GRACE - ROUNDING
    )
    if node is None or told:
        return
    if node.heard(now) or now - node.trouble_from < LOST_AFTER - FIRST_NEWS:
        message = f"{execution.name()} is fenced, its node is not lost, and it had not its grace to stop: "
        facts.report(15, "fenced-reachable", message + execution.last())


# ---- Cancelling ----


def judge_cancelled(facts: Facts, job: JobFacts) -> None:
    """Judge what runs of a job when a cancel of it returns."""
    for run in facts.running_of.get(job.id, {}).values():
        execution = facts.executions.get(run.id)
        if execution is not None and not execution.fenced and not execution.reported:
            execution.reported = True
            message = f"{execution.name()} is not fenced and runs after the return of a cancel: "
            message += f"{facts.here('cancel-returned')}, {run.begin()}, {execution.last()}"
            facts.report(9, "runs-after-cancel", message)


def judge_record_after_cancel(facts: Facts, job: JobFacts, entry: HistoryEntry) -> None:
    """Judge a record of a job, which is legal only before a cancel has returned."""
    if job.cancelled is not None:
        subject = f"execution {entry.execution_id}" if entry.execution_id else "the job"
        message = f"{subject} of job {job.id} is recorded after the return of a cancel: "
        cancel = cite(job.cancelled[0], "cancel-returned", job.cancelled[1])
        what = f"{entry.kind} {entry.state}".rstrip()
        facts.report(10, "recorded-after-cancel", f"{message}{facts.here(what)}, {cancel}")


def judge_cancel_bound(facts: Facts, job_id: str, call: tuple[int, float], until: str) -> None:
    """Judge how long a cancel took that returns, is abandoned, or goes on; nobody is answered while nobody is there."""
    number, time = call
    if not facts.down and facts.now > max(time, facts.resumed) + CANCEL_BOUND + CANCEL_SLACK:
        message = (
            f"a cancel of job {job_id} took {facts.now - time:g} s: {cite(number, 'cancel-called', time)}"
        )
        facts.report(11, "cancel-late", f"{message}, {until}")


# ---- Time ----


def judge_told_out(facts: Facts, execution: ExecutionFacts) -> None:
    """Judge an execution that is ended, or told to stop, because of a limit; once."""
    if not execution.told_out:
        execution.told_out = execution.job.timed_out = True
        what = f"{execution.name()} has timed out: {facts.here('execution or told-to-stop')}"
        _judge_limit(facts, execution.job, facts.runs.get(execution.id), what)


def _judge_limit(
    facts: Facts, job: JobFacts, run: RunFacts | None, what: str, told_at: float = math.inf
) -> None:
    """Judge a limit that has fired; its job may have been told to stop before it is recorded to be over."""
    spec, jumped = job.spec, job.since <= facts.jumped_at
    at = math.inf if jumped else facts.now + ROUNDING  # on another scale any limit may have passed
    if facts.settled_at - LOST_AFTER < told_at and facts.now < facts.settled_at - ROUNDING:
        facts.report(14, "limit-settling", f"limits count again at {facts.settled_at:g} s, but {what}")
    elif spec is not None:
        unaccepted = jumped or job.accepted_at is None or job.accepted_at > job.since + (spec.queue or 0)
        passed = (
            (spec.total is not None and at >= job.since + spec.total)
            or (spec.queue is not None and unaccepted and at >= job.since + spec.queue)
            or (spec.execution is not None and run is not None and at >= run.first + spec.execution)
        )
        if not passed:
            limits = f"queue {spec.queue}, execution {spec.execution}, total {spec.total}"
            message = (
                f"no limit of job {job.id}, recorded at {job.since:g} s, has passed ({limits}), but {what}"
            )
            facts.report(13, "limit-early", message)


def judge_ended_job(facts: Facts, job: JobFacts) -> None:
    """Judge a job that has been recorded in a terminal state, at the end of that commit."""
    if job.state == "COMPLETED":
        judge_completed(facts, job)
    if facts.listing:
        return  # it has ended before
    if job.state == "CANCELLED" and job.id not in facts.cancel_asked:
        facts.report(12, "cancelled-unasked", f"nobody has cancelled job {job.id}: {job.last()}")
    if job.state == "TIMED_OUT" and not job.timed_out:
        _judge_limit(facts, job, None, f"job {job.id} has timed out: {job.last()}", job.told_at)
    judge_job_limits(facts, job)


def judge_job_limits(facts: Facts, job: JobFacts) -> None:
    """Judge whether a job that has ended, was accepted, or goes on, has passed a limit long ago."""
    spec = job.spec
    if spec is None or job.since <= facts.jumped_at:
        return
    for limit, name in ((spec.total, "total"), (spec.queue if job.accepted_at is None else None, "queue")):
        if limit is not None and facts.now > max(job.since + limit, facts.resumed) + LIMIT_LATE:
            message = f"job {job.id} passed its limit {name} at {job.since + limit:g} s, and is "
            facts.report(
                13, "limit-late", f"{message}{job.state or 'not ended'} at {facts.now:g} s: {job.last()}"
            )
            return


def judge_running_time(facts: Facts, execution: ExecutionFacts) -> None:
    """Judge whether an execution that is recorded as running, and no more or still, was to be stopped long ago."""
    spec = execution.job.spec
    if spec is None or spec.execution is None or execution.told_at is not None:
        return
    if execution.job.since <= facts.jumped_at:
        return
    due = max(execution.running_at + spec.execution, facts.resumed) + LIMIT_LATE
    run = facts.runs.get(execution.id)
    ended = facts.now if run is None or run.stopped is None else run.stopped
    if min(ended, facts.now) > due:
        message = (
            f"{execution.name()} passed its limit at {execution.running_at + spec.execution:g} s, was not "
        )
        message += f"told to stop, and ran until {ended:g} s: {execution.last()}"
        facts.report(13, "limit-late", message)


# ---- Workloads ----


def judge_start(facts: Facts, run: RunFacts) -> None:
    """Judge a workload that begins to run."""
    node, execution = run.node, facts.executions.get(run.id)
    _judge_capacity(facts, node, run)
    if execution is None:
        if run.id not in facts.forgotten_executions:
            facts.report(0, "started-unrecorded", f"{run.name()} is not recorded, and runs: {run.begin()}")
        return
    if execution.node != node.name:
        message = f"{execution.name()} runs on {node.name}: {run.begin()}"
        facts.report(0, "execution-identity", message)
    if not node.settled(facts.now):
        return  # an old message may have reached it, and it may not have heard of the end
    if execution.job.cancelled is not None:
        cancel = cite(execution.job.cancelled[0], "cancel-returned", execution.job.cancelled[1])
        message = f"{execution.name()} runs after a cancel of its job has returned: {run.begin()}, {cancel}"
        facts.report(9, "started-after-cancel", message)
    elif execution.rank == TERMINAL and not execution.fenced:
        message = f"{execution.name()} runs when it is over: {run.begin()}, {execution.last()}"
        facts.report(0, "started-after-end", message)


def _judge_capacity(facts: Facts, node: NodeFacts, run: RunFacts) -> None:
    if not node.exists:
        facts.report(
            0, "unknown-node", f"no node {node.name} has been made, where {run.name()} runs: {run.begin()}"
        )
    over = [
        f"{used:g} {name} of {size:g}"
        for name, used, size in (
            ("cpu", node.used_cpu, node.cpu),
            ("memory", node.used_memory, node.memory),
            ("executions", len(node.running), node.max_executions),
        )
        # What was added and taken away again leaves the rounding of floating-point numbers.
        if size is not None and used > size * (1 + 1e-9) + 1e-9
    ]
    if over:
        others = ", ".join(node.running)
        message = f"node {node.name} runs {', '.join(over)} with {run.name()}, of {others}: {run.begin()}"
        facts.report(16, "over-capacity", message)


def judge_kill(facts: Facts, run: RunFacts) -> None:
    """Judge how long a workload of a fenced execution, which dies, gets out of sight, or goes on, has run."""
    execution, node = facts.executions.get(run.id), run.node
    if execution is None or not execution.fenced or node.cut_at is not None or facts.down:
        return
    # When a node was there all the time, it did not manage to stop it, and nothing is promised but that it ends.
    if node.joined_at < execution.entry.time or execution.reported:
        return
    if facts.now - max(node.joined_at, facts.resumed) > KILL_SETTLE:
        execution.reported = True
        message = (
            f"{execution.name()} is fenced, its node is back since {node.joined_at:g} s, and it ran until "
        )
        message += f"{facts.now:g} s: {execution.last()}, {run.begin()}"
        facts.report(15 if execution.job.cancelled is None else 9, "fenced-runs-on", message)


# ---- The end ----


def judge_end(facts: Facts, *, all_ended: bool) -> None:
    """Judge what is left at the end of a run."""
    if not facts.down:
        for job in facts.jobs.values():
            if job.rank < JOB_ENDED:
                judge_job_limits(facts, job)
        for execution in facts.executions.values():
            if execution.state == "RUNNING":
                judge_running_time(facts, execution)
    for runs in facts.running_of.values():
        for run in runs.values():
            judge_kill(facts, run)
    if not all_ended:
        return
    for job in facts.jobs.values():
        if job.rank < JOB_ENDED:
            facts.report(5, "not-ended", f"job {job.id} has not ended: {job.last()}")
    for execution in facts.executions.values():
        if execution.rank < TERMINAL and execution.job.rank >= JOB_ENDED:
            message = f"{execution.name()} is left without an end: {execution.last()}, {execution.job.last()}"
            facts.report(5, "execution-not-ended", message)
    for job_id, runs in facts.running_of.items():
        known = facts.jobs.get(job_id)
        promise = 9 if known is not None and known.cancelled is not None else 5
        for run in runs.values():
            facts.report(promise, "runs-at-end", f"{run.name()} still runs: {run.begin()}")
