"""How high a load will rise: one series' history, and the peak expected of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pdoperator.forecast.buckets import Buckets, Floats

_FINE_S = 6 * 3600.0
_LEVEL_S = 300.0
_PRIOR = 1.5
_FEW = 40


class NoLoadSeenError(ValueError):
    """A forecast was asked for before any load had been seen."""

    def __init__(self) -> None:
        super().__init__("no load has been seen yet")


@dataclass(frozen=True, slots=True)
class Peak:
    """The load that will not be exceeded.

    `value` at the quantile asked, `point` as expected. `skill` is the share of the loss of the better of last value and
    seasonal naive that `model` avoided in its back-test; `trusted` is False when it avoided none.
    """

    value: float
    point: float
    model: str
    skill: float
    trusted: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class LoadForecast:
    """The history of one load, in any unit. A value: observing returns a new one, cheaply."""

    interval_s: float
    fine: Buckets | None = None

    @classmethod
    def empty(cls, interval_s: float) -> LoadForecast:
        """No history yet; `interval_s` is the time between observations."""
        return cls(interval_s)

    def observe(self, at_s: float, value: float | None) -> LoadForecast:
        """With the mean load over the interval that ended at `at_s`; None: it is not known.

        A second observation of the same interval is ignored.
        """
        reading, end = math.nan if value is None else value, round(at_s / self.interval_s)
        fine = self.fine
        if fine is None:
            return LoadForecast(
                self.interval_s, Buckets.of(round(_FINE_S / self.interval_s), end, np.array([reading]))
            )
        if end <= fine.end:
            return self
        if end > fine.end + 1:
            fine = fine.skipped(end - fine.end - 1)
        return LoadForecast(self.interval_s, fine.appended(reading))

    def peak(self, horizon_s: float, quantile: float, window_s: float) -> Peak:
        """The load that no average over `window_s` exceeds between now and now + `horizon_s`, at `quantile`.

        Raises NoLoadSeenError before the first known reading.
        """
        fine = self.fine
        if fine is None or not fine.log.known[fine.size]:
            raise NoLoadSeenError
        window = max(1, round(window_s / self.interval_s))
        horizon = max(window, round(horizon_s / self.interval_s))
        level_steps = round(_LEVEL_S / self.interval_s)
        level = _newest_known(fine, level_steps)
        ratios = self._ratios(fine, horizon, window, level_steps)
        if len(ratios) < _FEW:
            factor = max(_PRIOR, float(np.quantile(ratios, quantile)) if len(ratios) else 0.0)
            return Peak(level * factor, level, "LastValue", 0.0, False, "too little history: a fixed margin")
        value, point = (level * float(np.quantile(ratios, q)) for q in (quantile, 0.5))
        return Peak(value, point, "Level", 0.0, True)

    def _ratios(self, fine: Buckets, horizon: int, window: int, level_steps: int) -> Floats:
        """Peak over level at past origins, anew every 12 observations."""
        newest = fine.end - fine.end % 12
        key = (horizon, window, newest)
        if key not in fine.log.memo:
            origins = np.arange(newest - horizon, fine.end - len(fine) + level_steps, -6)
            if not len(origins):
                return np.empty(0)
            level = fine.mean(origins - level_steps, origins)
            starts = origins[:, None] + np.arange(horizon - window + 1)
            peaks = fine.mean(starts, starts + window)
            known = (level > 0) & ~np.isnan(peaks).any(axis=1)
            fine.log.memo.clear() if len(fine.log.memo) > 16 else None
            fine.log.memo[key] = peaks[known].max(axis=1) / level[known]
        ratios: Floats = fine.log.memo[key]
        return ratios


def _newest_known(fine: Buckets, steps: int) -> float:
    """Mean of the last `steps` buckets, or of as many more as it takes to find a known one."""
    while math.isnan(level := float(fine.mean(fine.end - steps, fine.end))):
        steps *= 2
    return level
