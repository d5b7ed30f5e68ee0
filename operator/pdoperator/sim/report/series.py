"""A replay over time, in few enough points to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pdoperator.sim.metrics import PERCENTILES, within_targets
from pdoperator.sim.policies.policy import ForecastPoint
from pdoperator.sim.replay import Outcome

BINS = 360

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Arrays of one entry a bin, which begins at `t_s`; NaN where nothing arrived. Latencies are by arrival.

    `ttft_s` and `tpot_s` have one row a percentile (50, 90, 99); engines are those at the end of the bin.
    """

    t_s: Points
    bin_s: float
    rate_rps: Points
    input_tokens_per_s: Points
    output_tokens_per_s: Points
    missed: Points
    ttft_s: Points
    tpot_s: Points
    engines: dict[str, Points]
    forecast: tuple[Points, Points]


def series_of(outcome: Outcome, forecasts: list[ForecastPoint], bins: int = BINS) -> Series:
    """The replay in `bins` equal parts of the trace."""
    trace = outcome.trace
    edges = np.linspace(0.0, np.nextafter(trace.span_s, np.inf), bins + 1)
    bin_s = float(edges[1])
    cuts = np.searchsorted(trace.arrival_s, edges)
    per_s = 1 / bin_s
    points = _last_words(forecasts)
    return Series(
        t_s=edges[:-1],
        bin_s=bin_s,
        rate_rps=np.diff(cuts) * per_s,
        input_tokens_per_s=_sums(trace.input_tokens, cuts) * per_s,
        output_tokens_per_s=_sums(trace.output_tokens, cuts) * per_s,
        missed=_misses(outcome, cuts),
        ttft_s=_percentiles(outcome.ttft_s, cuts),
        tpot_s=_percentiles(outcome.tpot_s, cuts),
        engines=_engines(outcome, edges[1:]),
        forecast=(
            np.array([point.for_s for point in points]),
            np.array([point.rate_rps for point in points]),
        ),
    )


def _last_words(forecasts: list[ForecastPoint]) -> list[ForecastPoint]:
    """In the order of the time they are for, without those that were made anew with a shorter horizon."""
    kept: list[ForecastPoint] = []
    first_s, last_s = math.inf, -math.inf
    for point in reversed(forecasts):
        if not first_s <= point.for_s <= last_s:
            kept.append(point)
        first_s, last_s = min(first_s, point.for_s), max(last_s, point.for_s)
    return sorted(kept, key=lambda point: point.for_s)


def _sums(values: NDArray[np.int32], cuts: NDArray[np.intp]) -> Points:
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray(np.diff(total[cuts]))


def _misses(outcome: Outcome, cuts: NDArray[np.intp]) -> Points:
    """The share of each bin's requests that missed a target."""
    missed = np.concatenate([[0], np.cumsum(~within_targets(outcome))])
    requests = np.diff(cuts)
    return np.where(requests > 0, np.diff(missed[cuts]) / np.maximum(1, requests), np.nan)


def _percentiles(values: NDArray[np.float32], cuts: NDArray[np.intp]) -> Points:
    """One row a percentile; a request without the latency counts as infinitely late."""
    found = np.full((len(PERCENTILES), len(cuts) - 1), np.nan)
    for i, (a, b) in enumerate(pairwise(cuts)):
        if b > a:
            late = np.where(np.isnan(values[a:b]), np.inf, values[a:b])
            found[:, i] = np.percentile(late, PERCENTILES, method="inverted_cdf")
    return found


def _engines(outcome: Outcome, ends_s: Points) -> dict[str, Points]:
    """Engines by role and state at the end of each bin, the starting fleet before the first decision."""
    fleet, first = outcome.fleet, outcome.scenario.first
    places = np.searchsorted(fleet.t_s, ends_s, side="right") - 1
    before = {
        "prefill_ready": first.prefill,
        "decode_ready": first.decode,
        "target_prefill": first.prefill,
        "target_decode": first.decode,
    }

    def at_ends(name: str, counts: NDArray[np.int32]) -> Points:
        if not len(counts):
            return np.full(len(ends_s), float(before.get(name, 0)))
        return np.where(places < 0, float(before.get(name, 0)), counts[np.maximum(0, places)])

    return {
        name: at_ends(name, getattr(fleet, name))
        for name in (
            "prefill_ready",
            "prefill_starting",
            "prefill_draining",
            "decode_ready",
            "decode_starting",
            "decode_draining",
            "target_prefill",
            "target_decode",
        )
    }
