"""What each model expects of a load, whom the competition believes, and how it steps down when it knows too little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from pdoperator.forecast import ets
from pdoperator.forecast.baselines import MODELS
from pdoperator.forecast.belief import JUDGED_ORIGINS, Judgement
from pdoperator.forecast.buckets import Buckets
from pdoperator.forecast.conformal import QUANTILES, error_quantiles
from pdoperator.forecast.features import COLUMNS, F
from pdoperator.forecast.fit import NAMES
from pdoperator.forecast.load_forecast import HOLD, LoadForecast
from pdoperator.forecast.regression import Regression
from pdoperator.forecast.season import DAY, season_at

ROW = {
    F.LAST: 12.0,
    F.LEVEL_60: 10.0,
    F.LEVEL_300: 8.0,
    F.LEVEL_900: 6.0,
    F.PEAK_900: 14.0,
    F.PEAK_3600: 20.0,
    F.SEASON: 9.0,
    F.SEASON_GROWTH: 2.0,
    F.TREND: -1.0,
}


@pytest.mark.parametrize(
    ("model", "centre"),
    [
        ("LastValue", 12.0),
        ("SeasonalNaive", 9.0),
        ("Level", 8.0),
        ("SeasonalGrowth", 10.0),
        ("DampedTrend", 11.0),
        ("RecentPeak", 14.0),
        ("HourlyPeak", 20.0),
        ("ETS", 7.0),
    ],
)
def test_each_model_has_its_own_idea_of_the_peak(model: str, centre: float) -> None:
    row = np.zeros(COLUMNS)
    for column, value in ROW.items():
        row[column] = value
    assert MODELS[model](row) == centre


def test_enough_errors_speak_for_themselves() -> None:
    found = error_quantiles(np.arange(1000.0), prior=(-5.0, 5.0))
    assert found[QUANTILES == 0.9] == pytest.approx(900, abs=1)


def test_without_errors_the_prior_speaks() -> None:
    found = error_quantiles(np.empty(0), prior=(-0.3, 1.0))
    assert found[0] == pytest.approx(0, abs=0.1)
    assert found[-1] == pytest.approx(1.0)


def judged(losses: Sequence[float], origins: int = 100) -> Judgement:
    """After losses of LastValue, SeasonalNaive, all others, and the mixture."""
    loss = np.array([losses[0], losses[1], *[losses[2]] * (len(NAMES) - 2), losses[3]])[:, None]
    return Judgement.none(len(NAMES), 1).after(origins, loss)


@pytest.mark.parametrize(
    ("losses", "skill", "trusted"),
    [
        ((10.0, 12.0, 8.0, 8.0), 0.2, True),
        ((10.0, 12.0, 11.0, 10.5), -0.05, False),
        ((12.0, 10.0, 11.0, 10.5), -0.05, False),
    ],
)
def test_a_forecast_is_trusted_while_it_beats_both_baselines(
    losses: Sequence[float], skill: float, trusted: bool
) -> None:
    found = judged(losses)
    assert (found.skill[0], found.trusted[0]) == (pytest.approx(skill), trusted)


def test_trust_is_neither_lost_nor_won_by_a_hair() -> None:
    even = np.full((len(NAMES) + 1, 1), 1e6)
    even[-1] *= 1.01
    assert judged((10.0, 12.0, 8.0, 8.0)).after(1, even).trusted[0]
    even[-1] *= 0.98
    assert not judged((10.0, 12.0, 11.0, 10.5)).after(1, even).trusted[0]


@pytest.mark.parametrize(
    ("last", "season", "followed"), [(10.0, 12.0, "LastValue"), (12.0, 10.0, "SeasonalNaive")]
)
def test_where_trust_is_lost_the_better_baseline_is_followed(
    last: float, season: float, followed: str
) -> None:
    weights = judged((last, season, 11.0, 11.0)).followed()[:, 0]
    assert weights.tolist() == [float(name == followed) for name in NAMES]


def test_too_little_history_is_neither_trusted_nor_distrusted() -> None:
    young = judged((10.0, 12.0, 8.0, 8.0), origins=JUDGED_ORIGINS - 1)
    assert not young.trusted[0]
    assert young.note(0) == "too little history to judge: 39 of 40 moments"
    assert young.followed()[NAMES.index("Level"), 0] > young.followed()[0, 0]


def test_a_young_forecast_claims_neither_skill_nor_the_lack_of_it() -> None:
    forecast = LoadForecast.empty(5.0)
    for step in range(60):
        forecast = forecast.observe(step * 5.0, 4.0)
    peak = forecast.peak(60.0, 0.9, 30.0)
    assert (peak.skill, peak.trusted) == (None, None)
    assert peak.note.startswith("too little history to judge")


def test_a_load_that_fell_silent_is_held() -> None:
    forecast = LoadForecast.empty(5.0)
    for step in range(120):
        forecast = forecast.observe(step * 5.0, 4.0)
    for step in range(120, 140):
        forecast = forecast.observe(step * 5.0, None)
    peak = forecast.peak(120, 0.5, 30)
    assert (peak.model, peak.trusted, peak.note) == (HOLD, False, "no reading for 100 s")
    assert peak.value == pytest.approx(4.0)


def test_the_same_time_last_week_goes_before_yesterday() -> None:
    """mimir PR#7775: last week's load at this time spared most of the refusals."""
    days = np.repeat([1.0, 2, 3, 4, 5, 6, 7], DAY)
    assert season_at(Buckets.of(8 * DAY, 7 * DAY, days)).level == 1.0
    assert season_at(Buckets.of(8 * DAY, 3 * DAY, days[: 3 * DAY])).level == 3.0


