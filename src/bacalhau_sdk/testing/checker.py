"""An independent judge of a run: it knows its log and ``docs/explanation/guarantees.md``, and nothing of the scheduler.

It judges the sections Records, Cancelling, Time and Capacity, as far as a log can show them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from .checker_facts import (
    ACCEPTED,
    EXECUTION_RANK,
    JOB_ENDED,
    JOB_RANK,
    LOST_AFTER,
    OFFERED,
    TERMINAL,
    ExecutionFacts,
    Facts,
    JobFacts,
    PartitionFacts,
    RunFacts,
    Violation,
    as_number,
    read_spec,
)
from .checker_rules import (
    judge_attempts,
    judge_cancel_bound,
    judge_cancelled,
    judge_completed,
    judge_end,
    judge_ended_execution,
    judge_ended_job,
    judge_job_limits,
    judge_kill,
    judge_new_execution,
    judge_record_after_cancel,
    judge_running_time,
    judge_start,
    judge_told_out,
)
from .history import HistoryEntry

__all__ = ["Violation", "judge"]

_RECORDS = frozenset({"job", "execution", "told-to-stop"})
_LISTED = _RECORDS - {"told-to-stop"}


def judge(history: Iterable[HistoryEntry]) -> tuple[Violation, ...]:
    """Return every promise that a run did not keep.

    Args:
        history: The log, in the order in which things happened.

    Returns:
        What was found, in the order in which it showed; nothing when all promises were kept.
    """
    return _Judge().judge(history)


class _Judge:
    """Walks through a log once; what belongs to one commit is looked at when the commit is complete."""

    def __init__(self) -> None:
        self._facts = Facts()
        self._open = False  # there is something to be judged at the end of this commit
        self._new: list[ExecutionFacts] = []
        self._told: list[ExecutionFacts] = []
        self._ended: list[ExecutionFacts] = []
        self._ended_jobs: dict[str, JobFacts] = {}
        self._handlers: dict[str, Callable[[HistoryEntry], None]] = {
            "submit-returned": self._submit_returned,
            "job": self._job,
            "execution": self._execution,
            "told-to-stop": self._told_to_stop,
            "cancel-called": self._cancel_called,
            "cancel-returned": self._cancel_returned,
            "cancel-abandoned": self._cancel_over,
            "started": self._started,
            "stopped": self._stopped,
            "node": self._node,
            "results-read": self._results_read,
            "cut": self._cut,
            "joined": self._joined,
            "orchestrator-down": self._orchestrator_down,
            "orchestrator-up": self._orchestrator_up,
            "faults-end": self._faults_end,
            "end": self._end,
        }

    def judge(self, history: Iterable[HistoryEntry]) -> tuple[Violation, ...]:
        facts, handlers = self._facts, self._handlers
        for number, entry in enumerate(history, 1):
            kind, time = entry.kind, entry.time
            if self._open and (time != facts.now or kind not in (_LISTED if facts.listing else _RECORDS)):
                self._commit()
            facts.number = number
            if time < facts.now:
                message = f"entry {number} ({kind} at {time:g} s) comes after one at {facts.now:g} s"
                facts.report(0, "time-backwards", message)
            else:
                facts.now = time
            handler = handlers.get(kind)
            if handler is not None:
                handler(entry)
            elif handlers:
                facts.report(0, "unknown-entry", f"no kind of entry is meant by {facts.here(kind)}")
            else:
                facts.report(0, "after-end", f"the run is over, but there is {facts.here(kind)}")
        if self._open:
            self._commit()
        return tuple(facts.found)

    def _commit(self) -> None:
        """Judge the records of a commit that is complete."""
        facts, ended_jobs = self._facts, self._ended_jobs
        if len(self._new) > 1:
            self._new.sort(key=lambda each: each.attempt)
        for execution in self._new:
            job = execution.job
            after_end = job.rank == JOB_ENDED and job.id not in ended_jobs
            judge_new_execution(facts, execution, after_end=after_end)
        if not facts.listing:
            for execution in self._told:
                judge_told_out(facts, execution)
            for execution in self._ended:
                judge_ended_execution(facts, execution)
        for job in ended_jobs.values():
            judge_ended_job(facts, job)
        for pending in (self._new, self._told, self._ended):
            pending.clear()
        ended_jobs.clear()
        if facts.listing and not facts.jobs:
            facts.settled_at = -math.inf
        facts.listing = self._open = False

    def _malformed(self, entry: HistoryEntry, why: str) -> None:
        facts = self._facts
        subject = " ".join(filter(None, (entry.job_id, entry.execution_id, entry.node)))
        facts.report(0, "malformed-entry", f"{why} of {subject}: {facts.here(entry.kind)}")

    # ---- Records ----

    def _submit_returned(self, entry: HistoryEntry) -> None:
        facts = self._facts
        spec = read_spec(dict(entry.detail.items()))
        if spec is None:
            self._malformed(entry, "partitions, max_attempts, type or a limit is missing from the submit")
            return
        job = facts.jobs.get(entry.job_id)
        if job is None or not job.state:
            message = f"the submit of job {entry.job_id} has returned, and no job is recorded: "
            facts.report(5, "submit-not-recorded", message + facts.here(entry.kind))
        elif job.spec is None:
            job.spec = spec
            for index, partition in job.partitions.items():
                judge_attempts(facts, job, index, partition.highest)
            if job.state == "COMPLETED":
                judge_completed(facts, job)
        elif job.spec != spec:
            message = f"job {job.id} was found by a submit of another spec, {spec} and not {job.spec}: "
            facts.report(5, "submit-conflict", message + facts.here(entry.kind))

    def _job(self, entry: HistoryEntry) -> None:
        facts = self._facts
        rank, state = JOB_RANK.get(entry.state, -1), entry.state
        if rank < 0:
            self._malformed(entry, f"there is no state {state!r}")
            return
        job = facts.jobs.get(entry.job_id) or facts.job(entry.job_id)
        judge_record_after_cancel(facts, job, entry)
        if job.state == state:
            return
        if job.rank == JOB_ENDED or rank < job.rank:
            ended = job.rank == JOB_ENDED
            message = (
                f"job {job.id} was {job.state} and is {state}: {facts.here(f'job {state}')}, {job.last()}"
            )
            facts.report(2, "terminal-changed" if ended else "illegal-move", message)
            return
        job.state, job.rank, job.number, job.time = state, rank, facts.number, facts.now
        if rank == JOB_ENDED:
            self._ended_jobs[job.id] = job
            self._open = True

    def _execution(self, entry: HistoryEntry) -> None:
        facts, state = self._facts, entry.state
        rank, attempt, index = EXECUTION_RANK.get(state), entry.attempt, entry.partition_index
        if rank is None or index is None or attempt is None:
            self._malformed(entry, "the state, the partition or the attempt is missing or unknown")
            return
        execution = facts.executions.get(entry.execution_id)
        if execution is None:
            execution = self._first(entry, index, attempt, rank)
        elif (
            execution.node != entry.node
            or execution.index != index
            or execution.attempt != attempt
            or execution.job.id != entry.job_id
        ):
            message = f"{execution.name()} is another one: {facts.here(entry.kind)}, {execution.last()}"
            facts.report(0, "execution-identity", message)
            return
        job, old = execution.job, execution.rank
        judge_record_after_cancel(facts, job, entry)
        if old == TERMINAL:
            self._recorded_again(execution, entry)
            return
        if rank < old or (old >= ACCEPTED and state == "ASK_FOR_BID_REJECTED"):
            message = f"{execution.name()} was {execution.state} and is {state}: {facts.here(f'execution {state}')}, "
            facts.report(2, "illegal-move", message + execution.last())
            return
        self._moved(execution, entry, rank)

    def _first(self, entry: HistoryEntry, index: int, attempt: int, rank: int) -> ExecutionFacts:
        """Add an execution that is recorded for the first time."""
        facts = self._facts
        job = facts.job(entry.job_id)
        partition = job.partitions.get(index)
        if partition is None:
            partition = job.partitions[index] = PartitionFacts()
        execution = ExecutionFacts(
            entry.execution_id,
            job,
            partition,
            index,
            attempt,
            entry.node,
            entry,
            facts.number,
            facts.number,
            facts.now,
        )
        facts.executions[entry.execution_id] = execution
        if facts.listing:
            # What was told before the store was put back may be in it, or be gone; it is not listed.
            before = facts.forgotten_executions.get(execution.id, execution)
            execution.told_at, execution.told_out = before.told_at, before.told_out
            execution.born, execution.since = before.born, before.since
        if partition.last is None or partition.last.born < execution.born:
            partition.last = execution
        partition.live.add(execution.id)
        self._new.append(execution)
        self._open = True
        if rank > OFFERED and not facts.listing:
            message = f"{execution.name()} begins as {entry.state}: {facts.here(f'execution {entry.state}')}"
            facts.report(2, "illegal-move", message)
        return execution

    def _moved(self, execution: ExecutionFacts, entry: HistoryEntry, rank: int) -> None:
        """Take a record of an execution that may come."""
        facts, job, partition, state = self._facts, execution.job, execution.partition, entry.state
        detail = entry.detail.items()
        if execution.state == "RUNNING" != state:
            judge_running_time(facts, execution)
        elif state == "RUNNING" != execution.state:
            execution.running_at = facts.now
        if execution.state != state:
            execution.number = facts.number
            execution.entry, execution.state, execution.rank = entry, state, rank
        if not execution.accepted and (
            ACCEPTED <= rank < TERMINAL or state == "COMPLETED" or ("accepted", True) in detail
        ):
            execution.accepted = True
            partition.accepted.setdefault(execution.attempt, execution)
            if job.accepted_at is None:
                judge_job_limits(facts, job)
                job.accepted_at = facts.now
        execution.fenced = ("fenced", True) in detail
        if rank == TERMINAL:
            partition.live.discard(execution.id)
            if state == "COMPLETED":
                partition.completed = execution
            if ("permanent", True) in detail and partition.permanent is None:
                partition.permanent = execution
            self._ended.append(execution)
            self._open = True
        elif execution.fenced:
            message = f"{execution.name()} is fenced, and has not ended: {facts.here(f'execution {state}')}"
            facts.report(0, "fenced-state", message)

    def _recorded_again(self, execution: ExecutionFacts, entry: HistoryEntry) -> None:
        """Judge a record of an execution that has ended."""
        facts, state = self._facts, entry.state
        after = f"{facts.here(f'execution {state}')}, {execution.last()}"
        if state != execution.state:
            message = f"{execution.name()} was {execution.state} and is {state}: {after}"
            facts.report(2, "terminal-changed", message)
        elif entry.detail != execution.entry.detail:
            message = (
                f"{execution.name()} has ended with {execution.entry.detail}, and now {entry.detail}: {after}"
            )
            facts.report(4, "late-result", message)

    def _told_to_stop(self, entry: HistoryEntry) -> None:
        facts = self._facts
        execution = facts.executions.get(entry.execution_id)
        ending = entry.detail.get("ending")
        if execution is None or EXECUTION_RANK.get(str(ending)) != TERMINAL:
            self._malformed(entry, f"the execution is unknown, or its ending {ending!r} is none,")
            return
        judge_record_after_cancel(facts, execution.job, entry)
        if execution.state == "RUNNING":
            judge_running_time(facts, execution)
        if execution.told_at is None:
            execution.told_at = facts.now
        if ending == "CANCELLED":
            execution.job.told_at = min(execution.job.told_at, facts.now)
        if ending == "TIMED_OUT" and not execution.told_out:
            self._told.append(execution)
            self._open = True

    def _results_read(self, entry: HistoryEntry) -> None:
        facts = self._facts
        job, execution = facts.jobs.get(entry.job_id), facts.executions.get(entry.execution_id)
        if job is None or execution is None:
            return
        here = facts.here(entry.kind)
        if entry.detail.get("ok") is not True:
            if job.state == "COMPLETED" and execution.state == "COMPLETED":
                message = f"the results of {execution.name()} cannot be read: {here}, {job.last()}"
                facts.report(6, "results-unreadable", message)
        elif execution.state != "COMPLETED" and job.cancelled is not None:
            message = f"results of {execution.name()} were kept after a cancel: {here}, {execution.last()}"
            facts.report(10, "result-kept", message)

    # ---- Cancelling ----

    def _cancel_called(self, entry: HistoryEntry) -> None:
        facts = self._facts
        facts.cancels.setdefault(entry.job_id, []).append((facts.number, facts.now))
        facts.cancel_asked.add(entry.job_id)

    def _cancel_returned(self, entry: HistoryEntry) -> None:
        facts, here = self._facts, self._facts.here(entry.kind)
        self._cancel_over(entry)
        job = facts.jobs.get(entry.job_id)
        if job is None and entry.job_id in facts.forgotten_jobs:
            return
        if job is None or job.rank < JOB_ENDED:
            recorded = "not recorded" if job is None else f"{job.state}, {job.last()}"
            message = f"a cancel of job {entry.job_id} has returned, and the job is {recorded}: {here}"
            facts.report(8, "cancel-not-terminal", message)
            return
        if entry.state != job.state:
            message = f"a cancel of job {job.id} returned {entry.state!r}: {here}, {job.last()}"
            facts.report(8, "cancel-state", message)
        job.cancelled = (facts.number, facts.now)
        judge_cancelled(facts, job)

    def _cancel_over(self, entry: HistoryEntry) -> None:
        facts, here = self._facts, self._facts.here(entry.kind)
        calls = facts.cancels.get(entry.job_id)
        if not calls:
            facts.report(0, "cancel-unmatched", f"no cancel of job {entry.job_id} was called: {here}")
        else:
            # Which call it was does not matter: when each is in time, so is the first call with the first end.
            judge_cancel_bound(facts, entry.job_id, calls.pop(0), here)

    # ---- What runs, and who can be reached ----

    def _started(self, entry: HistoryEntry) -> None:
        facts = self._facts
        detail = dict(entry.detail.items())
        cpu, memory = as_number(detail.get("cpu")), as_number(detail.get("memory"))
        if cpu is None or memory is None:
            self._malformed(entry, "cpu or memory is missing from the start")
            return
        before = facts.runs.get(entry.execution_id)
        if before is not None and before.stopped is None:
            message = f"{before.name()} runs twice: {facts.here(entry.kind)}, {before.begin()}"
            facts.report(0, "started-twice", message)
            return
        node, now = facts.node(entry.node), facts.now
        first = now if before is None else before.first
        run = RunFacts(entry.execution_id, entry.job_id, node, first, facts.number, now, cpu, memory)
        facts.runs[run.id] = node.running[run.id] = run
        facts.running_of.setdefault(run.job_id, {})[run.id] = run
        node.used_cpu += cpu
        node.used_memory += memory
        judge_start(facts, run)

    def _stopped(self, entry: HistoryEntry) -> None:
        facts = self._facts
        run = facts.runs.get(entry.execution_id)
        if run is None or run.stopped is not None:
            message = f"execution {entry.execution_id} of job {entry.job_id} stops on {entry.node}, and did not run: "
            facts.report(0, "stopped-not-running", message + facts.here(entry.kind))
            return
        judge_kill(facts, run)
        node = run.node
        run.stopped = facts.now
        del node.running[run.id], facts.running_of[run.job_id][run.id]
        if node.running:
            node.used_cpu -= run.cpu
            node.used_memory -= run.memory
        else:
            node.used_cpu = node.used_memory = 0.0

    def _node(self, entry: HistoryEntry) -> None:
        node, detail = self._facts.node(entry.node), dict(entry.detail.items())
        node.exists = True
        node.cpu, node.memory = as_number(detail.get("cpu")), as_number(detail.get("memory"))
        node.max_executions = as_number(detail.get("max_executions"))

    def _cut(self, entry: HistoryEntry) -> None:
        facts = self._facts
        node, heard = facts.node(entry.node), entry.detail.get("heard")
        if not isinstance(heard, bool):
            self._malformed(entry, "whether its own messages arrive is missing from the cut")
            return
        for run in node.running.values():
            judge_kill(facts, run)
        node.hear(facts.now, heard=heard)
        if node.cut_at is None:
            node.cut_at = facts.now

    def _joined(self, entry: HistoryEntry) -> None:
        node = self._facts.node(entry.node)
        node.cut_at, node.joined_at = None, self._facts.now
        node.hear(self._facts.now, heard=True)

    def _orchestrator_down(self, entry: HistoryEntry) -> None:
        self._facts.down = True

    def _orchestrator_up(self, entry: HistoryEntry) -> None:
        facts = self._facts
        rolled_back, clock_jumped, noticed = map(entry.detail.get, ("rolled_back", "clock_jumped", "noticed"))
        if not all(isinstance(value, bool) for value in (rolled_back, clock_jumped, noticed)):
            self._malformed(entry, "rolled_back, clock_jumped or noticed is missing from the orchestrator")
            return
        if not facts.down:
            message = f"the orchestrator is up again, and was not down: {facts.here(entry.kind)}"
            facts.report(0, "up-not-down", message)
            return  # it had no standstill, so nothing waits for its end
        facts.down, facts.resumed = False, facts.now + LOST_AFTER
        if noticed and facts.jobs:  # with nothing in its store it is a first start
            facts.settled_at = facts.resumed
        if clock_jumped:
            facts.jumped_at = facts.now
        if rolled_back:
            facts.roll_back()
            self._open = True

    def _faults_end(self, entry: HistoryEntry) -> None:
        """Take note of nothing: no promise waits for it."""

    def _end(self, entry: HistoryEntry) -> None:
        facts = self._facts
        for job_id, calls in facts.cancels.items():
            for call in calls:
                judge_cancel_bound(facts, job_id, call, f"and has not returned at {facts.here(entry.kind)}")
        judge_end(facts, all_ended=entry.detail.get("expect_all_ended") is True)
        self._handlers.clear()
