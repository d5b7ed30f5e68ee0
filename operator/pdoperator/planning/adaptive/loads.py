"""Demand as work: how many engines it keeps busy, and what one engine can be kept busy with within its targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pdoperator.api import defaults
from pdoperator.capacity.profile import Profile
from pdoperator.forecast.demand import Demand

# Middles of 20 equal parts of a normal distribution.
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 20) for i in range(20)])
BISECTIONS = 12


@dataclass(frozen=True, slots=True)
class Targets:
    """The TTFT target in seconds, and the share of requests that may miss their targets."""

    ttft_s: float
    misses: float


@dataclass(frozen=True, slots=True)
class Work:
    """What one request costs: engine-seconds of prefill beside the passes, of decode steps beside their constant."""

    prefill_s: float
    decode_s: float


def work_of(demand: Demand, profile: Profile) -> Work:
    """Mean work of a request, the spread of both lengths and what they have in common included.

    Prefill: E[b L + c L^2] with E[L^2] = mean^2 (1 + cv^2) (the variance correction of DOPD's ratio, exact for a
    quadratic latency). Decode: sum over the output's tokens of itl.b + itl.c context.
    """
    isl, osl = demand.isl_tokens, max(1.0, demand.osl_tokens)
    fresh = 1 - demand.prefix_hit
    isl_square, osl_square = isl**2 * (1 + demand.isl_cv**2), osl**2 * (1 + demand.osl_cv**2)
    prefill_s = fresh * (profile.ttft.b * isl + profile.ttft.c * isl_square)
    decode_s = profile.itl.b * osl + profile.itl.c * (demand.decoded_isl_tokens * osl + osl_square / 2)
    return Work(prefill_s, decode_s)


def prefill_share(profile: Profile) -> float:
    """The share of a prefill engine's time that is work when its passes are full; the rest is their constant."""
    full_s = profile.ttft.b * profile.batched_tokens
    return full_s / (full_s + profile.pass_s)


def prefill_busy(work: Work, profile: Profile) -> float:
    """Prefill engines that one request per second keeps busy."""
    return work.prefill_s / prefill_share(profile)


def decode_batch(demand: Demand, profile: Profile, work: Work, tpot_s: float) -> float:
    """Sequences that one decode engine holds within the TPOT target, the KV cache and its batch limit, on average.

    Nothing of the cache is kept free here: how far what is held wavers about its mean is `decode_engines`' business.
    """
    slope_s = work.decode_s / max(1.0, demand.osl_tokens)
    by_target = (tpot_s - profile.itl.a) / slope_s if slope_s else math.inf
    by_memory = profile.kv_tokens / (demand.decoded_isl_tokens + _generated(demand))
    return max(1.0, min(by_target, by_memory, profile.max_batch))


def decode_share(demand: Demand, profile: Profile, work: Work, batch: float) -> float:
    """The share of a decode engine's time that is work when it holds `batch` sequences.

    A step of B sequences takes a + s B seconds, of which s B is work.
    """
    work_s = work.decode_s / max(1.0, demand.osl_tokens) * batch
    return work_s / (profile.itl.a + work_s)


def decode_busy(demand: Demand, profile: Profile, work: Work, batch: float) -> float:
    """Decode engines that one request per second keeps busy: by its steps, or by its KV on the link where that is more.

    An engine computes while it fetches, so the two do not add up.
    """
    link_s = demand.isl_tokens * profile.transfer_s_per_token
    return max(work.decode_s / decode_share(demand, profile, work, batch), link_s)


def prefill_engines(load: float, demand: Demand, profile: Profile, work: Work, targets: Targets) -> float:
    """Engines, not rounded, in front of which no more prompts than `targets.misses` wait longer than they may.

    Those that cannot meet their target even alone do not count.
    """
    service_s = work.prefill_s + profile.pass_s
    slack_s = slacks_s(demand, profile, targets.ttft_s)
    if load <= 0 or not len(slack_s):
        return load
    low, high = load, 4 * load + 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        late = late_share(middle, load, service_s, slack_s, demand.isl_cv)
        low, high = (low, middle) if late <= targets.misses else (middle, high)
    return high


