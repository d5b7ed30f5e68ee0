"""Strategy MM1: prefill as M/M/1 queues whose TTFT holds at the spec's percentile, decode at its TPOT target.

arXiv 2603.04716, equations 5, 6 and 13 in the percentile form, on the demand that is expected when an engine asked for
now serves. Counts are rounded up; the paper rounds to the nearest, which may miss the targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.values import PerRole
from pdoperator.capacity import dopd, mm1
from pdoperator.capacity.mm1 import TargetTooTightError
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.last_value import last_value
from pdoperator.planning.horizon import lead_time_s
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.ahead import demand_ahead, reason_of
from pdoperator.planning.strategies.emergency import with_emergency
from pdoperator.planning.strategies.known_demand import for_known_demand
from pdoperator.planning.strategies.strategy import Context, Proposal
from pdoperator.planning.telling import load, needs


@dataclass(frozen=True, slots=True)
class QueueSizing:
    """Engines for a demand. `note` says where a target cannot be met by any number of engines; else it is empty."""

    wanted: PerRole[int]
    note: str = ""


def _mm1(context: Context) -> Proposal:
    settings = context.settings
    ahead = demand_ahead(context, lead_time_s(settings, context.observation))
    sizing = size(settings, ahead.demand)
    why = needs(load(ahead), sizing.wanted, context.current)
    return Proposal(
        wanted=sizing.wanted,
        reason=reason_of(ahead),
        why=f"{why}; {sizing.note}" if sizing.note else why,
        forecast=ahead,
        without_forecast=size(settings, last_value(context.history.demand)).wanted,
    )


mm1_strategy = with_emergency(for_known_demand(_mm1))


def size(settings: PlanSettings, demand: Demand) -> QueueSizing:
    """Engines for `demand`; what a prefix cache holds needs no prefill."""
    isl = max(1.0, demand.isl_tokens * (1 - demand.prefix_hit))
    prefill_tps, note = _prefill_tokens_per_s(settings, isl)
    decode_tps = _decode_tokens_per_s(settings, demand)
    wanted = PerRole(
        mm1.enough(mm1.engines_needed(demand.rate_rps, isl, prefill_tps)),
        mm1.enough(mm1.engines_needed(demand.rate_rps, max(1.0, demand.osl_tokens), decode_tps)),
    )
    return QueueSizing(wanted, note)


def _prefill_tokens_per_s(settings: PlanSettings, isl_tokens: float) -> tuple[float, str]:
    saturated_tps = isl_tokens / settings.profile.ttft_s(isl_tokens)
    least_tps = saturated_tps * defaults.LEAST_PREFILL_LOAD
    try:
        usable_tps = mm1.prefill_tokens_per_s(
            saturated_tps,
            isl_tokens,
            settings.ttft_target_s,
            defaults.TTFT_OVERHEAD_S,
            settings.ttft_percentile,
        )
    except TargetTooTightError as error:
        return least_tps, f"{error}; sized for {defaults.LEAST_PREFILL_LOAD:.0%} of their capacity"
    return max(usable_tps, least_tps), ""


def _decode_tokens_per_s(settings: PlanSettings, demand: Demand) -> float:
    """Output tokens per second of the largest batch within memory and the TPOT target."""
    isl, osl = demand.isl_tokens, max(1.0, demand.osl_tokens)
    batch = dopd.decode_concurrency(
        settings.profile, isl, osl, settings.tpot_target_s, 1.0, defaults.KV_BLOCK_TOKENS
    )
    return batch / settings.profile.itl_s(batch, dopd.mean_context_tokens(isl, osl))
