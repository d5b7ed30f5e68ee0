"""What is known of a load at one moment, as one row of numbers that every model reads.

All but the seasonal growths are loads in the unit of the series; averages and peaks reach back so many seconds.
"""

from __future__ import annotations

import math
from enum import IntEnum

from pdoperator.forecast.buckets import Buckets
from pdoperator.forecast.season import Season


class F(IntEnum):
    """Columns of a row."""

    LAST = 0  # the newest average over the window
    LEVEL_15 = 1
    LEVEL_30 = 2
    LEVEL_60 = 3
    LEVEL_120 = 4
    LEVEL_300 = 5
    LEVEL_900 = 6
    LEVEL_3600 = 7
    SPREAD_300 = 8  # standard deviation of the averages over the window
    SPREAD_900 = 9
    SPREAD_3600 = 10
    PEAK_300 = 11  # highest average over the window
    PEAK_900 = 12
    PEAK_3600 = 13
    TYPICAL = 14  # mean of a day
    NOISE = 15  # what a load of independent arrivals would spread by, up to a factor: grows as the root of the load
    SEASON = 16  # the level at this time a week or a day ago, a few minutes on; the last value when unknown
    SEASON_GROWTH = 17  # how the level grew then over the next minutes, scaled to the level of today
    SEASON_LATER = 18  # the same a quarter of an hour on
    TREND = 19  # what exponential smoothing expects the level to grow by


COLUMNS = len(F)
_LEVELS = tuple(
    zip(range(F.LEVEL_15, F.LEVEL_3600 + 1), (15, 30, 60, 120, 300, 900, 3600), strict=True),
)
_SPREADS = (
    (F.SPREAD_300, F.PEAK_300, 300),
    (F.SPREAD_900, F.PEAK_900, 900),
    (F.SPREAD_3600, F.PEAK_3600, 3600),
)
_FAINT = 0.03  # of the typical load: an idle service keeps some noise


def row(fine: Buckets, averages: Buckets, end: int, interval_s: float, season: Season) -> list[float] | None:
    """The row of the moment `end` steps after time zero; None when nothing was known then.

    `fine` holds the load, `averages` its averages over the window.
    """
    x = [0.0] * COLUMNS
    level = fine.mean(end - fine.keep, end)
    if level != level:
        return None
    for column, reach_s in reversed(_LEVELS):
        mean = fine.mean(end - max(1, round(reach_s / interval_s)), end)
        level = x[column] = mean if mean == mean else level  # all of it missing: what the longer reach says
    peak = level
    for spread, column, reach_s in reversed(_SPREADS):
        start = end - max(1, round(reach_s / interval_s))
        x[spread] = averages.spread(start, end)
        highest = averages.peak(start, end)
        peak = x[column] = highest if highest == highest else peak
    last = averages.mean(end - 1, end)
    x[F.LAST] = last if last == last else level
    mix = (x[F.LEVEL_60] + x[F.LEVEL_900]) / 2
    x[F.TYPICAL] = typical = season.typical if season.typical > 0 else x[F.LEVEL_3600]
    x[F.NOISE] = math.sqrt((mix + _FAINT * typical) * typical)
    x[F.SEASON] = season.level if season.level == season.level else x[F.LAST]
    x[F.SEASON_GROWTH], x[F.SEASON_LATER], x[F.TREND] = (
        season.growth * mix,
        season.later * mix,
        season.trend * mix,
    )
    return x
