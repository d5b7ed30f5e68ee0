"""One decision: history in, a strategy, then the constraints in order. Pure; it remembers through History alone."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.values import PerRole
from pdoperator.planning.bottleneck import Finding, find_bottleneck
from pdoperator.planning.calendar import near_events
from pdoperator.planning.constraints.behavior import behavior, remember
from pdoperator.planning.constraints.bounds import apply_limits, bounds, settled
from pdoperator.planning.constraints.draft import Constraint, Draft
from pdoperator.planning.constraints.fresh_readings import fresh_readings
from pdoperator.planning.constraints.pause import paused
from pdoperator.planning.decision import Candidate, Decision, DryRun, History
from pdoperator.planning.demand import with_demand, with_rate
from pdoperator.planning.dry_run import begun, scored
from pdoperator.planning.modes.in_mode import in_mode
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.registry import strategy_of
from pdoperator.planning.strategies.strategy import Context, Proposal, Strategy

# Each sees what the one before left. Bounds hold for what the windows remember, and in the end once more.
CONSTRAINTS: tuple[Constraint, ...] = (bounds, behavior, fresh_readings, paused, settled)


def decide(
    settings: PlanSettings, observation: Observation, history: History, strategy: Strategy | None = None
) -> tuple[Decision, History]:
    """The target for now, and the history to hand in next time. `strategy` takes the place of the spec's in replays.

    `history.target` is the target in force; None on the very first decision, which starts from the spec's replicas. It
    stays as it is in a dry run. A forecast may take tenths of a second of CPU: call this in a thread.
    """
    settings = settings.at(observation.at_s)
    history = _brought_up_to_now(history, settings, observation)
    in_force = history.target or apply_limits(settings.first, settings.limits.of(settings.first)).target
    run = _dry_run(settings, observation, history, in_force)
    current = in_force if run is None else run.target
    context = Context(settings, observation, history, current)
    context, proposal = in_mode(context, strategy or strategy_of(settings))
    settings, history = context.settings, context.history
    draft = Draft.of(proposal)
    for constraint in CONSTRAINTS:
        draft = constraint(context, draft)
    if run is not None:
        needed = apply_limits(proposal.without_forecast or proposal.wanted, settings.limits).target
        run = scored(run, settings, observation, draft.target, needed)
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
        candidates=_candidates(draft),
        without_forecast=proposal.without_forecast,
        dry_run=None if run is None else run.score,
    )
    history = remember(context, draft, draft.target)
    target = draft.target if run is None else in_force
    return decision, replace(history, target=target, dry_run=run, state=proposal.state)


def _dry_run(
    settings: PlanSettings, observation: Observation, history: History, in_force: PerRole[int]
) -> DryRun | None:
    """The dry run that goes on or begins; None: decisions are carried out."""
    if not settings.dry_run:
        return None
    return history.dry_run or begun(in_force, observation.at_s)


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
        budget=history.budget.after(observation.slo, settings.interval_s),
        strategy=settings.strategy,
        state=history.state if same else None,
    )
    if settings.calendar or history.events:
        history = replace(history, events=near_events(settings, observation, history))
    return history


def _candidates(draft: Draft) -> tuple[Candidate, ...]:
    """The target, then what the bounds and the strategy have rejected; nothing where nothing else was weighed."""
    weighed = (*draft.rejected, *draft.proposal.candidates)
    others = [candidate for candidate in weighed if candidate.rejected and candidate.target != draft.target]
    return (Candidate(draft.target), *dict.fromkeys(others)) if others else ()


def _finding(context: Context, proposal: Proposal) -> Finding:
    """The strategy's own, or what the readings say."""
    if proposal.bottleneck is not None:
        return Finding(proposal.bottleneck, proposal.evidence)
    found = find_bottleneck(context.settings, context.observation, proposal.wanted)
    return Finding(found.bottleneck, proposal.evidence + found.evidence)
