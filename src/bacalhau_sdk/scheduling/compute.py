"""A compute node as a state machine: an event in, effects out."""

from __future__ import annotations

from attrs import define, evolve

from ..model.execution import ExecutionState, Failure, Location, Outcome, Task
from ..model.message import (
    ORCHESTRATOR,
    AcknowledgeExecution,
    AskForBid,
    BidResult,
    CancelExecution,
    Envelope,
    ExecutionUpdate,
    Heartbeat,
    Message,
)
from ..model.node import NodeInfo, Refusal
from .bidding import bid, task_of
from .capacity import CapacityAccount
from .effects import (
    CheckBid,
    DiscardResults,
    Effect,
    KillExecution,
    Publish,
    Send,
    StartExecution,
    WakeAt,
)
from .events import (
    Adopt,
    BidChecked,
    ComputeEvent,
    Deliver,
    Drain,
    ResultsPublished,
    Tick,
    WorkloadEnded,
    WorkloadStarted,
)

__all__ = ["HEARTBEAT_INTERVAL", "ComputeCore"]

HEARTBEAT_INTERVAL = 5.0
"""Seconds between the heartbeats of a node."""
_REMEMBERED = 10_000
_ENVELOPES = 2**20
"""More envelopes than a node sends before its revision, a time in milliseconds, has grown: so their sequence always grows."""


@define(eq=False)
class _Held:
    """An execution that the node holds, from the offer until its end is acknowledged."""

    offer: AskForBid
    state: ExecutionState = ExecutionState.ASK_FOR_BID
    stopping: bool = False
    outcome: Outcome | None = None


