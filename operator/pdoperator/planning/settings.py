"""The part of a spec that decisions depend on, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdoperator.api import defaults
from pdoperator.api import pause as api_pause
from pdoperator.api.autoscaling import Autoscaling, ForecastModel, Strategy
from pdoperator.api.behavior import PolicyType, ScalingRules, SelectPolicy
from pdoperator.api.calendar import Schedule, ScheduledReplicas
from pdoperator.api.names import Role
from pdoperator.api.spec import Mode, RoleSpec, Spec
from pdoperator.api.units import epoch_s, ratio, seconds
from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.capacity.builtin import profile_of
from pdoperator.capacity.profile import Profile
from pdoperator.planning.periods import Period, period


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """Bounds of one role's replicas, its first count, and what one engine takes of the GPU budget."""

    least: int
    most: int
    first: int
    cost: int


@dataclass(frozen=True, slots=True)
class Limits:
    """All that bounds a target. Ratios are (prefill, decode) parts; None: no bound. `scheduled`: by a schedule."""

    roles: PerRole[RoleLimits]
    budget: int | None = None
    ratio_min: tuple[int, int] | None = None
    ratio_max: tuple[int, int] | None = None
    scheduled: bool = False
    short: bool = False  # an engine could not start: these are not the spec's bounds but what can be had now

    def cost(self, target: PerRole[int]) -> int:
        """What `target` takes of the budget."""
        return sum(count * self.roles[role].cost for role, count in target.items())

    def aggregated(self) -> Limits:
        """The same engines, all in the decode role: bounds of both roles add up, and there is no ratio to hold."""
        p, d = self.roles.prefill, self.roles.decode
        both = RoleLimits(p.least + d.least, p.most + d.most, p.first + d.first, d.cost)
        roles = PerRole(RoleLimits(0, 0, 0, p.cost), both)
        return replace(self, roles=roles, ratio_min=None, ratio_max=None)

    def of(self, target: PerRole[int]) -> Limits:
        """Those that hold for a target: one without prefill engines is an aggregated fleet."""
        return self if target.prefill else self.aggregated()


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
class Pause:
    """No change of `roles` up or down before `until_s`; None: as long as it stands in the spec."""

    roles: tuple[Role, ...]
    up: bool
    down: bool
    until_s: float | None


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A period in which the load is at least `floor_rps`, and at least `factor` times what it was before."""

    period: Period
    factor: float
    floor_rps: float


@dataclass(frozen=True, slots=True)
class ScheduledBounds:
    """(least, most) of each role's replicas that hold in a period; None: the role's own."""

    period: Period
    roles: PerRole[tuple[int | None, int | None]]

    def within(self, limits: Limits) -> Limits:
        """`limits` with these bounds; never more than can be had now."""

        def role_limits(role: Role) -> RoleLimits:
            own, (least, most) = limits.roles[role], self.roles[role]
            most = own.most if most is None else most
            if limits.short:
                most = min(most, own.most)
            least = own.least if least is None else least
            return replace(own, least=min(least, most), most=most)

        return replace(limits, roles=PerRole.of(role_limits), scheduled=True)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """A service as planning sees it. `total` is the scale subresource's number (External only).

    `profile_named`: the profile is the model's own; else the preset's, of some model. Percentiles are 1 to 99.
    `startup_s` stands in for the start-up time of an engine until it is measured. `horizon_s` of the forecast; None:
    each strategy has its own. `quantile` of the forecast, 0.5 to 0.99; None: each strategy has its own.
    """

    strategy: Strategy
    enabled: bool
    limits: Limits
    total: int | None
    profile: Profile
    profile_named: bool
    mode: Mode
    shared_pool: bool
    ttft_target_s: float
    ttft_percentile: int
    tpot_target_s: float
    tpot_percentile: int
    startup_s: float
    interval_s: float
    model: ForecastModel
    window: int
    horizon_s: float | None
    quantile: float | None
    behavior: BehaviorRules
    dry_run: bool = False
    pauses: tuple[Pause, ...] = ()
    calendar: tuple[CalendarEvent, ...] = ()
    schedules: tuple[ScheduledBounds, ...] = ()

    def at(self, at_s: float) -> PlanSettings:
        """The settings at a moment: bounds of the first schedule that applies take the place of the spec's."""
        for schedule in self.schedules:
            if schedule.period.covers(at_s):
                return replace(self, limits=schedule.within(self.limits))
        return self

    @property
    def first(self) -> PerRole[int]:
        """Replicas before any decision."""
        limits = self.limits.aggregated() if self.mode is Mode.AGGREGATED else self.limits
        return PerRole.of(lambda role: limits.roles[role].first)

    @property
    def least(self) -> PerRole[int]:
        """minReplicas."""
        return PerRole.of(lambda role: self.limits.roles[role].least)


def plan_settings(spec: Spec, *, shared_pool: bool) -> PlanSettings:
    """Settings of a spec. Raises ValueError that names the field and the fix (an unknown or impossible profile).

    `shared_pool`: prefill and decode engines are the same pods, whose roles flip.
    """
    autoscaling, slo = spec.autoscaling, spec.slo
    profile = profile_of(spec.hardware)
    return PlanSettings(
        strategy=autoscaling.strategy,
        enabled=autoscaling.enabled,
        limits=_limits(spec, autoscaling),
        total=spec.replicas,
        profile=profile,
        profile_named=bool(spec.hardware.profile or spec.hardware.inline_profile),
        mode=spec.mode,
        shared_pool=shared_pool,
        ttft_target_s=seconds(slo.ttft.target),
        ttft_percentile=slo.ttft.percentile,
        tpot_target_s=seconds(slo.tpot.target),
        tpot_percentile=slo.tpot.percentile,
        startup_s=defaults.STARTUP_S if profile.startup_s is None else profile.startup_s,
        interval_s=autoscaling.interval_s,
        model=autoscaling.forecast.model,
        window=autoscaling.forecast.window,
        horizon_s=None if autoscaling.forecast.horizon == "Auto" else seconds(autoscaling.forecast.horizon),
        quantile=autoscaling.forecast.quantile,
        behavior=BehaviorRules(
            _rules(autoscaling.behavior.scale_up), _rules(autoscaling.behavior.scale_down)
        ),
        dry_run=autoscaling.dry_run,
        pauses=tuple(_pause(pause) for pause in autoscaling.pause),
        calendar=tuple(
            CalendarEvent(
                period(entry, f"spec.autoscaling.calendar[{i}]"), entry.factor or 0.0, entry.floor or 0.0
            )
            for i, entry in enumerate(autoscaling.calendar)
        ),
        schedules=tuple(
            ScheduledBounds(period(entry, f"spec.autoscaling.schedules[{i}]"), _scheduled(entry))
            for i, entry in enumerate(autoscaling.schedules)
        ),
    )


def _pause(pause: api_pause.Pause) -> Pause:
    return Pause(
        roles=SERVING_ROLES if pause.role is None else (Role(pause.role.value.lower()),),
        up=pause.direction is not api_pause.Direction.DOWN,
        down=pause.direction is not api_pause.Direction.UP,
        until_s=None if pause.until is None else epoch_s(pause.until),
    )


def _scheduled(schedule: Schedule) -> PerRole[tuple[int | None, int | None]]:
    def bounds(given: ScheduledReplicas) -> tuple[int | None, int | None]:
        return given.min_replicas, given.max_replicas

    return PerRole(bounds(schedule.prefill), bounds(schedule.decode))


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
