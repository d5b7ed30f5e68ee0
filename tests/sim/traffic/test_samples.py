"""Traces as routers would have counted them."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.sim.traffic.samples import samples_of
from pdoperator.sim.traffic.trace import Trace

TWO_BURSTS = Trace.of(
    "two bursts",
    np.array([0.0, 1.0, 21.0, 22.0, 23.0]),
    np.array([100, 300, 50, 50, 50]),
    np.array([10, 10, 20, 40, 60]),
    np.array([0, 100, 0, 0, 0]),
)


def test_samples_end_at_time_zero_one_an_interval() -> None:
    assert [sample.at_s for sample in samples_of(TWO_BURSTS, 5.0)] == [-20.0, -15.0, -10.0, -5.0, 0.0]


def test_a_sample_holds_rate_lengths_spread_and_hits_of_its_interval() -> None:
    first, last = samples_of(TWO_BURSTS, 5.0)[0].demand, samples_of(TWO_BURSTS, 5.0)[-1].demand
    assert (first.rate_rps, first.isl_tokens, first.osl_tokens) == (0.4, 200.0, 10.0)
    assert first.isl_cv == pytest.approx(0.5)
    assert (first.osl_cv, first.prefix_hit) == (0.0, 0.25)
    assert (last.rate_rps, last.osl_tokens) == (0.6, 40.0)


def test_a_sample_tells_what_prompts_and_answers_have_in_common() -> None:
    lengths = np.array([100, 300]), np.array([10, 30])
    together = Trace.of("together", np.array([0.0, 1.0]), *lengths, np.array([0, 0]))
    assert samples_of(together, 5.0)[0].demand.covariance == pytest.approx(0.25)


def test_an_idle_interval_is_no_load_of_the_same_lengths() -> None:
    idle = samples_of(TWO_BURSTS, 5.0)[2].demand
    assert (idle.rate_rps, idle.isl_tokens) == (0.0, 200.0)


def test_nothing_is_told_before_the_first_request() -> None:
    late = TWO_BURSTS.at(TWO_BURSTS.arrival_s + 7.0, "late")
    assert samples_of(late, 5.0)[0].demand.rate_rps > 0
