"""DYN-LOAD: NVIDIA Dynamo's load planner as DOPD compares itself with it (planner_dynamo_load.py in DOPD's release).

Queue and KV use are sampled every `interval_s` and judged every `adjust_s`; one engine more or less at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.seen import mean, ready

QUEUE_TREND = 3  # the queue is extrapolated by this many times its change over the interval
GRACE_INTERVALS = 3  # in which no decode engine goes after one was added


@dataclass(slots=True)
class DynLoad(PolicyBase):
    """Thresholds: waiting prompts per prefill engine, KV use per decode engine (0 to 1)."""

    adjust_s: float = 180.0
    queue_down: float = 0.2
    queue_up: float = 5.0
    kv_down: float = 0.5
    kv_up: float = 0.9
    least: int = 1
    _queues: list[float] = field(default_factory=list)
    _kv: list[float] = field(default_factory=list)
    _next_s: float | None = None
    _grace: int = 0

    def choose(self, seen: Observation) -> PerRole[int]:
        """The target as it was, or one engine of either role more or less."""
        if self._next_s is None:
            self._next_s = seen.at_s + self.adjust_s
        for samples, sample in (
            (self._queues, mean(ready(seen, Role.PREFILL), lambda e: e.waiting)),
            (self._kv, mean(ready(seen, Role.DECODE), lambda e: e.kv_use)),
        ):
            if sample is not None:
                samples.append(sample)
        if seen.at_s >= self._next_s:
            self._next_s = seen.at_s + self.adjust_s
            target = PerRole(self._prefill(self.target.prefill), self._decode(self.target.decode))
            self._queues.clear()
            self._kv.clear()
            return target
        return self.target

    def _prefill(self, now: int) -> int:
        if not self._queues:
            return now
        queue = sum(self._queues) / len(self._queues)
        expected = self._queues[-1] + QUEUE_TREND * (self._queues[-1] - self._queues[0])
        if queue < self.queue_down:
            return max(self.least, now - 1)
        return now + 1 if queue > self.queue_up and expected > self.queue_up else now

    def _decode(self, now: int) -> int:
        self._grace = max(0, self._grace - 1)
        if not self._kv:
            return now
        kv = sum(self._kv) / len(self._kv)
        if kv > self.kv_up:
            self._grace = GRACE_INTERVALS
            return now + 1
        return max(self.least, now - 1) if kv < self.kv_down and not self._grace else now
