"""A load's history over a restart: what is kept, and that what cannot be read is not taken for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.forecast.load_text import UnreadableHistoryError

DAY_S = 86400.0


def noisy(hours: float, interval_s: float = 5.0) -> LoadForecast:
    load = np.random.default_rng(1).gamma(4, 2, round(hours * 3600 / interval_s))
    forecast = LoadForecast.empty(interval_s)
    for step, value in enumerate(load):
        forecast = forecast.observe(step * interval_s, float(value) if step % 50 else None)
    return forecast


def test_a_restart_keeps_the_history_and_the_forecast() -> None:
    before = noisy(1.5)
    text = before.to_text()
    after = LoadForecast.from_text(text)
    np.testing.assert_allclose(after.fine.values(), before.fine.values(), rtol=5e-4)
    np.testing.assert_allclose(after.coarse.values(), before.coarse.values(), rtol=5e-4)
    assert after.peak(120, 0.9, 30).value == pytest.approx(before.peak(120, 0.9, 30).value, rel=0.01)


def test_four_weeks_fit_a_config_map_many_times_over() -> None:
    at_s = np.arange(0, 28 * DAY_S, 60.0)
    weeks = LoadForecast.backfilled(5.0, at_s, np.random.default_rng(2).gamma(4, 2, len(at_s)))
    for step in range(1440):
        weeks = weeks.observe(28 * DAY_S + step * 5.0, 8.0 + step % 7)
    assert len(weeks.to_text()) < 60_000


def test_an_empty_history_is_text_too() -> None:
    assert LoadForecast.from_text(LoadForecast.empty(15.0).to_text()).interval_s == 15.0


@pytest.mark.parametrize("text", ["", "rubbish", "~~~~", noisy(0.1).to_text()[:-9]])
def test_a_history_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(UnreadableHistoryError, match="the saved history cannot be read"):
        LoadForecast.from_text(text)


def test_a_back_filled_day_tells_the_season() -> None:
    at_s = np.arange(0, DAY_S, 60.0)
    morning = LoadForecast.backfilled(5.0, at_s, np.where(at_s < 9 * 3600, 1.0, 10.0))
    assert morning.observe(DAY_S + 3600, 1.0).season.level == pytest.approx(1.0)
    assert morning.observe(DAY_S + 9 * 3600, 1.0).season.growth > 0.5


def test_missing_readings_are_back_filled_as_missing() -> None:
    at_s = np.arange(0, 7200, 60.0)
    values = np.where(at_s < 3600, 5.0, np.nan)
    coarse = LoadForecast.backfilled(5.0, at_s, values).coarse.values()
    assert coarse[:12].tolist() == [5.0] * 12
    assert np.isnan(coarse[12:]).all()


def test_fine_readings_are_back_filled_as_recent_history() -> None:
    at_s = np.arange(0, 1800, 5.0)
    assert LoadForecast.backfilled(5.0, at_s, np.full(len(at_s), 3.0)).peak(
        120, 0.5, 30
    ).value == pytest.approx(3.0)
