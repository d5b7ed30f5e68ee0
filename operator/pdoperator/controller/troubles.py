"""What is wrong with a service, told once for as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pdoperator.api.reasons import Reason
from pdoperator.cluster.events import Event

# A trouble that was away for less has not ended: a container that crashes runs in between, for up to five minutes.
OVER_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong now. `kind` tells it from others with the same reason; its words may change while it lasts."""

    reason: Reason
    kind: str
    message: str


class Troubles:
    """Remembers what has been told."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Reason, str], float] = {}

    def fresh(self, now: Iterable[Trouble], at_s: float) -> list[Event]:
        """Warnings for what was not wrong before; of several of one kind the first speaks for all."""
        current: dict[tuple[Reason, str], list[Trouble]] = {}
        for trouble in now:
            current.setdefault((trouble.reason, trouble.kind), []).append(trouble)
        events = [
            Event(reason, _together(troubles), warning=True)
            for (reason, kind), troubles in current.items()
            if (reason, kind) not in self._seen
        ]
        self._seen = {key: seen for key, seen in self._seen.items() if at_s - seen < OVER_AFTER_S}
        self._seen |= dict.fromkeys(current, at_s)
        return events


def _together(troubles: list[Trouble]) -> str:
    others = len(troubles) - 1
    return troubles[0].message + (f" (and {others} more)" if others else "")
