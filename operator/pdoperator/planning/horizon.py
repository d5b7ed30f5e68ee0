"""How far ahead a fleet must be planned."""

from __future__ import annotations

from pdoperator.api.values import Value
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings


def lead_time_s(settings: PlanSettings, observation: Observation) -> float:
    """How long it takes until an engine asked for now serves: start-up p90 as measured, and one interval to ask."""
    measured = observation.startup_p90_s
    startup_s = measured.x if isinstance(measured, Value) else settings.startup_s
    return startup_s + settings.interval_s
