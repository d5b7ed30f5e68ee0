"""Traces drawn at random: Poisson, and the shapes that the published comparisons used. All of them seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pdoperator.sim.traffic.trace import Seconds, Tokens, Trace
from pdoperator.sim.traffic.transform import joined

# So many input and output tokens, drawn together.
Lengths = Callable[[np.random.Generator, int], tuple[Tokens, Tokens]]

POISSON = 1.0  # the shape of exponential inter-arrival times
# BurstGPT's generator, with which DOPD's replays were drawn (its trace_conv_10_05.json): inter-arrival times are gamma
# distributed with this shape, a CV of 2, and lengths follow Zipf's law with this exponent.
BURSTGPT_SHAPE = 0.25
BURSTGPT_ZIPF = 1.1
# With it Zipf's mean is 356 tokens; DOPD's replays have 348 to 361. (Their output follows by Little's law from the
# requests in flight, some 300 to 400: inferred.)
BURSTGPT_LONGEST = 4700
LONGEST = 1 << 20  # tokens; beyond every model's context
GRID_S = 0.1  # arrivals are spread evenly within it where the rate changes


def fixed(input_tokens: int, output_tokens: int) -> Lengths:
    """Every request has these lengths."""
    return lambda rng, n: (np.full(n, input_tokens, np.int32), np.full(n, output_tokens, np.int32))


def uniform(input_tokens: tuple[int, int], output_tokens: tuple[int, int]) -> Lengths:
    """Lengths between these, both ends included, drawn independently."""
    return lambda rng, n: (
        rng.integers(input_tokens[0], input_tokens[1] + 1, n, np.int32),
        rng.integers(output_tokens[0], output_tokens[1] + 1, n, np.int32),
    )


def lognormal(
    input_mean: float, input_cv: float, output_mean: float, output_cv: float, longest: int = LONGEST
) -> Lengths:
    """Lognormal lengths by mean and coefficient of variation, drawn independently, cut to 1 .. `longest`."""
    return lambda rng, n: (
        _lognormal(rng, n, input_mean, input_cv, longest),
        _lognormal(rng, n, output_mean, output_cv, longest),
    )


def _lognormal(rng: np.random.Generator, n: int, mean: float, cv: float, longest: int) -> Tokens:
    variance = np.log1p(cv**2)
    lengths = rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), n)
    return np.clip(np.rint(lengths), 1, longest).astype(np.int32)


def zipf(exponent: float, longest: int) -> Lengths:
    """P(length k) ~ k^-exponent for k = 1 .. `longest`, input and output drawn independently."""
    weights = np.arange(1, longest + 1, dtype=np.float64) ** -exponent
    share = np.cumsum(weights) / weights.sum()

    def draw(rng: np.random.Generator, n: int) -> Tokens:
        return (np.searchsorted(share, rng.random(n)) + 1).clip(1, longest).astype(np.int32)

    return lambda rng, n: (draw(rng, n), draw(rng, n))


def as_in(trace: Trace) -> Lengths:
    """Lengths of requests of this trace, drawn with replacement, input and output together."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Tokens, Tokens]:
        picked = rng.integers(0, len(trace), n)
        return trace.input_tokens[picked], trace.output_tokens[picked]

    return draw


def poisson(rate_rps: float, duration_s: float, lengths: Lengths, seed: int, name: str = "poisson") -> Trace:
    """Poisson arrivals at a constant rate. Raises ValueError when no request falls into the duration."""
    return drawn(name, [(0.0, rate_rps), (duration_s, rate_rps)], POISSON, lengths, seed)


def burstgpt_like(rate_rps: float, duration_s: float, seed: int) -> Trace:
    """Bursts as BurstGPT's generator draws them, at a constant mean rate."""
    lengths = zipf(BURSTGPT_ZIPF, BURSTGPT_LONGEST)
    return drawn("burstgpt-like", [(0.0, rate_rps), (duration_s, rate_rps)], BURSTGPT_SHAPE, lengths, seed)


# Seconds and requests per second of DOPD's replay of 14 July, 08:36, recovered from the Prometheus data in its
# repository (30 s bins): near idle for 300 s, then 0 to 8.5 req/s within two minutes.
DOPD_RAMP = [
    (0.0, 0.6), (30.0, 1.17), (60.0, 0.3), (90.0, 0.5), (125.0, 0.71), (155.0, 0.08), (275.0, 0.08), (305.0, 1.03),
    (335.0, 2.03), (365.0, 5.2), (395.0, 6.1), (425.0, 8.5), (455.0, 4.8), (480.0, 0.6),
]  # fmt: skip