def late_share(
    engines: float, load: float, service_s: float, slack_s: NDArray[np.float64], isl_cv: float
) -> float:
    """Share of prompts that wait longer than they may, each length its own of `slack_s`.

    The wait in a queue with c servers under `load` is more than t with a probability of about
    C exp(-2 (c - load) t / (S (1 + cv^2))), S the service (Kingman; Poisson arrivals), where
    C = rho^(sqrt(2 (c + 1)) - 1) (Sakasegawa 1977).
    """
    decay = 2 * slack_s / (service_s * (1 + isl_cv**2))
    waits = (load / engines) ** (math.sqrt(2 * (engines + 1)) - 1)
    return float(waits * np.exp(-(engines - load) * decay).mean())


def decode_engines(load: float, demand: Demand, batch: float, misses: float, *, by_memory: bool) -> float:
    """Engines, not rounded, that hold what decodes with a probability of 1 - `misses` when `load` are full on average.

    What is in use is a sum over Poisson many sequences. `by_memory`: KV of random size K, so with s = E[K^2]/E[K]^2 its
    standard deviation is sqrt(load s / batch) engines; and no engine can be filled to its last sequence, which is on
    average s / batch of it. Else each sequence takes one of `batch` places, however long it is, and all can be taken.
    """
    size = _kv_spread(demand) if by_memory else 1.0
    share = min(size / batch, defaults.SEQUENCE_SHARE_MAX)
    held = load + NormalDist().inv_cdf(1 - misses) * math.sqrt(load * share)
    return held / (1 - share) if by_memory else held


def _generated(demand: Demand) -> float:
    """Tokens that a sequence has generated at a random moment of its decode, on average: E[L^2] / (2 E[L])."""
    return max(1.0, demand.osl_tokens) / 2 * (1 + demand.osl_cv**2)


def _kv_spread(demand: Demand) -> float:
    """E[K^2]/E[K]^2 of the KV that a sequence holds at a random moment of its decode.

    Of lognormal lengths: there a prompt counts for as long as it decodes, which moves the mean and not the cv, and
    what has been generated has E[G^2] = 4/3 (1 + cv^2) E[G]^2.
    """
    isl, generated = demand.decoded_isl_tokens, _generated(demand)
    square = (
        isl**2 * (1 + demand.isl_cv**2)
        + 2 * isl * generated * (1 + demand.covariance)
        + generated**2 * 4 / 3 * (1 + demand.osl_cv**2)
    )
    return square / (isl + generated) ** 2


def slacks_s(demand: Demand, profile: Profile, ttft_s: float) -> NDArray[np.float64]:
    """What prompts of lognormal length may wait, for those quantiles of length that can meet the target at all."""
    isl = lognormal(demand.isl_tokens, demand.isl_cv)
    alone_s = profile.ttft.a + (1 - demand.prefix_hit) * (profile.ttft.b * isl + profile.ttft.c * isl**2)
    slack_s = ttft_s - alone_s
    attainable: NDArray[np.float64] = slack_s[slack_s > 0]
    return attainable


def hopeless_share(demand: Demand, profile: Profile, ttft_s: float) -> float:
    """The share of prompts that miss the TTFT target even alone on an engine."""
    return 1 - len(slacks_s(demand, profile, ttft_s)) / len(_NORMAL)


def lognormal(mean: float, cv: float) -> NDArray[np.float64]:
    """Middles of 20 equal parts of a lognormal distribution."""
    sigma = math.sqrt(math.log1p(cv**2))
    middles: NDArray[np.float64] = mean * np.exp(sigma * _NORMAL - sigma**2 / 2)
    return middles
