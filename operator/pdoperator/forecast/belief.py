"""Whom to believe: the losses of models that were asked before anybody knew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdoperator.forecast.buckets import Floats
from pdoperator.forecast.fit import NAMES

JUDGED_ORIGINS = 40  # before that nothing is trusted, and nothing is distrusted
_BASELINES = [NAMES.index("LastValue"), NAMES.index("SeasonalNaive")]
_HALF_LIFE = 480  # origins, two hours: long enough for a burst to be a lesson, short enough for a new regime
_DECAY = 0.5 ** (1 / _HALF_LIFE)
_EAGERNESS = 3.0  # of the weights: regret of 1 % over a half-life halves a model's weight
_TRUST = 0.02  # skill to be gained before a lost trust is given back, and lost before it is taken


@dataclass(frozen=True, slots=True)
class Judgement:
    """Discounted losses of each model and, last, of their mixture: (models + 1, horizons).

    The loss is the pinball loss at several high quantiles: what too much capacity costs, and what too little.
    """

    loss: Floats
    origins: int
    skill: Floats  # by horizon: share of the better baseline's loss that the mixture avoided
    trusted: NDArray[np.bool_]  # by horizon

    @classmethod
    def none(cls, models: int, horizons: int) -> Judgement:
        """Before anything is known."""
        return cls(np.zeros((models + 1, horizons)), 0, np.zeros(horizons), np.zeros(horizons, dtype=bool))

    @property
    def judged(self) -> bool:
        """Whether there is history enough to tell."""
        return self.origins >= JUDGED_ORIGINS

    def after(self, origins: int, loss: Floats) -> Judgement:
        """With so many more origins, and the losses that became known since."""
        summed, count = self.loss * _DECAY**origins + loss, self.origins + origins
        skill = _skill(summed)
        trusted = (skill > np.where(self.trusted, -_TRUST, _TRUST)) & (count >= JUDGED_ORIGINS)
        return Judgement(summed, count, skill, trusted)

    def belief(self) -> Floats:
        """Weights of the models, by horizon: (models, horizons).

        Exponentially weighted average forecaster (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006).
        """
        losses = self.loss[:-1]
        best = losses.min(axis=0)
        regret = np.divide(losses, best, out=np.ones_like(losses), where=best > 0) - 1
        belief = np.exp(-_EAGERNESS * math.sqrt(min(self.origins, _HALF_LIFE)) * regret)
        weights: Floats = belief / belief.sum(axis=0)
        return weights

    def followed(self) -> Floats:
        """The weights that peaks are read with: where the mixture has lost trust, the better baseline's alone."""
        belief = self.belief()
        if self.judged:
            for at in np.flatnonzero(~self.trusted):
                belief[:, at] = 0.0
                belief[min(_BASELINES, key=lambda model: self.loss[model, at]), at] = 1.0
        return belief

    def note(self, horizon: int) -> str:
        """Why there is no trust; empty where there is."""
        if self.trusted[horizon]:
            return ""
        if not self.judged:
            return f"too little history to judge: {self.origins} of {JUDGED_ORIGINS} moments"
        return "no better than the last value or the season in the back-test"


def _skill(loss: Floats) -> Floats:
    """Share of the better baseline's loss that the mixture avoided, by horizon; 0 while nothing is known."""
    baseline = loss[_BASELINES].min(axis=0)
    lost: Floats = np.divide(loss[-1], baseline, out=np.ones_like(baseline), where=baseline > 0)
    return 1 - lost
