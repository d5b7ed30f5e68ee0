"""What queues do under arrivals as they were, and how far that is from what M/M/1 says of them.

Queueing formulas assume Poisson arrivals. Here the waiting line itself is computed, for prefill engines that serve one
prompt after the other.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdoperator.capacity import mm1
from pdoperator.capacity.profile import Fit

Seconds = NDArray[np.float64]
Stays = Callable[[int], Seconds]  # by the number of engines


def stays_s(arrival_s: Seconds, service_s: Seconds) -> Seconds:
    """Waiting and service of each request at one server, first come, first served (Lindley's recursion)."""
    # The server's work at an arrival is its net input since it was last empty.
    net_s = np.concatenate([[0.0], np.cumsum(service_s[:-1] - np.diff(arrival_s))])
    stays: Seconds = net_s - np.minimum.accumulate(net_s) + service_s
    return stays


def dealt_stays_s(arrival_s: Seconds, service_s: Seconds, engines: int) -> Seconds:
    """The same at several servers to which requests are dealt in turn: an equal share each, as M/M/1 sizing has it."""
    stays = np.empty_like(service_s)
    for engine in range(engines):
        stays[engine::engines] = stays_s(arrival_s[engine::engines], service_s[engine::engines])
    return stays


def shared_stays_s(arrival_s: Seconds, service_s: Seconds, engines: int) -> Seconds:
    """The same where each request goes to the server that is free first: what the best router makes of them."""
    free_at_s = [0.0] * engines
    stays = np.empty_like(service_s)
    for i, (arrival, service) in enumerate(zip(arrival_s.tolist(), service_s.tolist(), strict=True)):
        end = max(arrival, free_at_s[0]) + service
        heapq.heapreplace(free_at_s, end)
        stays[i] = end - arrival
    return stays


@dataclass(frozen=True, slots=True)
class Mm1Check:
    """A prefill fleet sized by M/M/1 for a trace's mean rate and lengths, and what the trace makes of it.

    TTFTs in seconds. `mean_s` and `quantile_s` of requests dealt in turn, `shared_quantile_s` with the best router,
    `attainment` the shares within the target of both; `enough` engines hold the target at the percentile when dealt,
    `shared_enough` with the best router.
    """

    engines: int
    rho: float
    predicted_mean_s: float
    predicted_quantile_s: float
    mean_s: float
    quantile_s: float
    shared_quantile_s: float
    attainment: float
    shared_attainment: float
    enough: int
    shared_enough: int


def check_mm1(
    arrival_s: Seconds, isl_tokens: NDArray[np.int32], ttft: Fit, target_s: float, overhead_s: float, percentile: float
) -> Mm1Check:  # fmt: skip
    """Size prefill by equation (13) in its percentile form, then let the trace queue there. Raises ValueError.

    The engine's saturated throughput is that over the trace's own lengths, so all of the difference is the arrivals'
    and the services' distribution.
    """
    lengths = isl_tokens.astype(np.float64)
    service_s = ttft.a + ttft.b * lengths + ttft.c * lengths**2
    isl, rate_rps = float(lengths.mean()), len(arrival_s) / float(arrival_s[-1] - arrival_s[0])
    saturated_tps = isl / float(service_s.mean())
    usable_tps = mm1.prefill_tokens_per_s(saturated_tps, isl, target_s, overhead_s, percentile)
    engines = mm1.enough(mm1.engines_needed(rate_rps, isl, usable_tps))
    per_engine_rps = rate_rps / engines
    dealt = dealt_stays_s(arrival_s, service_s, engines) + overhead_s
    shared = shared_stays_s(arrival_s, service_s, engines) + overhead_s
    share = percentile / 100
    alone = float(np.mean(service_s + overhead_s <= target_s))
    if alone < share:
        raise ValueError(f"only {alone:.1%} of the prompts meet {target_s:g} s even when each is alone")

    def least(stays: Stays) -> int:
        within = (n for n in itertools.count(1) if np.mean(stays(n) + overhead_s <= target_s) >= share)
        return next(within)

    return Mm1Check(
        engines=engines,
        rho=per_engine_rps * float(service_s.mean()),
        predicted_mean_s=mm1.ttft_s(saturated_tps, isl, overhead_s, per_engine_rps),
        predicted_quantile_s=mm1.ttft_s(saturated_tps, isl, overhead_s, per_engine_rps, percentile),
        mean_s=float(dealt.mean()),
        quantile_s=float(np.quantile(dealt, share)),
        shared_quantile_s=float(np.quantile(shared, share)),
        attainment=float(np.mean(dealt <= target_s)),
        shared_attainment=float(np.mean(shared <= target_s)),
        enough=least(lambda n: dealt_stays_s(arrival_s, service_s, n)),
        shared_enough=least(lambda n: shared_stays_s(arrival_s, service_s, n)),
    )
