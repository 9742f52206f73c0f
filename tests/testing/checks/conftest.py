"""Checks run in real time."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Undo what the folder above says of virtual time."""
    name: str = request.param
    return name
