"""One decision: history in, a strategy, then the constraints in order. Pure; it remembers through History alone."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api.autoscaling import ForecastModel
from pdoperator.planning.bottleneck import Finding, find_bottleneck
from pdoperator.planning.calendar import near_events
from pdoperator.planning.constraints.behavior import behavior, remember
from pdoperator.planning.constraints.bounds import apply_limits, bounds, settled
from pdoperator.planning.constraints.draft import Constraint, Draft
from pdoperator.planning.constraints.fresh_readings import fresh_readings
from pdoperator.planning.constraints.pause import paused
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.demand import with_demand, with_rate
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.registry import strategy_of
from pdoperator.planning.strategies.strategy import Context, Proposal

# Each sees what the one before left. Bounds hold for what the windows remember, and in the end once more.
CONSTRAINTS: tuple[Constraint, ...] = (bounds, behavior, fresh_readings, paused, settled)


def decide(settings: PlanSettings, observation: Observation, history: History) -> tuple[Decision, History]:
    """The target for now, and the history to hand in next time.

    `history.target` is the current target; None on the very first decision, which starts from the spec's replicas. A
    forecast may take tenths of a second of CPU: call this in a thread.
    """
    settings = settings.at(observation.at_s)
    history = _brought_up_to_now(history, settings, observation)
    current = history.target or apply_limits(settings.first, settings.limits).target
    context = Context(settings, observation, history, current)
    proposal = strategy_of(settings)(context)
    draft = Draft.of(proposal)
    for constraint in CONSTRAINTS:
        draft = constraint(context, draft)
    finding = _finding(context, proposal)
    decision = Decision(
        at_s=observation.at_s,
        target=draft.target,
        wanted=proposal.wanted,
        reason=draft.reason,
        message=draft.why,
        limited=draft.limited,
        bottleneck=finding.bottleneck,
        forecast=proposal.forecast,
        evidence=finding.evidence,
        candidates=proposal.candidates,
        without_forecast=proposal.without_forecast,
    )
    history = remember(context, draft, draft.target)
    return decision, replace(history, target=draft.target, state=proposal.state)


def _brought_up_to_now(history: History, settings: PlanSettings, observation: Observation) -> History:
    """The history with the last interval's demand, and without the state of a strategy that no longer decides."""
    samples = history.demand
    if samples.limit != settings.window:
        samples = replace(samples, limit=settings.window)
    same = history.strategy is settings.strategy
    auto = settings.model is ForecastModel.AUTO
    history = replace(
        history,
        demand=with_demand(samples, observation),
        rate=with_rate(history.rate, observation, settings.interval_s) if auto else None,
        strategy=settings.strategy,
        state=history.state if same else None,
    )
    if settings.calendar or history.events:
        history = replace(history, events=near_events(settings, observation, history))
    return history


def _finding(context: Context, proposal: Proposal) -> Finding:
    """The strategy's own, or what the readings say."""
    if proposal.bottleneck is not None:
        return Finding(proposal.bottleneck, proposal.evidence)
    found = find_bottleneck(context.settings, context.observation, proposal.wanted)
    return Finding(found.bottleneck, proposal.evidence + found.evidence)
