"""TokenScale (arXiv 2512.03416): token arrival rate over token velocity, for each stage by itself.

The velocity of prefill is its compute throughput, that of decode the memory it releases: resident lengths over TPOT.
Its convertible decoders are the router's local prefill in chunks that keep TPOT; scale-down after a minute of less is
ours, for the paper's is not known to us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.values import PerRole
from pdoperator.capacity import dopd
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.seen import demand

HOLD_S = 60.0


@dataclass(slots=True, kw_only=True)
class TokenScale(PolicyBase):
    """`load`: the share of its velocity that a stage is given."""

    profile: Profile
    tpot_s: float
    load: float = 1.0
    _asked: list[tuple[float, PerRole[int]]] = field(default_factory=list)

    def choose(self, seen: Observation) -> PerRole[int]:
        """The most that was needed over the last minute."""
        now = demand(seen)
        if now is None:
            return self.target
        self._asked = [(at_s, n) for at_s, n in self._asked if at_s > seen.at_s - HOLD_S]
        self._asked.append((seen.at_s, self._needed(now)))
        return PerRole.of(lambda role: max(n[role] for _, n in self._asked))

    def _needed(self, now: Demand) -> PerRole[int]:
        prefill_tps = now.isl_tokens / self.profile.ttft_s(now.isl_tokens)
        prefill = now.rate_rps * now.isl_tokens / (self.load * prefill_tps)
        decode = now.rate_rps * (now.isl_tokens + now.osl_tokens) / (self.load * self._released_tps(now))
        return PerRole(max(1, math.ceil(prefill)), max(1, math.ceil(decode)))

    def _released_tps(self, now: Demand) -> float:
        """V_D: tokens of KV that a full decode engine frees per second by requests that end."""
        isl, osl = now.isl_tokens, now.osl_tokens
        batch = dopd.decode_concurrency(self.profile, isl, osl, self.tpot_s, 1.0, defaults.KV_BLOCK_TOKENS)
        ended_rps = batch / (osl * self.profile.itl_s(batch, dopd.mean_context_tokens(isl, osl)))
        return ended_rps * (isl + osl)
