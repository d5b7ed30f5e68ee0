"""How long engines take to start, pod by pod, and what that says of the next. Pure; kept across restarts as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Pool
from pdoperator.api.values import Missing, Value
from pdoperator.signals.pods import PodView


@dataclass(frozen=True, slots=True)
class StartUp:
    """When one engine pod was created, placed, started, ready, and had its first KV transfer (None: not seen)."""

    uid: str
    pool: str
    created_s: float
    scheduled_s: float
    started_s: float
    ready_s: float
    transfer_s: float | None = None

    @property
    def total_s(self) -> float:
        """Created to ready."""
        return max(0.0, self.ready_s - self.created_s)


class StartUps:
    """The newest start-ups of a service."""

    def __init__(self, known: Iterable[StartUp] = ()) -> None:
        self._known = {start.uid: start for start in known}

    def see(self, pods: Iterable[PodView], transfers: Mapping[str, float], now_s: float) -> None:
        """Take in pods that have become ready; `transfers` counts KV transfers by pod name, as read at `now_s`.

        A pod whose container has restarted says nothing of the next one's start, nor one that only became ready again.
        """
        for pod in pods:
            if pod.uid in self._known:
                self._see_transfer(self._known[pod.uid], transfers.get(pod.name, 0.0), now_s)
            elif (start := _start_up(pod)) is not None:
                self._known[pod.uid] = start
        newest = sorted(self._known.values(), key=lambda start: start.ready_s)[-defaults.STARTUPS_KEPT :]
        self._known = {start.uid: start for start in newest}

    def quantile(self, share: float, pool: Pool | None = None) -> Value[float] | Missing:
        """Seconds from created to ready that `share` of the start-ups stayed within (nearest rank)."""
        times = sorted(start.total_s for start in self._known.values() if pool in (None, start.pool))
        if not times:
            return Missing("no engine has been seen to start yet")
        return Value(times[max(0, math.ceil(share * len(times)) - 1)])

    def to_text(self) -> str:
        """As `from_text` reads it."""
        return json.dumps([asdict(start) for start in self._known.values()], separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> StartUps:
        """What `to_text` wrote; nothing in anything else, which another version may have written."""
        try:
            return StartUps(StartUp(**entry) for entry in json.loads(text))
        except (ValueError, TypeError):
            return StartUps()

    def _see_transfer(self, start: StartUp, transfers: float, now_s: float) -> None:
        if start.transfer_s is None and transfers > 0:
            self._known[start.uid] = StartUp(**(asdict(start) | {"transfer_s": now_s}))


def _start_up(pod: PodView) -> StartUp | None:
    if (
        not pod.ready
        or pod.restarts
        or pod.scheduled_s is None
        or pod.started_s is None
        or pod.ready_s is None
    ):
        return None
    if pod.ready_s - pod.started_s > defaults.ENGINE_START_LIMIT_S:
        return None
    return StartUp(pod.uid, pod.pool.value, pod.created_s, pod.scheduled_s, pod.started_s, pod.ready_s)
