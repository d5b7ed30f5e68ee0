"""The work that is in a trace: engine-seconds of prefill and decode by window, known in advance by nobody but oracles.

An engine at its TPOT target does B tokens every TPOT(B) seconds, B being the batch that TPOT, KV memory or the engine's
limit allows for that context; a token costs its share of that. Prefill costs what it adds to a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdoperator.capacity.profile import Profile
from pdoperator.sim.traffic.trace import Trace

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Mean engines that prefill and that decode would keep busy, by window of `window_s` from the trace's beginning."""

    window_s: float
    prefill: Series
    decode: Series

    def at(self, now_s: float) -> int:
        """The window that holds `now_s`; the last one for ever after."""
        return min(int(now_s / self.window_s), len(self.prefill) - 1)


def work_of(trace: Trace, profile: Profile, tpot_s: float, window_s: float) -> Work:
    """Prefill falls due on arrival, decode over the residence that follows."""
    prefill_s, decode_s, residence_s = request_work(trace, profile, tpot_s)
    windows = int((trace.arrival_s + residence_s).max() / window_s) + 1
    slots = (trace.arrival_s / window_s).astype(np.int64)
    prefill = np.bincount(slots, weights=prefill_s, minlength=windows) / window_s
    return Work(window_s, prefill, _spread(trace.arrival_s, residence_s, decode_s, window_s, windows))


def request_work(trace: Trace, profile: Profile, tpot_s: float) -> tuple[Series, Series, Series]:
    """Engine-seconds of prefill and of decode, and seconds of residence in decode, by request."""
    isl = trace.input_tokens.astype(np.float64)
    new = np.maximum(1.0, isl - trace.cached_tokens)
    prefill_s = profile.ttft.b * new + profile.ttft.c * new * (2 * isl - new)
    context = isl + trace.output_tokens / 2
    batch = _batch(context, profile, tpot_s)
    step_s = profile.itl.a + batch * (profile.itl.b + profile.itl.c * context)
    residence_s = trace.output_tokens * step_s
    return prefill_s, residence_s / batch, residence_s


def _batch(context: Series, profile: Profile, tpot_s: float) -> Series:
    """Sequences of this context that an engine decodes together at the TPOT target, not rounded; at least one."""
    per_sequence_s = profile.itl.b + profile.itl.c * context
    by_tpot = (tpot_s - profile.itl.a) / per_sequence_s
    batch: Series = np.clip(np.minimum(by_tpot, profile.kv_tokens / context), 1.0, profile.max_batch)
    return batch


def _spread(start_s: Series, length_s: Series, amount_s: Series, window_s: float, windows: int) -> Series:
    """Amounts spread evenly from their start over their length: the mean per window."""
    slope = amount_s / length_s
    edges = window_s * np.arange(windows + 1)

    def done_by_edges(from_s: Series) -> Series:
        # The integral over max(0, edge - from) of slope, by sums of slope and slope * from up to each edge.
        slot = np.minimum(np.ceil(from_s / window_s).astype(np.int64), windows + 1)
        slopes = np.cumsum(np.bincount(slot, weights=slope, minlength=windows + 2)[: windows + 1])
        moments = np.cumsum(np.bincount(slot, weights=slope * from_s, minlength=windows + 2)[: windows + 1])
        done: Series = np.asarray(edges * slopes - moments, np.float64)
        return done

    busy: Series = np.diff(done_by_edges(start_s) - done_by_edges(start_s + length_s)) / window_s
    return np.maximum(0.0, busy)
