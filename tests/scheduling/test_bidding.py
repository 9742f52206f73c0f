"""The node's own check of an offer, and what it asks of its executor then."""

from __future__ import annotations

import pytest

from bacalhau_sdk.model.execution import Task
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.message import AskForBid
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.node import Check
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.bidding import bid, task_of
from bacalhau_sdk.scheduling.capacity import CapacityAccount
from tests.scheduling.makers import node, wasm


def offer(spec: JobSpec, serial: int = 0) -> AskForBid:
    return AskForBid(f"j-{serial}", "j", 1, 1, spec)


def test_accepting_reserves() -> None:
    info = node(cpu=2)
    account = CapacityAccount(info.capacity, info.max_executions)
    assert bid(info, account, offer(wasm(resources=Resources(cpu=2)))) == ()
    assert ("j-0" in account, account.free.cpu) == (True, 0)


@pytest.mark.parametrize(
    ("spec", "check", "lasting"),
    [
        (JobSpec.function("f"), Check.ENGINE, True),
        (JobSpec.docker("busybox", platform="linux/arm64"), Check.PLATFORM, True),
        (wasm(resources=Resources(cpu=3)), Check.TOTAL_CAPACITY, True),
        (wasm(resources=Resources(cpu=2)), Check.CAPACITY, False),
    ],
)
def test_refusing_reserves_nothing(spec: JobSpec, check: Check, lasting: bool) -> None:
    info = node(cpu=2)
    account = CapacityAccount(info.capacity, info.max_executions)
    account.reserve("other", Resources(cpu=1))
    (refusal,) = bid(info, account, offer(spec))
    assert (refusal.node, refusal.check, refusal.lasting) == ("n1", check, lasting)
    assert (len(account), account.free.cpu) == (1, 1)


def test_a_task_has_the_variables_of_the_spec_and_of_the_system() -> None:
    spec = wasm(
        env={"LANG": "C"}, outputs={"o": "/o"}, resources=Resources(cpu=1), network=Network("host"), count=3
    )
    system = {
        "BACALHAU_JOB_ID": "j",
        "BACALHAU_EXECUTION_ID": "j-0",
        "BACALHAU_JOB_TYPE": "batch",
        "BACALHAU_PARTITION_INDEX": "1",
        "BACALHAU_PARTITION_COUNT": "3",
    }
    task = task_of(offer(spec))
    assert task == Task(
        "j-0", "j", 1, 3, spec.engine, task.env, Resources(cpu=1), Network("host"), spec.outputs
    )
    assert task.env == {"LANG": "C", **system}
    assert task_of(offer(spec), system_env=False).env == {"LANG": "C"}
