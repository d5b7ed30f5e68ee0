"""How high a load will rise: what a forecaster keeps, and what its peaks promise."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.forecast.load_forecast import LoadForecast, NoLoadSeenError

INTERVAL_S = 5.0


def seen(values: list[float | None]) -> LoadForecast:
    forecast = LoadForecast.empty(INTERVAL_S)
    for step, value in enumerate(values):
        forecast = forecast.observe(step * INTERVAL_S, value)
    return forecast


@pytest.mark.parametrize("values", [[], [None, None]])
def test_what_has_never_been_seen_has_no_peak(values: list[float | None]) -> None:
    with pytest.raises(NoLoadSeenError, match="no load has been seen yet"):
        seen(values).peak(120, 0.9, 30)


def test_a_missing_interval_does_not_count_as_zero() -> None:
    assert seen([4.0] * 100 + [None] * 200).peak(120, 0.9, 30).point == pytest.approx(4.0)


def test_observing_leaves_the_older_value_as_it_was() -> None:
    older = seen([1.0] * 100)
    before = older.peak(120, 0.9, 30)
    older.observe(500.0, 50.0)
    one, other = older.observe(500.0, 9.0), older.observe(500.0, 2.0)
    assert older.peak(120, 0.9, 30) == before
    assert one.peak(120, 0.9, 30).point > other.peak(120, 0.9, 30).point


@pytest.mark.parametrize("quantile", [0.8, 0.95])
def test_as_many_peaks_stay_below_as_the_quantile_says(quantile: float) -> None:
    load = np.random.default_rng(3).gamma(4, 2, 9000)
    windows = np.convolve(load, np.ones(6) / 6, "valid")
    forecast, below = LoadForecast.empty(INTERVAL_S), []
    for step, value in enumerate(load[:-40]):
        forecast = forecast.observe(step * INTERVAL_S, float(value))
        if step > 1000 and step % 20 == 0:
            below.append(windows[step + 1 : step + 20].max() <= forecast.peak(120, quantile, 30).value)
    assert np.mean(below) == pytest.approx(quantile, abs=0.04)
