"""The part of a spec that decisions depend on, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.autoscaling import Autoscaling, ForecastModel, Strategy
from pdoperator.api.behavior import PolicyType, ScalingRules, SelectPolicy
from pdoperator.api.names import Role
from pdoperator.api.spec import RoleSpec, Spec
from pdoperator.api.units import ratio, seconds
from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import profile_of
from pdoperator.capacity.profile import Profile


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """Bounds of one role's replicas, its first count, and what one engine takes of the GPU budget."""

    least: int
    most: int
    first: int
    cost: int


@dataclass(frozen=True, slots=True)
class Limits:
    """All that bounds a target. Ratios are (prefill, decode) parts; None: no bound."""

    roles: PerRole[RoleLimits]
    budget: int | None = None
    ratio_min: tuple[int, int] | None = None
    ratio_max: tuple[int, int] | None = None

    def cost(self, target: PerRole[int]) -> int:
        """What `target` takes of the budget."""
        return sum(count * self.roles[role].cost for role, count in target.items())


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """How many engines, or percent of them, may come or go within a period."""

    type: PolicyType
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """HPA v2's rules of one direction. `tolerance` is a share of a metric's target."""

    window_s: float
    policies: tuple[RatePolicy, ...]
    select: SelectPolicy
    tolerance: float


@dataclass(frozen=True, slots=True)
class BehaviorRules:
    """HPA v2's behavior."""

    up: Rules
    down: Rules

    @property
    def longest_window_s(self) -> float:
        """How far back a recommendation may still count."""
        return max(self.up.window_s, self.down.window_s)

    @property
    def longest_period_s(self) -> float:
        """How far back a rescale may still count."""
        return max(policy.period_s for rules in (self.up, self.down) for policy in rules.policies)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """A service as planning sees it. `total` is the scale subresource's number (External only).

    Percentiles are 1 to 99. `startup_s` stands in for the start-up time of an engine until it is measured.
    """

    strategy: Strategy
    enabled: bool
    limits: Limits
    total: int | None
    profile: Profile
    shared_pool: bool
    ttft_target_s: float
    ttft_percentile: int
    tpot_target_s: float
    tpot_percentile: int
    startup_s: float
    interval_s: float
    model: ForecastModel
    window: int
    behavior: BehaviorRules

    @property
    def first(self) -> PerRole[int]:
        """Replicas before any decision."""
        return PerRole.of(lambda role: self.limits.roles[role].first)

    @property
    def least(self) -> PerRole[int]:
        """minReplicas."""
        return PerRole.of(lambda role: self.limits.roles[role].least)


def plan_settings(spec: Spec, *, shared_pool: bool) -> PlanSettings:
    """Settings of a spec. Raises ValueError that names the field and the fix (an unknown or impossible profile).

    `shared_pool`: prefill and decode engines are the same pods, whose roles flip.
    """
    autoscaling, slo = spec.autoscaling, spec.slo
    return PlanSettings(
        strategy=autoscaling.strategy,
        enabled=autoscaling.enabled,
        limits=_limits(spec, autoscaling),
        total=spec.replicas,
        profile=profile_of(spec.hardware),
        shared_pool=shared_pool,
        ttft_target_s=seconds(slo.ttft.target),
        ttft_percentile=slo.ttft.percentile,
        tpot_target_s=seconds(slo.tpot.target),
        tpot_percentile=slo.tpot.percentile,
        startup_s=defaults.STARTUP_S,
        interval_s=seconds(autoscaling.interval),
        model=autoscaling.forecast.model,
        window=autoscaling.forecast.window,
        behavior=BehaviorRules(
            _rules(autoscaling.behavior.scale_up), _rules(autoscaling.behavior.scale_down)
        ),
    )


def _rules(rules: ScalingRules) -> Rules:
    policies = tuple(RatePolicy(p.type, p.value, p.period_seconds) for p in rules.policies)
    return Rules(rules.stabilization_window_seconds, policies, rules.select_policy, rules.tolerance)


def _limits(spec: Spec, autoscaling: Autoscaling) -> Limits:
    def role_limits(role: Role) -> RoleLimits:
        part: RoleSpec = spec.prefill if role is Role.PREFILL else spec.decode
        return RoleLimits(part.min_replicas, part.max_replicas, part.first_replicas, spec.budget_cost(part))

    bounds = autoscaling.ratio
    return Limits(
        roles=PerRole.of(role_limits),
        budget=autoscaling.gpu_budget,
        ratio_min=None if bounds.min is None else ratio(bounds.min),
        ratio_max=None if bounds.max is None else ratio(bounds.max),
    )
