"""When which job is to be looked at again, although nothing happens."""

from __future__ import annotations

import heapq
import math

__all__ = ["Agenda"]

_SPARE = 64


class Agenda:
    """One time for each job; a later entry of a job replaces its earlier one."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, job_id: str, time: float) -> None:
        """Look at a job at a time; infinity means not at all."""
        if time == math.inf:
            self._times.pop(job_id, None)
        elif self._times.get(job_id) != time:
            self._times[job_id] = time
            heapq.heappush(self._heap, (time, job_id))
        if len(self._heap) > 2 * len(self._times) + _SPARE:
            # Jobs that have ended leave their times behind.
            self._heap = [(due, known) for known, due in self._times.items()]
            heapq.heapify(self._heap)

    def put_if_earlier(self, job_id: str, time: float) -> None:
        """Look at a job at a time, unless it is looked at before anyway."""
        if time < self._times.get(job_id, math.inf):
            self.put(job_id, time)

    def due(self, now: float) -> list[str]:
        """Take the jobs whose time has come, the earliest first."""
        found: list[str] = []
        while self.next() <= now:
            _, job_id = heapq.heappop(self._heap)
            del self._times[job_id]
            found.append(job_id)
        return found

    def next(self) -> float:
        """Return the earliest time; infinity when there is none."""
        while self._heap:
            time, job_id = self._heap[0]
            if self._times.get(job_id) == time:
                return time
            heapq.heappop(self._heap)
        return math.inf
