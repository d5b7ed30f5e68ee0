"""Strategy DOPD: the ratio in its paper form, on a forecast one interval ahead.

At light load it asks for more prefill than the load needs: R feeds one *full* decode engine, and the paper takes P from
the ratio and the rounded number of decode engines. Counting a part of a decode engine would no longer be DOPD.
"""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.capacity import dopd as equations
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.forecast.last_value import last_value
from pdoperator.planning.observation import Observation
from pdoperator.planning.strategies.ahead import demand_ahead, reason_of
from pdoperator.planning.strategies.emergency import with_emergency
from pdoperator.planning.strategies.known_demand import for_known_demand
from pdoperator.planning.strategies.strategy import Context, Proposal
from pdoperator.planning.telling import load, needs


@dataclass(frozen=True, slots=True)
class Sizing:
    """DOPD's answer with its intermediate values: C, T_dec, R and the counts before any bound."""

    concurrency: int
    residence_s: float
    prefill_per_decode: float
    wanted: PerRole[int]


def forecast_and_size(context: Context) -> tuple[Forecasted, Sizing]:
    """Demand one interval ahead, and DOPD's answer to it. The forecast may take tenths of a second of CPU."""
    ahead = demand_ahead(context, context.settings.interval_s)
    return ahead, _sized(context, ahead.demand)


def _sized(context: Context, demand: Demand) -> Sizing:
    settings = context.settings
    correction = 1.0 if _warming_up(context) else observed_correction(settings.profile, context.observation)
    return size(settings.profile, settings.tpot_target_s, demand, correction)


def _warming_up(context: Context) -> bool:
    """Whether a decode engine was new within the last interval: its first, slow steps say nothing of the profile."""
    since_s = context.observation.at_s - context.settings.interval_s - defaults.WARM_UP_S
    return any(
        engine.usable
        and engine.role is Role.DECODE
        and engine.ready_s is not None
        and engine.ready_s > since_s
        for engine in context.observation.engines
    )


def _dopd(context: Context) -> Proposal:
    ahead, sizing = forecast_and_size(context)
    return Proposal(
        wanted=sizing.wanted,
        reason=reason_of(ahead),
        why=needs(load(ahead), sizing.wanted, context.current),
        forecast=ahead,
        without_forecast=_sized(context, last_value(context.history.demand)).wanted,
    )


dopd = with_emergency(for_known_demand(_dopd))


def size(profile: Profile, tpot_target_s: float, demand: Demand, correction: float) -> Sizing:
    """Engines for `demand`: N_D by Little's law at C, N_P = ceil(R * N_D)."""
    isl, osl = demand.isl_tokens, max(1.0, demand.osl_tokens)
    concurrency = equations.decode_concurrency(
        profile, isl, osl, tpot_target_s, correction, defaults.KV_BLOCK_TOKENS
    )
    tpot_s = profile.itl_s(concurrency, equations.mean_context_tokens(isl, osl))
    residence_s = equations.decode_residence_s(osl, tpot_s, correction)
    ratio = equations.prefill_per_decode(concurrency, profile.ttft_s(isl), residence_s)
    decode = equations.decode_engines(equations.running_requests(demand.rate_rps, residence_s), concurrency)
    return Sizing(
        concurrency, residence_s, ratio, PerRole(equations.prefill_engines_paper(ratio, decode), decode)
    )


def observed_correction(profile: Profile, observation: Observation) -> float:
    """d_corr from the last interval; 1 where demand or TPOT is not known: nothing speaks against the profile."""
    if isinstance(observation.demand, Missing) or observation.demand.x is None:
        return 1.0
    if not isinstance(observation.tpot_s, Value) or observation.tpot_s.x <= 0:
        return 1.0
    demand, tpot_s = observation.demand.x, observation.tpot_s.x
    decoding = sum(1 for engine in observation.engines if engine.usable and engine.role is Role.DECODE)
    batch = equations.requests_per_decode_engine(demand.rate_rps, demand.osl_tokens, tpot_s, decoding)
    context = equations.mean_context_tokens(demand.isl_tokens, demand.osl_tokens)
    profiled = profile.itl_s(min(batch, profile.max_batch), context)
    return equations.decode_correction(tpot_s, profiled, defaults.CORRECTION_MIN, defaults.CORRECTION_MAX)