def dopd_ramp(seed: int, factor: float = 1.0) -> Trace:
    """The 480 s ramp that DOPD compares its policies on, its rates times `factor`, with BurstGPT's bursts."""
    rates = [(t, rate * factor) for t, rate in DOPD_RAMP]
    return drawn("dopd-ramp", rates, BURSTGPT_SHAPE, zipf(BURSTGPT_ZIPF, BURSTGPT_LONGEST), seed)


@dataclass(frozen=True, slots=True)
class Phase:
    """A time of constant rate (requests per second) and mix (ranges of tokens)."""

    rate_rps: float
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]


# Narwhal's "topology walk" for six engines: it moves the best split from 4P2D over 5P1D to 1P5D and back to 3P3D.
_LONG = (12_000, 16_000)
TOPOLOGY_WALK = [
    Phase(3.0, _LONG, (20, 40)),
    Phase(3.8, _LONG, (1, 4)),
    Phase(3.0, _LONG, (20, 40)),
    Phase(2.0, _LONG, (60, 100)),
    Phase(1.2, _LONG, (120, 180)),
    Phase(0.6, _LONG, (350, 450)),
    Phase(1.2, _LONG, (120, 180)),
    Phase(2.0, _LONG, (60, 100)),
]
TOPOLOGY_PHASE_S = 1200.0
# Its "phase inversion": all prefill, all decode, then both; rates are multiples of a base rate.
PHASE_INVERSION = [
    Phase(16.0, (8_000, 16_000), (30, 60)),
    Phase(1.0, (300, 800), (2_000, 8_000)),
    Phase(4.0, (300, 800), (200, 500)),
]
INVERSION_PHASE_S = 300.0


def topology_walk(seed: int, factor: float = 1.0, phase_s: float = TOPOLOGY_PHASE_S) -> Trace:
    """Narwhal's topology walk, its rates times `factor`."""
    return phases("topology-walk", TOPOLOGY_WALK, phase_s, factor, seed)


def phase_inversion(base_rps: float, seed: int, phase_s: float = INVERSION_PHASE_S) -> Trace:
    """Narwhal's phase inversion over this base rate."""
    return phases("phase-inversion", PHASE_INVERSION, phase_s, base_rps, seed)


def phases(name: str, of: Sequence[Phase], phase_s: float, factor: float, seed: int) -> Trace:
    """Poisson traffic in phases of `phase_s`, rates times `factor`."""
    seeds = np.random.SeedSequence(seed).spawn(len(of))
    parts = []
    for i, (phase, own_seed) in enumerate(zip(of, seeds, strict=True)):
        rate, lengths = phase.rate_rps * factor, uniform(phase.input_tokens, phase.output_tokens)
        part = drawn(name, [(0.0, rate), (phase_s, rate)], POISSON, lengths, own_seed)
        parts.append(part.at(part.arrival_s + i * phase_s, name))
    return joined(name, parts)


def drawn(
    name: str, rates: Sequence[tuple[float, float]], shape: float, lengths: Lengths,
    seed: int | np.random.SeedSequence,
) -> Trace:  # fmt: skip
    """Requests at a rate that is linear between the points (seconds, requests per second), up to the last of them.

    Inter-arrival times are gamma distributed with this shape in the time that passes as fast as the rate is high: CV is
    shape^-1/2 where the rate is constant, shape 1 is a Poisson process. Raises ValueError when no request is drawn.
    """
    rng = np.random.default_rng(seed)
    arrival_s = _arrivals(rng, rates, shape)
    if not len(arrival_s):
        raise ValueError(f"no request of {name} falls into its {rates[-1][0]:g} s; raise the rate")
    return Trace.of(name, arrival_s, *lengths(rng, len(arrival_s)))


def _arrivals(rng: np.random.Generator, rates: Sequence[tuple[float, float]], shape: float) -> Seconds:
    times, values = np.array(rates, dtype=np.float64).T
    grid = np.unique(np.concatenate([times, np.arange(times[0], times[-1], GRID_S)]))
    rate = np.interp(grid, times, values)
    expected = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (rate[:-1] + rate[1:]) / 2)])
    total = expected[-1]
    # Time 0 lies anywhere within a gap, in long ones more often.
    last = rng.gamma(shape + 1, 1 / shape) * rng.random()
    reached = [np.array([last])]
    while last < total:
        reached.append(last + np.cumsum(rng.gamma(shape, 1 / shape, int(total) + 16)))
        last = reached[-1][-1]
    progress = np.concatenate(reached)
    arrivals: Seconds = np.interp(progress[progress < total], expected, grid)
    return arrivals
