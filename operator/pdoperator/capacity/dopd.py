"""DOPD's equations for the optimal prefill:decode ratio (arXiv 2511.20982 and its released planner), in seconds.

C is the concurrency of one decode engine, R the number of prefill engines that feed one full decode engine. The
release and the paper differ in how R becomes a count; both are here, the paper's is what the operator uses.
"""

from __future__ import annotations

import math

from pdoperator.capacity.profile import Profile


def mean_context_tokens(isl_tokens: float, osl_tokens: float) -> float:
    """Mean length of a sequence while it decodes: ISL + OSL/2."""
    return isl_tokens + osl_tokens / 2


def sequence_blocks(isl_tokens: float, osl_tokens: float, block_tokens: int) -> int:
    """Mean KV footprint of one running request in blocks: ceil((ISL + OSL/2) / B), at least 1."""
    return max(1, math.ceil(mean_context_tokens(isl_tokens, osl_tokens) / block_tokens))


def memory_concurrency(kv_blocks: int, blocks_per_sequence: int) -> int:
    """C_max: requests whose KV one decode engine holds, floor(N_kv / seq_blocks). 0 when not even one fits."""
    return kv_blocks // blocks_per_sequence


def tpot_concurrency(profile: Profile, context_tokens: float, tpot_target_s: float, correction: float) -> int:
    """The largest batch C <= max_batch with TPOT(C, context) * correction <= target. 0 when not even one meets it.

    Raises OutsideTableError where the profile is a table that was not measured at this context.
    """
    target_s = tpot_target_s / correction
    slope_s = profile.itl.b + profile.itl.c * context_tokens
    if profile.itl_table is not None:
        batch = profile.itl_table.largest_batch(context_tokens, target_s)
    elif target_s < profile.itl.a:
        batch = 0.0
    else:
        batch = (target_s - profile.itl.a) / slope_s if slope_s > 0 else math.inf
    return int(min(profile.max_batch, batch + 1e-9))  # 1e-9: a target that is met exactly is met


def decode_concurrency(
    profile: Profile,
    isl_tokens: float,
    osl_tokens: float,
    tpot_target_s: float,
    correction: float,
    block_tokens: int,
) -> int:
    """C: what one decode engine should hold, the least of what memory, TPOT and its batch limit allow; at least 1.

    The release limits C by memory alone, which a short OSL turns into absurd ratios.
    """
    blocks = sequence_blocks(isl_tokens, osl_tokens, block_tokens)
    by_memory = memory_concurrency(profile.kv_tokens // block_tokens, blocks)
    by_tpot = tpot_concurrency(
        profile, mean_context_tokens(isl_tokens, osl_tokens), tpot_target_s, correction
    )
    return max(1, min(by_memory, by_tpot))


def decode_residence_s(osl_tokens: float, tpot_s: float, correction: float = 1.0) -> float:
    """T_dec: seconds a request stays in decode, OSL * TPOT(C, context) * correction."""
    return osl_tokens * tpot_s * correction


def prefill_per_decode(concurrency: int, ttft_s: float, residence_s: float) -> float:
    """R = C * TTFT / T_dec: prefill engines that feed one full decode engine. Raises ValueError if T_dec is 0."""
    if residence_s <= 0:
        raise ValueError("a request that stays no time in decode has no prefill:decode ratio")
    return concurrency * ttft_s / residence_s


def running_requests(rate_rps: float, residence_s: float) -> float:
    """Requests in decode at once by Little's law: rate * T_dec."""
    return rate_rps * residence_s


def decode_engines(concurrent: float, concurrency: int, least: int = 1) -> int:
    """N_D = max(least, ceil(concurrent / C)). The release puts the requests of one interval for `concurrent`."""
    return max(least, math.ceil(concurrent / concurrency))


def prefill_engines_release(ratio: float, least: int = 1) -> int:
    """N_P as released: max(least, ceil(R)), whatever N_D is. It starves prefill as soon as N_D > 1."""
    return max(least, math.ceil(ratio))


def prefill_engines_paper(ratio: float, decode: int, least: int = 1) -> int:
    """N_P as the paper has it: max(least, ceil(R * N_D))."""
    return max(least, math.ceil(ratio * decode))


def decode_correction(observed_tpot_s: float, profiled_tpot_s: float, lowest: float, highest: float) -> float:
    """d_corr: observed over profiled TPOT, held within [lowest, highest]."""
    return min(highest, max(lowest, observed_tpot_s / profiled_tpot_s))


def prefill_correction(observed_ttft_s: float, profiled_ttft_s: float) -> float:
    """p_corr: observed over profiled TTFT; above 1 prompts queue. DOPD computes it and does not use it."""
    return observed_ttft_s / profiled_ttft_s


def observed_concurrency(requests: float, interval_s: float, duration_s: float, decode: int) -> float:
    """Requests in one of `decode` engines at once, by Little's law over an interval: n / N_D * duration / interval.

    It is the batch at which the profile is asked for the TPOT that d_corr compares with.
    """
    return requests / decode * duration_s / interval_s


def requests_per_decode_engine(rate_rps: float, osl_tokens: float, tpot_s: float, decode: int) -> float:
    """Batch at which the observed TPOT was seen, by Little's law over `decode` engines; at least 1."""
    return max(1.0, rate_rps * osl_tokens * tpot_s / max(1, decode))
