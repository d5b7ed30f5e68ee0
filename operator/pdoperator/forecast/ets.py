"""Exponential smoothing with a damped trend, ETS(A,Ad,N) in Hyndman et al.'s words: is the load on its way somewhere?

Error-correction form of Gardner and McKenzie (1985), see Hyndman et al., Forecasting with Exponential Smoothing (2008),
chapter 2. The smoothing parameters are those of a small grid with the least one-step squared error, which with additive
errors is the likeliest. Some tenths of a millisecond, so that it needs no thread.
"""

from __future__ import annotations

import numpy as np

from pdoperator.forecast.buckets import Buckets, Floats

_STEPS = 50  # as many as DOPD gives its AutoARIMA
_LEAST = 12  # with fewer its parameters are chance
_DAMPING = 0.9
_LEVEL, _TREND = (grid.ravel() for grid in np.meshgrid([0.2, 0.5, 0.8], [0.05, 0.2, 0.5]))


def growth(coarse: Buckets) -> float:
    """Relative growth expected from the step that begins now to the next; 0 while too little is known."""
    known = _without_gaps(coarse.values(coarse.end - _STEPS))
    if len(known) < _LEAST:
        return 0.0
    level, trend = _fitted(known)
    now = level + _DAMPING * trend
    return max((now + _DAMPING**2 * trend) / now, 0.0) - 1 if now > 0 else 0.0


def _fitted(known: Floats) -> tuple[float, float]:
    """Level and trend after the last of `known`, under the parameters that foresaw each from those before it best."""
    level, trend, squares = np.full(len(_LEVEL), known[0]), np.zeros(len(_LEVEL)), np.zeros(len(_LEVEL))
    for value in known[1:]:
        error = value - level - _DAMPING * trend
        squares += error**2
        level += _DAMPING * trend + _LEVEL * error
        trend = _DAMPING * trend + _LEVEL * _TREND * error
    best = squares.argmin()
    return float(level[best]), float(trend[best])


def _without_gaps(levels: Floats) -> Floats:
    """From the first known level on, missing ones drawn between their neighbours."""
    known = np.flatnonzero(~np.isnan(levels))
    if not len(known):
        return known.astype(float)
    return np.interp(np.arange(known[0], len(levels)), known, levels[known])
