"""Strategy External: a person, HPA or KEDA sets the total, the split stays ours."""

from __future__ import annotations

from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, ratio_text
from pdoperator.planning.demand import fresh_demand
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.split import split
from pdoperator.planning.strategies.dopd import forecast_and_size
from pdoperator.planning.strategies.strategy import Context, Proposal
from pdoperator.planning.telling import load


def external(context: Context) -> Proposal:
    """The total holds whatever is known of the load; without a load the split stays as it was."""
    settings, current = context.settings, context.current
    total, limits = total_engines(settings), settings.limits
    if isinstance(fresh_demand(context.observation), Missing) or not context.history.demand.samples:
        kept = split(total, current.prefill / max(1, current.decode), limits)
        why = f"{total} engines, split as before: the load is not known"
        return Proposal(kept, Reason.EXTERNAL, why, behavior=False)
    ahead, sizing = forecast_and_size(context)
    wanted = split(total, sizing.prefill_per_decode, limits)
    why = f"{total} engines; {load(ahead)} splits them {ratio_text(wanted)}"
    return Proposal(wanted, Reason.EXTERNAL, why, ahead, behavior=False)


def total_engines(settings: PlanSettings) -> int:
    """The scale subresource's number; the spec's first replicas as long as nobody has set it."""
    return settings.total if settings.total is not None else settings.first.prefill + settings.first.decode
