"""How the fleet follows the load: the part `autoscaling` of a spec."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pdoperator.api import defaults
from pdoperator.api.behavior import Behavior
from pdoperator.api.calendar import CalendarEntry, Schedule
from pdoperator.api.model import ApiModel, Duration, rules
from pdoperator.api.pause import Pause
from pdoperator.api.sources import ConflictPolicy, MetricsSource
from pdoperator.api.units import HORIZON_PATTERN, RATIO_PATTERN, seconds

Ratio = Annotated[str, Field(pattern=RATIO_PATTERN, max_length=9)]


class Strategy(StrEnum):
    """Who decides how many engines prefill and decode."""

    ADAPTIVE = "Adaptive"
    DOPD = "DOPD"
    MM1 = "MM1"
    REACTIVE = "Reactive"
    STATIC = "Static"
    EXTERNAL = "External"


class ForecastModel(StrEnum):
    """How demand is forecast. Auto: models compete for the rate; lengths are their recent means."""

    AUTO = "Auto"
    AUTO_ARIMA = "AutoARIMA"
    LAST_VALUE = "LastValue"


Horizon = Annotated[str, Field(pattern=HORIZON_PATTERN, max_length=32)]


class Forecast(ApiModel):
    """The forecast of rate, ISL and OSL."""

    model: Annotated[ForecastModel, Field(description="How demand is forecast.")] = ForecastModel.AUTO_ARIMA
    window: Annotated[int, Field(ge=5, le=1000, description="Samples that the model is fitted to.")] = (
        defaults.FORECAST_WINDOW
    )
    quantile: Annotated[
        float | None,
        Field(
            ge=0.5,
            le=0.99,
            description="How sure the load is not to exceed the forecast, with model Auto and strategy Adaptive; "
            f"absent: {defaults.FORECAST_QUANTILE}, with Adaptive {defaults.FLEET_QUANTILE}.",
        ),
    ] = None
    horizon: Annotated[
        Horizon,
        Field(
            description="How far ahead; Auto: one interval with DOPD and External, else until a new engine serves.",
            json_schema_extra=rules(
                (
                    "self == 'Auto' || duration(self) > duration('0s')",
                    "must be longer than 0s; give Auto or a duration such as 2m",
                )
            ),
        ),
    ] = "Auto"


class RatioBounds(ApiModel):
    """Bounds of prefill:decode, prefill first."""

    model_config = {
        "json_schema_extra": rules(
            (
                "!has(self.min) || !has(self.max) || "
                "int(self.min.split(':')[0]) * int(self.max.split(':')[1])"
                " <= int(self.max.split(':')[0]) * int(self.min.split(':')[1])",
                "ratio.min must not exceed ratio.max; both are prefill:decode, so 1:4 is less than 4:1",
            )
        )
    }

    min: Annotated[Ratio | None, Field(description="Least prefill per decode, such as 1:4.")] = None
    max: Annotated[Ratio | None, Field(description="Most prefill per decode, such as 4:1.")] = None


class Autoscaling(ApiModel):
    """How the fleet follows the load."""

    enabled: Annotated[bool, Field(description="False: replicas of prefill and decode stay as written.")] = (
        True
    )
    strategy: Annotated[Strategy, Field(description="Who decides how many engines prefill and decode.")] = (
        Strategy.ADAPTIVE
    )
    interval: Annotated[
        Duration | None,
        Field(
            description="Time between decisions, at least 1s; "
            f"absent: {defaults.INTERVAL_S:g}s, with Adaptive {defaults.ADAPTIVE_INTERVAL_S:g}s.",
            json_schema_extra=rules(
                ("duration(self) >= duration('1s')", "must be at least 1s; give a duration such as 15s or 1m")
            ),
        ),
    ] = None
    forecast: Forecast = Forecast()
    metrics: MetricsSource = MetricsSource()
    conflict_policy: Annotated[
        ConflictPolicy,
        Field(
            description="When others change its objects: take that back, or leave it until the next edit.",
        ),
    ] = ConflictPolicy.ENFORCE
    gpu_budget: Annotated[
        int | None,
        Field(
            ge=1,
            le=100000,
            description="GPUs that all engines together may hold; with preset cpu an engine counts as one.",
        ),
    ] = None
    ratio: RatioBounds = RatioBounds()
    behavior: Behavior = Behavior()
    pause: Annotated[list[Pause], Field(max_length=16, description="What must not change for now.")] = []
    calendar: Annotated[
        list[CalendarEntry], Field(max_length=64, description="Events that raise the load.")
    ] = []
    schedules: Annotated[
        list[Schedule], Field(max_length=32, description="Bounds on replicas that hold at certain times.")
    ] = []
    dry_run: Annotated[bool, Field(description="Decide and report, change nothing.")] = False

    @property
    def interval_s(self) -> float:
        """Seconds between decisions: as given, else the strategy's own (no default of the CRD can tell them apart)."""
        if self.interval is not None:
            return seconds(self.interval)
        return defaults.ADAPTIVE_INTERVAL_S if self.strategy is Strategy.ADAPTIVE else defaults.INTERVAL_S
