"""DYN-SLA: NVIDIA Dynamo's SLA planner as DOPD compares itself with it (planner_sla of Dynamo 0.3 in DOPD's release).

It forecasts one interval ahead (ARIMA on requests, ISL and OSL), divides by the throughput of the profile, and
corrects that by what was observed: no margin for queues, no lead time for starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity import dopd
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.forecast import forecast
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import ForecastPoint, PolicyBase
from pdoperator.sim.policies.seen import demand, ready, value

WINDOW = 50  # samples (SLAPlannerDefaults)


@dataclass(slots=True, kw_only=True)
class DynSla(PolicyBase):
    """`budget`: engines at most, in proportion where more are asked for; None: no bound."""

    profile: Profile
    tpot_s: float
    budget: int | None = None
    least: int = 1
    history: DemandHistory = field(default_factory=lambda: DemandHistory(WINDOW))

    def choose(self, seen: Observation) -> PerRole[int]:
        """Engines for the forecast; unchanged while nothing is known of demand."""
        now = demand(seen)
        if now is None:
            return self.target
        self.history = self.history.with_sample(Sample(seen.at_s, now))
        ahead = forecast(self.history, ForecastModel.AUTO_ARIMA, self.interval_s).demand
        self.forecasts.append(ForecastPoint(seen.at_s + self.interval_s, ahead.rate_rps))
        prefill = (
            ahead.rate_rps * ahead.isl_tokens * self._prefill_correction(seen, now) / self._prefill_tps(ahead)
        )
        decode = (
            ahead.rate_rps * ahead.osl_tokens / self._decode_tps(ahead, self._decode_correction(seen, now))
        )
        return self._within_budget(max(self.least, math.ceil(prefill)), max(self.least, math.ceil(decode)))

    def _prefill_tps(self, ahead: Demand) -> float:
        return ahead.isl_tokens / self.profile.ttft_s(ahead.isl_tokens)

    def _decode_tps(self, ahead: Demand, correction: float) -> float:
        isl, osl = ahead.isl_tokens, ahead.osl_tokens
        batch = dopd.decode_concurrency(
            self.profile, isl, osl, self.tpot_s, correction, defaults.KV_BLOCK_TOKENS
        )
        return batch / self.profile.itl_s(batch, dopd.mean_context_tokens(isl, osl))

    def _prefill_correction(self, seen: Observation, now: Demand) -> float:
        """min(1, p_corr), p_corr = observed TTFT over the profile's; 1 where it was not measured."""
        observed = value(seen.ttft_s)
        return 1.0 if observed is None else min(1.0, observed / self.profile.ttft_s(now.isl_tokens))

    def _decode_correction(self, seen: Observation, now: Demand) -> float:
        """d_corr = observed TPOT over the profile's at the concurrency that Little's law gives."""
        observed = value(seen.tpot_s)
        if not observed:
            return 1.0
        decoding = len(ready(seen, Role.DECODE))
        batch = dopd.requests_per_decode_engine(now.rate_rps, now.osl_tokens, observed, decoding)
        context = dopd.mean_context_tokens(now.isl_tokens, now.osl_tokens)
        profiled = self.profile.itl_s(min(batch, self.profile.max_batch), context)
        return dopd.decode_correction(observed, profiled, defaults.CORRECTION_MIN, defaults.CORRECTION_MAX)

    def _within_budget(self, prefill: int, decode: int) -> PerRole[int]:
        if self.budget is None or prefill + decode <= self.budget:
            return PerRole(prefill, decode)
        prefill = max(self.least, round(prefill * self.budget / (prefill + decode)))
        return PerRole(prefill, max(self.least, self.budget - prefill))
