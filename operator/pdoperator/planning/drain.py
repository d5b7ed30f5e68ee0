"""Draining: when an engine is empty, and which engines go when a pool shrinks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import PerRole, Value
from pdoperator.planning.observation import EngineView
from pdoperator.planning.roles import work


def drained(engine: EngineView, now_s: float, lease_s: float) -> bool:
    """Whether nothing is left on a draining engine, by readings from after the routers took it out.

    Requests and KV are two waits: an engine without a request may hold finished prefills that decode engines have yet
    to fetch, for `lease_s` at most.

    A reading that is missing, or older than DRAIN_QUIET_S after the drain began, says nothing.
    """
    started_s, outstanding = engine.drain_started_s, engine.outstanding
    running, waiting, exporting = engine.running, engine.waiting, engine.exporting
    if (
        started_s is None
        or not isinstance(outstanding, Value)
        or not isinstance(running, Value)
        or not isinstance(waiting, Value)
        or not isinstance(exporting, Value)
    ):
        return False
    age_s = max(outstanding.age_s, running.age_s, waiting.age_s, exporting.age_s)
    if now_s - age_s < started_s + defaults.DRAIN_QUIET_S:
        return False
    return work(engine) + running.x + waiting.x + exporting.x == 0 and _kv_gone(
        engine, now_s - started_s, lease_s
    )


def _kv_gone(engine: EngineView, draining_for_s: float, lease_s: float) -> bool:
    """No KV is left to be fetched: the cache holds none, or its lease has run out since nobody could renew it.

    Blocks that only cache prefixes do not count as used; an engine that does not tell its use is judged by the lease.
    """
    if isinstance(engine.kv_use, Value) and engine.kv_use.x == 0:
        return True
    return draining_for_s >= lease_s + defaults.DRAIN_QUIET_S


def drain_timed_out(engine: EngineView, now_s: float, lease_s: float) -> bool:
    """Whether the drain has taken longer than DRAIN_TIMEOUT_S, or than KV may be waited for where that is longer."""
    limit_s = max(defaults.DRAIN_TIMEOUT_S, lease_s + 2 * defaults.DRAIN_QUIET_S)
    return engine.drain_started_s is not None and now_s - engine.drain_started_s >= limit_s


def choose_victims(engines: Sequence[EngineView], target: PerRole[int], count: int) -> list[EngineView]:
    """`count` engines that cost least to lose, first the cheapest.

    Not ready before ready (they serve nothing), then of the role that has more than its target, then by what is lost
    with it: requests and KV kept for decode engines, KV in use; then the one whose node has the fewest of its siblings,
    so that nodes become free; then the youngest, whose prefix cache is the coldest.
    """
    left = list(engines)
    have = Counter(engine.role for engine in engines if engine.ready)
    siblings = Counter(engine.node for engine in engines)
    victims: list[EngineView] = []
    for _ in range(min(count, len(left))):
        victim = min(left, key=lambda engine: _price(engine, have, siblings, target))
        left.remove(victim)
        have[victim.role] -= victim.ready
        siblings[victim.node] -= 1
        victims.append(victim)
    return victims


def _price(
    engine: EngineView, have: Counter[Role], siblings: Counter[str], target: PerRole[int]
) -> tuple[bool, float, float, float, int, float, str]:
    surplus = math.inf if engine.role is Role.BOTH else have[engine.role] - target[engine.role]
    exporting = engine.exporting.x if isinstance(engine.exporting, Value) else 0
    kv_use = engine.kv_use.x if isinstance(engine.kv_use, Value) else 0.0
    return (
        engine.ready,
        -surplus,
        work(engine) + exporting,
        round(kv_use, 1),  # small differences are of the moment
        siblings[engine.node],
        -engine.created_s,
        engine.name,
    )
