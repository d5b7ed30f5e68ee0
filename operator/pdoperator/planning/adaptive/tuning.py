"""What of Adaptive may be switched off, to tell what each part is worth, and the constants that are one set for all."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults


@dataclass(frozen=True, slots=True)
class Tuning:
    """`quantile`: of the load's peak that the fleet is sized for. The switches are for ablations."""

    quantile: float = defaults.FLEET_QUANTILE
    forecast: bool = True  # else the load of the last minute stands for all that comes
    error_budget: bool = True  # else the quantile stays, whatever misses
    lead_time: bool = True  # else the fleet looks one interval ahead
    flips: bool = True  # else the split stays as the fleet's first one
    emergency: bool = True  # else what has piled up is not looked at
