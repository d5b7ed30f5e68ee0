"""HPA v2's `behavior`: stabilisation windows, then rates. In a shared pool on all engines together, else on each role.

A change of the split at the same total is no scaling: it starts and stops nothing, so it goes through at once. Source:
Kubernetes' pkg/controller/podautoscaler/horizontal.go, stabilizeRecommendationWithBehaviors and
convertDesiredReplicasWithBehaviorRate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pdoperator.api.behavior import PolicyType, SelectPolicy
from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole, total
from pdoperator.planning.constraints.budget import fits_budget
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.decision import History, Recommendation, Rescale
from pdoperator.planning.settings import BehaviorRules, Limits, RatePolicy
from pdoperator.planning.split import resplit
from pdoperator.planning.strategies.strategy import Context


@dataclass(frozen=True, slots=True)
class Allowed:
    """One count through window and rate. `soonest` is what the rate alone allows."""

    asked: int
    stable: int
    count: int
    soonest: int


def behavior(context: Context, draft: Draft) -> Draft:
    """What was asked for, as far as windows and rates let it through now."""
    if not draft.proposal.behavior:
        return draft
    target = _shared(context, draft) if context.settings.shared_pool else _dedicated(context, draft)
    return replace(target, asked=draft.target)


def remember(context: Context, draft: Draft, target: PerRole[int]) -> History:
    """The history with what was asked for and what was done, as far as a later decision may still look at it."""
    history, rules, now_s = context.history, context.settings.behavior, context.observation.at_s
    recommendations = history.recommendations
    if draft.asked is not None:
        oldest_s = now_s - rules.longest_window_s
        kept = (r for r in _past(context) if r.at_s > oldest_s)
        recommendations = (*kept, Recommendation(now_s, draft.asked))
    rescales = history.rescales
    if target != context.current or rescales:
        change = PerRole.of(lambda role: target[role] - context.current[role])
        kept_rescales = tuple(r for r in rescales if r.at_s > now_s - rules.longest_period_s)
        rescales = kept_rescales if target == context.current else (*kept_rescales, Rescale(now_s, change))
    return replace(history, recommendations=recommendations, rescales=rescales)


def _past(context: Context) -> tuple[Recommendation, ...]:
    """As HPA does: the size found at the start counts as asked for, so that a restart shrinks nothing at once."""
    return context.history.recommendations or (Recommendation(context.observation.at_s, context.current),)


def _shared(context: Context, draft: Draft) -> Draft:
    allowed = _allowed(context, draft, total)
    target = draft.target
    if allowed.count != allowed.asked:
        target = resplit(allowed.count, draft.target, context.current, context.settings.limits)
    return _told(draft, target, [allowed])


def _dedicated(context: Context, draft: Draft) -> Draft:
    by_role = PerRole.of(lambda role: _allowed(context, draft, lambda counts: counts[role]))
    target = _give_up_surplus(by_role, context.settings.limits)
    return _told(draft, target, [allowed for _, allowed in by_role.items()])


def _told(draft: Draft, target: PerRole[int], counts: Iterable[Allowed]) -> Draft:
    counts = tuple(counts)
    if any(allowed.count < allowed.stable for allowed in counts):
        return draft.limited_to(target, Reason.SCALE_UP_LIMIT, "behavior.scaleUp")
    if any(allowed.count > allowed.stable for allowed in counts):
        return draft.limited_to(target, Reason.SCALE_DOWN_LIMIT, "behavior.scaleDown")
    return draft.held_at(target, Reason.STABILIZED, "by the stabilisation window")


def _allowed(context: Context, draft: Draft, count: Callable[[PerRole[int]], int]) -> Allowed:
    rules, now_s = context.settings.behavior, context.observation.at_s
    current, asked = count(context.current), count(draft.target)
    past = [(r.at_s, count(r.target)) for r in _past(context)]
    changes = [(r.at_s, count(r.change)) for r in context.history.rescales]
    up_window_s = 0.0 if draft.proposal.urgent else rules.up.window_s
    stable = stabilized(current, asked, past, now_s, up_window_s, rules.down.window_s)
    return Allowed(
        asked,
        stable,
        rated(current, stable, changes, now_s, rules),
        rated(current, asked, changes, now_s, rules),
    )


def stabilized(
    current: int,
    asked: int,
    past: Iterable[tuple[float, int]],
    now_s: float,
    up_window_s: float,
    down_window_s: float,
) -> int:
    """The count that was asked for throughout the windows; `past` holds (time, count) of earlier recommendations.

    It stays as it is unless even the smallest count asked for in the scale-up window is larger, or even the largest in
    the scale-down window is smaller.
    """
    lowest = highest = asked
    for at_s, count in past:
        if at_s > now_s - up_window_s and count < lowest:
            lowest = count
        if at_s > now_s - down_window_s and count > highest:
            highest = count
    return min(highest, max(lowest, current))


def rated(
    current: int, asked: int, changes: list[tuple[float, int]], now_s: float, rules: BehaviorRules
) -> int:
    """`asked` as far as the policies of its direction allow; `changes` holds (time, change) of earlier rescales.

    A policy counts from the size that there was at the beginning of its period.
    """
    if asked == current:
        return asked
    up = asked > current
    direction = rules.up if up else rules.down
    if direction.select is SelectPolicy.DISABLED:
        return current
    limits = [
        _limit(current - _changed(changes, now_s - policy.period_s), policy, up=up)
        for policy in direction.policies
    ]
    largest = direction.select is SelectPolicy.MAX
    if up:
        return min(asked, max(current, max(limits) if largest else min(limits)))
    return max(asked, min(current, min(limits) if largest else max(limits)))


def _limit(start: int, policy: RatePolicy, *, up: bool) -> int:
    """How far a policy lets a pool of `start` engines go. Rounded up, or a small pool could never grow by percents."""
    if policy.type is PolicyType.PODS:
        return start + policy.value if up else start - policy.value
    return -(-start * (100 + policy.value) // 100) if up else start * (100 - policy.value) // 100


def _changed(changes: list[tuple[float, int]], since_s: float) -> int:
    return sum(change for at_s, change in changes if at_s > since_s)


def _give_up_surplus(allowed: PerRole[Allowed], limits: Limits) -> PerRole[int]:
    """The counts, cut where they do not fit the budget.

    A window may keep engines that are no longer needed, but never at the cost of those that the other role needs now:
    so the ratio follows the load at once even where the budget is all in use. What a rate keeps stays.
    """
    counts = {role: found.count for role, found in allowed.items()}

    def target() -> PerRole[int]:
        return PerRole(counts[Role.PREFILL], counts[Role.DECODE])

    def surplus(role: Role) -> int:
        return counts[role] - max(allowed[role].soonest, allowed[role].asked)

    while not fits_budget(target(), limits):
        role = max(counts, key=surplus)
        if surplus(role) <= 0:
            break
        counts[role] -= 1
    return target()