def test_the_first_day_has_no_season() -> None:
    assert math.isnan(season_at(Buckets.of(DAY, 10, np.full(10, 5.0))).level)


def hours(*levels: float) -> Buckets:
    """Coarse buckets of these levels."""
    return Buckets.of(DAY, len(levels), np.array(levels))


@pytest.mark.parametrize(
    ("levels", "growth"),
    [
        pytest.param([4.0] * 30, 0.0, id="steady"),
        pytest.param([*range(10, 60)], 0.0123, id="growing by one of sixty a step, damped by and by"),
        pytest.param([*range(60, 10, -1)], -0.072, id="falling by one of ten"),
        pytest.param(
            [*range(10, 30), math.nan, *range(31, 60)], 0.0123, id="a gap is drawn between its ends"
        ),
        pytest.param([*range(1, 12)], 0.0, id="less than an hour is chance"),
        pytest.param([0.0] * 30, 0.0, id="idle"),
    ],
)
def test_smoothing_tells_where_the_last_hours_tend_to(levels: list[float], growth: float) -> None:
    assert ets.growth(hours(*levels)) == pytest.approx(growth, abs=0.001)


def test_smoothing_competes_and_wins_on_a_noisy_load_that_rises_and_falls_over_hours() -> None:
    """The last value is noise there, a mean is late, no day has returned yet, and six hours teach too little."""
    rng, forecast = np.random.default_rng(1), LoadForecast.empty(15.0)
    for step in range(1, 8 * 240):
        level = np.interp(step * 15.0 % 14400, [0, 7200, 14400], [4.0, 60.0, 4.0])
        forecast = forecast.observe(step * 15.0, float(level * rng.gamma(11, 1 / 11)))
    assert forecast.peak(300, 0.9, 30).model == "ETS"


@pytest.mark.parametrize("column", [F.SPREAD_900, F.SPREAD_3600, F.PEAK_300, F.PEAK_900, F.PEAK_3600])
def test_a_burst_that_is_forgotten_does_not_announce_the_next(column: F) -> None:
    random = np.random.default_rng(1)
    rows = random.uniform(5, 15, (200, COLUMNS))
    # As it happened to be, so long as the burst was known of.
    peaks = rows[:, F.LEVEL_60] - 0.5 * rows[:, column]
    prior = Regression.prior(np.array([4.0]))
    centre, scale = prior.fitted(0, rows, peaks)
    known, forgotten = rows[0].copy(), rows[0].copy()
    known[column], forgotten[column] = 15, 5
    expected, _ = Regression(centre[None], scale[None]).predict(np.stack([known, forgotten]))
    assert expected[1] <= expected[0]
