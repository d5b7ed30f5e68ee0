"""What one engine's own metrics say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pdoperator.api.values import Missing, Value
from pdoperator.signals.counters import Counters
from pdoperator.signals.exposition import Series, read_series, total

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USAGE = "vllm:kv_cache_usage_perc"
# vLLM's counters by our names.
_COUNTERS = {
    "prefix_queries": "vllm:prefix_cache_queries_total",
    "prefix_hits": "vllm:prefix_cache_hits_total",
    "transfers": "vllm:nixl_xfer_time_seconds_count",
    "failed": "vllm:nixl_num_failed_transfers_total",
    "expired": "vllm:nixl_num_kv_expired_reqs_total",
    "late": "vllm:nixl_num_notifications_after_expiry_total",
    "queue_s": "vllm:request_queue_time_seconds_sum",
    "queued": "vllm:request_queue_time_seconds_count",
    "prefill_s": "vllm:request_prefill_time_seconds_sum",
    "prefilled": "vllm:request_prefill_time_seconds_count",
}
ENGINE_SERIES = frozenset({_RUNNING, _WAITING, _KV_USAGE, *_COUNTERS.values()})


@dataclass(frozen=True, slots=True)
class EngineCounts(Counters):
    """An engine's counters: the first two in tokens; transfers where KV is received, expired and late where held.

    Seconds that requests waited for their first step, and from there to their first token; of so many.
    """

    prefix_queries: float = 0.0
    prefix_hits: float = 0.0
    transfers: float = 0.0
    failed: float = 0.0
    expired: float = 0.0
    late: float = 0.0
    queue_s: float = 0.0
    queued: float = 0.0
    prefill_s: float = 0.0
    prefilled: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineReading:
    """One scrape of one engine. `kv_use` is a share; blocks that only cache prefixes are not in it."""

    running: float
    waiting: float
    kv_use: Value[float] | Missing
    counts: EngineCounts


def read_engine(text: str) -> EngineReading:
    """The reading in an engine's exposition, under either spelling of its names. Raises ValueError if it is none."""
    return engine_reading(read_series(text, ENGINE_SERIES))


def engine_reading(series: Mapping[str, list[Series]]) -> EngineReading:
    """The reading in an engine's series by their canonical names. Raises ValueError if they are not an engine's."""
    running, waiting, kv_use = (total(series, name) for name in (_RUNNING, _WAITING, _KV_USAGE))
    if running is None or waiting is None or not math.isfinite(running + waiting):
        raise ValueError(f"no {_RUNNING} and {_WAITING} in the engine's metrics")
    known = kv_use is not None and math.isfinite(kv_use)
    return EngineReading(
        running,
        waiting,
        Value(kv_use or 0.0) if known else Missing(f"no {_KV_USAGE} in the engine's metrics"),
        # A counter that has not been raised yet, or that this engine has no use for, may not be there.
        EngineCounts(*(total(series, name) or 0.0 for name in _COUNTERS.values())),
    )