class ComputeCore:
    """Decides what a node does with offers and executions; keeps no clock, does no I/O.

    Every effect that works on an execution (`CheckBid`, `StartExecution`, `Publish`) is answered by one event, also when a
    `KillExecution` cut it short; the capacity is released at the last of them, so that it is never given away while anything
    still runs.

    Args:
        info: What the node broadcasts.
        orchestrator: The party that it answers to.
    """

    def __init__(self, info: NodeInfo, *, orchestrator: str = ORCHESTRATOR) -> None:
        self.info: NodeInfo = info
        self.account: CapacityAccount = CapacityAccount(info.capacity, info.max_executions)
        self._orchestrator = orchestrator
        self._held: dict[str, _Held] = {}
        self._closed: dict[str, tuple[Refusal, ...]] = {}
        self._sequence = info.revision * _ENVELOPES
        self._effects: list[Effect] = []

    def holds(self, execution_id: str) -> bool:
        """Say whether the node has an execution, from the offer until its end is acknowledged."""
        return execution_id in self._held

    @property
    def held(self) -> int:
        """How many executions it has."""
        return len(self._held)

    def handle(self, event: ComputeEvent, now: float) -> list[Effect]:
        """Take an event, and return what is to be done, in order.

        Args:
            event: What has happened.
            now: Seconds of the node's clock.
        """
        self._effects = []
        match event:
            case Deliver(envelope):
                self._receive(envelope)
            case Tick():
                self._beat(now)
            case Adopt(running, completed):
                for offer in running:
                    self._adopt(offer)
                for offer, outcome in completed:
                    self._held[offer.execution_id] = _Held(offer, ExecutionState.COMPLETED, outcome=outcome)
            case Drain(draining):
                if draining is not self.info.draining:
                    self.info = evolve(self.info, draining=draining, revision=self.info.revision + 1)
                self._beat(now)
            case BidChecked(execution_id, refusal):
                self._checked(execution_id, refusal)
            case WorkloadStarted(execution_id):
                held = self._held.get(execution_id)
                if held is not None and held.state is ExecutionState.BID_ACCEPTED and not held.stopping:
                    self._report(execution_id, held, ExecutionState.RUNNING)
            case WorkloadEnded() as ended:
                self._ended(ended)
            case ResultsPublished(execution_id, result):
                self._published(execution_id, result)
        return self._effects

    # Messages

    def _receive(self, envelope: Envelope) -> None:
        if envelope.sender != self._orchestrator:
            return
        match envelope.message:
            case AskForBid() as offer:
                self._consider(offer)
            case CancelExecution(execution_id):
                self._cancel(execution_id)
            case AcknowledgeExecution(execution_id, discard):
                self._forget(execution_id, discard=discard)
            case _:
                pass

    def _consider(self, offer: AskForBid) -> None:
        """Bid for an offer; a doubled one is answered with where the execution stands."""
        execution_id = offer.execution_id
        held = self._held.get(execution_id)
        if held is not None:
            self._tell(*self._standing(execution_id, held))
        elif execution_id in self._closed:
            refusals = self._closed[execution_id]
            # Without a refusal it is over here: an orchestrator that offers it still must not wait for an answer.
            over = ExecutionUpdate(execution_id, ExecutionState.CANCELLED)
            self._tell(BidResult(execution_id, refusals) if refusals else over)
        elif refusals := bid(self.info, self.account, offer):
            self._refuse(execution_id, refusals)
        else:
            self._held[execution_id] = _Held(offer)
            self._effects.append(CheckBid(self._task(offer)))

    def _adopt(self, offer: AskForBid) -> None:
        """Go on with what an engine still has of an earlier life; room is not asked for, it is in use."""
        self.account.adopt(offer.execution_id, offer.spec.resources)
        self._held[offer.execution_id] = _Held(offer, ExecutionState.BID_ACCEPTED)
        self._effects.append(StartExecution(self._task(offer), offer.spec))

    def _refuse(self, execution_id: str, refusals: tuple[Refusal, ...]) -> None:
        """Refuse for good: once that is recorded the partition is offered elsewhere, so a doubled offer must not be accepted."""
        self._close(execution_id, refusals)
        self._tell(BidResult(execution_id, refusals))

    def _cancel(self, execution_id: str) -> None:
        held = self._held.get(execution_id)
        if held is None:
            # Never heard of: an offer that is still on its way must find that it is not wanted.
            self._close(execution_id)
            self._tell(ExecutionUpdate(execution_id, ExecutionState.CANCELLED))
        elif held.state.terminal:
            self._tell(ExecutionUpdate(execution_id, held.state, held.outcome))
        else:
            # Asked again, it is killed again: the first kill may have come to nothing.
            held.stopping = True
            self._effects.append(KillExecution(execution_id))

    def _forget(self, execution_id: str, *, discard: bool) -> None:
        held = self._held.get(execution_id)
        if held is None or not held.state.terminal:
            return
        del self._held[execution_id]
        self._close(execution_id)
        if discard:
            location = held.outcome.location if held.outcome else None
            self._effects.append(DiscardResults(execution_id, location))

    def _beat(self, now: float) -> None:
        """Send a heartbeat, and repeat what has not been acknowledged."""
        states = tuple((execution_id, held.state) for execution_id, held in self._held.items())
        self._tell(Heartbeat(self.info, states))
        for execution_id, held in self._held.items():
            if held.state.terminal:
                self._tell(ExecutionUpdate(execution_id, held.state, held.outcome))
        self._effects.append(WakeAt(now + HEARTBEAT_INTERVAL))

    # What becomes of an execution

    def _checked(self, execution_id: str, refusal: Refusal | None) -> None:
        held = self._held.get(execution_id)
        if held is None or held.state is not ExecutionState.ASK_FOR_BID:
            return
        if held.stopping:
            self._end(execution_id, held, ExecutionState.CANCELLED, Outcome())
        elif refusal is not None:
            del self._held[execution_id]
            self.account.release(execution_id)
            self._refuse(execution_id, (evolve(refusal, node=self.info.name),))
        else:
            held.state = ExecutionState.BID_ACCEPTED
            # Begun first: whoever hears of the acceptance finds the log of the execution.
            self._effects.append(StartExecution(self._task(held.offer), held.offer.spec))
            self._tell(BidResult(execution_id))

    def _ended(self, ended: WorkloadEnded) -> None:
        held = self._held.get(ended.execution_id)
        if held is None or held.state not in (ExecutionState.BID_ACCEPTED, ExecutionState.RUNNING):
            return
        outcome = Outcome(stdout_truncated=ended.stdout_truncated, stderr_truncated=ended.stderr_truncated)
        if held.stopping or ended.result is None:
            self._end(ended.execution_id, held, ExecutionState.CANCELLED, outcome)
        elif isinstance(ended.result, Failure):
            failed = evolve(outcome, failure=ended.result)
            self._end(ended.execution_id, held, ExecutionState.FAILED, failed)
        else:
            held.outcome = evolve(outcome, exit_code=ended.result.exit_code)
            self._report(ended.execution_id, held, ExecutionState.PUBLISHING)
            self._effects.append(Publish(ended.execution_id))

    def _published(self, execution_id: str, result: Location | Failure | None) -> None:
        held = self._held.get(execution_id)
        if held is None or held.state is not ExecutionState.PUBLISHING or held.outcome is None:
            return
        location = result if isinstance(result, Location) else None
        outcome = evolve(held.outcome, location=location)
        if held.stopping or result is None:
            self._end(execution_id, held, ExecutionState.CANCELLED, outcome)
        elif isinstance(result, Failure):
            self._end(execution_id, held, ExecutionState.FAILED, evolve(outcome, failure=result))
        else:
            self._end(execution_id, held, ExecutionState.COMPLETED, outcome)

    def _end(self, execution_id: str, held: _Held, state: ExecutionState, outcome: Outcome) -> None:
        """Take a terminal state: nothing runs any more, so the capacity is free."""
        if state is not ExecutionState.COMPLETED:
            self._effects.append(DiscardResults(execution_id, outcome.location))
            outcome = evolve(outcome, location=None)
        held.outcome = outcome
        self.account.release(execution_id)
        self._report(execution_id, held, state)

    def _report(self, execution_id: str, held: _Held, state: ExecutionState) -> None:
        held.state = state
        self._tell(ExecutionUpdate(execution_id, state, held.outcome if state.terminal else None))

    def _task(self, offer: AskForBid) -> Task:
        return task_of(offer, system_env=self.info.engines[offer.spec.engine.engine].system_env)

    def _standing(self, execution_id: str, held: _Held) -> tuple[Message, ...]:
        """Return what has been said of an execution so far, to say it again."""
        match held.state:
            case ExecutionState.ASK_FOR_BID:
                return ()
            case ExecutionState.BID_ACCEPTED:
                return (BidResult(execution_id),)
            case state:
                return (ExecutionUpdate(execution_id, state, held.outcome if state.terminal else None),)

    def _close(self, execution_id: str, refusals: tuple[Refusal, ...] = ()) -> None:
        """Remember that an execution is over, or was refused, so that an old message does not start it."""
        self._closed[execution_id] = refusals
        while len(self._closed) > _REMEMBERED:
            self._closed.pop(next(iter(self._closed)))

    def _tell(self, *messages: Message) -> None:
        for message in messages:
            self._sequence += 1
            self._effects.append(Send(Envelope(self.info.name, self._orchestrator, message, self._sequence)))
