"""Cases for the judge of a log: for each rule a legal run, and one that breaks this rule and no other."""

from __future__ import annotations

from typing import NamedTuple

from tests.testing.logs import (
    Log,
    called,
    cut,
    done,
    down,
    end,
    ended,
    entry,
    failed,
    job,
    joined,
    offered,
    read,
    refused,
    returned,
    running,
    started,
    stood,
    stopped,
    submit,
    submitted,
    told,
    up,
    x,
)


class Case(NamedTuple):
    rule: str
    promise: int
    legal: Log
    illegal: Log


RUN = [*submit(), *running()]
ONCE = [*RUN, *done(), read(7, ok=True), end(100)]
TWICE = submit(max_attempts=2)
TRIED = [*TWICE, *running(), *failed()]
CALLED = [*submit(), called(10)]
CANCELLED = [*RUN, called(10), *ended(11), returned(14)]
LOST = [*TWICE, *running(), cut(10), x(40, "FAILED", fenced=True)]  # its node is gone, another try is due
FENCED = [*LOST, called(41), job(41, "CANCELLED"), returned(42)]
BACK = [*LOST, *running(40, "e2", 2, "n2"), joined(50)]
LIMITED = submit(total=20.0)
QUEUED = submit(queue=20.0)
TIMED = [*submit(execution=20.0), *running()]
BEGUN = [*submit(), x(1, "ASK_FOR_BID"), started(2)]
OPS = [*submit(type="ops", partitions=0), *running()]
GONE = [*RUN, down(4), up(5, rolled_back=True)]
THRICE = [
    x(4, "NEW", "e2", partition=1),
    x(4, "FAILED", "e2", partition=1, accepted=False),
    *refused(5, "e3", 1),
    *done(6),
]
LISTED = [
    job(9, "COMPLETED"),
    x(9, "ASK_FOR_BID_REJECTED", "e3", partition=1),
    x(9, "FAILED", "e2", partition=1, accepted=False),
    x(9, "COMPLETED", exit_code=0),
]

