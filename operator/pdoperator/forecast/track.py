"""The models of one load and one window, judged as they go: what each said, what came, and so whom to believe."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pdoperator.forecast.belief import Judgement
from pdoperator.forecast.buckets import Buckets, Floats
from pdoperator.forecast.conformal import QUANTILES
from pdoperator.forecast.features import COLUMNS, F
from pdoperator.forecast.fit import NAMES, SCORED, Fit, Mixture
from pdoperator.forecast.regression import Regression

HORIZONS_S = (30.0, 120.0, 300.0, 900.0)
STRIDE_S = 15.0
_ORIGINS = 1440  # six hours
_REVIEW_ORIGINS = 40  # ten minutes
_REVIEW_SHARE = 8  # and sooner while there are few: when they have grown by an eighth


@dataclass(frozen=True, slots=True)
class Track:
    """Past origins, one every `stride` buckets, the newest at `end`: their rows, the peaks that followed over each
    horizon (NaN: not yet known, or missing), and what was said of the newest ones when nobody knew.
    """

    window: int  # buckets
    stride: int
    horizons: tuple[int, ...]  # buckets, ascending
    prior: Fit
    mixture: Mixture  # what peaks are read from
    judgement: Judgement
    end: int | None
    rows: Floats
    peaks: Floats
    said: Floats
    highest: float  # average over the window that any kept origin knew of

    @classmethod
    def empty(cls, window: int, interval_s: float) -> Track:
        """No origins yet: the prior alone speaks."""
        horizons = tuple(max(window, round(horizon / interval_s)) for horizon in HORIZONS_S)
        prior = Fit.prior(Regression.prior(np.array(horizons) / window))
        judgement = Judgement.none(len(NAMES), len(horizons))
        return cls(
            window=window,
            stride=max(1, round(STRIDE_S / interval_s)),
            horizons=horizons,
            prior=prior,
            mixture=Mixture.of(prior, judgement.belief()),
            judgement=judgement,
            end=None,
            rows=np.empty((0, COLUMNS)),
            peaks=np.empty((0, len(horizons))),
            said=np.empty((0, len(NAMES) + 1, len(horizons), len(SCORED))),
            highest=0.0,
        )

    def forgetful(self) -> Track:
        """Without its origins, but with what was learnt from them."""
        return replace(self, end=None, rows=self.rows[:0], peaks=self.peaks[:0], said=self.said[:0])

    def nearest(self, horizon: float) -> int:
        """Which of the horizons is nearest to one of so many buckets, in proportion."""
        return min(range(len(self.horizons)), key=lambda at: abs(math.log(self.horizons[at] / horizon)))

    def due(self, end: int) -> bool:
        """Whether enough origins have passed for a review at `end`."""
        if end % self.stride:
            return False
        step = max(1, min(_REVIEW_ORIGINS, self.judgement.origins // _REVIEW_SHARE))
        return self.end is None or end - self.end >= step * self.stride

    def reviewed(self, end: int, new: Floats, averages: Buckets) -> Track:
        """The track at `end`, with the rows of the origins since the last review: models are scored, then fitted."""
        rows = np.concatenate([self.rows, new])[-_ORIGINS:]
        said = np.concatenate([self.said, self.mixture.fit.said(new, self.judgement.belief())])
        peaks = np.concatenate([self.peaks, np.full((len(new), len(self.horizons)), np.nan)])[-_ORIGINS:]
        loss = np.zeros_like(self.judgement.loss)
        for at, (back, came) in enumerate(self._came(end, len(rows), averages)):
            peaks[-back, at] = came
            off = came[:, None, None] - said[-back, :, at]
            loss[:, at] = np.nansum(
                np.maximum(off * QUANTILES[SCORED], off * (QUANTILES[SCORED] - 1)), axis=(0, 2)
            )
        judgement = self.judgement.after(len(new), loss)
        return replace(
            self,
            mixture=Mixture.of(self.prior.fitted(rows, peaks), judgement.followed()),
            judgement=judgement,
            end=end,
            rows=rows,
            peaks=peaks,
            said=said[-math.ceil(self.horizons[-1] / self.stride) :],
            highest=float(np.fmax.reduce(rows[:, F.PEAK_3600])),
        )

    def _came(self, end: int, origins: int, averages: Buckets) -> list[tuple[NDArray[np.intp], Floats]]:
        """For each horizon the origins whose peak became known since the last review, counted from the newest (1), and
        the peaks."""
        before = end - self.stride if self.end is None else self.end
        came = []
        for horizon in self.horizons:
            oldest = min((end - before + horizon - 1) // self.stride, origins - 1)
            back = np.arange(math.ceil(horizon / self.stride), oldest + 1)
            ends = end - back * self.stride
            spans = [averages.values(at + self.window - 1, at + horizon) for at in ends.tolist()]
            came.append((back + 1, np.array([span.max() for span in spans])))
        return came
