"""Which engines of a shared pool prefill and which decode."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole, Value
from pdoperator.planning.observation import EngineView
from pdoperator.planning.split import best_split


def assign_roles(target: PerRole[int], engines: Iterable[EngineView]) -> dict[str, Role]:
    """Role by name for each ready engine that is neither draining nor deleting, with as few changes as possible.

    Only engines of one revision are paired, so each revision is split by itself in the target's proportion: one of each
    role from two engines on, and a single engine decodes, as that serves alone. Where an engine must change its role,
    the one with the least outstanding work does.
    """
    revisions: dict[str, list[EngineView]] = defaultdict(list)
    for engine in engines:
        if engine.usable:
            revisions[engine.revision].append(engine)
    assigned: dict[str, Role] = {}
    for group in revisions.values():
        assigned.update(_assign_group(prefill_share(target, len(group)), group))
    return assigned


def prefill_share(target: PerRole[int], engines: int) -> int:
    """How many of `engines` (at least 1) prefill: the target's proportion, one of each role from two engines on.

    Rounded to where the worse side lacks least: of 13 engines on the way to 17:2 two decode, for one would halve that.
    A target without prefill engines is an aggregated fleet.
    """
    if target.prefill == 0 or engines == 1:
        return 0
    return best_split(engines, PerRole.of(lambda role: float(target[role])))


def work(engine: EngineView) -> float:
    """Requests that routers have on the engine; not known ranks as the most."""
    if not isinstance(engine.outstanding, Value):
        return math.inf
    return engine.outstanding.x.prefill + engine.outstanding.x.decode


def _assign_group(prefill: int, group: list[EngineView]) -> dict[str, Role]:
    """First to prefill are those that do, then those without a role, then those that decode and have least to do."""

    def reluctance(engine: EngineView) -> tuple[int, float, str]:
        if engine.role is Role.PREFILL:
            return 0, -work(engine), engine.name
        if engine.role is Role.DECODE:
            return 2, work(engine), engine.name
        return 1, engine.created_s, engine.name

    ordered = sorted(group, key=reluctance)
    return {e.name: Role.PREFILL if i < prefill else Role.DECODE for i, e in enumerate(ordered)}
