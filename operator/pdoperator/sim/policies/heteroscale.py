"""HeteroScale (ByteDance, arXiv 2508.19559): decode tokens per second drive both pools together at a fixed ratio.

Its own constants are not public; these are of a third party's re-simulation: change at 10 % off, 20 % more when TPOT is
20 % over its target, 180 s rest after growing and 600 s before shrinking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.seen import demand, value

OUT_AT, IN_AT = 1.1, 0.9  # of the decode engines there are
LATE_AT, LATE_GROWTH = 1.2, 1.2  # TPOT over its target, and the growth that answers it
OUT_REST_S, IN_REST_S = 180.0, 600.0


@dataclass(slots=True, kw_only=True)
class HeteroScale(PolicyBase):
    """`tokens_per_s`: output tokens per second that one decode engine shall carry; `prefill_per_decode`: the ratio."""

    tokens_per_s: float
    prefill_per_decode: float
    tpot_s: float
    _changed_s: float = -math.inf

    def choose(self, seen: Observation) -> PerRole[int]:
        """Both pools in proportion, unless the last change was too recent."""
        load, decode = demand(seen), self.target.decode
        wanted = self._decode(seen, decode, 0.0 if load is None else load.rate_rps * load.osl_tokens)
        rest_s = OUT_REST_S if wanted > decode else IN_REST_S
        if wanted == decode or seen.at_s - self._changed_s < rest_s:
            return self.target
        self._changed_s = seen.at_s
        return PerRole(max(1, math.ceil(wanted * self.prefill_per_decode - 0.5)), wanted)

    def _decode(self, seen: Observation, decode: int, output_tokens_per_s: float) -> int:
        tpot_s = value(seen.tpot_s)
        if tpot_s is not None and tpot_s > LATE_AT * self.tpot_s:
            return math.ceil(decode * LATE_GROWTH)
        wanted = output_tokens_per_s / self.tokens_per_s
        return decode if IN_AT * decode <= wanted <= OUT_AT * decode else max(1, math.ceil(wanted))
