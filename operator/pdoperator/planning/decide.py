"""One decision: observation, forecast, strategy, limits, stabilisation. Pure; it remembers through History alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.spec import ForecastModel, Strategy
from pdoperator.api.values import Missing, PerRole, Value, ratio_text
from pdoperator.forecast.demand import Demand, Sample
from pdoperator.forecast.forecast import forecast
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decision import Decision, History, Recommendation
from pdoperator.planning.dopd import Sizing, observed_correction, size
from pdoperator.planning.external import split, total_engines
from pdoperator.planning.limits import Limited, apply_limits
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.stabilize import give_up_surplus, remember, stabilize
from pdoperator.planning.static import static


@dataclass(frozen=True, slots=True)
class _Proposal:
    """What a strategy asks for, before bounds. `stabilize`: HPA's windows apply to it and remember it."""

    wanted: PerRole[int]
    reason: Reason
    why: str
    forecast: Forecasted | None = None
    stabilize: bool = False


def decide(settings: PlanSettings, observation: Observation, history: History) -> tuple[Decision, History]:
    """The target for now, and the history to hand in next time.

    `history.target` is the current target; None on the very first decision, which starts from the spec's replicas. A
    forecast may take tenths of a second of CPU: call this in a thread.
    """
    history = _with_demand(history, settings, observation)
    current = history.target or apply_limits(settings.first, settings.limits).target
    proposal = _propose(settings, observation, history, current)
    if proposal.stabilize:
        limited, proposal, history = _stabilized(settings, observation, history, current, proposal)
    else:
        limited = apply_limits(proposal.wanted, settings.limits)
    decision = Decision(
        at_s=observation.at_s,
        target=limited.target,
        wanted=proposal.wanted,
        reason=proposal.reason,
        message=_message(proposal, limited),
        limited=limited.reason,
        bottleneck=_bottleneck(proposal.wanted, observation),
        forecast=proposal.forecast,
    )
    return decision, replace(history, target=limited.target)


def _with_demand(history: History, settings: PlanSettings, observation: Observation) -> History:
    """The history with the last interval. Without a request the rate is 0 and the lengths are those last known."""
    samples = replace(history.demand, limit=settings.window)
    demand = _fresh_demand(observation)
    if isinstance(demand, Missing):
        return replace(history, demand=samples)
    seen = demand.x
    if seen is None:
        if not samples.samples:
            return replace(history, demand=samples)
        seen = replace(samples.samples[-1].demand, rate_rps=0.0)
    return replace(history, demand=samples.with_sample(Sample(observation.at_s, seen)))


def _fresh_demand(observation: Observation) -> Value[Demand | None] | Missing:
    demand = observation.demand
    if isinstance(demand, Value) and demand.age_s > defaults.METRICS_MAX_AGE_S:
        return Missing(f"the newest metrics are {demand.age_s:.0f} s old")
    return demand


def _propose(
    settings: PlanSettings, observation: Observation, history: History, current: PerRole[int]
) -> _Proposal:
    if not settings.enabled:
        return _Proposal(static(settings), Reason.SCALING_DISABLED, "autoscaling is off: the spec's replicas")
    if settings.strategy is Strategy.STATIC:
        return _Proposal(static(settings), Reason.STATIC, "strategy Static: the spec's replicas")
    if settings.strategy is Strategy.EXTERNAL:
        return _external(settings, observation, history, current)
    return _on_forecast(settings, observation, history, current)


def _on_forecast(
    settings: PlanSettings, observation: Observation, history: History, current: PerRole[int]
) -> _Proposal:
    demand = _fresh_demand(observation)
    if isinstance(demand, Missing):
        return _Proposal(current, Reason.HOLD_METRICS_MISSING, f"held: {demand.why}")
    if demand.x is None:
        quiet = f"no request for {observation.idle_for_s:.0f} s"
        if observation.idle_for_s >= defaults.IDLE_AFTER_S:
            return _Proposal(settings.least, Reason.IDLE, f"{quiet}: minReplicas", stabilize=True)
        return _Proposal(current, Reason.IDLE, f"{quiet}: held until {defaults.IDLE_AFTER_S:.0f} s")
    ahead, sizing = _forecast_and_size(settings, observation, history)
    reason = Reason.LAST_VALUE if ahead.model == ForecastModel.LAST_VALUE else Reason.FORECAST
    return _Proposal(sizing.wanted, reason, _needs(ahead, sizing.wanted, current), ahead, stabilize=True)