RECORDS = [
    # ---- what a log is
    Case("unknown-entry", 0, ONCE, [*submit(), entry(1, "rebooted")]),
    Case("after-end", 0, ONCE, [*ONCE, cut(101)]),
    Case("time-backwards", 0, ONCE, [*submit(), cut(5), joined(4)]),
    Case("malformed-entry", 0, submit(), [job(0, "PENDING"), job(1, "ASLEEP")]),
    Case("malformed-entry", 0, submit(), [job(0, "PENDING"), entry(0, "submit-returned", job_id="j")]),
    Case("malformed-entry", 0, [*submit(), *offered()], [*submit(), x(1, "ASK_FOR_BID", attempt=None)]),
    Case("malformed-entry", 0, [*submit(), *offered()], [*submit(), x(1, "SLEEPING")]),
    Case("malformed-entry", 0, [*RUN], [*submit(), *offered(), started(3, cpu=None)]),
    Case("malformed-entry", 0, [*RUN], [*RUN, told(5, "RUNNING")]),
    Case("malformed-entry", 0, submit(), [job(0, "PENDING"), submitted(0, total="soon")]),
    Case("malformed-entry", 0, [*submit(), cut(1)], [*submit(), entry(1, "cut", node="n1")]),
    Case("malformed-entry", 0, [*submit(), *stood(1, 2)], [*submit(), down(1), entry(2, "orchestrator-up")]),
    Case("up-not-down", 0, [*submit(), *stood(1, 2)], [*submit(), *stood(1, 2), up(3)]),
    Case("job-unrecorded", 0, submit() + offered(), [x(1, "ASK_FOR_BID")]),
    Case("execution-identity", 0, [*RUN], [*submit(), *offered(), x(3, "RUNNING", node="n2")]),
    Case("execution-identity", 0, [*RUN], [*submit(), *offered(), started(3, node="n2")]),
    Case("started-unrecorded", 0, [*GONE, stopped(6), started(7)], [*submit(), started(3)]),
    Case("started-twice", 0, [*RUN, stopped(4), started(4)], [*RUN, started(4)]),
    Case("stopped-not-running", 0, ONCE, [*RUN, stopped(4), stopped(5)]),
    Case("unknown-node", 0, [*RUN], [*submit(), *running(node="n3")]),
    Case(
        "refused-ran",
        0,
        [*submit(), x(1, "ASK_FOR_BID"), x(2, "ASK_FOR_BID_REJECTED")],
        [*submit(), x(1, "ASK_FOR_BID"), started(1), stopped(1), x(2, "ASK_FOR_BID_REJECTED")],
    ),
    Case(
        "refused-ran",
        0,
        [*BEGUN, cut(3), stopped(3), joined(4), x(5, "ASK_FOR_BID_REJECTED")],
        [*BEGUN, cut(3, heard=True), stopped(3), joined(4), x(5, "ASK_FOR_BID_REJECTED")],
    ),
    Case(
        "refused-ran",
        0,
        [*BEGUN, cut(3, heard=True), cut(4), stopped(4), cut(5, heard=True), x(6, "ASK_FOR_BID_REJECTED")],
        [
            *submit(),
            cut(0),
            joined(0.5),
            x(1, "ASK_FOR_BID"),
            started(2),
            stopped(3),
            x(5, "ASK_FOR_BID_REJECTED"),
        ],
    ),
    Case(
        "unfenced-runs",
        0,
        [*BEGUN, cut(3), stopped(3), joined(4), x(5, "ASK_FOR_BID_REJECTED")],
        [*BEGUN, cut(3), joined(4), x(5, "ASK_FOR_BID_REJECTED")],
    ),
    Case("unfenced-runs", 0, LOST, [*RUN, x(40, "FAILED")]),
    Case("fenced-state", 0, LOST, [*submit(), *offered(), x(3, "RUNNING", fenced=True)]),
    Case("fenced-state", 0, LOST, [*RUN, cut(4), x(30, "COMPLETED", fenced=True)]),
    Case(
        "started-after-end",
        0,
        [*submit(), *offered(), cut(3), x(4, "FAILED"), joined(5), started(6)],
        [*submit(), *offered(), x(4, "FAILED"), started(6)],
    ),
    # ---- records
    Case("completed-without-execution", 1, ONCE, [*submit(partitions=2), *running(), *done()]),
    Case(
        "completed-without-execution",
        1,
        ONCE,
        [job(0, "PENDING"), *running(), *done(), submitted(9, partitions=2)],
    ),
    Case(
        "completed-without-execution",
        1,
        [*OPS, *done()],
        [*submit(type="ops", partitions=0), job(1, "COMPLETED")],
    ),
    Case(
        "completed-without-execution",
        1,
        [*OPS, *refused(4, "e2", 1), *done()],
        [*submit(partitions=2), *running(), *refused(4, "e2", 1), *done()],
    ),
    Case(
        "completed-without-execution",
        1,
        [
            *OPS,
            x(3, "ASK_FOR_BID", "e2", partition=1),
            x(4, "FAILED", "e2", partition=1, accepted=False),
            *refused(4, "e3", 1),
            *done(),
        ],
        [
            *OPS,
            *refused(3, "e2", 1),
            x(4, "ASK_FOR_BID", "e3", partition=1),
            x(4, "FAILED", "e3", partition=1),
            *done(),
        ],
    ),
    Case(
        "completed-without-execution",
        1,
        [*OPS, *refused(4, "e2", 1), *done()],
        [*submit(type="ops", partitions=0), *refused(1, "e1", 0), *refused(1, "e2", 1), job(4, "COMPLETED")],
    ),
    Case(  # which execution was the last is known when a store is put back, whatever order it is listed in
        "completed-without-execution",
        1,
        [*OPS, *THRICE, down(8), up(9, rolled_back=True), *LISTED],
        [*OPS, *THRICE, down(8), up(9, rolled_back=True), LISTED[0], *LISTED[2:]],
    ),
    Case("completed-unrun", 1, ONCE, [*submit(), *offered(), x(6, "COMPLETED")]),
    Case(
        "tried-after-completed",
        1,
        [*TWICE, *running(), stopped(5), x(5, "COMPLETED", exit_code=3), *running(7, "e2", 2)],
        [*TWICE, *running(), stopped(5), x(5, "COMPLETED", exit_code=0), *running(7, "e2", 2)],
    ),
    Case("terminal-changed", 2, [*ONCE[:-1], job(9, "COMPLETED")], [*ONCE[:-1], job(9, "FAILED")]),
    Case("terminal-changed", 2, ONCE, [*RUN, *failed(), x(6, "COMPLETED")]),
    Case(
        "terminal-changed",
        2,
        [*ONCE[:-1], down(8), up(9, rolled_back=True), job(9, "RUNNING"), x(9, "RUNNING")],
        [*ONCE[:-1], *stood(8, 9), job(9, "RUNNING")],
    ),
    Case(
        "illegal-move",
        2,
        [*submit(), job(1, "QUEUED"), job(2, "RUNNING")],
        [*submit(), job(1, "RUNNING"), job(2, "QUEUED")],
    ),
    Case(
        "illegal-move",
        2,
        [*submit(), x(1, "NEW"), x(2, "ASK_FOR_BID"), x(3, "PUBLISHING")],
        [*RUN, x(9, "BID_ACCEPTED")],
    ),
    Case("illegal-move", 2, ONCE, [*submit(), *offered(), x(9, "ASK_FOR_BID_REJECTED")]),
    Case("illegal-move", 2, [*GONE, job(5, "RUNNING"), x(5, "RUNNING")], [*submit(), x(1, "RUNNING")]),
    Case(
        "two-current",
        3,
        [*TWICE, *running(), stopped(4), x(5, "ASK_FOR_BID", "e2", attempt=2), x(5, "FAILED")],
        [*TWICE, *running(), x(5, "ASK_FOR_BID", "e2", attempt=2), x(6, "ASK_FOR_BID", "e2", attempt=2)],
    ),
    Case(
        "attempt-down",
        3,
        [*TRIED, *running(7, "e2", 2)],
        [*TRIED, x(7, "NEW", "e2", attempt=2), x(8, "FAILED", "e2", attempt=2), *running(9, "e3", 0)],
    ),
    Case(
        "attempt-repeated",
        3,
        [*submit(), x(1, "ASK_FOR_BID"), x(2, "ASK_FOR_BID_REJECTED"), *running(3, "e2")],
        [*RUN, *failed(), *running(7, "e2")],
    ),
    Case(
        "attempt-repeated",
        3,
        [
            *submit(),
            cut(0),
            x(1, "NEW"),
            x(30, "FAILED", fenced=True, accepted=False),
            *running(30, "e2", 1, "n2"),
        ],
        [
            *submit(),
            cut(0),
            x(1, "NEW"),
            x(30, "FAILED", fenced=True, accepted=True),
            *running(30, "e2", 1, "n2"),
        ],
    ),
    Case("late-result", 4, [*RUN, *failed(), x(9, "FAILED")], [*RUN, *failed(), x(9, "FAILED", exit_code=0)]),
    Case("submit-not-recorded", 5, submit(), [submitted()]),
    Case("submit-conflict", 5, [*submit(), submitted(1)], [*submit(), submitted(1, max_attempts=2)]),
    Case("not-ended", 5, [*submit(), end(100, all_ended=False)], [*submit(), end(100)]),
    Case(
        "not-ended",
        5,
        [*submit(), down(1), up(2, rolled_back=True), end(100)],
        [*submit(), *stood(1, 2), end(100)],
    ),
    Case("execution-not-ended", 5, ONCE, [*submit(), *offered(), job(5, "FAILED"), end(100)]),
    Case(
        "runs-at-end",
        5,
        [*LOST, job(40, "FAILED"), stopped(50), end(100)],
        [*LOST, job(40, "FAILED"), end(100)],
    ),
    Case(
        "results-unreadable",
        6,
        [*RUN, stopped(4), x(5, "COMPLETED"), read(6, ok=False), job(7, "FAILED")],
        [*RUN, *done(), read(7, ok=False)],
    ),
    Case("too-many-attempts", 7, [*TRIED, *running(7, "e2", 2)], [*RUN, *failed(), *running(7, "e2", 2)]),
    Case(
        "too-many-attempts",
        7,
        ONCE,
        [job(0, "PENDING"), *running(), *failed(), *running(7, "e2", 2), submitted(9, max_attempts=1)],
    ),
    Case(
        "retried-permanent",
        7,
        [*TRIED, *running(7, "e2", 2)],
        [*TWICE, *running(), *failed(permanent=True), *running(7, "e2", 2)],
    ),
    Case(
        "tried-after-end", 7, [*TRIED, *running(7, "e2", 2)], [*TRIED, job(6, "FAILED"), *running(7, "e2", 2)]
    ),
]
