"""Bounds on a target: replicas per role, prefill:decode ratio, GPU budget. They never fall below minReplicas."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.settings import Limits


@dataclass(frozen=True, slots=True)
class Limited:
    """A target within all bounds, and the last bound that changed it."""

    target: PerRole[int]
    reason: Reason


def apply_limits(wanted: PerRole[int], limits: Limits) -> Limited:
    """The target nearest to `wanted` that the bounds allow.

    Where the bounds contradict each other (admission refuses that) minReplicas go before the budget, the budget before
    the ratio.
    """
    target, reason = within_replicas(wanted, limits)
    fitted = within_budget(target, limits)
    if fitted != target:
        target, reason = fitted, Reason.GPU_BUDGET
    bounded = within_ratio(target, limits)
    if bounded != target:
        target, reason = bounded, Reason.RATIO_BOUND
    return Limited(target, reason)


def within_replicas(wanted: PerRole[int], limits: Limits) -> tuple[PerRole[int], Reason]:
    """Each role between its minReplicas and maxReplicas."""

    def clamp(role: Role) -> int:
        return min(limits.roles[role].most, max(limits.roles[role].least, wanted[role]))

    target = PerRole.of(clamp)
    if any(count < wanted[role] for role, count in target.items()):
        return target, Reason.TOO_MANY_REPLICAS
    return target, Reason.WITHIN_LIMITS if target == wanted else Reason.TOO_FEW_REPLICAS


def within_budget(target: PerRole[int], limits: Limits) -> PerRole[int]:
    """Both roles shrunk in proportion until they fit the budget, as DOPD's planner does it, but in one pass.

    Its loop repeats for ever when the budget does not hold the minimums; here the minimums stand.
    """
    total = limits.cost(target)
    if limits.budget is None or total <= limits.budget:
        return target
    prefill, decode = limits.roles.prefill, limits.roles.decode
    p = max(prefill.least, target.prefill * limits.budget // total)
    d = target.decode
    if decode.cost > 0:
        d = min(d, max(decode.least, (limits.budget - p * prefill.cost) // decode.cost))
    if prefill.cost > 0:  # decode's minimum may have taken more than its share
        p = min(p, max(prefill.least, (limits.budget - d * decode.cost) // prefill.cost))
    return PerRole(p, d)


def within_ratio(target: PerRole[int], limits: Limits) -> PerRole[int]:
    """The nearest target within the ratio's bounds: it takes away as few engines as the other bounds allow."""
    if _ratio_holds(target, limits):
        return target
    candidates = [
        pair for pair in _pairs(target, limits) if _ratio_holds(pair, limits) and _fits(pair, limits)
    ]
    return min(candidates, key=lambda pair: _distance(pair, target), default=target)


def _ratio_holds(target: PerRole[int], limits: Limits) -> bool:
    least, most = limits.ratio_min, limits.ratio_max
    if least is not None and target.prefill * least[1] < target.decode * least[0]:
        return False
    return most is None or target.prefill * most[1] <= target.decode * most[0]


def _fits(target: PerRole[int], limits: Limits) -> bool:
    return limits.budget is None or limits.cost(target) <= limits.budget


def _pairs(target: PerRole[int], limits: Limits) -> list[PerRole[int]]:
    """For each count of one role, the nearest count of the other that its bounds allow: the candidates of a ratio."""
    prefill, decode = limits.roles.prefill, limits.roles.decode
    pairs = []
    for p in range(prefill.least, prefill.most + 1):
        lowest, highest = decode.least, decode.most
        if limits.ratio_min is not None:
            highest = min(highest, p * limits.ratio_min[1] // limits.ratio_min[0])
        if limits.ratio_max is not None:
            lowest = max(lowest, -(-p * limits.ratio_max[1] // limits.ratio_max[0]))
        if limits.budget is not None and decode.cost > 0:
            highest = min(highest, (limits.budget - p * prefill.cost) // decode.cost)
        if lowest <= highest:
            pairs.append(PerRole(p, min(highest, max(lowest, target.decode))))
    return pairs


def _distance(pair: PerRole[int], target: PerRole[int]) -> tuple[int, int, int]:
    """Engines taken away, then engines added, then prefill for a fixed order."""
    lost = sum(max(0, target[role] - count) for role, count in pair.items())
    added = sum(max(0, count - target[role]) for role, count in pair.items())
    return lost, added, pair.prefill
