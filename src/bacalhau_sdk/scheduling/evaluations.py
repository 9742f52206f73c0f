"""The queue of evaluations: which job the scheduler looks at next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ..model.evaluation import Evaluation
from .plan import Want

__all__ = ["EvaluationQueue"]

_Key = tuple[int, float, int]


class EvaluationQueue:
    """Orders evaluations by priority, then by age; at most one is kept for each job.

    A job that found no room is *blocked*, in a group with those of an equal `Want`, the oldest first. When room may have
    appeared, only the first of each group is looked at; the next one follows once the first has found room. So a change of
    capacity costs as many looks as there are different wants, however many jobs wait, and a small job may pass a large one
    of another want.
    """

    def __init__(self) -> None:
        self._ready: list[tuple[_Key, str]] = []
        self._waiting: dict[str, tuple[_Key, Evaluation]] = {}
        self._blocked: dict[Want, list[tuple[_Key, str]]] = {}
        self._wants: dict[str, Want] = {}
        self._tried: dict[str, Want] = {}
        self._entered: dict[
            str, Want
        ] = {}  # the group that a job has an entry in, though it may not count any more
        self._order: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return the number of jobs that are kept, ready or blocked."""
        return len(self._waiting)

    def put(self, evaluation: Evaluation) -> None:
        """Make a job ready to be looked at; it replaces what is kept for the job."""
        job_id = evaluation.job_id
        key = self._key(evaluation)
        known = self._waiting.get(job_id)
        self._waiting[job_id] = (key, evaluation)
        if known is None or job_id in self._wants:
            self._wants.pop(job_id, None)
            heapq.heappush(self._ready, (key, job_id))

    def pop(self) -> Evaluation | None:
        """Take the next job that is ready, or None."""
        while self._ready:
            _, job_id = heapq.heappop(self._ready)
            if job_id in self._waiting and job_id not in self._wants:
                return self._waiting.pop(job_id)[1]
        return None

    def block(self, evaluation: Evaluation, want: Want) -> None:
        """Keep a job that found no room until room may have appeared."""
        job_id, key = evaluation.job_id, self._key(evaluation)
        if self._tried.get(job_id) == want:
            del self._tried[job_id]  # its group finds no room either
        self.unblock_after(job_id)
        self._waiting[job_id] = (key, evaluation)
        self._wants[job_id] = want
        if self._entered.get(job_id) != want:
            self._entered[job_id] = want
            heapq.heappush(self._blocked.setdefault(want, []), (key, job_id))

    def blocked_since(self, time: float) -> Iterator[tuple[Evaluation, Want]]:
        """Iterate over the first of each group of blocked jobs, if it was submitted at a time or before."""
        for want, group in self._blocked.items():
            # The age is looked at first: it costs less than to see whether an entry still counts.
            while group and group[0][0][1] <= time:
                job_id = group[0][1]
                if self._wants.get(job_id) == want:
                    yield self._waiting[job_id][1], want
                    break
                self._take(group, want)

    def precedes(self, one: Evaluation, other: Evaluation) -> bool:
        """Say whether a job goes before another one, by priority, then by age."""
        return self._rank(one) < self._rank(other)

    def unblock_all(self) -> None:
        """Make the first of the blocked jobs of every group ready: room may have appeared."""
        for want in list(self._blocked):
            self._unblock(want)

    def unblock_after(self, job_id: str) -> None:
        """Make the next one of a job's group ready, if it was for the group that the job was looked at."""
        want = self._tried.pop(job_id, None)
        if want is not None:
            self._unblock(want)

    def forget(self, job_id: str) -> None:
        """Drop what is kept for a job that has ended."""
        self._waiting.pop(job_id, None)
        self._wants.pop(job_id, None)
        self._tried.pop(job_id, None)
        self._order.pop(job_id, None)

    def _unblock(self, want: Want) -> None:
        group = self._blocked.get(want, [])
        while group:
            key, job_id = self._take(group, want)
            if self._wants.get(job_id) == want:
                self._tried[job_id] = self._wants.pop(job_id)
                heapq.heappush(self._ready, (key, job_id))
                break
        if not group:
            self._blocked.pop(want, None)

    def _take(self, group: list[tuple[_Key, str]], want: Want) -> tuple[_Key, str]:
        """Take the first entry of a group, whether it still counts or not."""
        key, job_id = heapq.heappop(group)
        if self._entered.get(job_id) == want:
            del self._entered[job_id]
        return key, job_id

    def _key(self, evaluation: Evaluation) -> _Key:
        if evaluation.job_id not in self._order:
            self._order[evaluation.job_id] = self._count
            self._count += 1
        return self._rank(evaluation)

    def _rank(self, evaluation: Evaluation) -> _Key:
        """Return where a job stands, or would stand that nobody has put here yet."""
        order = self._order.get(evaluation.job_id, self._count)
        return -evaluation.priority, evaluation.created_at, order
