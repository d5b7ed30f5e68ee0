"""The GPU budget of a service."""

from __future__ import annotations

import math

from pdoperator.api.values import PerRole
from pdoperator.planning.settings import Limits


def fits_budget(target: PerRole[int], limits: Limits) -> bool:
    """Whether the engines of `target` together hold no more GPUs than the budget has."""
    return limits.budget is None or limits.cost(target) <= limits.budget


def within_budget(target: PerRole[int], limits: Limits) -> PerRole[int]:
    """Both roles shrunk in proportion until they fit the budget, as DOPD's planner does it, but in one pass.

    Its loop repeats for ever when the budget does not hold the minimums; here the minimums stand. And it rounds prefill
    down, which leaves the smaller side of a small fleet to the role that needs more; here the nearest count is taken.
    """
    total = limits.cost(target)
    if limits.budget is None or total <= limits.budget:
        return target
    prefill, decode = limits.roles.prefill, limits.roles.decode
    p = max(prefill.least, math.ceil(target.prefill * limits.budget / total - 0.5))
    d = target.decode
    if decode.cost > 0:
        d = min(d, max(decode.least, (limits.budget - p * prefill.cost) // decode.cost))
    if prefill.cost > 0:  # decode's minimum may have taken more than its share
        p = min(p, max(prefill.least, (limits.budget - d * decode.cost) // prefill.cost))
    return PerRole(p, d)
