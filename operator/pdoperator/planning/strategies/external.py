"""Strategy External: a person, HPA or KEDA sets the total, the split stays ours."""

from __future__ import annotations

import math

from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole, ratio_text
from pdoperator.planning.demand import fresh_demand
from pdoperator.planning.settings import PlanSettings, RoleLimits
from pdoperator.planning.strategies.dopd import forecast_and_size
from pdoperator.planning.strategies.strategy import Context, Proposal
from pdoperator.planning.telling import load


def external(context: Context) -> Proposal:
    """The total holds whatever is known of the load; without a load the split stays as it was."""
    settings, current = context.settings, context.current
    total, roles = total_engines(settings), settings.limits.roles
    if isinstance(fresh_demand(context.observation), Missing) or not context.history.demand.samples:
        kept = split(total, current.prefill / max(1, current.decode), roles)
        why = f"{total} engines, split as before: the load is not known"
        return Proposal(kept, Reason.EXTERNAL, why, behavior=False)
    ahead, sizing = forecast_and_size(context)
    wanted = split(total, sizing.prefill_per_decode, roles)
    why = f"{total} engines; {load(ahead)} splits them {ratio_text(wanted)}"
    return Proposal(wanted, Reason.EXTERNAL, why, ahead, behavior=False)


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
