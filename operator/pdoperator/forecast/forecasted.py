"""A forecast."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.forecast.demand import Demand


@dataclass(frozen=True, slots=True)
class Forecasted:
    """Demand at the horizon, the model that gave it, and in `note` why it is not the model that was asked for."""

    demand: Demand
    model: str
    horizon_s: float
    note: str = ""
