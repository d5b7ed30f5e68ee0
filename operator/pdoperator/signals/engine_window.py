"""Counters of all engines over an interval: prefix-cache hits, times of prompts, KV transfers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pdoperator.api.values import Missing, Value
from pdoperator.planning.observation import PrefillTimes, Transfers
from pdoperator.signals.engine_metrics import EngineCounts

_NONE_READ = Missing("no engine has been read twice")


@dataclass(frozen=True, slots=True)
class EngineInterval:
    """Over an interval. `prefix_hit`: share of the prompts' tokens that was found in a prefix cache."""

    prefix_hit: Value[float] | Missing = _NONE_READ
    transfers: Value[Transfers] | Missing = _NONE_READ
    prefill_times: Value[PrefillTimes] | Missing = _NONE_READ


@dataclass(slots=True)
class EngineWindow:
    """Previous counters of one service's engines. An engine counts from its second reading on."""

    _newest: dict[str, EngineCounts] = field(default_factory=dict)
    _prefix_hit: tuple[float, float] | None = None  # share and when it was seen

    def close(
        self, read: Mapping[str, EngineCounts], prefilling: Collection[str], now_s: float
    ) -> EngineInterval:
        """Ends the interval. Hits and times are those of the engines in `prefilling`, of all where it names none.

        Without a prompt in the interval the share last seen stands, with its age.
        """
        counted = {
            name: counts.since(self._newest[name]) for name, counts in read.items() if name in self._newest
        }
        self._newest = dict(read)
        if not counted:
            return EngineInterval(self._last_prefix_hit(now_s))
        everywhere = sum(counted.values(), EngineCounts())
        prompts = sum(
            (c for name, c in counted.items() if name in prefilling or not prefilling), EngineCounts()
        )
        if prompts.prefix_queries > 0:
            self._prefix_hit = min(1.0, prompts.prefix_hits / prompts.prefix_queries), now_s
        transfers = Transfers(
            int(everywhere.transfers), int(everywhere.failed), int(everywhere.expired), int(everywhere.late)
        )
        return EngineInterval(self._last_prefix_hit(now_s), Value(transfers), _times(prompts))

    def _last_prefix_hit(self, now_s: float) -> Value[float] | Missing:
        if self._prefix_hit is None:
            return Missing("no prompt has been looked up in a prefix cache yet")
        share, seen_s = self._prefix_hit
        return Value(share, now_s - seen_s)


def _times(prompts: EngineCounts) -> Value[PrefillTimes] | Missing:
    if not (prompts.queued and prompts.prefilled):
        return Missing("no prompt was prefilled")
    return Value(PrefillTimes(prompts.queue_s / prompts.queued, prompts.prefill_s / prompts.prefilled))
