"""Latency formulas fitted to measured points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdoperator.capacity.profile import Fit


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit, and how far it lies from its points: mean and largest relative error."""

    fit: Fit
    mean_error: float
    max_error: float


def fit_ttft(points: Sequence[tuple[float, float]]) -> Fitted:
    """a + b*isl + c*isl^2 through points (isl, seconds). Raises ValueError where they give no formula."""
    return _fitted([(1.0, isl, isl**2) for isl, _ in points], [seconds for _, seconds in points])


def fit_itl(points: Sequence[tuple[float, float, float]]) -> Fitted:
    """a + b*batch + c*batch*context through points (batch, context, seconds). Raises ValueError."""
    rows = [(1.0, batch, batch * context) for batch, context, _ in points]
    return _fitted(rows, [seconds for *_, seconds in points])


def _fitted(rows: Sequence[tuple[float, float, float]], seconds: Sequence[float]) -> Fitted:
    """Least squares of relative errors, with no coefficient below 0."""
    if not rows or not all(np.isfinite(x) and x > 0 for x in seconds):
        raise ValueError("a latency is fitted to positive, finite points, at least one of them")
    relative = np.array(rows) / np.array(seconds)[:, None]
    coefficients = min(_candidates(relative), key=lambda x: float(((relative @ x - 1) ** 2).sum()))
    errors = np.abs(relative @ coefficients - 1)
    return Fitted(Fit(*(float(x) for x in coefficients)), float(errors.mean()), float(errors.max()))


def _candidates(relative: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The solutions without a negative coefficient, by which columns they leave out: the best of all is one of them."""
    scale = relative.max(axis=0)  # the columns differ by the square of a prompt's length
    columns = relative.shape[1]
    for count in range(1, columns + 1):
        for kept in itertools.combinations(range(columns), count):
            solution = np.zeros(columns)
            part = list(kept)
            solution[part] = (
                np.linalg.lstsq((relative / scale)[:, part], np.ones(len(relative)))[0] / scale[part]
            )
            if (solution >= 0).all():
                yield solution
