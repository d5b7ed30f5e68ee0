"""HPA v2's stabilisation windows, on each role's count."""

from __future__ import annotations

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.planning.decision import Recommendation
from pdoperator.planning.settings import Limits, PlanSettings


def stabilize(
    settings: PlanSettings, current: PerRole[int], recommendations: tuple[Recommendation, ...], now_s: float
) -> PerRole[int]:
    """The size that was asked for throughout the windows; the last of `recommendations` is the one of now.

    As in HPA v2 a role stays as it is unless even the smallest size asked for in the scale-up window is larger, or even
    the largest in the scale-down window is smaller.
    """

    *past, newest = recommendations

    def role_count(role: Role) -> int:
        def asked_for(window_s: float) -> list[int]:
            return [newest.target[role], *(r.target[role] for r in past if r.at_s > now_s - window_s)]

        lowest = min(asked_for(settings.scale_up_window_s))
        highest = max(asked_for(settings.scale_down_window_s))
        return min(highest, max(lowest, current[role]))

    return PerRole.of(role_count)


def remember(
    settings: PlanSettings, recommendations: tuple[Recommendation, ...], newest: Recommendation
) -> tuple[Recommendation, ...]:
    """The recommendations that a later decision may still ask for, oldest first."""
    longest_s = max(settings.scale_up_window_s, settings.scale_down_window_s)
    return (*(r for r in recommendations if r.at_s > newest.at_s - longest_s), newest)


def give_up_surplus(held: PerRole[int], needed: PerRole[int], limits: Limits) -> PerRole[int]:
    """`held` cut towards `needed` until it fits the budget.

    A window may keep engines that are no longer needed, but never at the cost of those that the other role needs now:
    so the ratio follows the load at once even where the budget is all in use.
    """
    if limits.budget is None:
        return held
    counts = {role: held[role] for role in (Role.PREFILL, Role.DECODE)}
    while limits.cost(PerRole(counts[Role.PREFILL], counts[Role.DECODE])) > limits.budget:
        role = max(counts, key=lambda r: counts[r] - needed[r])
        if counts[role] <= needed[role]:
            break
        counts[role] -= 1
    return PerRole(counts[Role.PREFILL], counts[Role.DECODE])
