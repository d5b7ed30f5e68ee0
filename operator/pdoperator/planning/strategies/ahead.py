"""The demand that strategies size for."""

from __future__ import annotations

from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.reasons import Reason
from pdoperator.forecast.forecast import forecast
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.calendar import MODEL, known_rps, raised
from pdoperator.planning.strategies.strategy import Context


def demand_ahead(context: Context, horizon_s: float) -> Forecasted:
    """Demand at the spec's horizon, else at `horizon_s`; or what the calendar foresees where that is more.

    Raises ValueError without any demand. The forecast may take tenths of a second of CPU.
    """
    settings = context.settings
    given_s = settings.horizon_s
    ahead = forecast(context.history.demand, settings.model, horizon_s if given_s is None else given_s)
    return raised(ahead, known_rps(settings, context.observation, context.history))


def reason_of(ahead: Forecasted) -> Reason:
    """What a size for `ahead` is based on."""
    return {MODEL: Reason.CALENDAR, ForecastModel.LAST_VALUE: Reason.LAST_VALUE}.get(
        ahead.model, Reason.FORECAST
    )
