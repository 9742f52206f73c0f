"""What the simulated world found in these cores, each as the shortest story that shows it.

Named by the seed that found it first; what was wrong is in the docstring.
"""

from __future__ import annotations

from bacalhau_sdk.model.execution import ExecutionState, Failure, FailureKind, Outcome
from bacalhau_sdk.model.job import RetryPolicy
from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.effects import Send
from bacalhau_sdk.scheduling.events import Adopt, Deliver, Tick
from tests.scheduling.desk import Desk, at, restarted
from tests.scheduling.makers import DONE, heartbeat, node, offer, wasm

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
