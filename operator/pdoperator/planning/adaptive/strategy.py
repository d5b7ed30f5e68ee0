"""Strategy Adaptive: the fleet at the start-up's horizon, the split over the next seconds, and what has piled up.

The fleet has to hold the peak of both loads together over the time that a new engine takes to serve, at a quantile;
the split divides the engines by what each role needs in the next seconds. In a shared pool a flip takes seconds, so
the fleet needs the peak of the sum, not the sum of the peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.forecast.load_forecast import LoadForecast, Peak
from pdoperator.planning.adaptive.loads import hopeless_share, prefill_busy, work_of
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.adaptive.pressure import Pressure, pressure
from pdoperator.planning.adaptive.split import split
from pdoperator.planning.adaptive.state import AdaptiveState
from pdoperator.planning.adaptive.tuning import Tuning
from pdoperator.planning.demand import fresh_demand
from pdoperator.planning.error_budget import quantile
from pdoperator.planning.horizon import lead_time_s
from pdoperator.planning.split import in_proportion
from pdoperator.planning.strategies.known_demand import held
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy
from pdoperator.planning.telling import expected, needs


def adaptive(tuning: Tuning) -> Strategy:
    """The strategy with these constants and switches."""

    def strategy(context: Context) -> Proposal:
        settings, at_s = context.settings, context.observation.at_s
        demand, state = fresh_demand(context.observation), _state(context)
        if isinstance(demand, Missing):
            hold = held(context, Reason.HOLD_METRICS_MISSING, f"held: {demand.why}")
            return replace(hold, state=state.with_load(at_s, None))
        if demand.x is not None:
            state = state.with_shape(demand.x, settings.interval_s)
        if state.shape is None:
            state = state.with_load(at_s, PerRole(0.0, 0.0))
            return replace(_unused(context, state), state=state)
        sizer = Sizer.of(state.shape, settings)
        state = state.with_load(at_s, _busy(demand.x, sizer))
        return _Plan(context, tuning, state, sizer, _burn(context, sizer)).proposal()

    return strategy


def _state(context: Context) -> AdaptiveState:
    state, interval_s = context.history.state, context.settings.interval_s
    if isinstance(state, AdaptiveState) and state.total.interval_s == interval_s:
        return state
    return AdaptiveState.empty(interval_s)


def _unused(context: Context, state: AdaptiveState) -> Proposal:
    """No request is known of. As with any young history nothing is given away at first, then all that may go: however
    long a service has been idle under another strategy, or before the operator came."""
    if state.total.span_s < defaults.LEARN_S:
        return held(context, Reason.IDLE, f"no request yet: held for {defaults.LEARN_S:.0f} s")
    idle_s = context.observation.idle_for_s
    return Proposal(context.settings.least, Reason.IDLE, f"no request for {idle_s:.0f} s: minReplicas")


def _piled_up(pressed: Pressure, for_soon: PerRole[float]) -> str:
    """What has piled up, where it decides: more than the next seconds bring, or an emergency."""
    if pressed.decoding > for_soon.decode:
        return f"; {_under_way(pressed)}"
    return f"; {_waiting(pressed)}" if pressed.prefill > defaults.BACKLOG_ENGINES else ""


def _under_way(pressed: Pressure) -> str:
    return f"requests under way fill {pressed.decoding:.1f} decode engines"


def _waiting(pressed: Pressure) -> str:
    return f"prompts that wait are {pressed.waiting_s:.1f} s of work for one engine"


def _busy(demand: Demand | None, sizer: Sizer) -> PerRole[float]:
    """Prompts count as long as they are, outputs as long as they have been of late."""
    if demand is None:
        return PerRole(0.0, 0.0)
    arrived = prefill_busy(work_of(demand, sizer.profile), sizer.profile)
    return PerRole(demand.rate_rps * arrived, demand.rate_rps * sizer.per_request.decode)


def _burn(context: Context, sizer: Sizer) -> float:
    """The burn rate of the error budget; prompts that no engine is fast enough for count on nobody's account."""
    hopeless = hopeless_share(sizer.shape, sizer.profile, sizer.targets.ttft_s)
    return context.history.budget.burn(sizer.targets.misses, hopeless)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One decision in the making."""

    context: Context
    tuning: Tuning
    state: AdaptiveState
    sizer: Sizer
    burn: float

    def proposal(self) -> Proposal:
        """Fleet and split, and why."""
        current = self.context.current
        ahead = self._ahead()
        pressed = pressure(self.context.observation, self.sizer) if self.tuning.emergency else Pressure()
        soon = PerRole.of(lambda role: self._soon(self.state.roles[role]))
        engines = self._fleet(max(ahead.value, soon.prefill + soon.decode), soon, pressed)
        if self.state.total.span_s < defaults.LEARN_S:  # too young to give anything away
            engines = max(engines, current.prefill + current.decode)
        for_soon = self.sizer.engines(soon)
        wanted, state = self._split(engines, soon, for_soon, pressed)
        without = self._fleet(self._now(self.state.total), soon, pressed)
        prefill, forecast = in_proportion(without, wanted), self._forecasted(ahead)
        load = f"{expected(forecast)}, at most {ahead.value:.1f} engines busy,"
        return Proposal(
            wanted=wanted,
            reason=Reason.EMERGENCY if pressed.prefill > defaults.BACKLOG_ENGINES else Reason.FORECAST,
            why=needs(load, wanted, current) + _piled_up(pressed, for_soon),
            forecast=forecast,
            evidence=self._evidence(soon, for_soon, pressed),
            without_forecast=PerRole(prefill, without - prefill),
            state=state,
        )

    def _horizon_s(self) -> float:
        """The lead time; where engines start sooner than bursts come and go, long enough to be ready for one."""
        settings = self.context.settings
        if settings.horizon_s is not None:
            return settings.horizon_s
        if not self.tuning.lead_time:
            return settings.interval_s
        return max(defaults.FLEET_HORIZON_MIN_S, lead_time_s(settings, self.context.observation))

    def _ahead(self) -> Peak:
        """The peak of the total load until an engine asked for now would serve."""
        if not self.tuning.forecast:
            now = self._now(self.state.total)
            return Peak(now, now, "LastValue", 0.0, trusted=True)
        return self.state.total.peak(self._horizon_s(), self._quantile(), defaults.FLEET_WINDOW_S)

    def _quantile(self) -> float:
        """Of the peak that the fleet is sized for, the spec's where it has one: higher while misses use up the error
        budget."""
        given = self.context.settings.quantile
        least = self.tuning.quantile if given is None else given
        return quantile(least, self.burn) if self.tuning.error_budget else least

    def _soon(self, load: LoadForecast) -> float:
        """The load over the next seconds, which flips can still follow."""
        if not self.tuning.forecast:
            return self._now(load)
        return load.peak(defaults.SPLIT_HORIZON_S, defaults.SPLIT_QUANTILE, defaults.PEAK_WINDOW_S).value

    def _now(self, load: LoadForecast) -> float:
        """Its mean over the last minute; a difference of sums, which may fall a hair below 0."""
        return max(0.0, load.recent(defaults.SHAPE_S))

    def _fleet(self, busy: float, soon: PerRole[float], pressed: Pressure) -> int:
        """Engines for so many busy ones, of which as large a part prefills as soon, and for what has piled up."""
        both = soon.prefill + soon.decode
        parts = PerRole.of(lambda role: busy * soon[role] / both if both > 0 else 0.0)
        needed = self.sizer.engines(parts)
        relief = min(pressed.waiting_s / defaults.RELIEF_S, defaults.RELIEF_MAX * busy)
        engines = needed.prefill + max(needed.decode, pressed.decoding) + relief
        least = self.context.settings.least
        return max(math.ceil(engines), least.prefill + least.decode, 2)

    def _split(
        self, engines: int, soon: PerRole[float], for_soon: PerRole[float], pressed: Pressure
    ) -> tuple[PerRole[int], AdaptiveState]:
        """Both roles of so many engines, and when they were last changed.

        The split is of the engines that the budget has room for; what is asked for beyond it is told in proportion. Of
        a fleet that is not to be had it would count flips that never happen, and each forbids the next for a while.
        """
        current, at_s = self.context.current, self.context.observation.at_s
        there = self._affordable(engines)
        needed = self._needed(for_soon, pressed)
        if needed.prefill + needed.decode > there:  # no room for waits is to be had: work alone counts
            needed = self._needed(soon, pressed)
        may_flip = self.tuning.flips and at_s - self.state.flipped_s >= defaults.FLIP_DWELL_S
        kept = in_proportion(there, current)
        prefill = split(there, needed, kept, may_flip=may_flip)
        asked = in_proportion(engines, PerRole(prefill, there - prefill))
        state = self.state if prefill == kept else replace(self.state, flipped_s=at_s)
        return PerRole(asked, engines - asked), state

    def _needed(self, for_soon: PerRole[float], pressed: Pressure) -> PerRole[float]:
        """Engines for the next seconds and for what has piled up: prompts that wait, and as they end their decodes."""
        per_request = self.sizer.per_request
        ratio = per_request.decode / per_request.prefill if per_request.prefill > 0 else 0.0
        decoding = max(for_soon.decode, pressed.decoding)
        return PerRole(for_soon.prefill + pressed.prefill, decoding + pressed.prefill * ratio)

    def _affordable(self, engines: int) -> int:
        """As many of them as the GPU budget has room for."""
        limits = self.context.settings.limits
        cost = max(limits.roles.prefill.cost, limits.roles.decode.cost)
        if limits.budget is None or cost == 0:
            return engines
        return min(engines, max(2, limits.budget // cost))

    def _rate(self, busy: float) -> float:
        """Requests per second that keep so many engines busy."""
        return busy / (self.sizer.per_request.prefill + self.sizer.per_request.decode)

    def _forecasted(self, ahead: Peak) -> Forecasted:
        demand = replace(self.sizer.shape, rate_rps=self._rate(ahead.point))
        return Forecasted(demand, ahead.model, self._horizon_s(), ahead.note, ahead.skill, ahead.trusted)

    def _evidence(self, soon: PerRole[float], for_soon: PerRole[float], pressed: Pressure) -> tuple[str, ...]:
        return (
            f"within {defaults.SPLIT_HORIZON_S:.0f} s prefill keeps {soon.prefill:.1f} engines busy and needs "
            f"{for_soon.prefill:.1f}, decode {soon.decode:.1f} and {for_soon.decode:.1f}",
            _waiting(pressed),
            _under_way(pressed),
            f"misses of late are {self.burn:.0%} of what targets allow: planned for quantile {self._quantile():.2f}",
        )
