"""Sizing of prefill and decode under TTFT and TPOT targets (arXiv 2603.04716); the numbers in brackets are its.

Prefill engines are M/M/1 queues, each fed an equal share (with data parallelism every group is a queue of its own);
decode engines are read off a measured curve. L is a length in tokens, TPhat the input tokens per second of one
prefill engine that never idles, TP the throughput of one engine that is usable under its target. Targets are means,
unless a percentile is named; arrivals are Poisson.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.queueing import quantile_factor

# The paper's demo does not accept TTFT targets below this share of the latency without any queue.
FLOOR_SHARE = 0.95
# A count that is an integer but for rounding errors is that integer.
COUNT_TOLERANCE = 1e-9


class TargetTooTightError(ValueError):
    """A TTFT target that no number of prefill engines meets."""

    def __init__(self, target_s: float, compute_s: float, overhead_s: float) -> None:
        super().__init__(
            f"a TTFT of {target_s:.4g} s cannot be met by any number of prefill engines: a prompt that is alone takes "
            f"{compute_s:.4g} s to prefill and {overhead_s:.4g} s of overhead, {compute_s + overhead_s:.4g} s in all"
        )


def total_tokens_per_s(requests: float, isl_tokens: float, osl_tokens: float, window_s: float) -> float:
    """(1) TP_total: input and output tokens per second of the requests of a window."""
    return requests * (isl_tokens + osl_tokens) / window_s


def request_rate_rps(tokens_per_s: float, isl_tokens: float, osl_tokens: float) -> float:
    """(1) the other way round: requests per second behind a total token throughput."""
    return tokens_per_s / (isl_tokens + osl_tokens)


def busy_s(requests: float, tokens: float, tokens_per_s: float, engines: float) -> float:
    """(2), (3) T_prefill or T_decode: how long `engines` work on the phase of these requests (`tokens` each)."""
    return requests * tokens / (tokens_per_s * engines)


def engines_needed(rate_rps: float, tokens: float, tokens_per_s: float) -> float:
    """(5), (6) N_prefill or N_decode, not rounded: engines that keep up with `tokens` per request in that phase."""
    return rate_rps * tokens / tokens_per_s


def ratio(isl_tokens: float, osl_tokens: float, prefill_tps: float, decode_tps: float) -> float:
    """(7) R_P/D = N_prefill / N_decode = L_in TP_decode / (L_out TP_prefill)."""
    return isl_tokens * decode_tps / (osl_tokens * prefill_tps)


def service_rate_rps(saturated_tps: float, isl_tokens: float) -> float:
    """(9) mu = TPhat / L_in: prefills per second of an engine that never idles."""
    return saturated_tps / isl_tokens


def ttft_floor_s(saturated_tps: float, isl_tokens: float, overhead_s: float) -> float:
    """The least TTFT target that the paper's demo accepts: 0.95 (L_in/TPhat + T_overhead)."""
    return FLOOR_SHARE * (isl_tokens / saturated_tps + overhead_s)


def prefill_tokens_per_s(
    saturated_tps: float, isl_tokens: float, ttft_s: float, overhead_s: float, percentile: float | None = None
) -> float:
    """(13) TP_prefill = TPhat - L_in / (TTFT - T_overhead), for the mean or a percentile (0 < p < 100) of TTFT.

    A stay in M/M/1 is exponential, so a percentile only multiplies L_in by ln(1/(1-p)).
    Raises TargetTooTightError where nothing is left: the demo would give a throughput of 0 or less.
    """
    factor = 1.0 if percentile is None else quantile_factor(percentile / 100)
    stay_s = ttft_s - overhead_s
    usable_tps = saturated_tps - isl_tokens * factor / stay_s if stay_s > 0 else 0.0
    if usable_tps <= 0:
        raise TargetTooTightError(ttft_s, factor * isl_tokens / saturated_tps, overhead_s)
    return usable_tps


def ttft_s(
    saturated_tps: float,
    isl_tokens: float,
    overhead_s: float,
    rate_rps: float,
    percentile: float | None = None,
) -> float:
    """(8), (12) TTFT at this arrival rate per prefill engine: M/M/1 stay plus overhead; infinite from rho 1 on."""
    slack_rps = service_rate_rps(saturated_tps, isl_tokens) - rate_rps
    if slack_rps <= 0:
        return math.inf
    factor = 1.0 if percentile is None else quantile_factor(percentile / 100)
    return factor / slack_rps + overhead_s


def enough(engines: float) -> int:
    """Engines that are enough: rounded up, at least 1."""
    return max(1, math.ceil(engines - COUNT_TOLERANCE))


def nearest(engines: float) -> int:
    """The nearest number of engines, at least 1: how the paper rounds (3.07 and 3.77 became 3P4D)."""
    return max(1, math.floor(engines + 0.5))


@dataclass(frozen=True, slots=True)
class FleetLimit:
    """The inverse problem: requests per second that each side of a fleet takes within its target."""

    prefill_rps: float
    decode_rps: float

    @property
    def rps(self) -> float:
        """What the fleet as a whole takes."""
        return min(self.prefill_rps, self.decode_rps)

    @property
    def binding(self) -> Role:
        """The side that limits it."""
        return Role.PREFILL if self.prefill_rps < self.decode_rps else Role.DECODE

    def tokens_per_min(self, isl_tokens: float, osl_tokens: float) -> float:
        """Input and output tokens per minute (TPM) of the whole."""
        return self.rps * (isl_tokens + osl_tokens) * 60


def fleet_limit(
    fleet: PerRole[int], isl_tokens: float, osl_tokens: float, prefill_tps: float, decode_tps: float
) -> FleetLimit:
    """What this fleet takes, by the usable throughput of one engine of each role."""
    return FleetLimit(
        prefill_rps=fleet.prefill * prefill_tps / isl_tokens,
        decode_rps=fleet.decode * decode_tps / osl_tokens,
    )
