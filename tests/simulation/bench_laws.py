"""What must hold on the bench, from ``docs/explanation/guarantees.md``; the numbers are those of its sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bacalhau_sdk.model.evaluation import Evaluation, Trigger
from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.job import JobState, JobType
from bacalhau_sdk.model.message import AcknowledgeExecution, AskForBid, CancelExecution, Envelope, Heartbeat
from bacalhau_sdk.model.record import Batch, JobRecord
from bacalhau_sdk.scheduling.deadlines import GRACE, NODE_LOST_AFTER
from bacalhau_sdk.scheduling.lifecycle import EXECUTION_MOVES, JOB_MOVES
from tests.simulation.bench_node import Kind

if TYPE_CHECKING:
    from tests.simulation.bench import Bench
    from tests.simulation.bench_node import Node

_SLACK = 0.001
_STOP_MAX = GRACE + NODE_LOST_AFTER


class BrokenLawError(AssertionError):
    """Something that must hold does not."""


def _hold(holds: bool, message: str) -> None:
    if not holds:
        raise BrokenLawError(message)


class Laws:
    """Watches a bench. What it knows of the past it has seen itself; of the cores it asks little.

    Args:
        bench: The bench.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.acknowledged: list[str] = []
        self._started: dict[str, None] = {}
        self._ending: dict[str, float] = {}
        self._heard: dict[str, tuple[int, float]] = {}
        self._awake_since = 0.0

    # As it happens

    def at_restart(self) -> None:
        """Note that nothing is known of the nodes."""
        self._heard.clear()
        self._awake_since = self.bench.now

    def at_standstill(self) -> None:
        """Note that the silence of nodes says nothing."""
        self._awake_since = self.bench.now

    def at_delivery(self, envelope: Envelope) -> None:
        """Note when a node was heard of: what was overtaken tells nothing, and a node is known by its heartbeat first."""
        known = self._heard.get(envelope.sender)
        if (known is not None or isinstance(envelope.message, Heartbeat)) and (
            known is None or envelope.sequence > known[0]
        ):
            self._heard[envelope.sender] = envelope.sequence, self.bench.now

    def at_start(self, name: str, execution_id: str) -> None:
        """Hold that nothing runs twice under one id."""
        _hold(execution_id not in self._started, f"{execution_id} is started a second time, on {name}")
        self._started[execution_id] = None

    def at_send(self, envelope: Envelope) -> None:
        """Hold that the orchestrator says only what its store has."""
        message, executions = envelope.message, self.bench.executions
        match message:
            case AskForBid(execution_id):
                known = executions.get(execution_id)
                _hold(
                    known is not None and not known.state.terminal, f"{execution_id} is offered, not recorded"
                )
            case CancelExecution(execution_id):
                known = executions.get(execution_id)
                wanted = known is not None and not known.state.terminal and known.ending is None
                mine = known is not None and known.node == envelope.recipient
                _hold(not (wanted and mine), f"{execution_id} is to be killed, but its record wants it")
            case AcknowledgeExecution(execution_id, discard):
                known = executions.get(execution_id)
                if known is not None and known.node == envelope.recipient:
                    _hold(known.state.terminal, f"{execution_id} is acknowledged, but recorded {known.state}")
                    kept = known.state is ExecutionState.COMPLETED
                    _hold(discard is not kept, f"{execution_id} is recorded {known.state}, but {message}")
            case _:
                raise BrokenLawError(f"an orchestrator does not say {message}")

    def at_commit(self, batch: Batch) -> None:
        """Hold that records move as they may (2, 3, 6, 7, 13)."""
        for execution in batch.executions:
            before = self.bench.executions.get(execution.id)
            if before is None:
                self._at_offer(execution)
            else:
                _hold(not before.state.terminal, f"{execution.id} was {before.state}, and is recorded again")
                legal = execution.state is before.state or execution.state in EXECUTION_MOVES[before.state]
                _hold(legal, f"{execution.id} goes from {before.state} to {execution.state}")
            if execution.fenced:
                self._at_fence(execution)
            if execution.ending is ExecutionState.TIMED_OUT:
                self._at_limit(execution)
        for job in batch.jobs:
            self._at_job(self.bench.jobs.get(job.id), job)

    def _at_offer(self, execution: Execution) -> None:
        silent = self._silence(execution.node)
        _hold(silent < NODE_LOST_AFTER, f"{execution.id} is offered to a node that is silent for {silent} s")

    def _at_fence(self, execution: Execution) -> None:
        silent, asked = self._silence(execution.node), execution.stop_requested_at
        dying = 0.0 if asked is None else self.bench.now - max(asked, self._awake_since - GRACE)
        overdue = silent >= NODE_LOST_AFTER - _SLACK or dying >= _STOP_MAX - _SLACK
        _hold(overdue, f"{execution.id} is fenced after {silent} s of silence, and {dying} s of dying")

    def _at_limit(self, execution: Execution) -> None:
        limit = self.bench.jobs[execution.job_id].spec.timeouts.execution
        asked, began = execution.stop_requested_at, execution.started_at
        late = (
            limit is not None and asked is not None and began is not None and asked - began >= limit - _SLACK
        )
        _hold(late, f"{execution.id} is told to stop before its {limit} s")

    def _at_job(self, before: JobRecord | None, job: JobRecord) -> None:
        if job.ending is not None:
            self._ending.setdefault(job.id, self.bench.now)
        limits = [limit for limit in (job.spec.timeouts.total, job.spec.timeouts.queue) if limit is not None]
        limits += [] if job.spec.timeouts.execution is None else [job.spec.timeouts.execution]
        if job.ending is JobState.TIMED_OUT:
            early = job.modified_at - job.created_at < min(limits) - _SLACK
            _hold(not early, f"{job.id} is out of time before its time")
        if before is None:
            return
        _hold(not before.state.terminal, f"{job.id} was {before.state}, and is recorded again as {job.state}")
        legal = job.state is before.state or job.state in JOB_MOVES[before.state]
        _hold(legal, f"{job.id} goes from {before.state} to {job.state}")
        kept = before.ending is None or job.ending is before.ending
        _hold(kept, f"{job.id} was to end as {before.ending}, and is now to end as {job.ending}")
        as_meant = not job.state.terminal or job.ending in (None, job.state)
        _hold(as_meant, f"{job.id} was to end as {job.ending}, but is {job.state}")

    def _silence(self, name: str) -> float:
        """Return for how long a node was not heard of by an orchestrator that was awake."""
        _, heard = self._heard.get(name, (-1, -math.inf))
        return self.bench.now - max(heard, self._awake_since)

    # After each step

    def check(self) -> None:
        """Hold what must hold at any time."""
        self.check_records()
        for node in self.bench.nodes.values():
            self._check_room(node)
            self._check_work(node)
        self.check_bounds()

    def check_records(self) -> None:
        """Hold that the records make sense together (1, 3, 5, 7)."""
        jobs = self.bench.jobs
        live: dict[tuple[str, int], Execution] = {}
        done: dict[str, set[int]] = {}
        for execution in self.bench.executions.values():
            job, partition = jobs[execution.job_id], (execution.job_id, execution.partition_index)
            most = job.spec.retry.max_attempts
            _hold(execution.attempt <= most, f"{execution.id} is attempt {execution.attempt} of {most}")
            if not execution.state.terminal:
                _hold(partition not in live, f"both {execution.id} and {live.get(partition)} are current")
                _hold(not job.state.terminal, f"{job.id} is {job.state}, but {execution.id} is not over")
                live[partition] = execution
            refused = execution.state is ExecutionState.ASK_FOR_BID_REJECTED and job.spec.type is JobType.OPS
            if execution.state is ExecutionState.COMPLETED or refused:
                done.setdefault(job.id, set()).add(execution.partition_index)
        for job in jobs.values():
            if job.state is JobState.COMPLETED:
                lacking = set(range(job.partition_count)) - done.get(job.id, set())
                _hold(not lacking, f"{job.id} is completed without {lacking}")
        for job_id in self.acknowledged:
            _hold(job_id in jobs, f"{job_id} was submitted, and is not recorded")

    def _check_room(self, node: Node) -> None:
        """Hold that a node is never too full, and does not give away what is in use (16)."""
        running = [each.task for each in node.workloads.values() if each.running]
        cpu = sum(task.resources.cpu for task in running)
        fits = cpu <= node.info.capacity.cpu and len(running) <= node.info.max_executions
        _hold(fits, f"{node.info.name} runs {[task.execution_id for task in running]}, more than it has")
        for task in running if node.core is not None else ():
            reserved = node.core is not None and task.execution_id in node.core.account
            _hold(reserved, f"{task.execution_id} runs on {node.info.name}, but its room is given away")

    def _check_work(self, node: Node) -> None:
        """Hold that nothing goes on of what is over and not fenced, and that results are there (6, 9)."""
        active = [key for kind, key in node.chores if kind in (Kind.STAGE, Kind.PUBLISH)]
        active += [key for key, each in node.workloads.items() if each.running]
        for execution_id in active:
            known = self.bench.executions.get(execution_id)
            over = known is not None and known.state.terminal and not known.fenced
            _hold(not over, f"{execution_id} is over, but goes on at {node.info.name}")
        for execution in self.bench.executions.values():
            if execution.state is ExecutionState.COMPLETED and execution.node == node.info.name:
                _hold(
                    execution.id in node.results,
                    f"{execution.id} is completed, but its results are not there",
                )

    def check_bounds(self) -> None:
        """Hold that an orchestrator that is awake does what it must in time (11, 15), and forgets no job."""
        core, now = self.bench.core, self.bench.handled_at
        if core is None:
            return
        for job_id, since in self._ending.items():
            latest = max(since + _STOP_MAX, self._awake_since + NODE_LOST_AFTER)
            ended = self.bench.jobs[job_id].state.terminal
            _hold(ended or now <= latest + _SLACK, f"{job_id} has been ending for too long")
        for execution in self.bench.executions.values():
            policy = self.bench.jobs[execution.job_id].spec.retry
            last = execution.accepted_at is not None and execution.attempt >= policy.max_attempts
            if last and not execution.state.terminal:
                _, heard = self._heard.get(execution.node, (-1, -math.inf))
                silent = now - max(heard, self._awake_since)
                message = f"{execution.id} is still awaited, after {silent} s without a word of its node"
                _hold(silent <= NODE_LOST_AFTER + _SLACK, message)
        for job in core.jobs.values():
            if not job.state.terminal:
                look = Evaluation(job.id, job.spec.priority, job.created_at, Trigger.DEADLINE)
                plan = core.look(look, now)
                _hold(plan.job == job and not plan.executions, f"{job.id} was not looked at: {plan}")

    # At the end

    def unfinished(self) -> list[str]:
        """Say what is still to be done."""
        bench = self.bench
        found = [f"{job.id} is {job.state}" for job in bench.jobs.values() if not job.state.terminal]
        for name, node in bench.nodes.items():
            going = [key for key, each in node.workloads.items() if each.running]
            held = node.core.held + len(node.core.account) if node.core is not None else 0
            if going or node.chores or held:
                found.append(f"{name} goes on with {going}, {list(node.chores)}, and holds {held}")
        entries = bench.core.membership.nodes if bench.core is not None else ()
        return found + [
            f"{each.info.name} is taken to hold something" for each in entries if len(each.account)
        ]

    def at_end(self) -> None:
        """Hold that nothing is left of what is not wanted (10)."""
        for node in self.bench.nodes.values():
            for execution_id in node.results:
                kept = self.bench.executions[execution_id].state is ExecutionState.COMPLETED
                _hold(kept, f"{node.info.name} keeps results of {execution_id}, which nobody wants")
