"""What is paused now, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pdoperator.api.units import timestamp
from pdoperator.planning.constraints.pause import active_pauses
from pdoperator.planning.settings import Pause


def paused_now(pauses: Iterable[Pause], now_s: float) -> str:
    """`more prefill until 2026-01-31T18:00:00.000Z; ...`; empty if nothing is paused."""
    return "; ".join(_told(pause) for pause in active_pauses(pauses, now_s))


def _told(pause: Pause) -> str:
    what = "any change of" if pause.up and pause.down else ("more" if pause.up else "fewer")
    who = " and ".join(role.value for role in pause.roles)
    until = "" if pause.until_s is None else f" until {timestamp(pause.until_s)}"
    return f"{what} {who}{until}"
