"""A trace as routers would have counted it: demand by interval."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pdoperator.forecast.demand import Demand, Sample
from pdoperator.sim.traffic.trace import Trace


def samples_of(trace: Trace, interval_s: float) -> list[Sample]:
    """Demand by interval, the last one ending at time 0. An interval without requests keeps the lengths before it."""
    intervals = math.ceil(trace.span_s / interval_s)
    ends_s = (np.arange(intervals) + 1 - intervals) * interval_s
    slot = np.minimum((trace.arrival_s / interval_s).astype(np.int64), intervals - 1)

    def total(amounts: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None) -> list[float]:
        sums: list[float] = np.bincount(slot, amounts, intervals).tolist()
        return sums

    isl, osl = trace.input_tokens.astype(np.float64), trace.output_tokens.astype(np.float64)
    columns = zip(
        ends_s.tolist(),
        total(),
        total(isl),
        total(isl**2),
        total(osl),
        total(osl**2),
        total(trace.cached_tokens.astype(np.float64)),
        total(isl * osl),
        strict=True,
    )
    samples: list[Sample] = []
    lengths: Demand | None = None
    for end_s, n, isl_sum, isl_squares, osl_sum, osl_squares, cached, products in columns:
        if n:
            lengths = Demand(
                n / interval_s,
                isl_sum / n,
                osl_sum / n,
                _cv(n, isl_sum, isl_squares),
                _cv(n, osl_sum, osl_squares),
                cached / isl_sum,
                products * n / (isl_sum * osl_sum) - 1,
            )
            samples.append(Sample(end_s, lengths))
        elif lengths is not None:
            samples.append(Sample(end_s, replace(lengths, rate_rps=0.0)))
    return samples


def _cv(n: float, total: float, squares: float) -> float:
    return math.sqrt(max(0.0, squares * n / total**2 - 1))
