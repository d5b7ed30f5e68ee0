"""The GPU budget of a service."""

from __future__ import annotations

import math

from pdoperator.api.values import PerRole
from pdoperator.planning.settings import Limits


def fits_budget(target: PerRole[int], limits: Limits) -> bool:
    """Whether the engines of `target` together hold no more GPUs than the budget has."""
    return limits.budget is None or limits.cost(target) <= limits.budget


def within_budget(target: PerRole[int], needed: PerRole[int], limits: Limits) -> PerRole[int]:
    """Both roles shrunk until they fit the budget, in the proportion of what is `needed`, not above `target`.

    `target` is `needed` within the replicas of each role: these may have cut off more of the role that needs more. As
    DOPD's planner does it, but in one pass: its loop repeats for ever when the budget does not hold the minimums; here
    the minimums stand. And it rounds prefill down, which leaves the smaller side of a small fleet to the role that
    needs more; here the nearest count is taken.
    """
    if fits_budget(target, limits) or limits.budget is None:
        return target
    prefill, decode = limits.roles.prefill, limits.roles.decode
    share = needed.prefill * limits.budget / max(1, limits.cost(needed))
    p = min(target.prefill, max(prefill.least, math.ceil(share - 0.5)))
    d = target.decode
    if decode.cost > 0:
        d = min(d, max(decode.least, (limits.budget - p * prefill.cost) // decode.cost))
    # Decode's minimum may have taken more than its share, its maximum may leave some of it.
    if prefill.cost > 0:
        rest = (limits.budget - d * decode.cost) // prefill.cost
        most = target.prefill if d == target.decode else p
        p = max(prefill.least, min(most, rest))
    return PerRole(p, d)
