"""What must hold of the records of jobs."""

from __future__ import annotations

from ...model.execution import Execution, ExecutionState
from ...model.job import JobState, JobType
from ...model.record import Batch, JobRecord
from ...scheduling.lifecycle import JOB_MOVES
from ...scheduling.matching import Demand, lasting_refusal
from .scene import Scene
from .tries import ExecutionRules, worth_another_try
from .violation import ViolationError

__all__ = ["JobRules"]

_NOWHERE = "no known node could ever run the job"
"""What the reason of a job says that fails because no node matches it, be it after another failure or not."""


class JobRules:
    """Watches the records of jobs.

    Args:
        world: The world.
        executions: Watches those of their executions, and is told of a batch first.
    """

    def __init__(self, world: Scene, executions: ExecutionRules) -> None:
        self.created: dict[str, float] = {}
        self.ending: dict[str, float] = {}
        self._chosen: dict[str, float] = {}
        self._world = world
        self._executions = executions

    def at_jobs(self, batch: Batch) -> None:
        """Hold what must hold of jobs that are being committed."""
        changed = {execution.id: execution for execution in batch.executions}
        for job in batch.jobs:
            self._at_job(self._world.orchestrator.jobs.get(job.id), job, changed)

    def rolled_back(self) -> None:
        """Take what the store has now for what is recorded."""
        jobs = self._world.orchestrator.jobs.values()
        self.ending = {job.id: self._world.now for job in jobs if job.ending is not None}

    def _at_job(self, before: JobRecord | None, job: JobRecord, changed: dict[str, Execution]) -> None:
        now = self._world.now
        if before is None:
            self.created[job.id] = now
        elif before.state.terminal:
            raise ViolationError("I1", f"{job.id} was {before.state.value} and is recorded again as {job}")
        elif job.state is not before.state and job.state not in JOB_MOVES[before.state]:
            raise ViolationError("I8", f"{job.id} goes from {before.state.value} to {job.state.value}")
        elif before.ending is not None and (
            job.ending is not before.ending or (job.state.terminal and job.state is not before.ending)
        ):
            raise ViolationError("I5", f"{job.id} was to end as {before.ending.value} and is {job}")
        if job.targets and (before is None or before.chosen_after != job.chosen_after or not before.targets):
            self._chosen[job.id] = job.modified_at
            self._goes_everywhere(job)
        if job.ending is not None:
            self.ending.setdefault(job.id, now)
            self._not_too_early(job)
        ending = job.ending or (job.state if job.state.terminal else None)
        if ending in (JobState.FAILED, JobState.TIMED_OUT) and (before is None or before.ending is None):
            self._gives_up_rightly(job)
        if ending is JobState.COMPLETED and (before is None or before.ending is None):
            self._is_content(job)
        if job.state.terminal:
            self._at_end_of_job(job, changed)

    def _at_end_of_job(self, job: JobRecord, changed: dict[str, Execution]) -> None:
        done: set[int] = set()
        dropped: set[int] = set()
        for execution in self._executions_of(job.id, changed):
            if not execution.state.terminal:
                raise ViolationError("I4", f"{job.id} is {job.state.value}, but {execution} is not over")
            if execution.state is ExecutionState.COMPLETED:
                done.add(execution.partition_index)
            elif self._dropped(job, execution):
                dropped.add(execution.partition_index)
        if job.state is JobState.COMPLETED:
            lacking = set(range(job.partition_count)) - done
            if lacking - dropped:
                raise ViolationError("I3", f"{job.id} is completed without results of partitions {lacking}")

    def _executions_of(self, job_id: str, changed: dict[str, Execution]) -> list[Execution]:
        known = self._world.orchestrator.executions
        ids = dict.fromkeys(self._executions.ids_of.get(job_id, ()))
        ids.update((execution.id, None) for execution in changed.values() if execution.job_id == job_id)
        return [changed.get(execution_id) or known[execution_id] for execution_id in ids]

    def _not_too_early(self, job: JobRecord) -> None:
        """Hold that no limit fires before its time."""
        if job.ending is not JobState.TIMED_OUT:
            return
        limits = [job.spec.timeouts.total, job.spec.timeouts.queue]
        if job.spec.timeouts.execution is not None:
            limits.append(job.spec.timeouts.execution)
        least = min(limit for limit in limits if limit is not None)
        if job.modified_at - job.created_at < least - 0.001:
            raise ViolationError("I11", f"{job.id} timed out after {job.modified_at - job.created_at:.1f} s")

    def _goes_everywhere(self, job: JobRecord) -> None:
        """Hold that a job for all nodes goes to all that match and are not being drained."""
        demand = Demand.of(job.spec)
        nodes = self._world.orchestrator.core.membership.nodes
        able = {
            entry.info.name
            for entry in nodes
            if lasting_refusal(entry.info, demand) is None
            and not entry.info.draining
            and (job.id, entry.info.name, entry.info.revision) not in self._executions.refused
        }
        if set(job.targets) != able:
            raise ViolationError("I18", f"{job.id} goes to {job.targets}, and could to {sorted(able)}")

    def _gives_up_rightly(self, job: JobRecord) -> None:
        """Hold that a job which fails has no tries left, or no time, or no node."""
        if job.ending is JobState.FAILED and _NOWHERE in job.reason:
            node = self._somewhere(job)
            if node is not None:
                raise ViolationError("I17", f"{job.id} has nowhere to run, but {node} matches it")
            return
        timeouts, lasted = job.spec.timeouts, job.modified_at - job.created_at
        passed = (timeouts.total, timeouts.queue if job.state is not JobState.RUNNING else None)
        if any(limit is not None and lasted >= limit - 0.001 for limit in passed):
            return
        tries = [self._executions.tried.get((job.id, index)) for index in range(job.partition_count)]
        policy = self._world.users.requests[job.id].spec.retry
        if any(tried is not None and not worth_another_try(policy, tried) for tried in tries):
            return
        refusing = {name for job_id, name, _ in self._executions.refused if job_id == job.id}
        if job.spec.type is JobType.OPS and (refusing or not all(map(self._known_now, job.targets))):
            return  # a node is gone, or does not want the next try
        raise ViolationError("I17", f"{job.id} ends as {job.ending}, but may try again: {job.reason}")

    def _is_content(self, job: JobRecord) -> None:
        """Hold that a job does not take an exit code for success which its policy wants to be tried again."""
        policy = self._world.users.requests[job.id].spec.retry
        tries = [self._executions.tried.get((job.id, index)) for index in range(job.partition_count)]
        for tried in tries:
            if tried is not None and worth_another_try(policy, tried):
                node = self._somewhere(job, tried.node if job.spec.type is JobType.OPS else None)
                if node is not None:  # else it has to be content
                    raise ViolationError(
                        "I17", f"{job.id} is completed, but may try again on {node}: {tried}"
                    )

    def _somewhere(self, job: JobRecord, only: str | None = None) -> str | None:
        """Return a node that was heard of and matches a job, and has not refused it."""
        demand, nodes = Demand.of(job.spec), self._world.nodes
        refusing = {name for job_id, name, _ in self._executions.refused if job_id == job.id}
        for node in nodes.values() if only is None else [nodes[only]]:
            name = node.name
            heard = name not in refusing and self._known_now(name)
            if heard and lasting_refusal(node.info, demand) is None:
                return name
        return None

    def _dropped(self, job: JobRecord, execution: Execution) -> bool:
        """Say whether a node that an ops job is for has refused it."""
        index = execution.partition_index
        mine = index < len(job.targets) and job.targets[index] == execution.node
        since = execution.created_at >= self._chosen.get(job.id, 0.0)
        return mine and since and any(refusal.lasting for refusal in execution.refusals)

    def _known_now(self, name: str) -> bool:
        """Say whether a node was heard of in this life of the orchestrator."""
        orchestrator = self._world.orchestrator
        return orchestrator.heard.get(name, -1.0) > orchestrator.settled_since
