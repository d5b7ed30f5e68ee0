"""What a person does not want changed for now: a role, a direction, until some time."""

from __future__ import annotations

from collections.abc import Iterable

from pdoperator.api.reasons import Reason
from pdoperator.api.units import timestamp
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.constraints.hold import without_changes
from pdoperator.planning.settings import Pause
from pdoperator.planning.strategies.strategy import Context


def active_pauses(pauses: Iterable[Pause], now_s: float) -> list[Pause]:
    """Those that are not over."""
    return [pause for pause in pauses if pause.until_s is None or now_s < pause.until_s]


def paused(context: Context, draft: Draft) -> Draft:
    """The target without the changes that are paused."""
    active = active_pauses(context.settings.pauses, context.observation.at_s)
    if not active:
        return draft
    up = {role for pause in active if pause.up for role in pause.roles}
    down = {role for pause in active if pause.down for role in pause.roles}
    target = without_changes(
        draft.target, context.current, up=up, down=down, shared_pool=context.settings.shared_pool
    )
    return draft.held_at(target, Reason.PAUSED, f"by {describe(active)}")


def describe(pauses: Iterable[Pause]) -> str:
    """`a pause until 2026-01-31T18:00:00.000Z`; of several the one that lasts longest."""
    ends = [pause.until_s for pause in pauses]
    last = None if None in ends else max(end for end in ends if end is not None)
    return "a pause" if last is None else f"a pause until {timestamp(last)}"
