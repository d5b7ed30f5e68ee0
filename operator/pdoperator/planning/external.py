"""Strategy External: a person, HPA or KEDA sets the total, the split stays ours."""

from __future__ import annotations

import math

from pdoperator.api.values import PerRole
from pdoperator.planning.settings import PlanSettings, RoleLimits


def total_engines(settings: PlanSettings) -> int:
    """The scale subresource's number; the spec's first replicas as long as nobody has set it."""
    return settings.total if settings.total is not None else settings.first.prefill + settings.first.decode


def split(total: int, prefill_per_decode: float, roles: PerRole[RoleLimits]) -> PerRole[int]:
    """`total` engines nearest to the ratio within the bounds of both roles; decode gets the odd half.

    Where the bounds do not hold `total` (admission refuses that) it stays and the bounds are left to `limits`.
    """
    share = prefill_per_decode / (1 + prefill_per_decode)
    lowest = max(roles.prefill.least, total - roles.decode.most)
    highest = min(roles.prefill.most, total - roles.decode.least)
    prefill = max(lowest, min(highest, math.ceil(total * share - 0.5)))
    return PerRole(prefill, total - prefill)
