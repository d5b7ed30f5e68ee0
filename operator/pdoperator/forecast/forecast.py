"""History to demand one interval ahead."""

from __future__ import annotations

from collections.abc import Callable

from pdoperator.api import defaults
from pdoperator.api.autoscaling import ForecastModel
from pdoperator.forecast.auto_arima import ForecastError, next_value
from pdoperator.forecast.demand import Demand, DemandHistory
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.forecast.last_value import last_value


def forecast(history: DemandHistory, model: ForecastModel, horizon_s: float) -> Forecasted:
    """Demand `horizon_s` (one interval) after the newest sample. Raises ValueError for an empty history.

    AutoARIMA falls back to the last value with fewer than FORECAST_MIN_SAMPLES samples and when it fails; the result
    names the model that was used and the note says why. A fit takes tenths of a second: call it in a thread.
    """
    newest = last_value(history)
    if model is ForecastModel.LAST_VALUE:
        return Forecasted(newest, ForecastModel.LAST_VALUE, horizon_s)
    if len(history.samples) < defaults.FORECAST_MIN_SAMPLES:
        note = f"{len(history.samples)} of {defaults.FORECAST_MIN_SAMPLES} samples that AutoARIMA needs"
        return Forecasted(newest, ForecastModel.LAST_VALUE, horizon_s, note)
    try:
        return Forecasted(_each_series(history), model, horizon_s)
    except ForecastError as failure:
        return Forecasted(newest, ForecastModel.LAST_VALUE, horizon_s, str(failure))


def _each_series(history: DemandHistory) -> Demand:
    """Rate, ISL and OSL, each forecast for itself as in DOPD. A rate below 0 is 0; a length below 1 is the last one."""

    def predicted(read: Callable[[Demand], float]) -> float:
        return next_value([read(sample.demand) for sample in history.samples])

    newest = history.samples[-1].demand
    isl, osl = predicted(lambda d: d.isl_tokens), predicted(lambda d: d.osl_tokens)
    return Demand(
        rate_rps=max(0.0, predicted(lambda d: d.rate_rps)),
        isl_tokens=isl if isl >= 1 else newest.isl_tokens,
        osl_tokens=osl if osl >= 1 else newest.osl_tokens,
    )
