"""Engines that do not start, or not again: when one is given up, and what can be had meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.observation import EngineView
from pdoperator.planning.settings import Limits, RoleLimits


def start_deadline_s(startup_p90_s: Value[float] | Missing) -> float:
    """How long an engine may take from its pod's creation to ready: a multiple of what 9 of 10 took.

    As long as none has been seen to start, the time after which the kubelet itself would start it anew.
    """
    if isinstance(startup_p90_s, Missing):
        return defaults.ENGINE_START_LIMIT_S
    longest_s = defaults.START_DEADLINE_P90S * startup_p90_s.x
    return min(defaults.ENGINE_START_LIMIT_S, max(defaults.START_DEADLINE_MIN_S, longest_s))


def overdue(
    engines: Iterable[EngineView], now_s: float, deadline_s: float, since_s: float = 0.0
) -> list[EngineView]:
    """Engines that are not ready and past their deadline; without a node a shorter one may apply.

    Time counts not before `since_s`: what kept them from starting may have ended then.
    """

    def limit_s(engine: EngineView) -> float:
        return deadline_s if engine.scheduled else min(deadline_s, defaults.SCHEDULE_DEADLINE_S)

    return [
        engine
        for engine in engines
        if not engine.ready
        and not engine.deleting
        and engine.state is not State.DRAINING
        and min(waits_for_s(engine, now_s), now_s - since_s) > limit_s(engine)
    ]


def waits_for_s(engine: EngineView, now_s: float) -> float:
    """How long an engine has not been ready: a new one since its creation, one that served since it last was.

    Where nobody says since when, it counts as if just now.
    """
    if engine.state is State.WARMING:
        return now_s - engine.created_s
    return 0.0 if engine.unready_s is None else now_s - engine.unready_s


def obtainable(limits: Limits, engines: Iterable[EngineView], late: Iterable[EngineView]) -> Limits:
    """Limits under which the engines in `late` are not to be had: no more than there is without them.

    Of a shared pool that bounds the GPUs. A role's own pool alone is bounded (its image may be at fault, or its size):
    GPUs that the other role has given up for it go back to that role when it needs them. minReplicas stand, as
    everywhere.
    """
    lost = {engine.name for engine in late}
    left = Counter(e.pool for e in engines if not e.deleting and e.name not in lost)
    failing = {engine.pool for engine in late}

    def bounded(role: Role) -> RoleLimits:
        most, pool = limits.roles[role], Pool(role.value)
        if pool not in failing:
            return most
        return replace(most, most=max(most.least, min(most.most, left[pool])))

    budget = limits.budget
    if Pool.SHARED in failing:
        cost = sum(count * cost_of(pool, limits) for pool, count in left.items())
        budget = cost if budget is None else min(budget, cost)
    return replace(limits, roles=PerRole.of(bounded), budget=budget, short=True)


def cost_of(pool: Pool, limits: Limits) -> int:
    """One engine's share of the budget; both roles of a shared pool cost the same, as they are the same pod."""
    return limits.roles.decode.cost if pool is Pool.SHARED else limits.roles[Role(pool.value)].cost
