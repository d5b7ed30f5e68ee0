"""What a person does not want changed for now: a role, a direction, until some time."""

from __future__ import annotations

from collections.abc import Iterable

from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.units import timestamp
from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.settings import Pause
from pdoperator.planning.strategies.strategy import Context


def active_pauses(pauses: Iterable[Pause], now_s: float) -> list[Pause]:
    """Those that are not over."""
    return [pause for pause in pauses if pause.until_s is None or now_s < pause.until_s]


def paused(context: Context, draft: Draft) -> Draft:
    """The target without the changes that are paused.

    In a shared pool a flip needs both roles: where one of them may not change, neither does the other for its sake.
    """
    active = active_pauses(context.settings.pauses, context.observation.at_s)
    if not active:
        return draft
    current = context.current

    def held(role: Role) -> int:
        up = any(role in pause.roles and pause.up for pause in active)
        down = any(role in pause.roles and pause.down for pause in active)
        count, now = draft.target[role], current[role]
        return now if (up and count > now) or (down and count < now) else count

    target = PerRole.of(held)
    if context.settings.shared_pool:
        target = _same_total(target, draft.target, current)
    return draft.held_at(target, Reason.PAUSED, f"by {describe(active)}")


def describe(pauses: Iterable[Pause]) -> str:
    """`a pause until 2026-01-31T18:00:00.000Z`; of several the one that lasts longest."""
    ends = [pause.until_s for pause in pauses]
    last = None if None in ends else max(end for end in ends if end is not None)
    return "a pause" if last is None else f"a pause until {timestamp(last)}"


def _same_total(target: PerRole[int], asked: PerRole[int], current: PerRole[int]) -> PerRole[int]:
    """`target` with the total between the current one and the one asked for: half a flip is no flip."""
    least, most = sorted((_total(asked), _total(current)))
    beyond = max(0, _total(target) - most) + min(0, _total(target) - least)

    def evened(role: Role) -> int:
        change = target[role] - current[role]
        undone = min(max(change, 0), beyond) if beyond > 0 else max(min(change, 0), beyond)
        return target[role] - undone

    return PerRole.of(evened)


def _total(counts: PerRole[int]) -> int:
    return counts.prefill + counts.decode
