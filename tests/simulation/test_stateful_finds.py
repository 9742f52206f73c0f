"""The second opinion is worth something: each of these bugs, put into the cores, is found by it in a few seconds."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.mutant import mixed
from tests.simulation.mutants import MUTANTS
from tests.simulation.test_stateful import THOROUGH, Cluster

# Not shrunk: that it is found is enough here, and shrinking takes longer than finding.
SEARCH = settings(
    THOROUGH, max_examples=2500, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False
)


MUTANT = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize(
    "name",
    [
        "capacity_freed_at_kill",
        "forgets_tombstones",
        "kill_forgotten",
        "adopts_nothing",
        "sends_before_commit",
        "cancel_forgotten_on_restart",
        "no_resend_of_offers",
        "late_result_wins",
        "lost_never_detected",
    ],
)
def test_a_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = MUTANT[name]
    for kind, cores in ("orchestrator_core", bug.orchestrator), ("compute_core", bug.compute):
        if cores:
            monkeypatch.setattr(Cluster, kind, mixed(cores))
    with bug.on(), pytest.raises(AssertionError):
        run_state_machine_as_test(Cluster, settings=SEARCH)
