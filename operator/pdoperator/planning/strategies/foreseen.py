"""Around a strategy with a forecast of its own: what the calendar foresees is a floor under its fleet."""

from __future__ import annotations

import math
from dataclasses import replace

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole, total
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.calendar import known_rps, raised
from pdoperator.planning.split import in_proportion
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy
from pdoperator.planning.telling import load, needs


def with_calendar(strategy: Strategy) -> Strategy:
    """What `strategy` asks for, or engines for the rate of the calendar where these are more.

    They are split as the strategy splits its own: the calendar knows how much will come, not of what shape.
    """

    def foreseeing(context: Context) -> Proposal:
        proposal = strategy(context)
        foreseen_rps = known_rps(context.settings, context.observation, context.history)
        if proposal.forecast is None or foreseen_rps <= proposal.forecast.demand.rate_rps:
            return proposal
        sizer = Sizer.of(proposal.forecast.demand, context.settings)
        needed = sizer.engines(sizer.busy(foreseen_rps))
        engines = math.ceil(needed.prefill + needed.decode)
        if engines <= total(proposal.wanted):
            return proposal
        prefill = in_proportion(engines, proposal.wanted)
        wanted, ahead = PerRole(prefill, engines - prefill), raised(proposal.forecast, foreseen_rps)
        why = needs(load(ahead), wanted, context.current)
        return replace(proposal, wanted=wanted, reason=Reason.CALENDAR, why=why, forecast=ahead)

    return foreseeing
