"""Quantiles of a model's own past errors (split conformal prediction, Vovk et al.; Lei et al. 2018)."""

from __future__ import annotations

import numpy as np

from pdoperator.forecast.buckets import Floats

QUANTILES = np.array([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995])
_PRIOR_ERRORS = 24
_PRIOR_UNTIL = 600  # errors: by then the prior has faded out


def error_quantiles(errors: Floats, prior: tuple[float, float]) -> Floats:
    """The QUANTILES of errors of shape (rows, ...): shape (..., quantiles), with the finite-sample correction.

    Few errors are joined by a prior that fades with their number: half of it evenly from `prior[0]` to 0, half from 0
    to `prior[1]`.
    """
    rows = len(errors)
    made_up = round(_PRIOR_ERRORS * max(0.0, 1 - rows / _PRIOR_UNTIL))
    if made_up:
        half = np.linspace(0, 1, made_up // 2 + 1)
        assumed = np.concatenate([prior[0] * half, prior[1] * half]).reshape(-1, *[1] * (errors.ndim - 1))
        errors = np.concatenate([errors, np.broadcast_to(assumed, (len(assumed), *errors.shape[1:]))])
    ranked = np.sort(errors, axis=0)
    rank = np.minimum(np.ceil(QUANTILES * (len(errors) + 1)).astype(int), len(errors)) - 1
    return np.moveaxis(ranked[rank], 0, -1)
