"""The node's own check of an offer: its view is the truth."""

from __future__ import annotations

from ..model.execution import Task
from ..model.frozenmap import FrozenMap
from ..model.job import JobSpec
from ..model.message import AskForBid
from ..model.node import Check, NodeInfo, Refusal
from .capacity import CapacityAccount
from .matching import Demand, draining_refusal, lasting_refusal, room_refusal

__all__ = ["bid", "task_of"]


def bid(info: NodeInfo, account: CapacityAccount, offer: AskForBid) -> tuple[Refusal, ...]:
    """Say why a node refuses an offer; empty when it accepts, in which case the capacity has been reserved."""
    demand = Demand.of(offer.spec)
    refusal = (
        lasting_refusal(info, demand) or _standing_refusal(info, offer) or room_refusal(info, account, demand)
    )
    if refusal is not None:
        return (refusal,)
    account.reserve(offer.execution_id, demand.resources)
    return ()


def task_of(offer: AskForBid, *, system_env: bool = True) -> Task:
    """Return what the executor is asked to run for an offer.

    Args:
        offer: The offer.
        system_env: Whether the variables of the system (design §5) are added to those of the spec.
    """
    return Task(
        execution_id=offer.execution_id,
        job_id=offer.job_id,
        partition_index=offer.partition_index,
        partition_count=offer.partition_count,
        engine=offer.spec.engine,
        env=FrozenMap({**offer.spec.env, **(_system_env(offer, offer.spec) if system_env else {})}),
        resources=offer.spec.resources,
        network=offer.spec.network,
        outputs=offer.spec.outputs,
        attempt=offer.attempt,
    )


def _standing_refusal(info: NodeInfo, offer: AskForBid) -> Refusal | None:
    """Refuse what the node as it is now was not asked for: an offer to its earlier life may be for what was killed since."""
    refusal = draining_refusal(info)
    if refusal is None and offer.node_revision != info.revision:
        asked, offered = f"its broadcast {offer.node_revision}", f"broadcast {info.revision}"
        return Refusal(info.name, Check.BROADCAST, asked, offered, "it is asked again", lasting=False)
    return refusal


def _system_env(offer: AskForBid, spec: JobSpec) -> dict[str, str]:
    return {
        "BACALHAU_JOB_ID": offer.job_id,
        "BACALHAU_EXECUTION_ID": offer.execution_id,
        "BACALHAU_JOB_TYPE": spec.type.value,
        "BACALHAU_PARTITION_INDEX": str(offer.partition_index),
        "BACALHAU_PARTITION_COUNT": str(offer.partition_count),
    }
