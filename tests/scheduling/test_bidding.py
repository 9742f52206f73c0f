"""The node's own check of an offer, and what it asks of its executor then."""

from __future__ import annotations

from typing import Any

import pytest

from bacalhau_sdk.model.execution import Task
from bacalhau_sdk.model.job import JobSpec
from bacalhau_sdk.model.message import AskForBid
from bacalhau_sdk.model.network import Network
from bacalhau_sdk.model.node import Check, NodeInfo
from bacalhau_sdk.model.resources import Resources
from bacalhau_sdk.scheduling.bidding import bid, task_of
from bacalhau_sdk.scheduling.capacity import CapacityAccount
from tests.scheduling.makers import node, offer, wasm


def offered(spec: JobSpec, **changes: Any) -> AskForBid:
    return offer("j-0", spec, partition_index=1, attempt=2, **changes)


def test_accepting_reserves() -> None:
    info = node(cpu=2)
    account = CapacityAccount(info.capacity, info.max_executions)
    assert bid(info, account, offered(wasm(resources=Resources(cpu=2)))) == ()
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
    (refusal,) = bid(info, account, offered(spec))
    assert (refusal.node, refusal.check, refusal.lasting) == ("n1", check, lasting)
    assert (len(account), account.free.cpu) == (1, 1)


@pytest.mark.parametrize(
    ("info", "check"),
    [
        pytest.param(node(draining=True), Check.DRAINING, id="draining"),
        pytest.param(node(revision=1), Check.BROADCAST, id="an offer to what it was before"),
        pytest.param(node(draining=True, revision=1), Check.DRAINING, id="draining goes first"),
    ],
)
def test_a_node_as_it_is_now_refuses_but_not_for_good(info: NodeInfo, check: Check) -> None:
    account = CapacityAccount(info.capacity, info.max_executions)
    (refusal,) = bid(info, account, offered(wasm()))
    assert (refusal.check, refusal.lasting, len(account)) == (check, False, 0)


def test_what_it_could_never_run_it_refuses_for_good_even_then() -> None:
    info = node(draining=True, revision=1)
    account = CapacityAccount(info.capacity, info.max_executions)
    (refusal,) = bid(info, account, offered(JobSpec.function("f")))
    assert (refusal.check, refusal.lasting) == (Check.ENGINE, True)


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
    task = task_of(offered(spec))
    assert task == Task(
        "j-0", "j", 1, 3, spec.engine, task.env, Resources(cpu=1), Network("host"), spec.outputs, 2
    )
    assert task.env == {"LANG": "C", **system}
    assert task_of(offered(spec), system_env=False).env == {"LANG": "C"}
