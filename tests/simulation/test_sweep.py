"""A process dies before an effect: not by chance, but before every single one of a world, one after the other."""

from __future__ import annotations

import pytest

from bacalhau_sdk.testing.simulation.faults import Faults
from bacalhau_sdk.testing.simulation.world import World

JOBS, NODES = 6, 2
KIND = Faults(cancels=0.4, resubmits=0.3, reboots=0.5)
"""Nothing goes wrong by itself; jobs are cancelled and submitted again; half of the nodes that die take their engine along."""
STRIDE = 8


def world(seed: int) -> World:
    return World(seed, KIND, jobs=JOBS, nodes=NODES)


def effects_of(seed: int) -> int:
    """Return how many effects the world of a seed performs until nothing can go wrong any more."""
    counted = world(seed)
    counted.run()
    return counted.effects


@pytest.mark.parametrize("first", range(1, STRIDE + 1))
@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_before_any_effect_breaks_nothing(seed: int, first: int) -> None:
    crashed = 0
    for number in range(first, effects_of(seed), STRIDE):
        swept = world(seed)
        swept.crash_before_effect(number)
        try:
            swept.run()
        except Exception as error:
            error.add_note(f"seed {seed}, crash before effect {number}")
            raise
        crashed += swept.counts["crash between effects"]
    assert crashed > 10, "hardly any process has died"
