"""The judge of a log: for each rule a legal run, and one that breaks this rule and no other."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.testing import checker, checker_rules
from bacalhau_sdk.testing.checker import judge
from bacalhau_sdk.testing.history import History
from tests.testing.checker_cases import (
    BACK,
    CALLED,
    CANCELLED,
    FENCED,
    GONE,
    LIMITED,
    QUEUED,
    RECORDS,
    RUN,
    TIMED,
    Case,
)
from tests.testing.logs import (
    NODES,
    Log,
    abandoned,
    called,
    cut,
    done,
    down,
    end,
    ended,
    failed,
    job,
    joined,
    late,
    lives,
    offered,
    read,
    returned,
    running,
    started,
    stood,
    stopped,
    submit,
    told,
    up,
    x,
)

TIMES = [
    # ---- cancelling
    Case("cancel-unmatched", 0, CANCELLED, [*CANCELLED, returned(15)]),
    Case("cancel-not-terminal", 8, CANCELLED, [*submit(), called(3), returned(4)]),
    Case(
        "cancel-state",
        8,
        [*RUN, called(5), *done(), returned(7, "COMPLETED")],
        [*RUN, called(5), *done(), returned(7)],
    ),
    Case("runs-after-cancel", 9, CANCELLED, [*RUN, called(10), job(11, "CANCELLED"), returned(14)]),
    Case("runs-after-cancel", 9, [*FENCED], [*RUN, cut(9), called(10), job(11, "CANCELLED"), returned(14)]),
    Case(
        "started-after-cancel",
        9,
        [*CANCELLED, cut(20), started(21), joined(40), stopped(43), started(50), stopped(51)],
        [*CANCELLED, started(21), stopped(22)],
    ),
    Case(
        "started-after-cancel",
        9,
        [*CANCELLED, cut(20), joined(40), started(50)],
        [*CANCELLED, cut(20), joined(40), started(90)],
    ),
    Case("fenced-runs-on", 9, [*FENCED, joined(50), stopped(80)], [*FENCED, joined(50), stopped(99)]),
    Case(
        "fenced-runs-on",
        9,
        [*FENCED, joined(50), cut(80), end(999, all_ended=False)],
        [*FENCED, joined(50), cut(99), stopped(999)],
    ),
    Case("fenced-runs-on", 15, [*BACK, *stood(60, 80), stopped(99)], [*BACK, end(99, all_ended=False)]),
    Case("runs-at-end", 9, [*CANCELLED, end(99)], [*CANCELLED, cut(20), started(21), joined(40), end(50)]),
    Case("recorded-after-cancel", 10, CANCELLED, [*CANCELLED, job(15, "CANCELLED")]),
    Case("recorded-after-cancel", 10, CANCELLED, [*CANCELLED, x(15, "CANCELLED")]),
    Case(
        "recorded-after-cancel",
        10,
        [
            *CANCELLED,
            down(14),
            up(15, rolled_back=True),
            job(15, "RUNNING"),
            x(15, "RUNNING"),
            told(16, "FAILED"),
        ],
        [*CANCELLED, told(15, "CANCELLED")],
    ),
    Case("result-kept", 10, [*CANCELLED, read(20, ok=False)], [*CANCELLED, read(20, ok=True)]),
    Case(
        "cancel-late",
        11,
        [*CALLED, job(39, "CANCELLED"), returned(40)],
        [*CALLED, job(39, "CANCELLED"), returned(42)],
    ),
    Case(
        "cancel-late",
        11,
        [*CALLED, *stood(12, 20), job(69, "CANCELLED"), returned(70)],
        [*CALLED, *stood(12, 20), job(69, "CANCELLED"), returned(72)],
    ),
    Case(
        "cancel-late",
        11,
        [*CALLED, called(30), job(39, "CANCELLED"), returned(40), returned(60)],
        [*CALLED, end(99, all_ended=False)],
    ),
    Case("cancel-late", 11, [*CALLED, abandoned(40), end(99, all_ended=False)], [*CALLED, abandoned(42)]),
    Case(
        "cancel-late",
        11,
        [*CALLED, down(20), abandoned(60), up(61), end(999, all_ended=False)],
        [*CALLED, called(30), abandoned(40), end(99, all_ended=False)],
    ),
    Case(
        "cancel-late",
        11,
        [*CALLED, *stood(15, 20, noticed=False), abandoned(70)],
        [*CALLED, *stood(15, 20, noticed=False), abandoned(72)],
    ),
    Case("cancel-unmatched", 0, [*CALLED, abandoned(40)], [*CALLED, abandoned(20), abandoned(21)]),
    Case("cancelled-unasked", 12, CANCELLED, [*submit(), job(9, "CANCELLED")]),
    # ---- time
    Case(
        "limit-early",
        13,
        [*LIMITED, *running(), *ended(20, "TIMED_OUT")],
        [*LIMITED, *running(), *ended(19, "TIMED_OUT")],
    ),
    Case("limit-early", 13, [*QUEUED, job(20, "TIMED_OUT")], [*QUEUED, *offered(), job(20, "TIMED_OUT")]),
    Case("limit-early", 13, [*TIMED, *ended(23, "TIMED_OUT")], [*TIMED, *ended(22, "TIMED_OUT")]),
    Case("limit-early", 13, [*LIMITED, job(20, "TIMED_OUT")], [*submit(), job(20, "TIMED_OUT")]),
    Case("limit-late", 13, [*LIMITED, job(80, "TIMED_OUT")], [*LIMITED, job(81, "TIMED_OUT")]),
    Case(
        "limit-late",
        13,
        [*LIMITED, *stood(30, 50), end(130, all_ended=False)],
        [*LIMITED, end(81, all_ended=False)],
    ),
    Case(
        "limit-late",
        13,
        [*LIMITED, *stood(30, 35, noticed=False), job(115, "TIMED_OUT")],
        [*LIMITED, *stood(30, 35, noticed=False), job(116, "TIMED_OUT")],
    ),
    Case(  # what was submitted before a jump of the clock is not judged, in either direction
        "limit-late",
        13,
        [*LIMITED, *stood(30, 35, clock_jumped=True), end(900, all_ended=False)],
        [*stood(0, 0, clock_jumped=True), *late(1, total=20.0), end(900, all_ended=False)],
    ),
    Case(
        "limit-late",
        13,
        [*TIMED, *stood(4, 5, clock_jumped=True), end(900, all_ended=False)],
        [*TIMED, *stood(4, 5), end(900, all_ended=False)],
    ),
    Case(
        "limit-early",
        13,
        [*LIMITED, *running(), *stood(4, 5, clock_jumped=True), *ended(25, "TIMED_OUT")],
        [*submit(total=90.0), *running(), *stood(4, 5), *ended(25, "TIMED_OUT")],
    ),
    Case(
        "limit-early",
        13,
        [*submit(total=90.0), *running(), *stood(4, 5, clock_jumped=True), *ended(25, "TIMED_OUT")],
        [*submit(), *running(), *stood(4, 5, clock_jumped=True), *ended(25, "TIMED_OUT")],
    ),
    Case(
        "limit-early",
        13,
        [
            *submit(total=90.0),
            down(4),
            up(5, clock_jumped=True, rolled_back=True),
            job(5, "QUEUED"),
            job(25, "TIMED_OUT"),
        ],
        [*submit(total=90.0), down(4), up(5, rolled_back=True), job(5, "QUEUED"), job(25, "TIMED_OUT")],
    ),
    Case("limit-late", 13, [*QUEUED, *offered(79)], [*QUEUED, *offered(80)]),
    Case("limit-late", 13, [*TIMED, told(83, "TIMED_OUT")], [*TIMED, told(84, "TIMED_OUT")]),
    Case(
        "limit-late",
        13,
        [*TIMED, stopped(20), x(84, "PUBLISHING")],
        [*TIMED, stopped(84), x(84, "PUBLISHING")],
    ),
    Case("limit-late", 13, [*TIMED, end(83, all_ended=False)], [*TIMED, end(84, all_ended=False)]),
    Case(
        "limit-settling",
        14,
        [*LIMITED, *running(), *stood(15, 30), *ended(50, "TIMED_OUT")],
        [*LIMITED, *running(), *stood(15, 30), *ended(49, "TIMED_OUT")],
    ),
    Case(
        "limit-settling",
        14,
        [*LIMITED, *running(), told(21, "TIMED_OUT"), *stood(21, 22), *ended(23, "TIMED_OUT")],
        [*LIMITED, *stood(15, 30), job(49, "TIMED_OUT")],
    ),
    Case(  # a short standstill may go unnoticed
        "limit-settling",
        14,
        [*LIMITED, *running(), *stood(15, 17, noticed=False), *ended(20, "TIMED_OUT")],
        [*LIMITED, *running(), *stood(10, 11), *stood(15, 17, noticed=False), *ended(20, "TIMED_OUT")],
    ),
    Case(  # with nothing in its store, the orchestrator starts for the first time
        "limit-settling",
        14,
        [*stood(0, 1), *late(1, total=5.0), job(6, "TIMED_OUT")],
        [*late(0, total=5.0), *stood(0, 1), job(6, "TIMED_OUT")],
    ),
    Case(
        "limit-settling",
        14,
        [*submit(), down(0), up(1, rolled_back=True), *late(2, total=5.0), job(7, "TIMED_OUT")],
        [*submit(total=5.0), down(0), up(1, rolled_back=True), job(1, "QUEUED"), job(7, "TIMED_OUT")],
    ),
    Case(  # the limit had fired before
        "limit-settling",
        14,
        [*LIMITED, *running(), told(21, "CANCELLED"), *stood(22, 23), stopped(24), job(24, "TIMED_OUT")],
        [*LIMITED, *running(), *stood(20, 22), told(23, "CANCELLED"), stopped(24), job(24, "TIMED_OUT")],
    ),
    Case(
        "fenced-settling",
        14,
        [*RUN, cut(5), *stood(10, 20), x(40, "FAILED", fenced=True)],
        [*RUN, cut(5), *stood(10, 20), x(39, "FAILED", fenced=True)],
    ),
    Case(
        "fenced-reachable",
        15,
        [*RUN, told(5, "FAILED"), x(15, "FAILED", fenced=True)],
        [*RUN, told(5, "FAILED"), x(14, "FAILED", fenced=True)],
    ),
    Case(
        "fenced-reachable",
        15,
        [*RUN, cut(5), joined(20), cut(21), x(25, "FAILED", fenced=True)],
        [*RUN, cut(5), x(9, "FAILED", fenced=True)],
    ),
    Case(  # when its messages still arrive, a node is not lost
        "fenced-reachable",
        15,
        [*RUN, cut(5, heard=True), cut(15), x(36, "FAILED", fenced=True)],
        [*RUN, cut(5, heard=True), x(36, "FAILED", fenced=True)],
    ),
    Case(
        "fenced-reachable",
        15,
        [*RUN, cut(5), cut(30, heard=True), cut(50), x(52, "FAILED", fenced=True)],
        [*RUN, cut(5, heard=True), cut(30), x(32, "FAILED", fenced=True)],
    ),
    Case(
        "fenced-reachable",
        15,
        [*RUN, told(5, "FAILED"), *stood(6, 7, clock_jumped=True), x(30, "FAILED", fenced=True)],
        [*RUN, *stood(6, 7, clock_jumped=True), told(25, "FAILED"), x(30, "FAILED", fenced=True)],
    ),
    Case(
        "fenced-reachable",
        15,
        [*RUN, cut(5), *stood(12, 15, noticed=False), x(30, "FAILED", fenced=True)],
        [*RUN, *stood(12, 15, noticed=False), x(30, "FAILED", fenced=True)],
    ),
    Case("attempt-skipped", 15, BACK, [*submit(max_attempts=3), *running(), *failed(), *running(7, "e2", 3)]),
    Case(
        "offered-to-lost",
        15,
        [*submit(), cut(1), x(25, "ASK_FOR_BID")],
        [*submit(), cut(1), x(27, "ASK_FOR_BID")],
    ),
    Case(
        "offered-to-lost",
        15,
        [*submit(), cut(1), *stood(4, 5), x(50, "ASK_FOR_BID")],
        [*submit(), cut(1), *stood(4, 5), x(51, "ASK_FOR_BID")],
    ),
    Case(
        "offered-to-lost",
        15,
        [*submit(), cut(1, heard=True), x(70, "ASK_FOR_BID")],
        [*submit(), cut(1, heard=True), cut(2), x(70, "ASK_FOR_BID")],
    ),
    Case(  # a cut that is repeated and changes nothing does not begin anew
        "offered-to-lost",
        15,
        [*submit(), cut(1), cut(20, heard=True), cut(30), x(50, "ASK_FOR_BID")],
        [*submit(), cut(1), cut(20), x(30, "ASK_FOR_BID")],
    ),
    # ---- capacity
    Case(
        "over-capacity",
        16,
        [*submit(), *offered(), started(3, cpu=2.0)],
        [*submit(), *offered(), started(3, cpu=2.5)],
    ),
    Case(
        "over-capacity",
        16,
        [*submit(), *offered(), started(3, memory=20)],
        [*submit(), *offered(), started(3, memory=21)],
    ),
    Case(
        "over-capacity",
        16,
        [
            *GONE,
            job(5, "RUNNING"),
            x(5, "RUNNING"),
            stopped(6),
            *[step for n in range(7, 10) for step in (started(n, cpu=2.0), stopped(n))],
        ],
        [
            *submit(partitions=3),
            *[x(1, "ASK_FOR_BID", f"p{n}", partition=n) for n in range(3)],
            *[started(2, f"p{n}", cpu=0.1, memory=1) for n in range(3)],
        ],
    ),
]

CASES = [*RECORDS, *TIMES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_passes_what_is_legal_and_finds_what_is_not(case: Case) -> None:
    assert judge([*NODES, *case.legal]) == ()
    found = judge([*NODES, *case.illegal])
    assert {(each.rule, each.promise) for each in found} == {(case.rule, case.promise)}
    assert all("entry " in each.message for each in found)


def test_every_rule_has_a_case() -> None:
    rules = {
        constant.value
        for module in (checker, checker_rules)
        for call in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "report"
        for constant in ast.walk(call.args[1])
        if isinstance(constant, ast.Constant) and re.fullmatch("[a-z]+(-[a-z]+)+", str(constant.value))
    }
    assert rules == {case.rule for case in CASES}


def test_what_was_written_out_is_judged_alike() -> None:
    history = History([*NODES, *CASES[0].legal, *CASES[0].illegal])
    assert judge(History.from_jsonl(history.to_jsonl())) == judge(history) != ()


def test_who_is_meant_is_said() -> None:
    (found,) = judge([*NODES, *RUN, *failed(), x(9, "FAILED", exit_code=0)])
    assert found.time == 9
    assert "execution e1 (job j, partition 0, attempt 1, node n1)" in found.message
    assert "entry 11 (execution FAILED at 9 s), entry 10 (FAILED at 5 s)" in found.message


@given(st.lists(lives(), min_size=1, max_size=3))
def test_a_legal_run_has_no_violation(runs: list[Log]) -> None:
    steps = [
        evolve(
            step,
            job_id=step.job_id and f"j{number}",
            execution_id=step.execution_id and f"{step.execution_id} of j{number}",
            node=step.node and f"{step.node} of j{number}",
        )
        for number, steps in enumerate(runs)
        for step in steps
    ]
    names = sorted({step.node for step in steps if step.node})
    nodes = [evolve(NODES[0], node=name) for name in names]
    steps.sort(key=lambda step: step.time)
    assert judge([*nodes, *steps, end(1000)]) == ()
