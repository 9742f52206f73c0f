"""What tests of jobs and of extensions need."""

from __future__ import annotations

from .engine import SimulatedEngine

__all__ = ["SimulatedEngine"]
