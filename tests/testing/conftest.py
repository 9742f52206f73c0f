"""Every async test here runs under virtual time, on both backends."""

from __future__ import annotations

import pytest

from bacalhau_sdk import testing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Give each test a clock of its own; this is what the documentation of `virtual_backend` tells users to write."""
    return testing.virtual_backend(request.param)
