"""What a trace is like, in the figures that algorithms and traces are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pdoperator.sim.traffic.trace import Tokens, Trace

Number = TypeVar("Number", bound=np.generic)

COUNT_BIN_S = 10.0
PEAK_BIN_S = 60.0


@dataclass(frozen=True, slots=True)
class LengthStatistics:
    """Of input or output tokens. `second_moment` is E[L^2] / E[L]^2."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: int
    cv: float
    second_moment: float

    @classmethod
    def of(cls, tokens: Tokens) -> LengthStatistics:
        lengths = tokens.astype(np.float64)
        p50, p90, p99 = np.percentile(lengths, [50, 90, 99])
        mean = lengths.mean()
        return cls(
            float(mean), float(p50), float(p90), float(p99), int(lengths.max()),
            float(lengths.std() / mean), float((lengths**2).mean() / mean**2),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """`rate_rps` over the span; `arrival_cv` of inter-arrival times; `fano` variance/mean of 10 s counts (Poisson: 1).

    `peak_to_mean` is that of 1 min counts, `rank_correlation` Spearman's of input and output, `io_tokens` input tokens
    per output token, over all and as 5th, 50th and 95th percentile of the minutes.
    """

    requests: int
    span_s: float
    rate_rps: float
    arrival_cv: float
    count_10s_mean: float
    count_10s_max: int
    fano_10s: float
    peak_to_mean_1min: float
    input: LengthStatistics
    output: LengthStatistics
    rank_correlation: float
    io_tokens: float
    io_tokens_1min: tuple[float, float, float]
    cached_share: float


def statistics(trace: Trace) -> TraceStatistics:
    """Its statistics, counts over whole bins from the trace's beginning. What a single request does not have is NaN."""
    counts = _counts(trace, COUNT_BIN_S)
    per_minute = _counts(trace, PEAK_BIN_S)
    gaps_s = np.diff(trace.arrival_s)
    input_total, output_total = int(trace.input_tokens.sum()), int(trace.output_tokens.sum())
    return TraceStatistics(
        requests=len(trace),
        span_s=trace.span_s,
        rate_rps=_ratio(len(trace), trace.span_s),
        arrival_cv=_ratio(gaps_s.std(), gaps_s.mean()) if len(gaps_s) else float("nan"),
        count_10s_mean=float(counts.mean()),
        count_10s_max=int(counts.max()),
        fano_10s=_ratio(counts.var(), counts.mean()) if len(counts) > 1 else float("nan"),
        peak_to_mean_1min=_ratio(per_minute.max(), per_minute.mean()),
        input=LengthStatistics.of(trace.input_tokens),
        output=LengthStatistics.of(trace.output_tokens),
        rank_correlation=_spearman(trace.input_tokens, trace.output_tokens),
        io_tokens=input_total / output_total,
        io_tokens_1min=_io_tokens_1min(trace),
        cached_share=int(trace.cached_tokens.sum()) / input_total,
    )


def _ratio(value: float, of: float) -> float:
    return float(value / of) if of else float("nan")


def _bins(trace: Trace, bin_s: float) -> NDArray[np.int64]:
    return (trace.arrival_s / bin_s).astype(np.int64)


def _counts(trace: Trace, bin_s: float) -> NDArray[np.int64]:
    return _full(np.bincount(_bins(trace, bin_s)))


def _full(bins: NDArray[Number]) -> NDArray[Number]:
    """Without the last bin, which the trace ends in, unless it is the only one."""
    return bins[:-1] if len(bins) > 1 else bins


def _io_tokens_1min(trace: Trace) -> tuple[float, float, float]:
    minutes = _bins(trace, PEAK_BIN_S)
    input_tokens = _full(np.bincount(minutes, trace.input_tokens))
    output_tokens = _full(np.bincount(minutes, trace.output_tokens))
    filled = output_tokens > 0
    low, middle, high = np.percentile(input_tokens[filled] / output_tokens[filled], [5, 50, 95])
    return float(low), float(middle), float(high)


def _spearman(one: Tokens, other: Tokens) -> float:
    """Pearson's correlation of the ranks, equal values having their mean rank."""
    ranks = np.array([_ranks(one), _ranks(other)])
    deviations = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((deviations**2).sum(axis=1)).prod()
    return _ratio((deviations[0] * deviations[1]).sum(), spread)


def _ranks(values: Tokens) -> NDArray[np.float64]:
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[position]
    return ranks
