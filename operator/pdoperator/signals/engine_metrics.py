"""What an engine's own metrics say: whether anything is left on it."""

from __future__ import annotations

import math

from pdoperator.api.values import Missing, Value
from pdoperator.signals.exposition import read_series, total

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USAGE = "vllm:kv_cache_usage_perc"


def idle(text: str) -> Value[bool] | Missing:
    """Whether the engine runs nothing, queues nothing and holds no KV for a decode engine that has yet to fetch it.

    A prefill engine with finished prefills runs and queues nothing but uses KV; blocks that only cache prefixes do not
    count as used.
    """
    try:
        series = read_series(text, {_RUNNING, _WAITING, _KV_USAGE})
    except ValueError as failure:
        return Missing(f"no metrics that can be read: {failure}")
    running, waiting = total(series, _RUNNING), total(series, _WAITING)
    if running is None or waiting is None or not math.isfinite(running + waiting):
        return Missing(f"no {_RUNNING} and {_WAITING} in the engine's metrics")
    exported = total(series, _KV_USAGE)
    return Value(running + waiting == 0 and (exported is None or exported == 0))
