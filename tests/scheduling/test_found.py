"""What the simulated world found in these cores, each as the shortest story that shows it.

Named by the seed that found it first; what was wrong is in the docstring.
"""

from __future__ import annotations

import math

from attrs import evolve

from bacalhau_sdk.model.execution import ExecutionState, Failure, FailureKind, Outcome
from bacalhau_sdk.model.job import RetryPolicy, Timeouts
from bacalhau_sdk.model.message import AskForBid, BidResult
from bacalhau_sdk.model.node import Check, EngineInfo
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import Send
from bacalhau_sdk.scheduling.events import Adopt, Deliver, Tick
from tests.scheduling.desk import CANCEL, Desk, at, restarted
from tests.scheduling.makers import (
    DONE,
    FAILED,
    execution,
    heartbeat,
    job,
    node,
    offer,
    planned,
    refusal,
    wasm,
)

E = ExecutionState
FAULT = Outcome(failure=Failure(FailureKind.INFRASTRUCTURE, "node.io", "as if"))


def test_a_clock_below_zero_places_jobs() -> None:
    """All faults, seed 62: a first try was not to be before the time 0."""
    desk = Desk(node(), now=-3600.0)
    desk.submit()
    assert "j-0 ASK_FOR_BID" in desk.states()


def test_a_standstill_shows_although_it_ends_just_when_a_wake_was_due() -> None:
    """All faults, seed 21: silence of 20 seconds, 19 of which the orchestrator had slept through, lost the nodes."""
    desk = restarted(at(E.RUNNING))
    desk.now += 21.8  # the wake that was due at +20 is less than 2 s late
    desk.handle(Tick())
    assert desk.executions["j-0"].state is E.RUNNING
    desk.until(desk.now + 19)
    assert desk.executions["j-0"].state is E.RUNNING


def test_a_retry_is_not_put_off_by_a_standstill() -> None:
    """Swarm, seed 69: the time at which limits count again took the place of the next try."""
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(2, backoff=8)))
    desk.report(E.FAILED, FAULT)
    desk.now += 7.5
    desk.handle(Deliver(heartbeat(node())))  # it was to be woken before: it stood still
    assert "j-1" not in desk.executions
    desk.until(desk.now + 2, node())
    assert "j-1" in desk.executions


def test_results_that_were_published_before_a_crash_are_reported_after_it() -> None:
    """All faults, seed 0: a node that was restarted knew nothing of results that it had published and not reported."""
    desk, core = at(E.RUNNING), ComputeCore(node())
    effects = core.handle(Adopt(completed=((offer(), DONE),)), 0.0) + core.handle(Tick(), 0.0)
    told = [effect.envelope.message for effect in effects if isinstance(effect, Send)]
    desk.hear("n1", *told)
    assert desk.executions["j-0"].state is E.COMPLETED


# Found by tests against the rules, before the worlds did


def test_the_offers_of_an_ops_job_say_how_many_partitions_there_are() -> None:
    """They were derived from the record before its nodes were known, and said 0."""
    sent = Desk(node("n1"), node("n2")).submit(spec=wasm(type="ops"))
    assert [message.partition_count for _, message in sent if isinstance(message, AskForBid)] == [2, 2]


def test_the_limit_of_an_execution_holds_on_a_node_that_came_back() -> None:
    """Nobody looked at the job again before the back-off of its replacement had passed."""
    spec = wasm(retry=RetryPolicy(2, 3000), timeouts=Timeouts(execution=30))
    desk = at(E.RUNNING, node("n2"), spec=spec)
    desk.until(50, node("n2"))
    sent = desk.beat(node(), None, j_0=E.RUNNING) + desk.until(60, node(), node("n2"), j_0=E.RUNNING)
    assert ("n1", CANCEL) in sent


def test_a_node_whose_new_broadcast_is_not_known_is_not_asked_over_and_over() -> None:
    """Each refusal made another offer to the same stale broadcast, at the speed of a round trip."""
    desk = at(E.ASK_FOR_BID)
    refused = evolve(refusal(lasting=False), check=Check.BROADCAST)
    assert desk.hear("n1", BidResult("j-0", (refused,))) == []
    assert desk.states() == "j QUEUED, j-0 ASK_FOR_BID_REJECTED"
    assert [message for _, message in desk.beat(node(revision=1))] == [offer("j-1", node_revision=1)]


def test_an_alarm_that_rings_a_rounding_error_early_is_set_again() -> None:
    """The core believed that it was still to ring, and no limit ever passed."""
    desk = Desk(node())
    desk.submit(spec=wasm(timeouts=Timeouts(total=12)))
    desk.until(11, node(), j_0=E.ASK_FOR_BID)
    desk.now, desk.wake_at = math.nextafter(12.0, 0), math.inf
    desk.handle(Tick())
    assert desk.wake_at < 20


def test_what_fits_nowhere_any_more_keeps_the_result_that_it_has() -> None:
    """A non-zero exit code was to be tried again, but no node was left: the result was thrown away."""
    desk = at(E.RUNNING, spec=wasm(retry=RetryPolicy(2, 0, retry_nonzero_exit=True)))
    desk.until(1, node(), j_0=E.RUNNING)
    desk.beat(node("n1", EngineInfo("docker")), None, j_0=E.RUNNING)
    desk.report(E.COMPLETED, evolve(DONE, exit_code=1))
    assert desk.states() == "j COMPLETED, j-0 COMPLETED"


def test_of_two_failures_the_permanent_one_is_the_reason() -> None:
    """It was the one of the lower partition."""
    ended = [
        execution(0, E.FAILED, 0, outcome=FAULT),
        execution(1, E.FAILED, 1, outcome=FAILED),
    ]
    assert planned(job(wasm(count=2)), ended).job.failure == FAILED.failure
