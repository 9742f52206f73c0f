"""Interrupt cells on a real notebook kernel: ``python -m tests.blocking.kernel --interrupts 100``.

Cells wait for a job that never ends, read its log, or own one; each is interrupted at a random moment. Afterwards the kernel
lives, the job that was waited for runs on, the owned ones are cancelled, and a last job completes.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

from jupyter_client.manager import start_new_kernel

HANG = 60.0
BEGIN = """
from tests.blocking.interrupted import *
cluster = blocking.Cluster(nodes())
job = cluster.submit(LOOP, "job")
"""
CELLS = [
    "job.wait()",
    "list(job.logs())",
    "cluster.run(LOOP)",
    "with cluster.submit(LOOP) as owned: owned.wait()",
]
END = """
others = [each for each in cluster.jobs() if each.id != "job"]
print(job.state.value, {each.state.value for each in others}, cluster.run(FOLDER).exit_code)
cluster.close()
"""


def main() -> int:
    """Do what the command line asks for; 0 when all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    manager, client = start_new_kernel()
    try:
        assert _run(client, BEGIN) == ("", "")
        for number in range(given.interrupts):
            cell = CELLS[number % len(CELLS)]
            request = client.execute(cell)
            _until(client, request, "execute_input")  # an idle kernel would not be interrupted
            time.sleep(chance.uniform(0.005, 0.2))  # the moment of a person who presses the button
            manager.interrupt_kernel()
            _, error = _outcome(client, request)
            assert error == "KeyboardInterrupt", (
                f"interrupt {number} of {cell}: {error or 'nothing was raised'}"
            )
        said, error = _run(client, END)
        sys.stdout.write(f"after {given.interrupts} interrupts: {said}{error}\n")
        return 0 if said == "RUNNING {'CANCELLED'} 0\n" else 1
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: Any, cell: str) -> tuple[str, str]:
    return _outcome(client, client.execute(cell))


def _outcome(client: Any, request: str) -> tuple[str, str]:
    """Return what a cell has written, and the name of what it has raised."""
    said, error = "", ""
    while True:
        message = _until(client, request, "stream", "error", "status")
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                said += content["text"]
            case "error":
                error = content["ename"]
            case _ if content["execution_state"] == "idle":
                return said, error


def _until(client: Any, request: str, *kinds: str) -> dict[str, Any]:
    """Return the next message of some kinds about a request."""
    while True:
        message: dict[str, Any] = client.get_iopub_msg(timeout=HANG)
        if message["parent_header"].get("msg_id") == request and message["msg_type"] in kinds:
            return message


if __name__ == "__main__":
    sys.exit(main())
