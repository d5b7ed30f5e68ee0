"""What the same time of the day and of the week was like, and where the last hours tend to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pdoperator.forecast import ets
from pdoperator.forecast.buckets import Buckets

COARSE_S = 300.0
KEEP_S = 28 * 86400.0
DAY = round(86400 / COARSE_S)
_GROWTH_MAX = 4.0  # a step from almost nothing is no factor for today


@dataclass(frozen=True, slots=True)
class Season:
    """The season at one moment.

    `level` is the load some minutes on, `growth` and `later` its relative growth over the next minutes and the next
    quarter of an hour, all a week ago, or else a day ago; NaN and 0 when neither is known. `typical` is the mean of the
    last day, `highest` the highest mean of five minutes in a week; 0 when unknown. `trend` is the growth over the next
    minutes that exponential smoothing expects.
    """

    level: float = math.nan
    growth: float = 0.0
    later: float = 0.0
    typical: float = 0.0
    highest: float = 0.0
    trend: float = 0.0


def season_at(coarse: Buckets) -> Season:
    """The season at the end of the newest coarse bucket."""
    typical = coarse.mean(coarse.end - DAY, coarse.end)
    typical = typical if typical == typical else 0.0
    highest = coarse.peak(coarse.end - 7 * DAY, coarse.end)
    highest = highest if highest == highest else 0.0
    season = Season(typical=typical, highest=highest, trend=ets.growth(coarse))
    for ago in (7 * DAY, DAY):
        then = coarse.end - ago
        now, soon, later = (coarse.mean(then + a, then + b) for a, b in ((-2, 2), (0, 3), (1, 5)))
        if soon == soon and now > 0:
            return replace(season, level=soon, growth=_growth(now, soon), later=_growth(now, later))
        if soon == soon:
            return replace(season, level=soon)
    return season


def _growth(now: float, then: float) -> float:
    return min(then / now - 1, _GROWTH_MAX) if then == then else 0.0
