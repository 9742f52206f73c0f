"""Entries of job ``j`` and its execution ``e1`` on node ``n1``, and lives of it, for the tests of the judge."""

from __future__ import annotations

from hypothesis import strategies as st

from bacalhau_sdk.testing.history import Detail, HistoryEntry

Log = list[HistoryEntry]
LIVE = {"NEW": False, "ASK_FOR_BID": False, "BID_ACCEPTED": True, "RUNNING": True, "PUBLISHING": True}


def entry(time: float, kind: str, **fields: object) -> HistoryEntry:
    return HistoryEntry(time, kind, **fields)  # type: ignore[arg-type]


def job(time: float, state: str, job_id: str = "j") -> HistoryEntry:
    return entry(time, "job", job_id=job_id, state=state)


def submitted(time: float = 0, /, **detail: Detail) -> HistoryEntry:
    plain: dict[str, Detail] = {"partitions": 1, "max_attempts": 1, "type": "batch"}
    plain |= {"queue": None, "execution": None, "total": None}
    return entry(time, "submit-returned", job_id="j", detail=plain | detail)


def submit(**detail: Detail) -> Log:
    return [job(0, "PENDING"), submitted(0, **detail)]


def late(time: float, **detail: Detail) -> Log:
    return [job(time, "PENDING"), submitted(time, **detail)]


def x(
    time: float,
    state: str,
    execution_id: str = "e1",
    *,
    attempt: int | None = 1,
    node: str = "n1",
    partition: int = 0,
    **detail: Detail,
) -> HistoryEntry:
    accepted = LIVE.get(state, state != "ASK_FOR_BID_REJECTED")
    plain: dict[str, Detail] = {"fenced": False, "accepted": accepted, "exit_code": None, "permanent": False}
    return entry(
        time,
        "execution",
        job_id="j",
        execution_id=execution_id,
        node=node,
        partition_index=partition,
        attempt=attempt,
        state=state,
        detail=plain | detail,
    )


def told(time: float, ending: Detail, execution_id: str = "e1", node: str = "n1") -> HistoryEntry:
    return entry(
        time, "told-to-stop", job_id="j", execution_id=execution_id, node=node, detail={"ending": ending}
    )


def started(
    time: float, execution_id: str = "e1", node: str = "n1", cpu: Detail = 1.0, memory: Detail = 10
) -> HistoryEntry:
    return entry(
        time,
        "started",
        job_id="j",
        execution_id=execution_id,
        node=node,
        partition_index=0,
        detail={"cpu": cpu, "memory": memory},
    )


def stopped(time: float, execution_id: str = "e1", node: str = "n1") -> HistoryEntry:
    return entry(time, "stopped", job_id="j", execution_id=execution_id, node=node)


def read(time: float, ok: bool, execution_id: str = "e1") -> HistoryEntry:
    return entry(time, "results-read", job_id="j", execution_id=execution_id, detail={"ok": ok})


def called(time: float) -> HistoryEntry:
    return entry(time, "cancel-called", job_id="j")


def returned(time: float, state: str = "CANCELLED") -> HistoryEntry:
    return entry(time, "cancel-returned", job_id="j", state=state)


def abandoned(time: float) -> HistoryEntry:
    return entry(time, "cancel-abandoned", job_id="j")


def cut(time: float, node: str = "n1", *, heard: bool = False) -> HistoryEntry:
    return entry(time, "cut", node=node, detail={"heard": heard})


def joined(time: float, node: str = "n1") -> HistoryEntry:
    return entry(time, "joined", node=node)


def down(time: float) -> HistoryEntry:
    return entry(time, "orchestrator-down")


def up(
    time: float, *, rolled_back: bool = False, clock_jumped: bool = False, noticed: bool = True
) -> HistoryEntry:
    detail = {"rolled_back": rolled_back, "clock_jumped": clock_jumped, "noticed": noticed}
    return entry(time, "orchestrator-up", detail=detail)


def stood(since: float, until: float, *, clock_jumped: bool = False, noticed: bool = True) -> Log:
    """A standstill, or a restart, of the orchestrator."""
    return [down(since), up(until, clock_jumped=clock_jumped, noticed=noticed)]


def end(time: float, *, all_ended: bool = True) -> HistoryEntry:
    return entry(time, "end", detail={"expect_all_ended": all_ended})


