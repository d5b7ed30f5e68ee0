"""A HorizontalPodAutoscaler for each role, on llm-d's metrics for a GH200, and KEDA on queues alone.

The metrics (waiting requests, KV use, running requests, each a mean over the engines of the role) and their targets are
those of llm-d's guide; replicas and behaviour are HPA v2's, its defaults in both. Strategy Reactive of the operator
differs: it knows that prefill's KV says nothing and acts on both roles at once. KEDA hands its HPA the sum of a metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.planning.observation import Observation
from pdoperator.planning.readings import Read, kv_use, readings, running, waiting
from pdoperator.planning.strategies.hpa import desired_replicas
from pdoperator.sim.policies.policy import PolicyBase

TOLERANCE = 0.1
UP_FACTOR, UP_PODS = 2, 4  # at most, in one sync of 15 s: the larger of both
DOWN_WINDOW_S = 300.0


@dataclass(slots=True, kw_only=True)
class Hpa(PolicyBase):
    """Targets per engine; one of 0 is not looked at. `least`: minReplicas of each role. Aggregated: decode alone."""

    queue: float = defaults.WAITING_TARGET
    kv: float = defaults.KV_USE_TARGET
    running: float = defaults.RUNNING_TARGET
    least: int = 1
    most: int
    aggregated: bool = False
    _asked: list[tuple[float, PerRole[int]]] = field(default_factory=list)

    def choose(self, seen: Observation) -> PerRole[int]:
        """The most that any metric asks for, within HPA's window and rate."""
        roles = (Role.DECODE,) if self.aggregated else SERVING_ROLES
        asked = PerRole.of(lambda role: self._asked_for(seen, role) if role in roles else 0)
        self._asked = [(at_s, n) for at_s, n in self._asked if at_s > seen.at_s - DOWN_WINDOW_S]
        # As HPA does: the size found at the start counts as asked for.
        self._asked = [*(self._asked or [(seen.at_s, self.target)]), (seen.at_s, asked)]
        return PerRole.of(lambda role: self._allowed(role, max(n[role] for _, n in self._asked)))

    def _asked_for(self, seen: Observation, role: Role) -> int:
        metrics: tuple[tuple[Read, float], ...] = (
            (waiting, self.queue),
            (kv_use, self.kv),
            (running, self.running),
        )
        current = self.target[role]
        counts = [self._count(seen, role, read, target) for read, target in metrics if target]
        known = [count for count in counts if count is not None]
        # As HPA does: a metric that is not known allows no shrinking.
        if len(known) < len(counts):
            known.append(current)
        return min(self.most, max(self.least, *known))

    def _count(self, seen: Observation, role: Role, read: Read, target: float) -> int | None:
        found = readings(seen.engines, role, read)
        current = self.target[role]
        unready = max(0, current - len(found.values) - found.missing)
        return desired_replicas(current, found, unready, target, TOLERANCE, TOLERANCE)

    def _allowed(self, role: Role, asked: int) -> int:
        current = self.target[role]
        return min(asked, max(UP_FACTOR * current, current + UP_PODS)) if asked > current else asked


@dataclass(slots=True, kw_only=True)
class Keda(Hpa):
    """Waiting requests alone, as vLLM's production stack sets it up: one engine for each `queue` of them in all."""

    def _count(self, seen: Observation, role: Role, read: Read, target: float) -> int | None:
        found, current = readings(seen.engines, role, read), self.target[role]
        if found.mean is None:
            return None
        total = sum(found.values)
        if current and abs(total / (target * current) - 1) <= TOLERANCE:
            return current
        return math.ceil(total / target)
