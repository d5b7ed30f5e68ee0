"""DistServe's analysis of prefill (OSDI'24, section 3) and its fitted latencies (its simulator `simdistserve`).

R is the arrival rate per second (Poisson), D the seconds of one prefill on one GPU. Two GPUs may split a prefill by
layers (inter-op: a pipeline) or within each layer (intra-op: faster by K, 1 < K < 2, for communication costs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pdoperator.capacity.lengths import ServiceTime
from pdoperator.capacity.queueing import mg1_stay_s


def ttft_s(rate_rps: float, prefill_s: float, replicas: int = 1) -> float:
    """Mean TTFT of M/D/1, each replica fed an equal share: D + R D^2 / (2 (1 - R D)). Infinite from R D = 1 on."""
    return mg1_stay_s(rate_rps / replicas, ServiceTime.fixed(prefill_s))


def inter_op_ttft_s(rate_rps: float, prefill_s: float) -> float:
    """Mean TTFT with two pipeline stages of D/2 each: D + R D^2 / (4 (2 - R D)). Infinite from R D = 2 on."""
    if rate_rps * prefill_s >= 2:
        return math.inf
    return prefill_s + rate_rps * prefill_s**2 / (4 * (2 - rate_rps * prefill_s))


def intra_op_ttft_s(rate_rps: float, prefill_s: float, speedup: float) -> float:
    """Mean TTFT with each layer on two GPUs: D/K + R D^2 / (2 K (K - R D)). Infinite from R D = K on.

    Raises ValueError unless 1 <= K <= 2.
    """
    if not 1 <= speedup <= 2:
        raise ValueError(f"two GPUs are 1 to 2 times as fast as one, not {speedup} times")
    return ttft_s(rate_rps, prefill_s / speedup)


def instances_needed(rate_rps: float, goodput_rps: float) -> int:
    """n = ceil(R / goodput): instances that carry the rate, at least 1. Raises ValueError for a goodput of 0."""
    if goodput_rps <= 0:
        raise ValueError("an instance that meets the targets at no rate cannot be replicated to meet them")
    return max(1, math.ceil(rate_rps / goodput_rps - 1e-9))


@dataclass(frozen=True, slots=True)
class InstanceLatency:
    """Step times of one instance on A100-80GB: coefficients a, b, c in milliseconds, as published.

    Prefill: a + b sum(len) + c sum(len^2) over the prompts of a batch. Decode: a + b sum(context) + c batch, with a
    set for small batches and another for large ones. What the simulator adds per pipeline stage is not in here.
    """

    prefill_ms: tuple[float, float, float]
    decode_small_ms: tuple[float, float, float]
    decode_large_ms: tuple[float, float, float]

    def prefill_s(self, prompts_tokens: Sequence[int]) -> float:
        """Seconds to prefill these prompts together."""
        a, b, c = self.prefill_ms
        return (a + b * sum(prompts_tokens) + c * sum(x**2 for x in prompts_tokens)) / 1000

    def decode_s(self, contexts_tokens: Sequence[int]) -> float:
        """Seconds of one decode step of sequences with these contexts."""
        batch = len(contexts_tokens)
        a, b, c = self.decode_small_ms if batch < LARGE_BATCH else self.decode_large_ms
        return (a + b * sum(contexts_tokens) + c * batch) / 1000


LARGE_BATCH = 95

# By model and tensor parallel size.
A100_80GB: dict[tuple[str, int], InstanceLatency] = {
    ("opt-13b", 1): InstanceLatency((18.10, 0.1019, 7e-6), (19.93, 0.000627, 0.0385), (7.17, 0.00058, 0.158)),
    ("opt-13b", 2): InstanceLatency(
        (14.74, 0.0686, 2e-6), (13.29, 0.000341, 0.0630), (10.64, 0.000312, 0.0856)
    ),
    ("opt-13b", 4): InstanceLatency(
        (12.06, 0.0381, 1e-6), (10.26, 0.000188, 0.0327), (10.48, 0.000171, 0.0457)
    ),
    ("opt-66b", 2): InstanceLatency(
        (43.06, 0.2742, 2.2e-5), (48.29, 0.000942, 0.1276), (28.73, 0.000474, 0.2962)
    ),
    ("opt-66b", 4): InstanceLatency(
        (29.44, 0.1514, 8e-6), (30.76, 0.000452, 0.0633), (27.47, 0.000405, 0.1248)
    ),
    ("opt-66b", 8): InstanceLatency(
        (25.49, 0.1066, 3e-6), (23.16, 0.000227, 0.0480), (21.72, 0.000376, 0.0898)
    ),
}
