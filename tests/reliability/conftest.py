"""Every async test here runs under virtual time, on both backends."""

from __future__ import annotations

import pytest

from bacalhau_sdk import testing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Give each test a clock of its own."""
    return testing.virtual_backend(request.param)
