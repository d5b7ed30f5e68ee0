"""The baseline: what was, will be."""

from __future__ import annotations

from pdoperator.forecast.demand import Demand, DemandHistory


def last_value(history: DemandHistory) -> Demand:
    """The newest demand. Raises ValueError when there is none."""
    if not history.samples:
        raise ValueError("no demand has been seen yet")
    return history.samples[-1].demand
