"""A forecast."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.forecast.demand import Demand


@dataclass(frozen=True, slots=True)
class Forecasted:
    """Demand at the horizon, the model that gave it, and in `note` why it is not the model that was asked for.

    `skill` is the share of the loss of the better of last value and seasonal naive that the model avoided in its
    back-test, and `trusted` whether it avoided any; None of both: the model has not been tested.
    """

    demand: Demand
    model: str
    horizon_s: float
    note: str = ""
    skill: float | None = None
    trusted: bool | None = None
