"""llm-d's Workload-Variant-Autoscaler, saturation analyser V2 (its default since 0.9), each role by itself.

An engine's capacity is in tokens: 80 % of its KV cache, or what it held when its queue was full, if that was seen.
Demand is the KV resident and what its queue will take (a prompt in prefill, prompt and output in decode). It grows when
demand exceeds 85 % of the supply that is ready or coming, and shrinks when it is below 70 %.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.seen import demand, ready, value

KV_SHARE = 0.8
FULL_QUEUE = 5.0  # waiting requests from which on an engine counts as saturated
OBSERVATIONS = 10
HOLD_S = 300.0  # the HPA that carries its numbers out shrinks only to the most of this window


@dataclass(slots=True, kw_only=True)
class Wva(PolicyBase):
    """`grow_at`, `shrink_at`: shares of supply."""

    profile: Profile
    grow_at: float = 0.85
    shrink_at: float = 0.70
    least: int = 1
    _demand: Demand | None = None
    _saturated: dict[Role, deque[float]] = field(
        default_factory=lambda: {role: deque(maxlen=OBSERVATIONS) for role in (Role.PREFILL, Role.DECODE)}
    )
    _asked: list[tuple[float, PerRole[int]]] = field(default_factory=list)

    def choose(self, seen: Observation) -> PerRole[int]:
        """Engines by role; the most that was asked for within HPA's window."""
        self._demand = demand(seen) or self._demand
        needed = PerRole.of(lambda role: self._needed(role, ready(seen, role), self.target[role]))
        self._asked = [(at_s, n) for at_s, n in self._asked if at_s > seen.at_s - HOLD_S]
        self._asked.append((seen.at_s, needed))
        return PerRole.of(lambda role: max(n[role] for _, n in self._asked))

    def _needed(self, role: Role, engines: list[EngineView], replicas: int) -> int:
        """Engines after this look; as many as there are when an engine does not tell its load."""
        loads = [self._load(role, engine) for engine in engines]
        known = [load for load in loads if load is not None]
        if len(known) < len(engines) or not engines:
            return max(self.least, replicas)
        capacity = self._capacity(role)
        demand_tokens, supply = sum(known), replicas * capacity
        if demand_tokens / self.grow_at > supply:
            return replicas + math.ceil((demand_tokens / self.grow_at - supply) / capacity)
        spare = max(0.0, supply - demand_tokens / self.shrink_at)
        return max(self.least, replicas - math.floor(spare / capacity))

    def _load(self, role: Role, engine: EngineView) -> float | None:
        """Tokens resident and queued on one engine; a full queue shows what it can hold."""
        kv_use, waiting = value(engine.kv_use), value(engine.waiting)
        if kv_use is None or waiting is None:
            return None
        resident = kv_use * self.profile.kv_tokens
        if waiting > FULL_QUEUE and resident > 0:
            self._saturated[role].append(resident)
        return resident + waiting * self._request_tokens(role)

    def _request_tokens(self, role: Role) -> float:
        if self._demand is None:
            return 0.0
        osl = self._demand.osl_tokens if role is Role.DECODE else 0.0
        return self._demand.isl_tokens + osl

    def _capacity(self, role: Role) -> float:
        by_memory = KV_SHARE * self.profile.kv_tokens
        observed = self._saturated[role]
        return min(by_memory, sum(observed) / len(observed)) if observed else by_memory
