"""How fast a fleet may change: HorizontalPodAutoscaler's `behavior` (autoscaling/v2), field by field."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pdoperator.api import defaults
from pdoperator.api.model import ApiModel


class PolicyType(StrEnum):
    """What a policy's value counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies holds: the one that allows most, the one that allows least, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(ApiModel):
    """How much may change within a period."""

    type: Annotated[PolicyType, Field(description="Whether `value` counts pods or percent of them.")]
    value: Annotated[int, Field(ge=1, le=2**31 - 1, description="The change allowed within the period.")]
    period_seconds: Annotated[int, Field(ge=1, le=1800, description="The period that `value` is meant for.")]


Window = Annotated[
    int, Field(ge=0, le=3600, description="A new size must have been asked for all this long.")
]
Policies = Annotated[
    list[ScalingPolicy],
    Field(min_length=1, max_length=16, description="Rates, of which selectPolicy takes one."),
]
Select = Annotated[SelectPolicy, Field(description="Max: the policy that allows most; Disabled: no change.")]
Tolerance = Annotated[
    float,
    Field(ge=0, le=1, description="A metric this close to its target changes nothing (strategy Reactive)."),
]


class ScalingRules(ApiModel):
    """Rules of one direction."""

    stabilization_window_seconds: Window
    policies: Policies
    select_policy: Select = SelectPolicy.MAX
    tolerance: Tolerance = defaults.TOLERANCE


class ScaleUpRules(ScalingRules):
    """Rules for more engines, as in HPA v2."""

    stabilization_window_seconds: Window = defaults.SCALE_UP_WINDOW_S
    policies: Policies = [
        ScalingPolicy(
            type=PolicyType.PERCENT,
            value=defaults.SCALE_UP_PERCENT,
            period_seconds=defaults.SCALE_PERIOD_S,
        ),
        ScalingPolicy(
            type=PolicyType.PODS, value=defaults.SCALE_UP_PODS, period_seconds=defaults.SCALE_PERIOD_S
        ),
    ]


class ScaleDownRules(ScalingRules):
    """Rules for fewer engines, as in HPA v2."""

    stabilization_window_seconds: Window = defaults.SCALE_DOWN_WINDOW_S
    policies: Policies = [
        ScalingPolicy(
            type=PolicyType.PERCENT,
            value=defaults.SCALE_DOWN_PERCENT,
            period_seconds=defaults.SCALE_PERIOD_S,
        )
    ]


class Behavior(ApiModel):
    """As in HPA v2. In a shared pool it holds for all engines together, else for each role by itself."""

    scale_up: ScaleUpRules = ScaleUpRules()
    scale_down: ScaleDownRules = ScaleDownRules()
