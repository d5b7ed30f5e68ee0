"""Item M5: M/M/1 under arrivals that are not Poisson."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.capacity.profile import Fit
from pdoperator.capacity.replayed import check_mm1, dealt_stays_s, shared_stays_s, stays_s
from pdoperator.sim.traffic import synthetic

TTFT = Fit(0.0186, 4.88e-5, 1.1e-9)  # a 70B model
BURSTY = 13.15**-2  # the shape that gives the inter-arrival CV of Azure's code trace


def test_a_request_waits_for_what_is_left_of_those_before() -> None:
    arrival, service = np.array([0.0, 1.0, 1.5, 10.0]), np.array([2.0, 1.0, 1.0, 1.0])
    assert stays_s(arrival, service).tolist() == [2.0, 2.0, 2.5, 1.0]
    assert dealt_stays_s(arrival, service, 2).tolist() == [2.0, 1.0, 1.5, 1.0]
    assert shared_stays_s(arrival, service, 2).tolist() == [2.0, 1.0, 1.5, 1.0]


def test_m5_with_poisson_arrivals_and_exponential_service_the_sized_fleet_holds() -> None:
    rng = np.random.default_rng(1)
    arrival = np.cumsum(rng.exponential(1 / 40, 400_000))
    isl = np.maximum(1, rng.exponential(2000, 400_000)).astype(np.int32)
    check = check_mm1(arrival, isl, Fit(0, 5e-5), target_s=2.0, overhead_s=0.1, percentile=90)
    assert check.quantile_s <= 2.0
    assert check.attainment >= 0.9
    # Dealt in turn, arrivals at each engine are more even than Poisson's: M/M/1 is on the safe side.
    assert check.mean_s <= check.predicted_mean_s * 1.03
    assert check.shared_enough <= check.enough <= check.engines


def test_m5_under_arrivals_as_bursty_as_azures_code_the_fleet_that_mm1_sizes_misses_by_far() -> None:
    lengths = synthetic.lognormal(2040, 0.96, 28, 1.0, longest=7437)
    bursty = synthetic.drawn("bursty", [(0, 30), (4000, 30)], BURSTY, lengths, seed=1)
    even = synthetic.poisson(30, 4000, lengths, seed=1)
    missed = check_mm1(bursty.arrival_s, bursty.input_tokens, TTFT, 2.0, 0.1, 90)
    met = check_mm1(even.arrival_s, even.input_tokens, TTFT, 2.0, 0.1, 90)
    assert met.attainment >= 0.9 > missed.attainment
    assert missed.quantile_s > 3 * missed.predicted_quantile_s
    assert missed.enough > missed.engines
    assert missed.shared_enough > missed.engines


def test_a_target_that_the_prompts_alone_miss_is_refused() -> None:
    arrival, isl = np.arange(10.0), np.array([100] * 8 + [160_000] * 2, np.int32)
    with pytest.raises(ValueError, match=r"only 80\.0% of the prompts meet 15 s even when each is alone"):
        check_mm1(arrival, isl, Fit(0, 1e-4), target_s=15, overhead_s=0.1, percentile=90)


@settings(deadline=None)
@given(
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=40),
    services=st.lists(st.floats(0.01, 5), min_size=40, max_size=40),
    engines=st.integers(1, 5),
)
def test_the_best_router_waits_least_in_total_and_one_engine_is_one_queue(
    gaps: list[float], services: list[float], engines: int
) -> None:
    arrival, service = np.cumsum(gaps), np.array(services[: len(gaps)])
    shared = shared_stays_s(arrival, service, engines)
    assert shared_stays_s(arrival, service, 1) == pytest.approx(stays_s(arrival, service), abs=1e-9)
    assert (shared >= service - 1e-9).all()
    assert (shared_stays_s(arrival, service, engines + 1) <= shared + 1e-9).all()
