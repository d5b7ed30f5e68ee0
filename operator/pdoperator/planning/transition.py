"""From one set of pools to another (shared to dedicated, or back): what the old ones keep while the new ones grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pdoperator.api.names import State
from pdoperator.api.values import PerRole
from pdoperator.planning.observation import EngineView


def kept_by_leaving(
    target: PerRole[int], new: Sequence[EngineView], old: Sequence[EngineView], *, cramped: bool
) -> int:
    """How many engines the leaving pools keep for now.

    `new` and `old` are engines of the staying and the leaving pools that are not being deleted. As many go as new ones
    serve. Where these cannot grow (`cramped`: no room in the budget, or no node) an old one is given up for each, one
    at a time: the next only when nothing drains or starts any more. One engine of each role stays until the new pools
    have both; where even that leaves no room, one stays and serves both steps: it is that or waiting for ever.
    """
    wanted = target.prefill + target.decode
    serving = serving_of(new)
    lacking = [role for role, count in target.items() if count and role not in {e.role for e in serving}]
    kept = min(len(old), max(0, wanted - len(serving)))
    if cramped and kept == len(old) and len(serving) < wanted:
        unsettled = [e for e in new if e.scheduled and e not in serving] + [e for e in old if not e.usable]
        kept -= 0 if unsettled else 1
    return max(kept, min(len(old), _floor(len(lacking), serving, old, cramped=cramped)))


def left_to_leaving(target: PerRole[int], new: Sequence[EngineView]) -> PerRole[int]:
    """What the old engines have to do still: the target less the new ones that serve, one of each role at least.

    Of a role that is not wanted at all there is nothing to do.
    """
    serving = Counter(engine.role for engine in serving_of(new))
    return PerRole.of(lambda role: min(target[role], max(1, target[role] - serving[role])))


def serving_of(engines: Sequence[EngineView]) -> list[EngineView]:
    """Those that routers may use."""
    return [engine for engine in engines if engine.usable and engine.state is State.SERVING]


def _floor(lacking: int, new: Sequence[EngineView], old: Sequence[EngineView], *, cramped: bool) -> int:
    """Old engines that stay while the new pools lack an engine of so many roles; `new` are those that serve."""
    if not lacking:
        return 0
    serving = sum(1 for engine in old if engine.usable)
    if cramped and serving <= lacking:  # the last pair, and no room for another
        return 0 if new else 1
    return lacking
