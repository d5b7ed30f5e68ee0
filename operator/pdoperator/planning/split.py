"""A number of engines of a shared pool, as prefill and decode."""

from __future__ import annotations

import math

from pdoperator.api.values import PerRole, total
from pdoperator.planning.settings import Limits


def split(total: int, prefill_per_decode: float, limits: Limits) -> PerRole[int]:
    """`total` engines nearest to the ratio within the bounds of both roles; decode gets the odd half.

    Where the bounds do not hold `total` (admission refuses that) it stays and the bounds are left to `bounds`.
    """
    share = prefill_per_decode / (1 + prefill_per_decode)
    return _within(math.ceil(total * share - 0.5), total, limits)


def resplit(total: int, wanted: PerRole[int], current: PerRole[int], limits: Limits) -> PerRole[int]:
    """`total` engines where `wanted` was asked for.

    What is too much keeps its role until the other role needs it; what is too little is shared out in proportion.
    """
    surplus = total - wanted.prefill - wanted.decode
    if surplus < 0:
        return split(total, wanted.prefill / max(1, wanted.decode), limits)
    prefill = min(wanted.prefill + surplus, max(wanted.prefill, current.prefill))
    return _within(prefill, total, limits)


def in_proportion(engines: int, like: PerRole[int]) -> int:
    """How many of at least two engines prefill when they are split like others are, one of each role at least."""
    others = total(like)
    return min(engines - 1, max(1, round(engines * like.prefill / others))) if others else 1


def best_split(engines: int, needed: PerRole[float]) -> int:
    """Prefill engines of the split of at least two engines that strains its worse side least."""
    both = needed.prefill + needed.decode
    near = round(engines * needed.prefill / both) if both > 0 else engines // 2
    around = range(max(1, near - 1), min(engines - 1, near + 1) + 1)
    return min(around, key=lambda prefill: strain(prefill, engines, needed))


def strain(prefill: int, engines: int, needed: PerRole[float]) -> float:
    """How strained the worse side of a split is: engines needed over engines there."""
    return max(needed.prefill / prefill, needed.decode / (engines - prefill))


def _within(prefill: int, total: int, limits: Limits) -> PerRole[int]:
    """The split nearest to `prefill` that replicas and, where any does, the ratio's bounds allow."""
    roles, least, most = limits.roles, limits.ratio_min, limits.ratio_max
    if not roles.prefill.most:  # aggregated, whatever the total
        return PerRole(0, total)
    lowest = max(roles.prefill.least, total - roles.decode.most)
    highest = min(roles.prefill.most, total - roles.decode.least)
    by_ratio_low = lowest if least is None else max(lowest, -(-total * least[0] // sum(least)))
    by_ratio_high = highest if most is None else min(highest, total * most[0] // sum(most))
    if by_ratio_low <= by_ratio_high:
        lowest, highest = by_ratio_low, by_ratio_high
    prefill = max(lowest, min(highest, prefill))
    return PerRole(prefill, total - prefill)
