"""Nodes that do what a plan says, and specs for them, in a cluster under virtual time."""

from __future__ import annotations

from typing import Any

import bacalhau_sdk as bac
from bacalhau_sdk import testing
from bacalhau_sdk.testing import Entry


def machine(*plan: Entry, name: str = "a", cpu: float = 4) -> bac.Node:
    engine = testing.SimulatedEngine("docker", ["linux/amd64"], plan=plan)
    return bac.Node(name, [engine], resources=bac.Resources(cpu=cpu, memory="8GiB"), max_executions=100)


def docker(count: int = 1, *, cpu: float = 0, prefer: str = "", **options: Any) -> bac.JobSpec:
    return bac.JobSpec.docker(
        "busybox:1.37",
        count=count,
        resources=bac.Resources(cpu=cpu),
        selector=bac.Selector("", prefer=prefer),
        **options,
    )
