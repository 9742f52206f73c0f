"""Whether a node is asked again that has refused a job."""

from __future__ import annotations

import math

import pytest

from bacalhau_sdk.model.execution import Execution, ExecutionState
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.scheduling.answers import ASK_AGAIN_AFTER, ASK_AGAIN_MAX, answers_of
from tests.scheduling.makers import execution, index, node, refusal


def not_now(serial: int, at: float, *, after: float = 0.5, check: Check = Check.ENGINE) -> Execution:
    """Return an offer that was refused for now, some seconds after it was made."""
    refusals = (refusal(lasting=False, check=check),)
    state = ExecutionState.ASK_FOR_BID_REJECTED
    return execution(serial, state, node="n1", refusals=refusals, created_at=at - after, modified_at=at)


@pytest.mark.parametrize(
    ("asked", "again_at"),
    [
        pytest.param([not_now(0, 1)], 6, id="one"),
        pytest.param([not_now(0, 1), not_now(1, 2, after=1.5)], 7, id="two offers at once are one question"),
        pytest.param([not_now(0, 2, after=1.5), not_now(1, 1)], 7, id="of which the last answer counts"),
        pytest.param([not_now(0, 1), not_now(1, 7)], 17, id="the second time it is twice as long"),
        pytest.param([not_now(0, 1), not_now(1, 7), not_now(2, 18)], 38, id="and so on"),
        pytest.param(
            [
                not_now(0, 1),
                not_now(1, 7),
                execution(2, ExecutionState.RUNNING, accepted_at=8),
                not_now(3, 20),
            ],
            25,
            id="a node that has accepted something meanwhile begins anew",
        ),
    ],
)
def test_a_node_that_refuses_for_now_is_left_alone_for_longer_each_time(
    asked: list[Execution], again_at: float
) -> None:
    nodes = index(node("n1"))
    before = answers_of(nodes, asked, again_at - 0.25)
    assert (before.again_at, before.revisions) == (again_at, (("n1", 0),))
    told = before.refusal_of("n1", again_at - 0.25)
    assert told is not None
    assert told.hint == "it is asked again in 0.2 s"
    after = answers_of(nodes, asked, again_at)
    assert (after.again_at, after.revisions, after.refusal_of("n1", again_at)) == (math.inf, (), None)


def test_the_longest_wait_is_bounded() -> None:
    asked, now, wait = list[Execution](), 0.0, 0.0
    for serial in range(100):
        asked.append(not_now(serial, now))
        wait = answers_of(index(node("n1")), asked, now).again_at - now
        assert ASK_AGAIN_AFTER <= wait <= ASK_AGAIN_MAX
        now += wait + 1
    assert wait == ASK_AGAIN_MAX


@pytest.mark.parametrize("check", [Check.CAPACITY, Check.DRAINING, Check.BROADCAST])
def test_what_the_next_heartbeat_may_change_is_no_answer_to_the_job(check: Check) -> None:
    assert answers_of(index(node("n1")), [not_now(0, 1, check=check)], 1.0).again_at == math.inf


def test_a_node_that_has_changed_is_asked_at_once() -> None:
    assert answers_of(index(node("n1", revision=3)), [not_now(0, 1)], 1.0).again_at == math.inf
