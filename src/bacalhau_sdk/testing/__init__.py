"""What tests of jobs and of extensions need: virtual time, an engine and a transport that do what a plan says.

::

    from bacalhau_sdk import JobSpec, Node, testing
    from bacalhau_sdk.testing import on

    async def the_job_takes_an_hour() -> None:
        engine = testing.SimulatedEngine("docker", ["linux/amd64"], plan=[on().runs(3600).exits(0)])
        async with testing.VirtualCluster([Node("edge", [engine])]) as cluster:
            await cluster.run(JobSpec.docker("busybox"))

    def test_the_job_takes_an_hour() -> None:
        testing.run(the_job_takes_an_hour)  # a few milliseconds
"""

from __future__ import annotations

from .cluster import VirtualCluster
from .engine import Behaviour, SimulatedEngine
from .story import Entry, on
from .transport import LinkFault, MessageFault, SimulatedTransport, link, messages
from .virtual import BackendName, VirtualClock, VirtualEventLoop, run, virtual_backend

__all__ = [
    "BackendName",
    "Behaviour",
    "Entry",
    "LinkFault",
    "MessageFault",
    "SimulatedEngine",
    "SimulatedTransport",
    "VirtualClock",
    "VirtualCluster",
    "VirtualEventLoop",
    "link",
    "messages",
    "on",
    "run",
    "virtual_backend",
]
