"""Around any strategy that sizes a fleet for a demand: what to do while the demand is not known, or there is none."""

from __future__ import annotations

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing
from pdoperator.planning.calendar import known_rps
from pdoperator.planning.demand import fresh_demand
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy


def for_known_demand(sized: Strategy) -> Strategy:
    """`sized` for a demand; held where it is not known, and minReplicas after IDLE_AFTER_S without a request (DOPD)."""

    def strategy(context: Context) -> Proposal:
        demand = fresh_demand(context.observation)
        if isinstance(demand, Missing):
            return held(context, Reason.HOLD_METRICS_MISSING, f"held: {demand.why}")
        foreseen = known_rps(context.settings, context.observation, context.history)
        if demand.x is not None or (foreseen and context.history.demand.samples):
            return sized(context)
        quiet = f"no request for {context.observation.idle_for_s:.0f} s"
        if context.observation.idle_for_s >= defaults.IDLE_AFTER_S:
            return Proposal(context.settings.least, Reason.IDLE, f"{quiet}: minReplicas")
        return held(context, Reason.IDLE, f"{quiet}: held until {defaults.IDLE_AFTER_S:.0f} s")

    return strategy


def held(context: Context, reason: Reason, why: str) -> Proposal:
    """The size as it is. The windows remember that it was asked for: what is not known is no reason to shrink after."""
    return Proposal(context.current, reason, why, state=context.history.state)
