"""The next hours by a model that takes long to fit: MSTL (Bandara et al. 2021) once two days are known, ETS before."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdoperator.forecast.buckets import Buckets, Floats
from pdoperator.forecast.season import DAY

_STEPS_AHEAD = 24  # two hours, in which a refit is due
_LEAST = 12  # an hour
_ETS_STEPS = 50  # as many as DOPD gives its AutoARIMA
_MSTL_STEPS = 3 * DAY  # a fit takes two tenths of a second


@dataclass(frozen=True, slots=True)
class Outlook:
    """Levels expected after the coarse bucket that ended at `end`."""

    end: int
    levels: Floats

    def growth(self, end: int) -> float:
        """Growth expected from the coarse bucket that begins at `end` to the next; 0 beyond the outlook."""
        at = end - self.end
        if not 0 <= at < len(self.levels) - 1 or self.levels[at] <= 0:
            return 0.0
        return float(max(self.levels[at + 1], 0.0) / self.levels[at] - 1)


def outlook(coarse: Buckets) -> Outlook | None:
    """Fitted to the coarse history, up to half a second long; None where there is too little, or no model fits."""
    levels = _without_gaps(coarse.values(coarse.end - _MSTL_STEPS))
    if len(levels) < _LEAST:
        return None
    try:
        return Outlook(coarse.end, _fitted(levels))
    except Exception:  # whatever a fit stumbles over, the other models go on without it
        return None


def _without_gaps(levels: Floats) -> Floats:
    """From the first known level on, missing ones drawn between their neighbours."""
    known = np.flatnonzero(~np.isnan(levels))
    if not len(known):
        return known.astype(float)
    return np.interp(np.arange(known[0], len(levels)), known, levels[known])


def _fitted(levels: Floats) -> Floats:
    # Imported late: only those who refit should wait for that.
    from statsforecast.models import MSTL, AutoETS

    model: Any
    model, known = AutoETS(season_length=1, model="ZZN"), levels[-_ETS_STEPS:]
    if len(levels) >= 2 * DAY:
        model, known = MSTL(season_length=DAY, trend_forecaster=model), levels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ahead: Floats = np.asarray(model.forecast(y=known, h=_STEPS_AHEAD)["mean"], dtype=float)
    return ahead
