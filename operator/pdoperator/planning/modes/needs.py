"""Engines that a demand takes aggregated and disaggregated, by the same profile and the same targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive.loads import (
    BISECTIONS,
    decode_batch,
    decode_engines,
    late_share,
    lognormal,
    slacks_s,
)
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.modes.memory import Needs
from pdoperator.planning.settings import PlanSettings

_NORMAL = NormalDist()
_MOST = 8  # times the engines that the work alone keeps busy; a fleet beyond that is no answer


def needs(demand: Demand, settings: PlanSettings) -> Needs:
    """What `demand` takes in either mode."""
    sizer = Sizer.of(demand, settings)
    return Needs(
        aggregated=aggregated_engines(demand.rate_rps, sizer, settings.tpot_target_s),
        disaggregated=sizer.engines(sizer.busy(demand.rate_rps)),
    )


def aggregated_engines(rate_rps: float, sizer: Sizer, tpot_s: float) -> float:
    """Engines that prefill and decode, on which no more requests than allowed miss either target; inf: no number does.

    Mean-field, each engine at its share of the rate; see `_Engine`.
    """
    busy = rate_rps * (sizer.work.prefill_s + sizer.work.decode_s)
    low, high = busy, _MOST * (busy + 1)
    if not _Engine.of(rate_rps, high, sizer, tpot_s).holds():
        return math.inf
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        holds = _Engine.of(rate_rps, middle, sizer, tpot_s).holds()
        low, high = (low, middle) if holds else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class _Engine:
    """One of `engines` alike, each with an equal share of the rate.

    A step costs a + s B, and prompts in chunks lengthen the steps of what decodes beside them. With B by Little's law
    the mean time per token is t = (a + s) / (1 - rate (prefill work + decode work)), the request itself counted once.
    It does not depend on the chunk: what a prompt adds is its work, in one step or in many.
    """

    rate_rps: float  # of one engine
    engines: float
    sizer: Sizer
    tpot_target_s: float
    tpot_s: float  # mean; infinite where the engine cannot keep up

    @classmethod
    def of(cls, rate_rps: float, engines: float, sizer: Sizer, tpot_target_s: float) -> _Engine:
        rate_rps, work = rate_rps / engines, sizer.work
        idle = 1 - rate_rps * (work.prefill_s + work.decode_s)
        alone_s = sizer.profile.itl.a + work.decode_s / max(1.0, sizer.shape.osl_tokens)
        return cls(rate_rps, engines, sizer, tpot_target_s, alone_s / idle if idle > 0 else math.inf)

    def holds(self) -> bool:
        """Whether both targets are met and everything fits."""
        misses = self.sizer.targets.misses
        if self.tpot_s >= self.tpot_target_s or self._held() > self.engines:
            return False
        return self._slow() <= misses and self._late() <= misses

    def _slow(self) -> float:
        """Share of requests whose TPOT misses: prompts come by chance, and few tokens do not even that out.

        Over n tokens rate t n prompts join, so the variance of the mean of n is rate t E[work^2] / n.
        """
        demand, profile = self.sizer.shape, self.sizer.profile
        isl = lognormal(demand.isl_tokens, demand.isl_cv)
        work_s = (1 - demand.prefix_hit) * (profile.ttft.b * isl + profile.ttft.c * isl**2)
        variance = self.rate_rps * self.tpot_s * float((work_s**2).mean())
        osl = max(1.0, demand.osl_tokens)
        batch = self.rate_rps * osl * self.tpot_s
        slope = self.sizer.work.decode_s / osl / (1 - self.rate_rps * self.sizer.work.prefill_s)
        crowd = slope**2 * batch * (1 + demand.isl_cv**2)
        slack_s = self.tpot_target_s - self.tpot_s
        tokens = lognormal(max(1.0, demand.osl_tokens), demand.osl_cv)
        return sum(
            _NORMAL.cdf(-slack_s / math.sqrt(crowd + variance / n)) if variance else 0.0
            for n in tokens
            if n >= 2
        ) / len(tokens)

    def _late(self) -> float:
        """Share of prompts whose TTFT misses: each waits for the step under way, its queue, and the step it is in."""
        demand, profile, work = self.sizer.shape, self.sizer.profile, self.sizer.work
        step_s = self.tpot_s * (1 - self.rate_rps * work.prefill_s)
        slack_s = slacks_s(demand, profile, self.sizer.targets.ttft_s - 1.5 * step_s)
        if not len(slack_s):
            return 1.0
        share = (1 - demand.prefix_hit) * demand.isl_tokens / profile.batched_tokens  # of a step's chunk
        load = self.engines * self.rate_rps * (work.prefill_s + step_s * share)
        if load >= self.engines:
            return 1.0
        return late_share(self.engines, load, work.prefill_s + step_s, slack_s, demand.isl_cv)

    def _held(self) -> float:
        """Engines that hold all sequences: by KV cache or by batch, whichever is full first."""
        demand, profile = self.sizer.shape, self.sizer.profile
        batch = decode_batch(demand, profile, self.sizer.work, math.inf)
        load = self.engines * self.rate_rps * max(1.0, demand.osl_tokens) * self.tpot_s / batch
        misses = self.sizer.targets.misses
        return decode_engines(load, demand, batch, misses, by_memory=batch < profile.max_batch)
