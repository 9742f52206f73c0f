"""What a judge of a log knows so far: of the records, of what really runs, and of who can be reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from attrs import Factory, define, frozen

from .history import HistoryEntry

__all__ = [
    "ACCEPTED",
    "CANCEL_BOUND",
    "CANCEL_SLACK",
    "DELAY",
    "EXECUTION_RANK",
    "FIRST_NEWS",
    "GRACE",
    "JOB_ENDED",
    "JOB_RANK",
    "KILL_SETTLE",
    "LIMIT_LATE",
    "LOST_AFTER",
    "OFFERED",
    "REACH_SETTLE",
    "ROUNDING",
    "TERMINAL",
    "ExecutionFacts",
    "Facts",
    "JobFacts",
    "NodeFacts",
    "PartitionFacts",
    "RunFacts",
    "SpecFacts",
    "Violation",
    "as_number",
    "cite",
    "read_spec",
]

# What the document says.
LOST_AFTER = (
    20.0  # a silence of that long makes a node lost; after a standstill, nodes have as long to be heard
)
CANCEL_BOUND = 30.0
GRACE = CANCEL_BOUND - LOST_AFTER  # the document gives the sum and one part of it

# What it leaves open, and what no log can show. An allowance hides faults, so each has its reason.
ROUNDING = (
    0.05  # a limit counts from the call of submit, which is not logged and comes a moment before its commit
)
CANCEL_SLACK = 1.0  # the end of a wait is a timer, a commit and an answer, none of which takes no time
DELAY = 5.0  # the longest that a message, with those that repeat a lost one, is on its way
# A node that has joined acts on what it was sent before it was cut, until it has heard what happened meanwhile: at
# the latest when it would count as lost if it still had heard nothing, and what was under way by then has arrived.
REACH_SETTLE = LOST_AFTER + DELAY
KILL_SETTLE = REACH_SETTLE + GRACE  # a node that has heard that an execution is over has its grace to kill it
# The last news before a cut may be as old as the time between two heartbeats, which the document does not give. Half
# of the silence is as long as it can be when one of two heartbeats may get lost.
FIRST_NEWS = LOST_AFTER / 2
LIMIT_LATE = (
    60.0  # twice what it takes to stop a job, by sentence 11; only what is never ended is meant to be found
)

JOB_RANK = {"": -1, "PENDING": 0, "QUEUED": 1, "RUNNING": 2} | dict.fromkeys(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"), 3
)
JOB_ENDED = 3
EXECUTION_RANK = {
    "NEW": 0,
    "ASK_FOR_BID": 1,
    "BID_ACCEPTED": 2,
    "RUNNING": 3,
    "PUBLISHING": 4,
} | dict.fromkeys(("ASK_FOR_BID_REJECTED", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"), 5)
OFFERED = 1
ACCEPTED = 2
TERMINAL = 5

_EVERY_NODE = frozenset({"ops", "daemon"})


@frozen
class Violation:
    """A promise that was not kept.

    Attributes:
        promise: The number of the sentence in ``docs/explanation/guarantees.md``; 0 is what its words mean, and what a log is.
        rule: A short name that does not change.
        time: When it showed, in seconds of the run's clock.
        message: What happened, with the entries that it rests on; the first entry of a log is entry 1.
    """

    promise: int
    rule: str
    time: float
    message: str


class SpecFacts(NamedTuple):
    """What a job was submitted with; 0 partitions is as many as there are nodes."""

    partitions: int
    max_attempts: int
    queue: float | None
    execution: float | None
    total: float | None
    type: str


@define(eq=False)
class JobFacts:
    """A job: what is recorded of it.

    Attributes:
        id: Its id.
        since: When it was first recorded.
        state: The recorded state, or empty.
        rank: How far that is.
        number: The entry that recorded it.
        time: When that was.
        spec: What it was submitted with, once a submit has returned.
        partitions: What is known of each partition.
        accepted_at: When the first node was recorded to have accepted it.
        timed_out: Whether an execution of it has passed a limit.
        told_at: When an execution of it was first told to stop because the job is ended.
        cancelled: The entry and the time of the return of a cancel.
    """

    id: str
    since: float
    state: str = ""
    rank: int = -1
    number: int = 0
    time: float = 0.0
    spec: SpecFacts | None = None
    partitions: dict[int, PartitionFacts] = Factory(dict[int, "PartitionFacts"])
    accepted_at: float | None = None
    timed_out: bool = False
    told_at: float = math.inf
    cancelled: tuple[int, float] | None = None

    def last(self) -> str:
        """Return which entry recorded its state."""
        return cite(self.number, self.state, self.time)


@define(eq=False)
class PartitionFacts:
    """A partition of a job.

    Attributes:
        highest: The highest attempt so far.
        live: The executions that are recorded in a state that is not terminal.
        accepted: The first execution of each attempt that was accepted.
        permanent: An execution that ended with a permanent fault.
        completed: A completed one.
        last: The one that was recorded first after all others.
    """

    highest: int = 0
    live: set[str] = Factory(set[str])
    accepted: dict[int, ExecutionFacts] = Factory(dict[int, "ExecutionFacts"])
    permanent: ExecutionFacts | None = None
    completed: ExecutionFacts | None = None
    last: ExecutionFacts | None = None


@define(eq=False)
class ExecutionFacts:
    """An execution: what is recorded of it.

    Attributes:
        id: Its id.
        job: Its job.
        partition: Its partition.
        index: Which that is.
        attempt: Which try.
        node: The node that it was offered to.
        entry: The entry that recorded its state.
        number: Which entry that is.
        born: The entry that recorded it first.
        since: When that was.
        state: The recorded state.
        rank: How far that is.
        accepted: Whether the node was heard to have accepted it.
        fenced: Whether it was ended without the word of its node.
        told_at: When it was recorded that it is told to stop.
        told_out: Whether that was for a limit.
        running_at: When it was recorded as running.
        reported: Whether it was found to run when it must not.
    """

    id: str
    job: JobFacts
    partition: PartitionFacts
    index: int
    attempt: int
    node: str
    entry: HistoryEntry
    number: int
    born: int
    since: float
    state: str = ""
    rank: int = -1
    accepted: bool = False
    fenced: bool = False
    told_at: float | None = None
    told_out: bool = False
    running_at: float = -math.inf
    reported: bool = False

    def name(self) -> str:
        """Return what a reader needs to find it."""
        return f"execution {self.id} (job {self.job.id}, partition {self.index}, attempt {self.attempt}, node {self.node})"

    def last(self) -> str:
        """Return which entry recorded its state."""
        return cite(self.number, self.state, self.entry.time)


@define(eq=False)
class RunFacts:
    """A workload, recorded or not.

    Attributes:
        id: Of its execution.
        job_id: Of its job.
        node: Where it runs.
        first: When a workload of that execution first began to run.
        number: The entry of the last begin.
        time: When that was.
        cpu: What it asks for.
        memory: What it asks for.
        stopped: When it was dead, or None while it runs.
    """

    id: str
    job_id: str
    node: NodeFacts
    first: float
    number: int
    time: float
    cpu: float
    memory: float
    stopped: float | None = None

    def name(self) -> str:
        """Return what a reader needs to find it."""
        return f"execution {self.id} (job {self.job_id}, node {self.node.name})"

    def begin(self) -> str:
        """Return which entry says that it began."""
        return cite(self.number, "started", self.time)


@define(eq=False)
class NodeFacts:
    """A node.

    Attributes:
        name: Its name.
        exists: Whether an entry has said so.
        cpu: What it has, or None when that is not limited.
        memory: What it has.
        max_executions: How many may run.
        running: The workloads that run.
        used_cpu: What they ask for.
        used_memory: What they ask for.
        cut_at: Since when it cannot be reached, or None.
        joined_at: When it last could be reached again.
        silent_from: Since when its own messages do not arrive, or None.
        heard_from: Since when they last arrive again.
        trouble_from: Since when they did not arrive, after the last time that they arrived for long.
    """

    name: str
    exists: bool = False
    cpu: float | None = None
    memory: float | None = None
    max_executions: float | None = None
    running: dict[str, RunFacts] = Factory(dict[str, RunFacts])
    used_cpu: float = 0.0
    used_memory: float = 0.0
    cut_at: float | None = None
    joined_at: float = -math.inf
    silent_from: float | None = None
    heard_from: float = -math.inf
    trouble_from: float = -math.inf

    def settled(self, now: float) -> bool:
        """Return whether it can be reached and has been for so long that it has heard everything."""
        return self.cut_at is None and now - self.joined_at > REACH_SETTLE

    def heard(self, now: float) -> bool:
        """Return whether its own messages arrive and have for so long that it has been heard."""
        return self.silent_from is None and now - self.heard_from > REACH_SETTLE

    def hear(self, now: float, *, heard: bool) -> None:
        """Take note of whether its own messages arrive from now on."""
        if heard and self.silent_from is not None:
            self.silent_from, self.heard_from = None, now
        elif not heard and self.silent_from is None:
            if self.heard(now):
                self.trouble_from = now
            self.silent_from = now

    def silent_since(self, time: float) -> bool:
        """Return whether its own messages did not arrive at some moment since then, as when its process was down."""
        return self.silent_from is not None or self.heard_from >= time


class Facts:
    """All that is known, and what was found."""

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self.now: float = -math.inf
        self.number = 0
        # The records; those from before the store was put back are remembered.
        self.jobs: dict[str, JobFacts] = {}
        self.executions: dict[str, ExecutionFacts] = {}
        self.forgotten_jobs: dict[str, JobFacts] = {}
        self.forgotten_executions: dict[str, ExecutionFacts] = {}
        self.listing: bool = False
        # What happens, whether it is recorded or not.
        self.runs: dict[str, RunFacts] = {}
        self.running_of: dict[str, dict[str, RunFacts]] = {}
        self.nodes: dict[str, NodeFacts] = {}
        self.cancels: dict[str, list[tuple[int, float]]] = {}  # those that have not returned
        self.cancel_asked: set[str] = set()
        self.down = False
        # After a standstill limits and silence count again from then on, as they must, or may when it was not noticed.
        self.settled_at: float = -math.inf
        self.resumed: float = -math.inf
        self.jumped_at: float = -math.inf  # limits of what was submitted by then are on another scale

    def report(self, promise: int, rule: str, message: str) -> None:
        """Note a violation."""
        self.found.append(Violation(promise, rule, self.now, message))

    def here(self, what: str) -> str:
        """Return the entry that is being judged, for a message."""
        return cite(self.number, what, self.now)

    def job(self, job_id: str) -> JobFacts:
        """Return a job; one that is heard of for the first time is added.

        One that the store still has after it was put back was submitted as long ago, and with the same spec, as before.
        """
        job = self.jobs.get(job_id)
        if job is None:
            job = self.jobs[job_id] = JobFacts(job_id, self.now)
            before = self.forgotten_jobs.get(job_id) if self.listing else None
            if before is not None:
                job.since, job.spec = before.since, before.spec
                job.timed_out, job.told_at = before.timed_out, before.told_at
        return job

    def node(self, name: str) -> NodeFacts:
        """Return a node; one that is heard of for the first time is added."""
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = NodeFacts(name)
        return node

    def roll_back(self) -> None:
        """Forget all records, for what is left of them is about to be listed."""
        self.forgotten_jobs.update(self.jobs)
        self.forgotten_executions.update(self.executions)
        self.jobs.clear()
        self.executions.clear()
        self.listing = True


def read_spec(detail: Mapping[str, object]) -> SpecFacts | None:
    """Return what a job was submitted with, or None when some of it is missing."""
    partitions, attempts = as_number(detail.get("partitions")), as_number(detail.get("max_attempts"))
    limits = [detail.get(name, "missing") for name in ("queue", "execution", "total")]
    numbers = [as_number(limit) for limit in limits]
    if (
        partitions is None
        or attempts is None
        or "type" not in detail
        or numbers.count(None) != limits.count(None)
    ):
        return None
    kind = str(detail["type"]).lower()
    queue, execution, total = numbers
    return SpecFacts(
        0 if kind in _EVERY_NODE else int(partitions), int(attempts), queue, execution, total, kind
    )


def as_number(value: object) -> float | None:
    """Return a value of a detail as a number, or None when it is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def cite(number: int, what: str, time: float) -> str:
    """Return a reference to an entry, for a message."""
    return f"entry {number} ({what} at {time:g} s)"
