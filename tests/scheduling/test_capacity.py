"""The account of a node: never more than there is, and all of it back in the end."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.capacity import CapacityAccount

# CPUs that no binary float holds, and sizes that leave no room for rounding.
cpus = st.integers(0, 4000).map(lambda thousandths: thousandths / 1000) | st.sampled_from(
    [0.1, 0.2, 0.3, 1.1]
)
sizes = st.integers(0, 8) | st.just(2**53 + 1)
capacities = st.builds(Resources, cpu=cpus, memory=sizes, disk=sizes, gpu=st.integers(0, 4))
demands = st.builds(Resources, cpu=cpus, memory=sizes, disk=sizes, gpu=st.integers(0, 4) | st.just("all"))
steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "release"]), st.sampled_from("abcdef"), demands), max_size=30
)


def exact(cpu: float) -> Fraction:
    return Fraction(round(cpu * 1000), 1000)


def gpus(held: list[Resources], capacity: Resources) -> int:
    assert isinstance(capacity.gpu, int)
    return sum(capacity.gpu if each.gpu == "all" else each.gpu for each in held)


@given(capacities, st.integers(0, 5), steps)
def test_it_never_gives_more_than_there_is_and_takes_all_back(
    capacity: Resources, most: int, todo: list[tuple[str, str, Resources]]
) -> None:
    account = CapacityAccount(capacity, most)
    held: dict[str, Resources] = {}
    for what, execution_id, resources in todo:
        if what == "release":
            assert account.release(execution_id) == (execution_id in held)
            held.pop(execution_id, None)
        else:
            room = not account.shortage(resources)
            assert account.reserve(execution_id, resources) == (room or execution_id in held)
            if room:
                held.setdefault(execution_id, resources)
        everything = list(held.values())
        assert len(account) == len(held) <= most
        assert account.free_executions == most - len(held)
        assert all(execution_id in account for execution_id in held)
        assert (
            exact(account.free.cpu) == exact(capacity.cpu) - sum(exact(each.cpu) for each in everything) >= 0
        )
        assert account.free.memory == capacity.memory - sum(each.memory for each in everything) >= 0
        assert account.free.disk == capacity.disk - sum(each.disk for each in everything) >= 0
        assert account.free.gpu == gpus(everything, capacity) * -1 + gpus([Resources(gpu="all")], capacity)
        assert gpus(everything, capacity) <= gpus([Resources(gpu="all")], capacity)
        assert 0 <= account.load() <= 1
    for execution_id in held:
        assert account.release(execution_id)
    assert account.free == capacity  # to the last bit of a float
    assert (len(account), account.load()) == (0, 0.0)


@given(capacities, demands)
def test_there_is_room_exactly_if_nothing_is_short(capacity: Resources, wanted: Resources) -> None:
    assert isinstance(capacity.gpu, int)
    fits = (
        wanted.cpu <= capacity.cpu
        and wanted.memory <= capacity.memory
        and wanted.disk <= capacity.disk
        and (capacity.gpu > 0 if wanted.gpu == "all" else wanted.gpu <= capacity.gpu)
    )
    assert (not CapacityAccount(capacity, 1).shortage(wanted)) == fits


def test_a_tenth_ten_times_is_one() -> None:
    account = CapacityAccount(Resources(cpu=1), 100)
    for number in range(10):
        assert account.reserve(str(number), Resources(cpu=0.1))
    assert account.free.cpu == 0
    assert not account.reserve("one more", Resources(cpu=0.001))
    assert account.reserve("for free", Resources())


def test_a_second_reservation_of_an_execution_changes_nothing() -> None:
    account = CapacityAccount(Resources(cpu=2), 2)
    assert account.reserve("a", Resources(cpu=1))
    assert account.reserve("a", Resources(cpu=2))
    assert account.free.cpu == 1


def test_what_runs_already_is_counted_even_beyond_what_there_is() -> None:
    account = CapacityAccount(Resources(cpu=1, memory=10, gpu=1), 1)
    for execution_id in "ab":
        account.adopt(execution_id, Resources(cpu=1, memory=8, gpu="all"))
    assert account.free == Resources()
    assert account.free_executions == 0
    assert not account.reserve("c", Resources())
    account.release("a")
    assert account.free == Resources(memory=2)


@pytest.mark.parametrize(
    ("held", "wanted", "short"),
    [
        ({}, Resources(cpu=4, memory="8GiB", disk=100, gpu=2), ()),
        ({}, Resources(gpu="all"), ()),
        ({}, Resources(cpu=4.1), ("cpu 4.1 of 4",)),
        ({"a": Resources(cpu=1.5)}, Resources(cpu=3), ("cpu 3 of 2.5",)),
        ({"a": Resources(memory="6GiB")}, Resources(memory="4GiB"), ("memory 4 GiB of 2 GiB",)),
        ({"a": Resources(disk=60)}, Resources(disk=50), ("disk 50 B of 40 B",)),
        ({"a": Resources(gpu=1)}, Resources(gpu=2), ("gpu 2 of 1",)),
        ({"a": Resources(gpu=1)}, Resources(gpu="all"), ("gpu all of 2, 1 free",)),
        ({"a": Resources(gpu=2)}, Resources(gpu="all"), ("gpu all of 0",)),
        ({"a": Resources(gpu="all")}, Resources(gpu=1), ("gpu 1 of 0",)),
        ({"a": Resources(), "b": Resources()}, Resources(), ("executions 2 of 2 in use",)),
        (
            {"a": Resources(cpu=4), "b": Resources(memory="8GiB")},
            Resources(cpu=1, memory=1),
            ("cpu 1 of 0", "memory 1 B of 0 B", "executions 2 of 2 in use"),
        ),
    ],
)
def test_what_is_short_is_said_axis_by_axis(
    held: dict[str, Resources], wanted: Resources, short: tuple[str, ...]
) -> None:
    account = CapacityAccount(Resources(cpu=4, memory="8GiB", disk=100, gpu=2), 2)
    for execution_id, resources in held.items():
        assert account.reserve(execution_id, resources)
    assert account.shortage(wanted) == short


def test_a_copy_is_another_account() -> None:
    account = CapacityAccount(Resources(cpu=2), 2)
    account.reserve("a", Resources(cpu=1))
    copy = account.copy()
    assert copy.free == account.free
    copy.reserve("b", Resources(cpu=1))
    copy.release("a")
    assert (account.free.cpu, len(account), "b" in account) == (1, 1, False)


def test_a_node_that_shrinks_keeps_what_runs_and_gives_no_more() -> None:
    account = CapacityAccount(Resources(cpu=4, gpu=2), 4)
    account.reserve("a", Resources(cpu=3, gpu=2))
    account.resize(Resources(cpu=2, gpu=1), 1)
    assert account.free == Resources()
    assert account.shortage(Resources(cpu=1)) == ("cpu 1 of 0", "executions 1 of 1 in use")
    account.release("a")
    assert account.free == Resources(cpu=2, gpu=1)


@pytest.mark.parametrize(
    ("held", "load"),
    [
        ({}, 0.0),
        ({"a": Resources(cpu=1)}, 0.5),
        ({"a": Resources(memory=9)}, 0.9),
        ({"a": Resources(), "b": Resources(), "c": Resources()}, 0.75),
        ({"a": Resources(cpu=2, memory=5)}, 1.0),
    ],
)
def test_the_load_is_that_of_the_fullest_axis(held: dict[str, Resources], load: float) -> None:
    account = CapacityAccount(Resources(cpu=2, memory=10), 4)
    for execution_id, resources in held.items():
        account.reserve(execution_id, resources)
    assert account.load() == pytest.approx(load)


def test_a_node_without_anything_has_no_load() -> None:
    assert CapacityAccount(Resources(), 0).load() == 0.0
