"""Traces made of traces: faster, slower, cut, joined. Seeds go in; the same seed gives the same trace."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pdoperator.sim.traffic.trace import Seconds, Trace

# A copied request comes up to half of it earlier or later than the one it copies: users are independent of each other
# in all that is faster, and share what is slower, such as the time of day.
SPREAD_S = 600.0
# A copied request has the lengths of one of this many neighbours of the one it copies.
NEIGHBOURS = 50


def scaled(trace: Trace, factor: float, seed: int, spread_s: float = SPREAD_S) -> Trace:
    """The same traffic of `factor` times as many users, over the same time. Raises ValueError unless it is positive.

    Above 1 whole copies and a thinned one are laid over the trace, below 1 it is thinned; the number of requests is
    exact to one. A copied request is moved by up to half of `spread_s` and takes input, output and cached tokens
    together from a near one. Kept: how rate and lengths move relative to their means over times longer than that, and
    the joint distribution of lengths. Over shorter times the copies are independent, so counts keep their index of
    dispersion and are relatively smoother, as of more users. With `spread_s` near 0 all users act on the same cause,
    and bursts grow `factor` times as high: the two ends between which real growth lies.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"a trace is scaled by a positive factor, got {factor}")
    rng = np.random.default_rng(seed)
    whole = int(factor)
    thinned = np.sort(rng.choice(len(trace), round((factor - whole) * len(trace)), replace=False))
    if whole == 0:
        kept, copied = thinned, thinned[:0]
    else:
        kept = np.arange(len(trace))
        copied = np.concatenate([*[kept] * (whole - 1), thinned])
    if not len(kept):
        raise ValueError(
            f"nothing is left of the {len(trace)} requests of {trace.name} at a factor of {factor:g}"
        )
    copied_s = trace.arrival_s[copied] + rng.uniform(-spread_s / 2, spread_s / 2, len(copied))
    arrival_s = np.concatenate([trace.arrival_s[kept], _reflected(copied_s, trace.span_s)])
    near = copied + rng.integers(-(NEIGHBOURS // 2), NEIGHBOURS // 2 + 1, len(copied))
    order = np.argsort(arrival_s, kind="stable")
    like = np.concatenate([kept, np.clip(near, 0, len(trace) - 1)])[order]
    return Trace(
        f"{trace.name}x{factor:g}",
        arrival_s[order],
        trace.input_tokens[like],
        trace.output_tokens[like],
        trace.cached_tokens[like],
    )


def compressed(trace: Trace, factor: float) -> Trace:
    """The same requests in 1/factor of the time: rates are `factor` times as high, bursts as many times shorter.

    Raises ValueError unless the factor is positive.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"a trace is compressed by a positive factor, got {factor}")
    return trace.at(trace.arrival_s / factor, f"{trace.name}/{factor:g}")


def window(trace: Trace, from_s: float, to_s: float) -> Trace:
    """The requests with from_s <= arrival < to_s, arrivals counted from `from_s`. Raises ValueError when none is."""
    first, end = np.searchsorted(trace.arrival_s, [from_s, to_s])
    if end <= first:
        raise ValueError(f"trace {trace.name} has no request from {from_s:g} to {to_s:g} s")
    return trace.part(first, end, from_s, f"{trace.name}[{from_s:g}:{to_s:g}]")


def busiest(trace: Trace, length_s: float) -> Trace:
    """The part of this length in which most requests arrive, the first of several; it begins with a request.

    Raises ValueError unless the length is positive.
    """
    if not length_s > 0:
        raise ValueError(f"a part of a trace is longer than 0 s, got {length_s}")
    arrivals = np.searchsorted(trace.arrival_s, trace.arrival_s + length_s) - np.arange(len(trace))
    from_s = float(trace.arrival_s[arrivals.argmax()])
    return window(trace, from_s, from_s + length_s)


def concatenated(traces: Sequence[Trace]) -> Trace:
    """One trace after the other, a mean inter-arrival time between them. Raises ValueError when there are none."""
    parts, end_s = [], 0.0
    for trace in traces:
        parts.append(trace.at(trace.arrival_s + end_s, trace.name))
        end_s += trace.span_s * (1 + 1 / len(trace))
    return joined("+".join(trace.name for trace in traces), parts)


def alternated(traces: Sequence[Trace], period_s: float) -> Trace:
    """`period_s` of the first trace, of the second and so on, then the next `period_s` of each, to their ends.

    Every request is kept; a trace that has ended is left out of the turns. Raises ValueError.
    """
    if not period_s > 0:
        raise ValueError(f"traces alternate in a period above 0 s, got {period_s}")
    parts, now_s = [], 0.0
    for turn in range(math.floor(max(trace.span_s for trace in traces) / period_s) + 1):
        for trace in traces:
            if turn * period_s <= trace.span_s:
                first, end = np.searchsorted(trace.arrival_s, [turn * period_s, (turn + 1) * period_s])
                if end > first:
                    parts.append(trace.part(first, end, turn * period_s - now_s, trace.name))
                now_s += period_s
    return joined("|".join(trace.name for trace in traces), parts)


def _reflected(arrival_s: Seconds, span_s: float) -> Seconds:
    """Arrivals that were moved out of 0 to span, back into it."""
    inside = np.abs(arrival_s)
    reflected: Seconds = np.clip(np.where(inside > span_s, 2 * span_s - inside, inside), 0, span_s)
    return reflected


def joined(name: str, parts: Sequence[Trace]) -> Trace:
    """Traces that follow each other, as one. Raises ValueError when there are none."""
    if not parts:
        raise ValueError("no traces to join")
    return Trace(
        name,
        np.concatenate([part.arrival_s for part in parts]),
        np.concatenate([part.input_tokens for part in parts]),
        np.concatenate([part.output_tokens for part in parts]),
        np.concatenate([part.cached_tokens for part in parts]),
    )