NODES = [
    entry(0, "node", node=name, detail={"cpu": 2.0, "memory": 20, "max_executions": 2})
    for name in ("n1", "n2")
]


def offered(time: float = 1, execution_id: str = "e1", attempt: int = 1, node: str = "n1") -> Log:
    return [
        x(time, "ASK_FOR_BID", execution_id, attempt=attempt, node=node),
        x(time + 1, "BID_ACCEPTED", execution_id, attempt=attempt, node=node),
    ]


def running(time: float = 1, execution_id: str = "e1", attempt: int = 1, node: str = "n1") -> Log:
    """A try that runs two seconds after it is offered."""
    return [
        *offered(time, execution_id, attempt, node),
        started(time + 2, execution_id, node),
        x(time + 2, "RUNNING", execution_id, attempt=attempt, node=node),
    ]


def done(time: float = 5, execution_id: str = "e1", attempt: int = 1, node: str = "n1") -> Log:
    """A try, and with it the job, is completed."""
    return [
        stopped(time, execution_id, node),
        job(time + 1, "COMPLETED"),
        x(time + 1, "COMPLETED", execution_id, attempt=attempt, node=node, exit_code=0),
    ]


def ended(time: float, state: str = "CANCELLED") -> Log:
    """A try, and with it the job, is ended by the orchestrator."""
    return [told(time, state), stopped(time + 1), x(time + 2, state), job(time + 2, state)]


def failed(time: float = 5, execution_id: str = "e1", attempt: int = 1, *, permanent: bool = False) -> Log:
    return [
        stopped(time, execution_id),
        x(time, "FAILED", execution_id, attempt=attempt, permanent=permanent),
    ]


def refused(time: float, execution_id: str, partition: int) -> Log:
    return [
        x(time, "ASK_FOR_BID", execution_id, partition=partition, node="n2"),
        x(time, "ASK_FOR_BID_REJECTED", execution_id, partition=partition, node="n2"),
    ]


TRIES = ["refused", "failed", "lost"]
ENDINGS = ["done", "cancelled", "cancelled out of reach", "timed out", "fault"]


@st.composite
def lives(draw: st.DrawFn) -> Log:
    """The life of a job that was treated as promised."""
    steps = submit(max_attempts=9, total=300.0)
    time, attempt, number = 1.0, 1, 0
    for number, outcome in enumerate(draw(st.lists(st.sampled_from(TRIES), max_size=8)), 1):
        who, node = f"e{number}", f"n{number}"
        if outcome == "refused":
            steps += [x(time, "ASK_FOR_BID", who, attempt=attempt, node=node)]
            steps += [x(time + 1, "ASK_FOR_BID_REJECTED", who, attempt=attempt, node=node)]
            time += draw(st.floats(1, 3))
            continue
        steps += running(time, who, attempt, node)
        if outcome == "failed":
            steps += [stopped(time + 4, who, node)]
            steps += [x(time + 5, "FAILED", who, attempt=attempt, node=node)]
            time += 5
        else:
            steps += [
                cut(time + 4, node),
                joined(time + 40, node),
                stopped(time + draw(st.floats(4, 60)), who, node),
            ]
            time += draw(st.floats(24, 30))
            steps += [x(time, "FAILED", who, attempt=attempt, node=node, fenced=True)]
        attempt += 1
    who, node, ending = f"e{number + 1}", f"n{number + 1}", draw(st.sampled_from(ENDINGS))
    steps += running(time, who, attempt, node)
    if ending == "done":
        return steps + done(time + draw(st.floats(3, 50)), who, attempt, node) + [read(900, True, who)]
    over = {"timed out": "TIMED_OUT", "fault": "FAILED"}.get(ending, "CANCELLED")
    time = time + 3 if over != "TIMED_OUT" else 300
    fenced = ending == "cancelled out of reach"
    dead = time + 2
    if fenced:
        steps += [cut(time, node), joined(time + 40, node)]
        dead = time + draw(st.floats(2, 70))
    steps += [told(time, over, who, node), stopped(dead, who, node)]
    time += 25 if fenced else 3
    steps += [x(time, over, who, attempt=attempt, node=node, fenced=fenced), job(time, over)]
    if over == "CANCELLED":
        steps += [called(time - 26 if fenced else time - 3), returned(time)]
    return steps
