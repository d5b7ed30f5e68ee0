"""Around any strategy: what it proposes, in the terms of the mode that the service is to have."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api.spec import Mode
from pdoperator.planning.decision import Candidate
from pdoperator.planning.demand import recent_lengths, recent_rate_rps
from pdoperator.planning.modes.choose import Choice, choose, mode_of
from pdoperator.planning.modes.exchange import aggregated, disaggregated, shown
from pdoperator.planning.modes.memory import ModeMemory, Needs
from pdoperator.planning.modes.needs import needs
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy


def in_mode(context: Context, strategy: Strategy) -> tuple[Context, Proposal]:
    """What `strategy` proposes, and the context for what bounds it: both in the terms of the mode that is to be.

    Limits and the fleet in force are that mode's there, so that changing it is no scaling.
    """
    if context.settings.mode is Mode.DISAGGREGATED and context.current.prefill:
        return context, strategy(context)
    seen = shown(context)
    proposal = strategy(seen)
    found = _needs(context, proposal)
    choice = choose(context, found)
    memory = ModeMemory(found or context.history.mode.needs, choice.leaning_s)
    if choice.mode is Mode.AGGREGATED:
        exchanged = aggregated(context, seen.current, proposal, memory.needs)
    else:
        exchanged = disaggregated(context, proposal, memory.needs)
    settings, before = context.settings, mode_of(context.current)
    if choice.mode is Mode.AGGREGATED:
        settings = replace(settings, limits=settings.limits.aggregated())
    context = replace(
        context, settings=settings, current=exchanged.current, history=replace(context.history, mode=memory)
    )
    return context, _told(exchanged.proposal, choice, before, fixed=settings.mode is not Mode.AUTO)


def _needs(context: Context, proposal: Proposal) -> Needs | None:
    """Of the demand that the strategy forecasts, at the rate of the last minutes at least; None without requests."""
    history = context.history.demand
    if not history.samples:
        return None
    rate_rps = recent_rate_rps(history)
    demand = recent_lengths(history) if proposal.forecast is None else proposal.forecast.demand
    demand = replace(demand, rate_rps=max(rate_rps, demand.rate_rps))
    return needs(demand, context.settings) if demand.rate_rps > 0 else None


def _told(proposal: Proposal, choice: Choice, before: Mode, *, fixed: bool) -> Proposal:
    """With what was weighed, and at a change why."""
    why = proposal.why
    if choice.mode is not before:
        why = f"{why}; {f'mode {choice.mode.value}, as the spec says' if fixed else choice.evidence[0]}"
    candidates = proposal.candidates
    if choice.other is not None:
        candidates = (*(candidates or (Candidate(proposal.wanted),)), choice.other)
    return replace(proposal, why=why, evidence=(*proposal.evidence, *choice.evidence), candidates=candidates)
