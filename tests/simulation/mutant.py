"""What a mutant is: a bug with a name that can be switched on, and how it is looked for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest import mock

from attrs import field, frozen

from bacalhau_sdk.scheduling.compute import ComputeCore
from bacalhau_sdk.scheduling.orchestrator import OrchestratorCore
from bacalhau_sdk.testing.simulation.invariants import ViolationError
from bacalhau_sdk.testing.simulation.world import Cores, World

__all__ = ["JOBS", "Mutant", "Patch", "found_in", "pair"]

JOBS = 100
"""Jobs of a world in which mutants are looked for: half as many as usual, which is more than twice as fast."""


@frozen
class Patch:
    """An attribute that has another value while a mutant is on.

    Attributes:
        owner: The module that has it; a name is patched where it is used.
        name: Its name.
        value: What is put in its place.
    """

    owner: object
    name: str
    value: object


@frozen
class Mutant:
    """A bug.

    Attributes:
        name: Its name.
        wrong: What is wrong, in a sentence.
        row: The bug of the original that it stands for, as the row of ``reliability.md`` §2a or §4; may be empty.
        orchestrator: What is wrong with the orchestrator's core: a subclass for each bug.
        compute: The same of the node's core.
        patches: What is wrong elsewhere.
        jobs: How many jobs its worlds have.
        nodes: How many nodes; with few of them jobs wait for long.
    """

    name: str
    wrong: str
    row: str = ""
    orchestrator: tuple[type[OrchestratorCore], ...] = ()
    compute: tuple[type[ComputeCore], ...] = ()
    patches: tuple[Patch, ...] = field(default=())
    jobs: int = JOBS
    nodes: int = 10

    @contextmanager
    def on(self) -> Generator[Cores]:
        """Switch it on, and off again whatever happens; gives the cores for a world that has it."""
        orchestrator = cast(type[OrchestratorCore], mixed(self.orchestrator or (OrchestratorCore,)))
        compute = cast(type[ComputeCore], mixed(self.compute or (ComputeCore,)))
        with ExitStack() as stack:
            for patch in self.patches:
                stack.enter_context(mock.patch.object(patch.owner, patch.name, patch.value))
            yield Cores(lambda incarnation: orchestrator(incarnation=incarnation), compute)


def mixed(classes: tuple[type[Any], ...]) -> type[Any]:
    """Return one class that has the bugs of all."""
    return classes[0] if len(classes) == 1 else type("Mixed", classes, {})


def pair(first: Mutant, second: Mutant, wrong: str, row: str = "") -> Mutant:
    """Return two bugs at once, each of which hides what the other one does."""
    patched = [(patch.owner, patch.name) for patch in first.patches + second.patches]
    assert all(patched.count(each) == 1 for each in patched), "one would switch off the other"
    return Mutant(
        name=f"{first.name}+{second.name}",
        wrong=wrong,
        row=row,
        orchestrator=first.orchestrator + second.orchestrator,
        compute=first.compute + second.compute,
        patches=first.patches + second.patches,
        jobs=max(first.jobs, second.jobs),
        nodes=min(first.nodes, second.nodes),
    )


def found_in(mutant: Mutant, seed: int) -> str | None:
    """Run the world of a seed with a mutant.

    Returns:
        The invariant that shows it, or the type of the error by which a core, or the world that it is in, gives up; None when
        nothing shows.
    """
    with mutant.on() as cores:
        try:
            World(seed, jobs=mutant.jobs, nodes=mutant.nodes, cores=cores).run()
        except ViolationError as violation:
            return violation.invariant
        except Exception as error:  # noqa: BLE001 - whatever it is, the mutant is found
            return type(error).__name__
    return None
