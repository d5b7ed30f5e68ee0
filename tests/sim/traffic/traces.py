"""Small traces for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pdoperator.sim.traffic.trace import Trace

DEMO = Path(__file__).parents[3] / "e2e" / "demo" / "traces"


def trace(arrival_s: list[float], input_tokens: int = 10, name: str = "t") -> Trace:
    """Requests at these times; the i-th has `input_tokens` + i tokens in and i + 1 out, of which i are cached."""
    i = np.arange(len(arrival_s), dtype=np.int32)
    return Trace.of(name, np.array(arrival_s), input_tokens + i, i + 1, i)
