"""Those who submit jobs and cancel them; they try again when they get no answer."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ...errors import JobConflictError, JobNotFoundError
from ...model.job import JobSpec
from ...model.record import Batch, JobRecord
from ...scheduling.events import CancelJob, SubmitJob
from .notes import submitted
from .orchestrator import SimulatedOrchestrator
from .shapes import draw_spec
from .stage import Stage, unwatched
from .violation import ViolationError

__all__ = ["Request", "Users"]

_OTHER = JobSpec.wasm(b"\0asm", "another spec")


@define(eq=False)
class Request:
    """A job that a user wants, and how far that has come.

    Attributes:
        job_id: Its id.
        spec: Its spec.
        submitted: Whether `submit` has returned.
        ended: Whether the job is recorded in a terminal state.
        cancelling: Whether a cancel is in force: handed in, and taken.
        cancel_called: Whether a cancel was called.
        cancel_returned: Whether it has returned.
    """

    job_id: str
    spec: JobSpec
    submitted: bool = False
    ended: bool = False
    cancelling: bool = False
    cancel_called: bool = False
    cancel_returned: bool = False


class Users:
    """Submit jobs over the first minutes, and cancel some.

    Args:
        world: The world.
        orchestrator: What they talk to.
        jobs: How many jobs there are.
    """

    def __init__(self, world: Stage, orchestrator: SimulatedOrchestrator, jobs: int) -> None:
        self.world = world
        self.orchestrator = orchestrator
        orchestrator.on_committed = self.see
        orchestrator.on_restored = self.submit_again
        self.on_submitted: Callable[[Request], object] = unwatched
        self.on_cancelled: Callable[[JobRecord], object] = unwatched
        self.requests: dict[str, Request] = {}
        self.open: int = jobs
        for number in range(jobs):
            request = Request(f"j{number}", draw_spec(world.chance))
            self.requests[request.job_id] = request
            world.after(world.chance.between(2.0, 200.0), self._submit, request)

    def all_ended(self) -> bool:
        """Say whether every job has been submitted and has ended."""
        return self.open == 0

    def see(self, batch: Batch) -> None:
        """Note what was recorded."""
        for job in batch.jobs:
            request = self.requests[job.id]
            if job.state.terminal and not request.ended:
                request.ended = True
                self.open -= 1
                if request.cancelling:
                    self._cancel_returns(request)

    def submit_again(self) -> None:
        """See what became of the jobs after the store was put back, and submit those that are gone."""
        records = self.orchestrator.jobs
        self.open = 0
        for request in self.requests.values():
            record = records.get(request.job_id)
            request.ended = record is not None and record.state.terminal
            self.open += not request.ended
            if request.cancel_called and not request.cancel_returned:
                self.world.note("cancel-abandoned", job_id=request.job_id)
                request.cancel_called = request.cancelling = False
                self.world.after(self.world.chance.between(0.0, 5.0), self._cancel, request)
            if request.submitted and record is None:
                request.submitted = False
                self.world.after(self.world.chance.between(0.0, 5.0), self._submit, request)

    def _submit(self, request: Request) -> None:
        world, chance = self.world, self.world.chance
        answer = self.orchestrator.ask(SubmitJob(request.job_id, request.spec))
        if answer is not True:
            assert answer is False, f"the submission of {request.job_id} is refused: {answer}"
            world.after(chance.between(0.5, 3.0), self._submit, request)
            return
        self.on_submitted(request)
        if request.submitted:
            return
        request.submitted = True
        self._note_submit(request)
        if chance.happens(world.faults.resubmits):
            world.counts["resubmit"] += 1
            world.after(chance.between(0.0, 60.0), self._submit, request)
            world.after(chance.between(0.0, 60.0), self._submit_another_spec, request)
        if chance.happens(world.faults.cancels):
            world.after(chance.of((0.1, 1.0, 10.0)) * chance.random(), self._cancel, request)
        if chance.happens(world.faults.cancels / 4):
            world.after(60.0 * chance.random(), self._cancel, request)

    def _submit_another_spec(self, request: Request) -> None:
        if request.job_id not in self.orchestrator.jobs:
            return  # an older store has lost it, and another spec would take its place
        answer = self.orchestrator.ask(SubmitJob(request.job_id, _OTHER))
        if answer is not False and not isinstance(answer, JobConflictError):
            raise ViolationError("I2", f"another spec was taken for {request.job_id}: {answer}")

    def _cancel(self, request: Request) -> None:
        world = self.world
        if request.cancel_returned:
            return
        if not request.cancel_called:
            request.cancel_called = True
            world.counts["cancel"] += 1
            world.note("cancel-called", job_id=request.job_id)
            world.story("user", f"cancels {request.job_id}")
        answer = self.orchestrator.ask(CancelJob(request.job_id, "a user wants it so"))
        if isinstance(answer, JobNotFoundError):
            # An older store has lost the job, and its user submits it again.
            world.after(world.chance.between(0.5, 3.0), self._cancel, request)
            return
        assert isinstance(answer, bool), f"the cancel of {request.job_id} is refused: {answer}"
        if not answer:
            world.after(world.chance.between(0.5, 3.0), self._cancel, request)
            return
        request.cancelling = True
        if self.orchestrator.jobs[request.job_id].state.terminal:
            self._cancel_returns(request)

    def _cancel_returns(self, request: Request) -> None:
        request.cancel_returned, request.cancelling = True, False
        job = self.orchestrator.jobs[request.job_id]
        self.world.note("cancel-returned", job_id=request.job_id, state=job.state.value)
        self.on_cancelled(job)

    def _note_submit(self, request: Request) -> None:
        world, spec = self.world, request.spec
        world.story(
            "user", f"submitted {request.job_id}: {spec.type.value}, {spec.engine.engine}, count {spec.count}"
        )
        if world.noting:
            world.keep(submitted(request.job_id, spec, world.now))
