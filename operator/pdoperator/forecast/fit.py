"""What every model says of the peaks to come, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdoperator.forecast import baselines
from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.conformal import QUANTILES, error_quantiles
from pdoperator.forecast.features import F
from pdoperator.forecast.regression import Regression

NAMES = (*baselines.MODELS, "Regression")
SCORED = np.flatnonzero(np.isin(QUANTILES, (0.8, 0.9, 0.95, 0.99)))
_PRIOR_NOISE = (-0.3, 0.5)  # errors of a simple model in units of NOISE
_QUIET = 0.2  # of what is typical today: errors made in the first quiet minutes do not count for more
_PRIOR_SCALE = (-2.0, 4.0)  # errors of the regression in units of its scale


@dataclass(frozen=True, slots=True)
class Fit:
    """The regression, and `knots`: quantiles of every model's errors, (models, horizons, quantiles).

    Errors are counted in the NOISE of their row, those of the regression in its own scale.
    """

    regression: Regression
    knots: Floats

    @classmethod
    def prior(cls, regression: Regression) -> Fit:
        """Before any error is known."""
        knots = np.empty((len(NAMES), len(regression.centre), len(QUANTILES)))
        knots[:-1] = error_quantiles(np.empty(0), _PRIOR_NOISE)
        knots[-1] = error_quantiles(np.empty(0), _PRIOR_SCALE)
        return cls(regression, knots)

    def fitted(self, rows: Floats, peaks: Floats) -> Fit:
        """Anew from rows and the peaks that followed, (rows, horizons), NaN where unknown; drawn to `self`."""
        centre, scale, knots = self.regression.centre.copy(), self.regression.scale.copy(), self.knots.copy()
        rows = rows.copy()
        rows[:, F.NOISE] = np.maximum(rows[:, F.NOISE], _QUIET * rows[-1, F.TYPICAL])
        simple = baselines.centres(rows).T
        known = ~np.isnan(peaks) & (rows[:, F.NOISE, None] > 0)
        for at in np.flatnonzero(known.any(axis=0)).tolist():
            x, y = rows[known[:, at]], peaks[known[:, at], at]
            centre[at], scale[at] = self.regression.fitted(at, x, y)
            errors = (y[:, None] - simple[known[:, at]]) / x[:, F.NOISE, None]
            knots[:-1, at] = error_quantiles(errors, _PRIOR_NOISE)
            said, spread = Regression(centre[at, None], scale[at, None]).predict(x)
            knots[-1, at] = error_quantiles((y - said[:, 0]) / spread[:, 0], _PRIOR_SCALE)
        return Fit(Regression(centre, scale), knots)

    def said(self, rows: Floats, belief: Floats) -> Floats:
        """The scored quantiles of every model and, last, of their mixture: (rows, models + 1, horizons, scored)."""
        models, horizons = self.knots.shape[:2]
        centre = np.empty((len(rows), models, horizons, 1))
        scale = np.empty_like(centre)
        centre[:, :-1, :, 0] = baselines.centres(rows).T[:, :, None]
        scale[:, :-1, :, 0] = rows[:, F.NOISE, None, None]
        centre[:, -1, :, 0], scale[:, -1, :, 0] = self.regression.predict(rows)
        each = np.maximum(centre + scale * self.knots[:, :, SCORED], 0.0)
        mixed = np.einsum("mh,rmhq->rhq", belief, each)
        return np.concatenate([each, mixed[:, None]], axis=1)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A fit with the weights of its models, (models, horizons), ready to be asked often.

    `margin` is what the weights make of the knots of all models but the regression, which share one unit.
    """

    fit: Fit
    belief: Floats
    margin: Floats

    @classmethod
    def of(cls, fit: Fit, belief: Floats) -> Mixture:
        """The models of `fit`, believed so far."""
        return cls(fit, belief, np.einsum("mh,mhq->hq", belief[:-1], fit.knots[:-1]))

    def quantiles(self, x: Floats) -> Floats:
        """The QUANTILES of the peak for one row: (horizons, quantiles), rising with both."""
        centre, scale = self.fit.regression.predict(x)
        simple = (baselines.centres(x) @ self.belief[:-1])[:, None] + x[F.NOISE] * self.margin
        regression = centre[:, None] + scale[:, None] * self.fit.knots[-1]
        mixed = simple + self.belief[-1][:, None] * regression
        rising: Floats = np.maximum.accumulate(np.maximum(mixed, 0.0), axis=0)
        return rising
