"""Whether a partition is tried again, and when."""

from __future__ import annotations

import zlib

from ..model.execution import Execution, ExecutionState, FailureKind
from ..model.job import RetryPolicy

__all__ = ["BACKOFF_MAX", "JITTER", "has_further_try", "may_retry", "retry_delay"]

BACKOFF_MAX = 3600.0
"""Seconds up to which the back-off doubles; a policy that begins with more keeps that."""
JITTER = 0.1
"""The part of the back-off that is added at most, so that what failed together does not come back together."""


def may_retry(policy: RetryPolicy, execution: Execution) -> bool:
    """Say whether the partition of an execution that has ended is tried again.

    A fault of the infrastructure is worth another try, and so is an execution that its node has lost; a permanent fault is not.
    A time-out and an exit code are what the job itself does: only the policy can say that another try may go better.
    """
    if execution.attempt >= policy.max_attempts:
        return False
    outcome = execution.outcome
    match execution.state:
        case ExecutionState.COMPLETED:
            return policy.retry_nonzero_exit and outcome is not None and outcome.exit_code != 0
        case ExecutionState.FAILED:
            return (
                outcome is not None
                and outcome.failure is not None
                and outcome.failure.kind is FailureKind.INFRASTRUCTURE
            )
        case ExecutionState.TIMED_OUT:
            return policy.retry_timeouts
        case ExecutionState.CANCELLED:
            return True
        case _:
            return False


def has_further_try(policy: RetryPolicy, execution: Execution) -> bool:
    """Say whether a partition whose execution is on a lost node can be given to another one.

    An offer that the node is not known to have accepted uses up no attempt.
    """
    return execution.accepted_at is None or execution.attempt < policy.max_attempts


def retry_delay(policy: RetryPolicy, execution: Execution) -> float:
    """Return the seconds between the end of an execution and the next try of its partition.

    The jitter comes from the names alone, so that equal inputs give equal plans.
    """
    seconds = min(policy.backoff * 2.0 ** min(execution.attempt - 1, 64), max(policy.backoff, BACKOFF_MAX))
    chance = zlib.crc32(f"{execution.job_id}/{execution.partition_index}/{execution.attempt}".encode())
    return seconds * (1 + JITTER * chance / 2**32)