def _external(
    settings: PlanSettings, observation: Observation, history: History, current: PerRole[int]
) -> _Proposal:
    """The total holds whatever is known of the load; without a load the split stays as it was."""
    total = total_engines(settings)
    if isinstance(_fresh_demand(observation), Missing) or not history.demand.samples:
        kept = split(total, current.prefill / max(1, current.decode), settings.limits.roles)
        return _Proposal(kept, Reason.EXTERNAL, f"{total} engines, split as before: the load is not known")
    ahead, sizing = _forecast_and_size(settings, observation, history)
    wanted = split(total, sizing.prefill_per_decode, settings.limits.roles)
    why = f"{total} engines; {_load(ahead)} splits them {ratio_text(wanted)}"
    return _Proposal(wanted, Reason.EXTERNAL, why, ahead)


def _forecast_and_size(
    settings: PlanSettings, observation: Observation, history: History
) -> tuple[Forecasted, Sizing]:
    ahead = forecast(history.demand, settings.model, settings.interval_s)
    correction = observed_correction(settings.profile, observation)
    return ahead, size(settings.profile, settings.tpot_target_s, ahead.demand, correction)


def _stabilized(
    settings: PlanSettings,
    observation: Observation,
    history: History,
    current: PerRole[int],
    proposal: _Proposal,
) -> tuple[Limited, _Proposal, History]:
    """The proposal within its bounds, and held by the windows within the same bounds."""
    now_s = observation.at_s
    limited = apply_limits(proposal.wanted, settings.limits)
    # As HPA does: the size found at the start counts as asked for, so that a restart does not shrink anything at once.
    past = history.recommendations or (Recommendation(now_s, current),)
    past = remember(settings, past, Recommendation(now_s, limited.target))
    held = stabilize(settings, current, past, now_s)
    held = apply_limits(give_up_surplus(held, limited.target, settings.limits), settings.limits).target
    if held != limited.target:
        why = f"{proposal.why}; held at {ratio_text(held)} by the stabilisation window"
        limited, proposal = (
            replace(limited, target=held),
            replace(proposal, reason=Reason.STABILIZED, why=why),
        )
    return limited, proposal, replace(history, recommendations=past)


def _load(ahead: Forecasted) -> str:
    demand = ahead.demand
    what = "last value" if ahead.model == ForecastModel.LAST_VALUE else "forecast"
    return (
        f"{what} {demand.rate_rps:.1f} req/s, ISL {demand.isl_tokens:.0f}, OSL {demand.osl_tokens:.0f}"
        f" in {ahead.horizon_s:g} s"
    )


def _needs(ahead: Forecasted, wanted: PerRole[int], current: PerRole[int]) -> str:
    def part(role: Role) -> str:
        was = "" if wanted[role] == current[role] else f" (was {current[role]})"
        return f"{role.value} {wanted[role]}{was}"

    return f"{_load(ahead)} needs {part(Role.PREFILL)}, {part(Role.DECODE)}"


def _message(proposal: _Proposal, limited: Limited) -> str:
    bounds = {
        Reason.TOO_FEW_REPLICAS: "minReplicas",
        Reason.TOO_MANY_REPLICAS: "maxReplicas",
        Reason.GPU_BUDGET: "gpuBudget",
        Reason.RATIO_BOUND: "ratio",
    }
    if limited.reason not in bounds or proposal.reason is Reason.STABILIZED:
        return proposal.why
    return f"{proposal.why}; {bounds[limited.reason]} makes it {ratio_text(limited.target)}"


def _bottleneck(wanted: PerRole[int], observation: Observation) -> Bottleneck:
    """The role that lacks the most ready engines of those it needs."""

    def lacking(role: Role) -> int:
        return wanted[role] - sum(
            1 for engine in observation.engines if engine.usable and engine.role is role
        )

    role = max((Role.PREFILL, Role.DECODE), key=lacking)
    if lacking(role) <= 0:
        return Bottleneck.NONE
    return Bottleneck.PREFILL if role is Role.PREFILL else Bottleneck.DECODE
