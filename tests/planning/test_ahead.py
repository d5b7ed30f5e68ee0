"""The demand that strategies size for, with forecast model Auto."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pdoperator.api.values import Missing
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import History
from pdoperator.planning.demand import recent_lengths
from planning.fleet import NOW_S, fleet, no_history, observation, settings

WIDE = {"minReplicas": 1, "maxReplicas": 100}


def ticks(count: int, history: History | None = None, **forecast: Any) -> tuple[Forecasted, History]:
    """A load that goes up and down, for so many intervals; the newest forecast."""
    scaling = {"strategy": "MM1", "forecast": {"model": "Auto", **forecast}}
    plan, history = settings(prefill=WIDE, decode=WIDE, autoscaling=scaling), history or no_history()
    for i in range(count):
        seen = observation(Demand(30 + 10 * math.sin(i / 20), 512, 64), NOW_S + 15 * i, engines=fleet(4, 4))
        decision, history = decide(plan, seen, history)
    assert decision.forecast is not None
    return decision.forecast, history


def test_the_models_compete_and_the_winner_is_named_with_its_skill() -> None:
    """dynamo#14238, PR#5554: predictors were chosen by a picture, never against the last value."""
    ahead, history = ticks(300)
    assert ahead.model not in ("", "Auto", "AutoARIMA")
    assert ahead.skill is not None
    assert history.rate is not None


def test_a_higher_quantile_is_a_higher_rate() -> None:
    median, _ = ticks(300, quantile=0.5)
    sure, _ = ticks(300, quantile=0.99)
    assert sure.demand.rate_rps > median.demand.rate_rps


def test_readings_that_are_missing_are_gaps_and_no_zeros() -> None:
    _, history = ticks(50)
    plan = settings(autoscaling={"strategy": "MM1", "forecast": {"model": "Auto"}})
    _, after = decide(plan, observation(Missing("away"), NOW_S + 15 * 50), history)
    assert history.rate is not None
    assert after.rate is not None
    assert math.isnan(after.rate.fine.values()[-1])


def test_a_history_of_another_interval_is_begun_anew() -> None:
    _, history = ticks(50)
    plan = settings(autoscaling={"strategy": "MM1", "interval": "5s", "forecast": {"model": "Auto"}})
    _, after = decide(plan, observation(Demand(30, 512, 64), NOW_S + 15 * 50), history)
    assert after.rate is not None
    assert after.rate.interval_s == 5


def test_other_models_keep_no_such_history() -> None:
    _, history = decide(settings(), observation(Demand(30, 512, 64)), no_history())
    assert history.rate is None


def test_lengths_are_means_over_the_requests_of_the_last_minutes() -> None:
    seen = ((-301.0, Demand(9, 9000, 9000)), (-15.0, Demand(30, 1000, 100)), (0.0, Demand(10, 200, 20)))
    history = DemandHistory(9, tuple(Sample(NOW_S + at, demand) for at, demand in seen))
    lengths = recent_lengths(history)
    assert lengths.isl_tokens == pytest.approx(800)
    assert lengths.osl_tokens == pytest.approx(80)
