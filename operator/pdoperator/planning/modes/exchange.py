"""Sizes from one mode to the other.

Strategies that size for a demand know two roles. In an aggregated fleet they plan for the disaggregated one that does
as much, and what they ask for is exchanged for aggregated engines: forecasts, quantiles, margins and what they have
learnt stay theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pdoperator.api.autoscaling import Strategy
from pdoperator.api.values import PerRole, total
from pdoperator.planning.decision import Candidate
from pdoperator.planning.modes.memory import Needs
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.split import split
from pdoperator.planning.strategies.strategy import Context, Proposal

# The others take their size from a person, or from the readings of the engines that there are.
_SIZED_FOR_DEMAND = (Strategy.ADAPTIVE, Strategy.DOPD, Strategy.MM1)
_ROUNDING = 1e-9  # what is whole but for rounding errors is whole


def sized_for_demand(settings: PlanSettings) -> bool:
    """Whether the strategy's sizes are for a demand, in engines of two roles."""
    return settings.enabled and settings.strategy in _SIZED_FOR_DEMAND


def shown(context: Context) -> Context:
    """The context with the fleet that its strategy is to believe in."""
    found = context.history.mode.needs
    if context.current.prefill or found is None or not sized_for_demand(context.settings):
        return context
    engines = max(2, math.floor(context.current.decode / found.exchange + _ROUNDING))
    return replace(context, current=split(engines, found.prefill_per_decode, context.settings.limits))


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A proposal in the terms of a mode, and the fleet in force in the same terms."""

    proposal: Proposal
    current: PerRole[int]


def aggregated(
    context: Context, shown_to_it: PerRole[int], proposal: Proposal, found: Needs | None
) -> Exchanged:
    """All engines in the decode role.

    A size that the strategy left as it was shown stays; one that no forecast led to counts as it is.
    """
    forecast = proposal.forecast is not None and sized_for_demand(context.settings)
    rate = found.exchange if found is not None and forecast else 1.0

    def exchanged(counts: PerRole[int]) -> PerRole[int]:
        if total(counts) == total(shown_to_it):
            return PerRole(0, total(context.current))
        return PerRole(0, math.ceil(total(counts) * rate - _ROUNDING))

    wanted, without = exchanged(proposal.wanted), proposal.without_forecast
    told = f"{proposal.why}; aggregated that is {total(wanted)} engines"
    proposal = replace(
        proposal,
        wanted=wanted,
        why=told,
        candidates=tuple(Candidate(exchanged(c.target), c.rejected) for c in proposal.candidates),
        without_forecast=None if without is None else exchanged(without),
    )
    return Exchanged(proposal, PerRole(0, total(context.current)))


def disaggregated(context: Context, proposal: Proposal, found: Needs | None) -> Exchanged:
    """Two roles; what is known as engines only is divided as the load needs it."""
    limits, ratio = context.settings.limits, found.prefill_per_decode if found else 1.0

    def divided(counts: PerRole[int]) -> PerRole[int]:
        return counts if counts.prefill else split(counts.decode, ratio, limits)

    return Exchanged(replace(proposal, wanted=divided(proposal.wanted)), divided(context.current))
