"""DOPD as its authors released it (arXiv 2511.20982, planner_dopd.py): the ratio, not multiplied by N_D.

C is limited by memory alone, the requests of an interval stand for concurrency, and N_P = ceil(R) however many decode
engines there are. Roles are processes: changing one means stopping and starting.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.autoscaling import ForecastModel
from pdoperator.api.values import PerRole
from pdoperator.capacity import dopd
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.forecast import forecast
from pdoperator.planning.observation import Observation
from pdoperator.planning.strategies.dopd import observed_correction
from pdoperator.sim.policies.policy import ForecastPoint, PolicyBase
from pdoperator.sim.policies.seen import demand

WINDOW = 50  # samples (SLAPlannerDefaults)
IDLE_AFTER_S = 50.0  # without a request for longer: back to the minimum


@dataclass(slots=True, kw_only=True)
class DopdRelease(PolicyBase):
    """`budget`: engines at most."""

    profile: Profile
    budget: int | None = None
    least: int = 1
    history: DemandHistory = field(default_factory=lambda: DemandHistory(WINDOW))

    def choose(self, seen: Observation) -> PerRole[int]:
        """Engines for the forecast of the next interval."""
        now = demand(seen)
        if now is None:
            idle = seen.idle_for_s > IDLE_AFTER_S
            return PerRole(self.least, self.least) if idle else self.target
        self.history = self.history.with_sample(Sample(seen.at_s, now))
        ahead = forecast(self.history, ForecastModel.AUTO_ARIMA, self.interval_s).demand
        self.forecasts.append(ForecastPoint(seen.at_s + self.interval_s, ahead.rate_rps))
        return self._within_budget(self._size(ahead, observed_correction(self.profile, seen)))

    def _size(self, ahead: Demand, correction: float) -> PerRole[int]:
        isl, osl, block = ahead.isl_tokens, max(1.0, ahead.osl_tokens), defaults.KV_BLOCK_TOKENS
        blocks = dopd.sequence_blocks(isl, osl, block)
        concurrency = max(1, dopd.memory_concurrency(self.profile.kv_tokens // block, blocks))
        tpot_s = self.profile.itl_s(concurrency, dopd.mean_context_tokens(isl, osl))
        residence_s = dopd.decode_residence_s(osl, tpot_s, correction)
        ratio = dopd.prefill_per_decode(concurrency, self.profile.ttft_s(isl), residence_s)
        decode = dopd.decode_engines(ahead.rate_rps * self.interval_s, concurrency, self.least)
        return PerRole(dopd.prefill_engines_release(ratio, self.least), decode)

    def _within_budget(self, wanted: PerRole[int]) -> PerRole[int]:
        """The release's loop with one GPU an engine; where its minimums do not fit it would never end: they stand."""
        prefill, decode = wanted.prefill, wanted.decode
        if self.budget is None or self.budget < 2 * self.least:
            return wanted
        while (total := prefill + decode) > self.budget:
            prefill = max(self.least, int(prefill * self.budget / total))
            decode = max(self.least, self.budget - prefill)
        return PerRole(prefill, decode)
