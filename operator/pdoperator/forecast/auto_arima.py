"""AutoARIMA as DOPD's planner uses it: one series at a time, order chosen anew on every call, one step ahead.

DOPD calls pmdarima with its defaults (p, q <= 5, d <= 2, AIC, KPSS, stepwise, no season); statsforecast's AutoARIMA
with the same bounds takes tenths of a second where pmdarima takes ten.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence


def next_value(series: Sequence[float]) -> float:
    """The value one step after `series`. Raises ForecastError when no model fits or it answers no number."""
    if min(series) == max(series):  # nothing to fit, and the fit is what costs
        return series[-1]
    predicted = _fit_and_predict(series)
    if not math.isfinite(predicted):
        raise ForecastError(f"AutoARIMA predicted {predicted}")
    return predicted


def preload() -> None:
    """Imports statsforecast, which takes seconds: in a thread at the start, so that no decision waits for it."""
    import statsforecast.models  # noqa: F401


class ForecastError(Exception):
    """No forecast, and why."""


def _fit_and_predict(series: Sequence[float]) -> float:
    # Imported late: only those who forecast with it should wait for that.
    import numpy as np
    from statsforecast.models import AutoARIMA

    model = AutoARIMA(season_length=1, seasonal=False, ic="aic")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(model.forecast(y=np.asarray(series, dtype=float), h=1)["mean"][0])
    except Exception as failure:  # whatever a fit stumbles over, the service still needs a size
        raise ForecastError(f"AutoARIMA failed: {failure}") from failure
