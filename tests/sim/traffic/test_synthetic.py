"""Synthetic traffic: its rates, bursts and lengths, by the law of large numbers and fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pdoperator.sim.traffic import synthetic
from pdoperator.sim.traffic.statistics import statistics
from pdoperator.sim.traffic.trace import Trace

EVERY: list[Callable[[int], Trace]] = [
    lambda seed: synthetic.poisson(10, 100, synthetic.fixed(5, 5), seed),
    lambda seed: synthetic.burstgpt_like(10, 100, seed),
    synthetic.dopd_ramp,
    lambda seed: synthetic.topology_walk(seed, phase_s=100),
    lambda seed: synthetic.phase_inversion(0.2, seed),
]


@pytest.mark.parametrize("draw", EVERY)
def test_the_same_seed_draws_the_same_trace_and_another_one_does_not(draw: Callable[[int], Trace]) -> None:
    one, same, other = draw(1), draw(1), draw(2)
    assert np.array_equal(one.arrival_s, same.arrival_s)
    assert np.array_equal(one.input_tokens, same.input_tokens)
    assert not np.array_equal(one.arrival_s, other.arrival_s)


def test_poisson_arrivals_have_a_cv_and_a_fano_factor_of_one() -> None:
    figures = statistics(synthetic.poisson(20, 5000, synthetic.fixed(100, 10), seed=1))
    assert figures.rate_rps == pytest.approx(20, rel=0.01)
    assert figures.arrival_cv == pytest.approx(1, abs=0.02)
    assert figures.fano_10s == pytest.approx(1, abs=0.15)


def test_burstgpts_arrivals_have_a_cv_of_two_and_its_mean_length() -> None:
    figures = statistics(synthetic.burstgpt_like(20, 5000, seed=1))
    assert figures.rate_rps == pytest.approx(20, rel=0.03)
    assert figures.arrival_cv == pytest.approx(2, abs=0.05)
    assert figures.input.mean == pytest.approx(356, rel=0.03)


def test_the_ramp_is_near_idle_for_300_s_and_then_climbs_to_8_5_per_second() -> None:
    ramps = [synthetic.dopd_ramp(seed) for seed in range(20)]
    assert np.mean([len(ramp) for ramp in ramps]) == pytest.approx(945, rel=0.05)
    bins = np.mean([np.histogram(ramp.arrival_s, np.arange(0, 481, 30))[0] for ramp in ramps], axis=0) / 30
    assert bins[5:9].max() < 0.3
    assert bins[14] == pytest.approx(7.5, rel=0.1)
    assert all(ramp.span_s < 480 for ramp in ramps)


def test_the_topology_walk_moves_the_mix_from_prefill_to_decode_and_back() -> None:
    walk = synthetic.topology_walk(seed=1)
    assert len(walk) == pytest.approx(16.8 * 1200, rel=0.02)
    assert (walk.input_tokens.min(), walk.input_tokens.max()) == (12_000, 16_000)
    sixth = (walk.arrival_s >= 6000) & (walk.arrival_s < 7200)
    assert walk.output_tokens[sixth].min() >= 350
    assert sixth.sum() == pytest.approx(720, rel=0.1)


def test_phase_inversion_goes_from_all_prefill_to_all_decode() -> None:
    inverted = synthetic.phase_inversion(0.5, seed=1)
    first, second = inverted.arrival_s < 300, (inverted.arrival_s >= 300) & (inverted.arrival_s < 600)
    assert inverted.input_tokens[first].min() >= 8000
    assert inverted.output_tokens[second].min() >= 2000
    assert first.sum() == pytest.approx(2400, rel=0.1)


def test_lognormal_lengths_have_their_mean_and_spread() -> None:
    figures = statistics(synthetic.poisson(50, 2000, synthetic.lognormal(1000, 1.0, 200, 0.5), seed=3))
    assert (figures.input.mean, figures.input.cv) == pytest.approx((1000, 1.0), rel=0.05)
    assert (figures.output.mean, figures.output.cv) == pytest.approx((200, 0.5), rel=0.05)


def test_lengths_as_in_a_trace_stay_together() -> None:
    model = synthetic.poisson(5, 100, synthetic.uniform((10, 20), (30, 40)), seed=1)
    drawn = synthetic.poisson(5, 100, synthetic.as_in(model), seed=2)
    pairs = set(zip(model.input_tokens.tolist(), model.output_tokens.tolist(), strict=True))
    assert set(zip(drawn.input_tokens.tolist(), drawn.output_tokens.tolist(), strict=True)) <= pairs


def test_a_rate_at_which_nothing_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="no request of poisson falls into its 1 s"):
        synthetic.poisson(1e-6, 1, synthetic.fixed(1, 1), seed=1)
