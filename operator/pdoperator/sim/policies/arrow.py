"""Arrow (arXiv 2505.11916) with the values of its open re-implementation Narwhal: roles flip, the fleet stays.

Its monitor (algorithm 2): prefill to decode when the decode load reaches `expand`, or when prefill is below `shrink`
and decode is not; decode to prefill the other way round; either only when it held for `passes` passes, and towards
decode not within the cool-down. Loads are ratios to the targets: queued prefill seconds over TTFT; TPOT above its floor
over what the target leaves above it. Which engine flips (algorithm 3) and where requests go (algorithm 1) is for the
router.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.seen import demand, mean, ready, value


@dataclass(slots=True, kw_only=True)
class Arrow(PolicyBase):
    """The total of its first fleet is never left."""

    profile: Profile
    ttft_s: float
    tpot_s: float
    expand: float = 1.0
    shrink: float = 0.5
    cooldown_s: float = 10.0
    passes: int = 3
    _isl_tokens: float = 1.0
    _streak: int = 0  # passes in a row that asked for decode (above 0) or prefill (below)
    _flipped_s: float = -math.inf

    def choose(self, seen: Observation) -> PerRole[int]:
        """The split as it was, or one engine flipped; no pool is ever emptied."""
        if (now := demand(seen)) is not None:
            self._isl_tokens = now.isl_tokens
        prefill_load, decode_load = self._prefill_load(seen), self._decode_load(seen)
        wish = _wish(prefill_load, decode_load, self.expand, self.shrink)
        self._streak = self._streak + wish if wish * self._streak >= 0 and wish else wish
        if abs(self._streak) >= self.passes:
            return self._flipped(seen.at_s)
        return self.target

    def _flipped(self, at_s: float) -> PerRole[int]:
        to_decode = self._streak > 0
        donors = self.target.prefill if to_decode else self.target.decode
        if donors < 2 or (to_decode and at_s - self._flipped_s < self.cooldown_s):
            return self.target
        moved = 1 if to_decode else -1
        self._streak, self._flipped_s = 0, at_s
        return PerRole(self.target.prefill - moved, self.target.decode + moved)

    def _prefill_load(self, seen: Observation) -> float:
        waiting = mean(ready(seen, Role.PREFILL), lambda e: e.waiting) or 0.0
        return waiting * self.profile.ttft_s(self._isl_tokens) / self.ttft_s

    def _decode_load(self, seen: Observation) -> float:
        floor_s = self.profile.itl_s(1, self._isl_tokens)
        return max(0.0, (value(seen.tpot_s) or 0.0) - floor_s) / max(1e-9, self.tpot_s - floor_s)


def _wish(prefill_load: float, decode_load: float, expand: float, shrink: float) -> int:
    """1: an engine more for decode, -1: for prefill, 0: neither."""
    if decode_load >= expand or prefill_load <= shrink <= decode_load:
        return 1
    if prefill_load >= expand or decode_load < shrink <= prefill_load:
        return -1
    return 0
