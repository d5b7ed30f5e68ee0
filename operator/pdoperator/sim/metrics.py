"""What a replay is judged by: attainment, latencies, goodput, GPU-hours. Failed requests are misses everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pdoperator.capacity.profile import Profile
from pdoperator.sim.replay import Outcome
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

ATTAINS_SHARE = 0.99  # of what is attainable: from there on a policy attains
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Summary:
    """One replay in numbers; the names are the keys of `pdctl replay -o json`.

    TTFT and TPOT percentiles are over all requests, one without a first token counting as infinitely late.
    `goodput_rps_per_gpu`: requests within both targets per second that a GPU existed; `goodput_tokens_per_s`: their
    output tokens per second of the trace (DOPD's goodput); `attainable`: what an empty system would attain.
    """

    policy: str
    seed: int
    attainment: float
    attainable: float
    attains: bool
    ttft_p50_s: float
    ttft_p90_s: float
    ttft_p99_s: float
    tpot_p50_s: float
    tpot_p90_s: float
    tpot_p99_s: float
    goodput_rps_per_gpu: float
    goodput_tokens_per_s: float
    gpu_hours: float
    flips: int
    scale_events: int
    settle_p90_s: float | None
    failed: int


def summary(outcome: Outcome) -> Summary:
    """The replay in numbers."""
    good = within_targets(outcome)
    best = attainable(outcome.trace, outcome.scenario)
    gpu_s = outcome.engine_seconds * outcome.scenario.profile.gpus_per_replica
    ttft, tpot = (_percentiles(x) for x in (outcome.ttft_s, outcome.tpot_s))
    return Summary(
        policy=outcome.policy,
        seed=outcome.scenario.seed,
        attainment=float(good.mean()),
        attainable=best,
        attains=bool(good.mean() >= ATTAINS_SHARE * best),
        ttft_p50_s=ttft[0],
        ttft_p90_s=ttft[1],
        ttft_p99_s=ttft[2],
        tpot_p50_s=tpot[0],
        tpot_p90_s=tpot[1],
        tpot_p99_s=tpot[2],
        goodput_rps_per_gpu=float(good.sum()) / gpu_s if gpu_s else 0.0,
        goodput_tokens_per_s=_output_tokens_per_s(outcome, good),
        gpu_hours=gpu_s / 3600,
        flips=outcome.flips,
        scale_events=outcome.scale_events,
        settle_p90_s=float(np.quantile(outcome.settle_s, 0.9)) if len(outcome.settle_s) else None,
        failed=int((~outcome.finished).sum()),
    )


def within_targets(outcome: Outcome, scale: float = 1.0) -> NDArray[np.bool_]:
    """Requests that ended within both targets, each multiplied by `scale`."""
    scenario = outcome.scenario
    in_time = (outcome.ttft_s <= scale * scenario.ttft_s) & (outcome.tpot_s <= scale * scenario.tpot_s)
    return in_time & outcome.finished


def scale_attained(outcome: Outcome, share: float = 0.9) -> float:
    """The least factor on both targets at which `share` of all requests is within them (DistServe's SLO scale).

    Infinite when fewer than that were served at all.
    """
    scenario = outcome.scenario
    needed = np.maximum(outcome.ttft_s / scenario.ttft_s, outcome.tpot_s / scenario.tpot_s)
    needed = np.where(outcome.finished, needed, math.inf)
    return _percentile(needed, 100 * share)


def attainable(trace: Trace, scenario: Scenario) -> float:
    """The share of requests that an empty disaggregated system serves within the targets."""
    profile = scenario.profile
    isl = trace.input_tokens.astype(np.float64)
    to_prefill = np.maximum(1.0, isl - trace.cached_tokens)
    prefill_s = (
        profile.ttft.a + profile.ttft.b * to_prefill + profile.ttft.c * to_prefill * (2 * isl - to_prefill)
    )
    step_s = profile.itl.a + profile.itl.b
    ttft_s = prefill_s + transfer_s(profile, isl) + step_s + profile.itl.c * isl
    tpot_s = step_s + profile.itl.c * (isl + trace.output_tokens / 2)
    in_time = (ttft_s <= scenario.ttft_s) & ((tpot_s <= scenario.tpot_s) | (trace.output_tokens == 1))
    return float(in_time.mean())


def transfer_s(profile: Profile, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long the KV of so many tokens is on a link of its own; no time where the profile does not know the link."""
    if not profile.kv_bytes_per_token or not profile.link_bytes_per_s:
        return np.zeros_like(tokens)
    return tokens * (profile.kv_bytes_per_token / profile.link_bytes_per_s)


def goodput_crossing(
    rates_rps: Sequence[float], attainments: Sequence[float], share: float, gpus: float
) -> float | None:
    """Per-GPU goodput as DistServe has it: the rate at which attainment falls below `share`, over `gpus`.

    Rates ascend; between two of them attainment is a straight line. None when even the lowest rate is below `share`
    or the highest still is not: then the sweep must be widened.
    """
    points = list(zip(rates_rps, attainments, strict=True))
    if not points or points[0][1] < share:
        return None
    for (low, above), (high, below) in pairwise(points):
        if below < share:
            return (low + (high - low) * (above - share) / (above - below)) / gpus
    return None


def _output_tokens_per_s(outcome: Outcome, good: NDArray[np.bool_]) -> float:
    return float(outcome.trace.output_tokens[good].sum(dtype=np.int64)) / max(outcome.trace.span_s, 1e-9)


def _percentiles(values: NDArray[np.float32]) -> list[float]:
    late = np.where(np.isnan(values), np.float32(np.inf), values)
    return [float(x) for x in np.percentile(late, PERCENTILES, method="inverted_cdf")]


def _percentile(values: NDArray[np.floating], percent: float) -> float:
    return float(np.percentile(values, percent, method="inverted_cdf"))
