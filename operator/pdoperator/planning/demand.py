"""What is known of the demand: fresh or missing, and the history of it."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.planning.observation import Observation


def fresh_demand(observation: Observation) -> Value[Demand | None] | Missing:
    """Demand over the last interval; a reading older than METRICS_MAX_AGE_S is none. A Value of None: no request."""
    demand = observation.demand
    if isinstance(demand, Value) and demand.age_s > defaults.METRICS_MAX_AGE_S:
        return Missing(f"the newest metrics are {demand.age_s:.0f} s old")
    return demand


def with_demand(history: DemandHistory, observation: Observation) -> DemandHistory:
    """The history with the last interval. Without a request the rate is 0 and the lengths are those last known."""
    demand = fresh_demand(observation)
    if isinstance(demand, Missing):
        return history
    seen = demand.x
    if seen is None:
        if not history.samples:
            return history
        seen = replace(history.samples[-1].demand, rate_rps=0.0)
    return history.with_sample(Sample(observation.at_s, seen))
