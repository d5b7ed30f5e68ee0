"""The bounds of prefill:decode."""

from __future__ import annotations

from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.budget import fits_budget
from pdoperator.planning.settings import Limits


def within_ratio(target: PerRole[int], limits: Limits) -> PerRole[int]:
    """The nearest target within the ratio's bounds: it takes away as few engines as the other bounds allow."""
    if ratio_holds(target, limits):
        return target
    candidates = [
        pair for pair in _pairs(target, limits) if ratio_holds(pair, limits) and fits_budget(pair, limits)
    ]
    return min(candidates, key=lambda pair: _distance(pair, target), default=target)


def ratio_holds(target: PerRole[int], limits: Limits) -> bool:
    """Whether prefill:decode lies within both bounds."""
    least, most = limits.ratio_min, limits.ratio_max
    if least is not None and target.prefill * least[1] < target.decode * least[0]:
        return False
    return most is None or target.prefill * most[1] <= target.decode * most[0]


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
