"""One decision: history in, a strategy, then the constraints in order. Pure; it remembers through History alone."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import PerRole, ratio_text
from pdoperator.planning.decision import Decision, History, Recommendation
from pdoperator.planning.demand import with_demand
from pdoperator.planning.limits import Limited, apply_limits
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.stabilize import give_up_surplus, remember, stabilize
from pdoperator.planning.strategies.registry import strategy_of
from pdoperator.planning.strategies.strategy import Context, Proposal


def decide(settings: PlanSettings, observation: Observation, history: History) -> tuple[Decision, History]:
    """The target for now, and the history to hand in next time.

    `history.target` is the current target; None on the very first decision, which starts from the spec's replicas. A
    forecast may take tenths of a second of CPU: call this in a thread.
    """
    history = _brought_up_to_now(history, settings, observation)
    current = history.target or apply_limits(settings.first, settings.limits).target
    context = Context(settings, observation, history, current)
    proposal = strategy_of(settings)(context)
    history = replace(history, state=proposal.state)
    if proposal.behavior:
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
        bottleneck=proposal.bottleneck or _bottleneck(proposal.wanted, observation),
        forecast=proposal.forecast,
        evidence=proposal.evidence,
        candidates=proposal.candidates,
        without_forecast=proposal.without_forecast,
    )
    return decision, replace(history, target=limited.target)


def _brought_up_to_now(history: History, settings: PlanSettings, observation: Observation) -> History:
    """The history with the last interval's demand, and without the state of a strategy that no longer decides."""
    samples = history.demand
    if samples.limit != settings.window:
        samples = replace(samples, limit=settings.window)
    same = history.strategy is settings.strategy
    return replace(
        history,
        demand=with_demand(samples, observation),
        strategy=settings.strategy,
        state=history.state if same else None,
    )


def _stabilized(
    settings: PlanSettings,
    observation: Observation,
    history: History,
    current: PerRole[int],
    proposal: Proposal,
) -> tuple[Limited, Proposal, History]:
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


def _message(proposal: Proposal, limited: Limited) -> str:
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
