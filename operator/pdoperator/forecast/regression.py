"""A linear model of the peak, fitted to this load's own past: ridge regression of the peak on the features of a row,
and of its absolute error on a few measures of spread, so that the margin is wide when the load is restless.

Least squares are weighted by the noise of independent arrivals, whose variance grows with the load. Restlessness and
high peaks of the past never speak for a lower one to come: without that, the moment at which a burst is an hour ago
and so forgotten would be taken for the sign of the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.features import F

_CENTRE = [
    *range(F.LEVEL_15, F.LEVEL_3600 + 1),
    F.SPREAD_900,
    F.SPREAD_3600,
    F.PEAK_300,
    F.PEAK_900,
    F.PEAK_3600,
    F.NOISE,
    F.SEASON_GROWTH,
    F.SEASON_LATER,
    F.TYPICAL,
]
_SCALE = [F.NOISE, F.SPREAD_300, F.SPREAD_900, F.SPREAD_3600, F.LEVEL_30, F.LEVEL_900, F.TYPICAL]
_NEVER_LOWER = [
    _CENTRE.index(column) for column in (F.SPREAD_900, F.SPREAD_3600, F.PEAK_300, F.PEAK_900, F.PEAK_3600)
]
# Before there is data: the recent level, and above it what the highest of several noisy averages adds.
_PRIOR_CENTRE = {F.LEVEL_60: 0.4, F.LEVEL_300: 0.2, F.LEVEL_900: 0.2, F.PEAK_300: 0.2}
_PRIOR_SCALE = {F.NOISE: 0.1, F.SPREAD_900: 0.4, F.LEVEL_900: 0.1, F.TYPICAL: 0.01}
_RIDGE = 0.001  # of the mean diagonal: features overlap heavily
_PRIOR_ROWS = 500  # by as much more it is drawn to the prior, shared among the rows there are
_SCALE_RIDGE = 0.01
_SCALE_PRIOR_ROWS = 40
_FLOOR = 0.001  # of the typical load: a scale is never 0


@dataclass(frozen=True, slots=True)
class Regression:
    """Coefficients for each horizon: `centre` (horizons, features), `scale` (horizons, spreads)."""

    centre: Floats
    scale: Floats

    @classmethod
    def prior(cls, windows_ahead: Floats) -> Regression:
        """What holds before there is data, for horizons of so many windows."""
        centre = np.zeros((len(windows_ahead), len(_CENTRE)))
        scale = np.zeros((len(windows_ahead), len(_SCALE)))
        for column, share in _PRIOR_CENTRE.items():
            centre[:, _CENTRE.index(column)] = share
        # The mean of the highest of n normal values is about sqrt(2 ln n) deviations; windows overlap, so less.
        centre[:, _CENTRE.index(F.SPREAD_900)] = [
            0.4 * math.sqrt(2 * math.log(max(n, 1))) for n in windows_ahead
        ]
        for column, share in _PRIOR_SCALE.items():
            scale[:, _SCALE.index(column)] = share
        return cls(centre, scale)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Centre and scale for rows of shape (..., COLUMNS): shape (..., horizons) each."""
        scale = x[..., _SCALE] @ self.scale.T + _FLOOR * x[..., F.TYPICAL, None]
        return x[..., _CENTRE] @ self.centre.T, scale

    def fitted(self, horizon: int, x: Floats, peaks: Floats) -> tuple[Floats, Floats]:
        """Coefficients of one horizon from rows and their peaks, drawn to `self`'s."""
        weight = 1 / (x[:, F.NOISE] + _FLOOR * x[:, F.TYPICAL])
        design, target = x[:, _CENTRE] * weight[:, None], peaks * weight
        ridge = _RIDGE * (1 + _PRIOR_ROWS / len(x))
        centre = _positive(design, target, self.centre[horizon], ridge, _NEVER_LOWER)
        error = np.abs(target - design @ centre)
        spread = x[:, _SCALE] * weight[:, None]
        ridge = _SCALE_RIDGE * (1 + _SCALE_PRIOR_ROWS / len(x))
        return centre, _positive(spread, error, self.scale[horizon], ridge, range(len(_SCALE)))


def _ridge(design: Floats, target: Floats, prior: Floats, ridge: float) -> Floats:
    gram = design.T @ design
    drawn = ridge * np.trace(gram) / len(gram)
    gram[np.diag_indices_from(gram)] += drawn
    solution: Floats = np.linalg.solve(gram, design.T @ target + drawn * prior)
    return solution


def _positive(design: Floats, target: Floats, prior: Floats, ridge: float, columns: Sequence[int]) -> Floats:
    """As `_ridge`, without negative coefficients of these columns: those are left out until none is left."""
    kept = np.arange(len(prior))
    while len(kept):
        found = _ridge(design[:, kept], target, prior[kept], ridge)
        negative = np.isin(kept, columns) & (found < 0)
        if not negative.any():
            break
        kept = kept[~negative]
    coefficients = np.zeros_like(prior)
    coefficients[kept] = found if len(kept) else 0.0
    return coefficients
