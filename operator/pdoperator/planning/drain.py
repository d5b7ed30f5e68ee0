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


def drained(engine: EngineView, now_s: float) -> bool:
    """Whether nothing is left on a draining engine, by readings from after the routers took it out.

    A reading that is missing, or older than DRAIN_QUIET_S after the drain began, says nothing.
    """
    idle, outstanding = engine.idle, engine.outstanding
    if engine.drain_started_s is None or not isinstance(idle, Value) or not isinstance(outstanding, Value):
        return False
    oldest_s = now_s - max(idle.age_s, outstanding.age_s)
    return oldest_s >= engine.drain_started_s + defaults.DRAIN_QUIET_S and idle.x and work(engine) == 0


def drain_timed_out(engine: EngineView, now_s: float) -> bool:
    """Whether the drain has taken longer than DRAIN_TIMEOUT_S."""
    return engine.drain_started_s is not None and now_s - engine.drain_started_s >= defaults.DRAIN_TIMEOUT_S


def choose_victims(engines: Sequence[EngineView], target: PerRole[int], count: int) -> list[EngineView]:
    """`count` engines that cost least to lose, first the cheapest.

    Not ready before ready (they serve nothing), then of the role that has more than its target, then with the least
    outstanding work, then the youngest.
    """
    left = list(engines)
    have = Counter(engine.role for engine in engines if engine.ready)
    victims: list[EngineView] = []
    for _ in range(min(count, len(left))):
        victim = min(left, key=lambda engine: _price(engine, have, target))
        left.remove(victim)
        have[victim.role] -= victim.ready
        victims.append(victim)
    return victims


def _price(
    engine: EngineView, have: Counter[Role], target: PerRole[int]
) -> tuple[bool, float, float, float, str]:
    surplus = math.inf if engine.role is Role.BOTH else have[engine.role] - target[engine.role]
    return engine.ready, -surplus, work(engine), -engine.created_s, engine.name
