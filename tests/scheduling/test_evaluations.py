"""The queue: priority, then age; who is blocked is looked at when it can help."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.evaluation import Evaluation, Trigger
from bacalhau_sdk.scheduling.evaluations import EvaluationQueue
from bacalhau_sdk.scheduling.matching import Demand
from bacalhau_sdk.scheduling.plan import Want

SMALL, LARGE = Want(Demand("wasm")), Want(Demand("docker"))
ELSEWHERE = Want(Demand("wasm"), (("n1", 1),))


def look(job_id: str, priority: int = 0, created_at: float = 0.0) -> Evaluation:
    return Evaluation(job_id, priority, created_at, Trigger.JOB_REGISTER)


@pytest.fixture
def queue() -> EvaluationQueue:
    return EvaluationQueue()


def drain(queue: EvaluationQueue) -> list[str]:
    """Take all that are ready; each is done with."""
    taken: list[str] = []
    while (evaluation := queue.pop()) is not None:
        taken.append(evaluation.job_id)
    return taken


def cycle(queue: EvaluationQueue, want_of: Callable[[str], Want | None]) -> list[str]:
    """Look at all that are ready as the orchestrator does; ``want_of`` returns None for those that find room."""
    looked: list[str] = []
    while (evaluation := queue.pop()) is not None:
        looked.append(evaluation.job_id)
        want = want_of(evaluation.job_id)
        if want is not None:
            queue.block(evaluation, want)
        else:
            queue.unblock_after(evaluation.job_id)
            queue.forget(evaluation.job_id)
    return looked


def test_priority_goes_before_age_and_age_before_order(queue: EvaluationQueue) -> None:
    for evaluation in (
        look("young", 0, 3.0),
        look("old", 0, 1.0),
        look("old too", 0, 1.0),
        look("urgent", 5, 4.0),
        look("last", -1, 0.0),
    ):
        queue.put(evaluation)
    assert drain(queue) == ["urgent", "old", "old too", "young", "last"]


def test_one_evaluation_is_kept_for_a_job_the_latest(queue: EvaluationQueue) -> None:
    queue.put(look("a"))
    queue.put(Evaluation("a", 0, 0.0, Trigger.JOB_CANCEL))
    assert len(queue) == 1
    taken = queue.pop()
    assert taken is not None
    assert taken.trigger is Trigger.JOB_CANCEL
    assert queue.pop() is None


def test_what_is_looked_at_again_keeps_its_place(queue: EvaluationQueue) -> None:
    for job_id in "ab":
        queue.put(look(job_id))
    assert drain(queue) == ["a", "b"]
    for job_id in "ba":
        queue.put(look(job_id))
    assert drain(queue) == ["a", "b"]


def test_what_is_blocked_is_not_looked_at(queue: EvaluationQueue) -> None:
    queue.block(look("a"), SMALL)
    assert queue.pop() is None
    assert len(queue) == 1


def test_what_is_blocked_is_looked_at_when_something_happens_to_it(queue: EvaluationQueue) -> None:
    queue.block(look("a"), SMALL)
    queue.put(look("a"))
    assert drain(queue) == ["a"]
    assert len(queue) == 0
    queue.unblock_all()
    assert drain(queue) == []


def test_of_a_group_only_the_first_is_looked_at_while_it_finds_no_room(queue: EvaluationQueue) -> None:
    for job_id, priority in (("small 1", 0), ("small 2", 1), ("small 3", 1)):
        queue.block(look(job_id, priority), SMALL)
    queue.block(look("large", 2), LARGE)
    queue.unblock_all()
    assert cycle(queue, lambda job_id: LARGE if job_id == "large" else SMALL) == ["large", "small 2"]
    assert len(queue) == 4


def test_the_next_of_a_group_follows_one_that_found_room(queue: EvaluationQueue) -> None:
    for job_id in ("small 1", "small 2", "small 3", "small 4"):
        queue.block(look(job_id), SMALL)
    queue.block(look("large", 1), LARGE)
    queue.unblock_all()
    room = iter([True, True, False])
    looked = cycle(queue, lambda job_id: LARGE if job_id == "large" else None if next(room) else SMALL)
    assert looked == ["large", "small 1", "small 2", "small 3"]


def test_jobs_of_one_demand_that_other_nodes_have_refused_do_not_hold_each_other_up(
    queue: EvaluationQueue,
) -> None:
    queue.block(look("elsewhere", 9), ELSEWHERE)
    queue.block(look("anywhere"), SMALL)
    queue.unblock_all()
    assert cycle(queue, lambda job_id: ELSEWHERE if job_id == "elsewhere" else None) == [
        "elsewhere",
        "anywhere",
    ]


def test_when_the_first_of_a_group_has_come_to_want_another_thing_the_next_is_looked_at(
    queue: EvaluationQueue,
) -> None:
    for job_id in ("first", "second"):
        queue.block(look(job_id), ELSEWHERE)
    queue.unblock_all()
    assert cycle(queue, lambda job_id: SMALL if job_id == "first" else None) == ["first", "second"]
    queue.unblock_all()
    assert cycle(queue, lambda job_id: None) == ["first"]


def test_when_the_first_of_a_group_ends_the_next_is_looked_at(queue: EvaluationQueue) -> None:
    for job_id in ("first", "second"):
        queue.block(look(job_id), SMALL)
    queue.unblock_all()
    queue.put(Evaluation("first", 0, 0.0, Trigger.JOB_CANCEL))
    assert cycle(queue, lambda job_id: None if job_id == "first" else SMALL) == ["first", "second"]


def test_a_job_that_has_ended_is_gone(queue: EvaluationQueue) -> None:
    queue.put(look("ready"))
    queue.block(look("blocked"), SMALL)
    for job_id in ("ready", "blocked", "unknown"):
        queue.forget(job_id)
    queue.unblock_all()
    assert (drain(queue), list(queue.blocked_since(9.0)), len(queue)) == ([], [], 0)
    assert not any(value for name, value in vars(queue).items() if name != "_count"), "nothing of it is kept"


def test_the_first_of_each_blocked_group_is_known_if_it_is_old_enough(queue: EvaluationQueue) -> None:
    for job_id, age in (("young", 3.0), ("old", 1.0), ("older", 0.5)):
        queue.block(look(job_id, 0, age), LARGE)
    queue.block(look("other", 0, 2.0), SMALL)
    since = {
        time: [(each.job_id, want) for each, want in queue.blocked_since(time)] for time in (0.4, 1.0, 2.0)
    }
    assert since == {0.4: [], 1.0: [("older", LARGE)], 2.0: [("older", LARGE), ("other", SMALL)]}
    queue.forget("older")
    queue.put(look("other", 0, 2.0))
    assert [each.job_id for each, _ in queue.blocked_since(9.0)] == ["old"]


@pytest.mark.parametrize(
    ("one", "other", "precedes"),
    [
        pytest.param((1, 5.0), (0, 1.0), True, id="priority"),
        pytest.param((0, 1.0), (0, 5.0), True, id="age"),
        pytest.param((0, 5.0), (0, 1.0), False, id="younger"),
        pytest.param((0, 1.0), (0, 1.0), True, id="order"),
    ],
)
def test_who_goes_before_whom(
    queue: EvaluationQueue, one: tuple[int, float], other: tuple[int, float], precedes: bool
) -> None:
    first, second = look("one", *one), look("other", *other)
    queue.put(first)
    queue.put(second)
    assert queue.precedes(first, second) is precedes
    assert queue.precedes(second, first) is not precedes


class Waiting:
    """Jobs that wait, each for a want of its own, and what a look at them comes to."""

    def __init__(self) -> None:
        self.queue = EvaluationQueue()
        self.wants: dict[str, Want] = {}

    def put(self, job_id: str, want: Want) -> None:
        self.wants.setdefault(job_id, want)
        self.queue.put(look(job_id))
        cycle(self.queue, self.wants.__getitem__)

    def give(self, want: Want | None, room: int) -> list[str]:
        """Have room for some jobs of one want, and return those that got it."""
        placed: list[str] = []

        def found(job_id: str) -> Want | None:
            if self.wants[job_id] != want or len(placed) == room:
                return self.wants[job_id]
            placed.append(job_id)
            return None

        self.queue.unblock_all()
        cycle(self.queue, found)
        for job_id in placed:
            del self.wants[job_id]
        return placed


wants = st.sampled_from([SMALL, LARGE, ELSEWHERE])


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), wants) | st.tuples(st.integers(1, 4), wants | st.none()),
        max_size=40,
    )
)
def test_nobody_waits_while_there_is_room_for_it(todo: list[tuple[str | int, Want | None]]) -> None:
    """Jobs come and are blocked; now and then there is room for some of one want. It goes to the first, in order."""
    waiting = Waiting()
    for who, want in todo:
        if isinstance(who, str):
            assert want is not None
            waiting.put(who, want)
        else:
            expected = [job_id for job_id, wanted in waiting.wants.items() if wanted == want][:who]
            assert waiting.give(want, who) == expected
        assert len(waiting.queue) == len(waiting.wants)
