"""The simulated world finds every mutant, within twice the seeds that it took when the table was written.

A mutant that is not found any more says that a change has taken something from the world or from what must hold in it. When it is
found later and that is meant, the table is written anew::

    python -m tests.simulation.mutants --record
"""

from __future__ import annotations

import pytest

from bacalhau_sdk.testing.simulation.world import World
from tests.simulation.mutant import JOBS, Mutant, found_in
from tests.simulation.mutants import MUTANTS, PAIRS, recorded

_FOUND = recorded()


def seeds_of(mutant: Mutant) -> list[int]:
    """Return the seeds that are tried: the recorded one first, since it mostly still does."""
    first = _FOUND[mutant.name]
    return [first, *(seed for seed in range((first + 1) * 2 + 5) if seed != first)]


@pytest.mark.parametrize("mutant", [*MUTANTS, *PAIRS], ids=lambda mutant: mutant.name)
def test_a_mutant_is_found(mutant: Mutant) -> None:
    seed = next((seed for seed in seeds_of(mutant) if found_in(mutant, seed) is not None), None)
    assert seed is not None, f"nothing shows that {mutant.wrong}"
    World(seed, jobs=mutant.jobs, nodes=mutant.nodes).run()  # it is the mutant that shows


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_without_a_mutant(seed: int) -> None:
    World(seed, jobs=JOBS).run()


def test_the_table_is_of_all_mutants() -> None:
    assert list(_FOUND) == [mutant.name for mutant in (*MUTANTS, *PAIRS)]


@pytest.mark.parametrize("mutant", [*MUTANTS, *PAIRS], ids=lambda mutant: mutant.name)
def test_a_mutant_is_switched_off_whatever_happens(mutant: Mutant) -> None:
    before = [vars(patch.owner)[patch.name] for patch in mutant.patches]
    with pytest.raises(ZeroDivisionError), mutant.on():
        assert [vars(patch.owner)[patch.name] for patch in mutant.patches] == [
            patch.value for patch in mutant.patches
        ]
        raise ZeroDivisionError
    assert [vars(patch.owner)[patch.name] for patch in mutant.patches] == before


def test_mutants_have_names_of_their_own() -> None:
    names = [mutant.name for mutant in (*MUTANTS, *PAIRS)]
    assert len(names) == len(set(names))
