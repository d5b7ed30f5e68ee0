"""What is known of the demand: fresh or missing, and the history of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.load_forecast import LoadForecast
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


def with_rate(rate: LoadForecast | None, observation: Observation, interval_s: float) -> LoadForecast:
    """The history of the rate with the last interval; one of another interval cannot be gone on with."""
    if rate is None or rate.interval_s != interval_s:
        rate = LoadForecast.empty(interval_s)
    demand = fresh_demand(observation)
    if isinstance(demand, Missing):
        return rate.observe(observation.at_s, None)
    return rate.observe(observation.at_s, 0.0 if demand.x is None else demand.x.rate_rps)


def recent_lengths(history: DemandHistory) -> Demand:
    """The newest demand, with lengths that are means over all requests of the last LENGTHS_OVER_S."""
    newest, recent = history.samples[-1], _recent(history)
    total = sum(demand.rate_rps for demand in recent)
    if total <= 0:
        return newest.demand

    def mean(read: Callable[[Demand], float]) -> float:
        return sum(demand.rate_rps * read(demand) for demand in recent) / total

    return replace(
        newest.demand, isl_tokens=mean(lambda d: d.isl_tokens), osl_tokens=mean(lambda d: d.osl_tokens)
    )


def recent_rate_rps(history: DemandHistory) -> float:
    """The mean rate over the last LENGTHS_OVER_S of a history that is not empty."""
    recent = _recent(history)
    return sum(demand.rate_rps for demand in recent) / len(recent)


def _recent(history: DemandHistory) -> list[Demand]:
    since_s = history.samples[-1].at_s - defaults.LENGTHS_OVER_S
    return [sample.demand for sample in history.samples if sample.at_s > since_s]
