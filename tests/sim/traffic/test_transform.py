"""Transformed traces: what they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.sim.traffic import synthetic, transform
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.statistics import statistics
from pdoperator.sim.traffic.trace import Trace
from sim.traffic.traces import DEMO, trace


def triples(of: Trace) -> set[tuple[int, int, int]]:
    columns = (of.input_tokens, of.output_tokens, of.cached_tokens)
    return set(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=50, deadline=None)
@given(factor=st.floats(0.02, 7.0), seed=st.integers(0, 2**32))
def test_scaling_multiplies_the_rate_and_keeps_span_and_joint_lengths(factor: float, seed: int) -> None:
    original = load(DEMO / "azure2023_conv.csv")
    scaled = transform.scaled(original, factor, seed)
    assert len(scaled) == pytest.approx(factor * len(original), abs=1)
    assert scaled.span_s <= original.span_s
    assert triples(scaled) <= triples(original)


def test_the_same_seed_scales_to_the_same_trace_and_another_one_does_not() -> None:
    original = load(DEMO / "azure2023_code.csv")
    one, same, other = (transform.scaled(original, 2.5, seed) for seed in (7, 7, 8))
    assert np.array_equal(one.arrival_s, same.arrival_s)
    assert np.array_equal(one.input_tokens, same.input_tokens)
    assert not np.array_equal(one.arrival_s, other.arrival_s)


def test_a_factor_of_one_is_the_trace_itself() -> None:
    original = load(DEMO / "azure2023_code.csv")
    same = transform.scaled(original, 1.0, seed=3)
    assert np.array_equal(same.arrival_s, original.arrival_s)
    assert np.array_equal(same.output_tokens, original.output_tokens)


def test_users_who_act_on_the_same_cause_keep_bursts_relative_to_the_mean() -> None:
    bursty = synthetic.burstgpt_like(4.0, 3600, seed=1)
    before, after = statistics(bursty), statistics(transform.scaled(bursty, 3.0, seed=2, spread_s=1.0))
    assert after.peak_to_mean_1min == pytest.approx(before.peak_to_mean_1min, rel=0.02)
    assert after.fano_10s == pytest.approx(3 * before.fano_10s, rel=0.05)


def test_independent_users_keep_the_dispersion_of_counts_and_so_are_relatively_smoother() -> None:
    bursty = synthetic.burstgpt_like(4.0, 3600, seed=1)
    before, after = statistics(bursty), statistics(transform.scaled(bursty, 9.0, seed=2))
    assert after.fano_10s == pytest.approx(before.fano_10s, rel=0.5)
    assert after.peak_to_mean_1min < before.peak_to_mean_1min


def test_independent_users_share_what_lasts_longer_than_their_spread() -> None:
    quiet, loud = (synthetic.poisson(rate, 3600, synthetic.fixed(9, 1), seed=1) for rate in (1.0, 8.0))
    scaled = transform.scaled(transform.concatenated([quiet, loud]), 5.0, seed=1)
    first, last = scaled.arrival_s < 3300, scaled.arrival_s > 3900
    assert last.sum() == pytest.approx(8 * first.sum(), rel=0.05)


def test_scaling_keeps_how_the_lengths_move_over_time() -> None:
    short, long = (synthetic.poisson(5.0, 600, synthetic.fixed(n, 1), seed=n) for n in (100, 4000))
    scaled = transform.scaled(transform.concatenated([short, long]), 2.5, seed=1, spread_s=1.0)
    assert set(scaled.input_tokens[scaled.arrival_s < 590].tolist()) == {100}
    assert set(scaled.input_tokens[scaled.arrival_s > 610].tolist()) == {4000}


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_not_positive_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="positive factor"):
        transform.scaled(trace([0.0]), factor, seed=0)
    with pytest.raises(ValueError, match="positive factor"):
        transform.compressed(trace([0.0]), factor)


def test_thinning_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left of the 2 requests"):
        transform.scaled(trace([0.0, 1.0]), 0.1, seed=0)


def test_c1_compressing_time_multiplies_the_rate() -> None:
    assert transform.compressed(trace([0.0, 2.0, 10.0]), 4.0).arrival_s.tolist() == [0.0, 0.5, 2.5]


def test_a_window_counts_from_its_beginning() -> None:
    cut = transform.window(trace([0.0, 2.0, 3.0, 10.0]), 1.5, 10.0)
    assert cut.arrival_s.tolist() == [0.5, 1.5]
    assert cut.output_tokens.tolist() == [2, 3]


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="no request from 5 to 6 s"):
        transform.window(trace([0.0, 10.0]), 5, 6)


def test_concatenated_traces_follow_each_other_after_a_mean_gap() -> None:
    one = transform.concatenated([trace([0.0, 4.0]), trace([1.0, 2.0], input_tokens=90)])
    assert one.arrival_s.tolist() == [0.0, 4.0, 7.0, 8.0]
    assert one.input_tokens.tolist() == [10, 11, 90, 91]


def test_alternated_traces_take_turns_until_both_have_ended() -> None:
    one = transform.alternated(
        [trace([0.0, 9.0, 11.0, 25.0]), trace([1.0, 12.0], input_tokens=90)], period_s=10
    )
    assert one.arrival_s.tolist() == [0.0, 9.0, 11.0, 21.0, 32.0, 45.0]
    assert one.input_tokens.tolist() == [10, 11, 90, 12, 91, 13]


@settings(deadline=None)
@given(
    arrivals=st.lists(
        st.lists(st.floats(0, 100), min_size=1, max_size=20).map(sorted), min_size=1, max_size=4
    ),
    period_s=st.floats(0.5, 50),
)
def test_alternation_and_concatenation_lose_no_request(arrivals: list[list[float]], period_s: float) -> None:
    traces = [trace(times) for times in arrivals]
    requests = sum(len(one) for one in traces)
    assert len(transform.alternated(traces, period_s)) == requests
    assert len(transform.concatenated(traces)) == requests


def test_the_busiest_part_is_the_one_with_most_arrivals_and_the_first_of_several() -> None:
    busiest = transform.busiest(trace([0.0, 5.0, 20.0, 21.0, 24.0, 50.0, 51.0, 54.0]), 5.0)
    assert busiest.arrival_s.tolist() == [0.0, 1.0, 4.0]
    assert busiest.input_tokens.tolist() == [12, 13, 14]


def test_a_part_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 0 s"):
        transform.busiest(trace([0.0, 1.0]), 0.0)
