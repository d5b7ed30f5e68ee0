"""Models that need no fit: where the peak is expected to be, before their errors are added."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.features import F

_DAMPED = 0.5  # of the growth seen is expected to go on


def last_value(x: Floats) -> Floats:
    """What was, will be."""
    return x[..., F.LAST]


def seasonal_naive(x: Floats) -> Floats:
    """What was a week ago, or a day ago, will be."""
    return x[..., F.SEASON]


def level(x: Floats) -> Floats:
    """A slow and a fast mean: for steady traffic the noise of the last value is no news."""
    return (x[..., F.LEVEL_60] + x[..., F.LEVEL_900]) / 2


def seasonal_growth(x: Floats) -> Floats:
    """Today's level, growing as it did a week or a day ago."""
    return level(x) + x[..., F.SEASON_GROWTH]


def damped_trend(x: Floats) -> Floats:
    """The last minute, going on as it came from the last five, by half."""
    return x[..., F.LEVEL_60] + _DAMPED * (x[..., F.LEVEL_60] - x[..., F.LEVEL_300])


def recent_peak(x: Floats) -> Floats:
    """The highest of the last quarter of an hour: bursts come again."""
    return x[..., F.PEAK_900]


def hourly_peak(x: Floats) -> Floats:
    """The highest of the last hour."""
    return x[..., F.PEAK_3600]


def smoothed_trend(x: Floats) -> Floats:
    """The level, growing as exponential smoothing of the last hours expects."""
    return level(x) + x[..., F.TREND]


MODELS: dict[str, Callable[[Floats], Floats]] = {
    "LastValue": last_value,
    "SeasonalNaive": seasonal_naive,
    "Level": level,
    "SeasonalGrowth": seasonal_growth,
    "DampedTrend": damped_trend,
    "RecentPeak": recent_peak,
    "HourlyPeak": hourly_peak,
    "ETS": smoothed_trend,
}


def centres(x: Floats) -> Floats:
    """Every model's centre for rows of shape (..., COLUMNS): shape (models, ...)."""
    return np.stack([model(x) for model in MODELS.values()])
