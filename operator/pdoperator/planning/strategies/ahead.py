"""The demand that strategies size for."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.reasons import Reason
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.forecast import forecast
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.planning.calendar import MODEL, known_rps, raised
from pdoperator.planning.demand import recent_lengths
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.strategy import Context


def demand_ahead(context: Context, horizon_s: float) -> Forecasted:
    """Demand at the spec's horizon, else at `horizon_s`; or what the calendar foresees where that is more.

    Raises ValueError without any demand. The forecast may take tenths of a second of CPU.
    """
    settings, history = context.settings, context.history
    if settings.horizon_s is not None:
        horizon_s = settings.horizon_s
    if history.rate is not None:
        ahead = _peak(settings, history.rate, recent_lengths(history.demand), horizon_s)
    else:
        ahead = forecast(history.demand, settings.model, horizon_s)
    return raised(ahead, known_rps(settings, context.observation, history))


def _peak(settings: PlanSettings, rate: LoadForecast, lengths: Demand, horizon_s: float) -> Forecasted:
    """The rate that is not exceeded up to the horizon, at the spec's quantile; the lengths as they are."""
    quantile = defaults.FORECAST_QUANTILE if settings.quantile is None else settings.quantile
    peak = rate.peak(horizon_s, quantile, defaults.PEAK_WINDOW_S)
    demand = replace(lengths, rate_rps=peak.value)
    return Forecasted(demand, peak.model, horizon_s, peak.note, peak.skill, peak.trusted)


def reason_of(ahead: Forecasted) -> Reason:
    """What a size for `ahead` is based on."""
    return {MODEL: Reason.CALENDAR, ForecastModel.LAST_VALUE: Reason.LAST_VALUE}.get(
        ahead.model, Reason.FORECAST
    )
