"""History to demand: what AutoARIMA answers, and when the last value stands in for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsforecast import models

from pdoperator.api.autoscaling import ForecastModel
from pdoperator.forecast import auto_arima
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.forecast import forecast


def history(rates: list[float], isl: float = 500.0, osl: float = 100.0) -> DemandHistory:
    samples = tuple(Sample(15.0 * i, Demand(rate, isl, osl)) for i, rate in enumerate(rates))
    return DemandHistory(50, samples)


def fitted_as(monkeypatch: pytest.MonkeyPatch, answer: float) -> None:
    monkeypatch.setattr(auto_arima, "_fit_and_predict", lambda series: answer)


def test_the_last_value_is_the_newest_sample() -> None:
    seen = forecast(history([1, 2, 7]), ForecastModel.LAST_VALUE, 15)
    assert (seen.demand, seen.model, seen.horizon_s) == (Demand(7, 500, 100), "LastValue", 15)


def test_no_history_has_no_forecast() -> None:
    with pytest.raises(ValueError, match="no demand"):
        forecast(DemandHistory(50), ForecastModel.AUTO_ARIMA, 15)


def test_auto_arima_goes_on_with_a_trend_where_the_last_value_lags() -> None:
    seen = forecast(history([float(n) for n in range(10, 40)]), ForecastModel.AUTO_ARIMA, 15)
    assert seen.model == "AutoARIMA"
    assert seen.demand.rate_rps == pytest.approx(40, abs=0.5)
    assert (seen.demand.isl_tokens, seen.demand.osl_tokens) == (500, 100)


def test_fewer_than_five_samples_give_the_last_value_and_say_so() -> None:
    seen = forecast(history([1, 2, 3, 4]), ForecastModel.AUTO_ARIMA, 15)
    assert (seen.demand.rate_rps, seen.model) == (4, "LastValue")
    assert seen.note == "4 of 5 samples that AutoARIMA needs"


def test_a_rate_forecast_below_zero_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_as(monkeypatch, -3.0)
    assert forecast(history([5, 4, 3, 2, 1]), ForecastModel.AUTO_ARIMA, 15).demand.rate_rps == 0


def test_a_length_forecast_below_one_token_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_as(monkeypatch, -3.0)
    samples = tuple(Sample(15.0 * i, Demand(2, 100.0 - i, 10.0 + i)) for i in range(6))
    demand = forecast(DemandHistory(50, samples), ForecastModel.AUTO_ARIMA, 15).demand
    assert (demand.isl_tokens, demand.osl_tokens) == (95, 15)


@pytest.mark.parametrize("answer", [math.nan, math.inf])
def test_an_answer_that_is_no_number_gives_the_last_value_and_says_so(
    monkeypatch: pytest.MonkeyPatch, answer: float
) -> None:
    fitted_as(monkeypatch, answer)
    seen = forecast(history([1, 2, 3, 4, 6]), ForecastModel.AUTO_ARIMA, 15)
    assert (seen.demand.rate_rps, seen.model) == (6, "LastValue")
    assert "AutoARIMA predicted" in seen.note


def test_a_fit_that_fails_gives_the_last_value_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(models.AutoARIMA, "forecast", fail)
    seen = forecast(history([1, 2, 3, 4, 6]), ForecastModel.AUTO_ARIMA, 15)
    assert (seen.demand.rate_rps, seen.model) == (6, "LastValue")
    assert seen.note == "AutoARIMA failed: singular"


def test_a_constant_series_needs_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_as(monkeypatch, math.nan)
    seen = forecast(history([3.0] * 20), ForecastModel.AUTO_ARIMA, 15)
    assert (seen.demand.rate_rps, seen.model) == (3.0, "AutoARIMA")


def test_a_full_history_forgets_its_oldest_sample() -> None:
    kept = DemandHistory(2, history([1, 2]).samples).with_sample(Sample(99, Demand(3, 1, 1)))
    assert [sample.demand.rate_rps for sample in kept.samples] == [2, 3]
