"""Queueing formulas against published vectors and against an independent simulation of one queue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity import queueing
from pdoperator.capacity.lengths import LengthMoments, ServiceTime
from pdoperator.capacity.profile import Fit
from pdoperator.capacity.replayed import stays_s

ISL, SATURATED = 6144, 28_309
SERVICE_S = ISL / SATURATED


@pytest.mark.parametrize(("stay_s", "tokens_per_s"), [(1.9, 26_594), (0.9, 24_428), (0.5, 20_462)])
def test_m3_fixed_lengths_allow_more_load_than_exponential_ones(stay_s: float, tokens_per_s: float) -> None:
    rate = queueing.mg1_rate_rps(stay_s, ServiceTime.fixed(SERVICE_S))
    assert rate * ISL == pytest.approx(tokens_per_s, abs=1)


def test_m3_with_the_spread_of_the_azure_traces_a_queue_is_near_mm1() -> None:
    lengths = LengthMoments.lognormal(ISL, cv=math.sqrt(0.92))
    service = ServiceTime.of(Fit(0, 1 / SATURATED), lengths)
    assert queueing.mg1_stay_s(4.08, service) == pytest.approx(1.83, abs=0.005)
    assert queueing.mg1_stay_s(4.08, ServiceTime.exponential(SERVICE_S)) == pytest.approx(1.895, abs=0.003)


@pytest.mark.parametrize("rho", [0.5, 0.7, 0.886])
@pytest.mark.parametrize("kind", ["exponential", "fixed", "lognormal"])
def test_m3_mean_stay_agrees_with_a_simulated_queue_within_3_percent(rho: float, kind: str) -> None:
    rng, n = np.random.default_rng(7), 2_000_000
    gaps = rng.exponential(1 / rho, n)
    services = {
        "exponential": rng.exponential(1.0, n),
        "fixed": np.ones(n),
        "lognormal": rng.lognormal(-0.5 * math.log(2), math.sqrt(math.log(2)), n),
    }[kind]
    service = {
        "exponential": ServiceTime.exponential(1.0),
        "fixed": ServiceTime.fixed(1.0),
        "lognormal": ServiceTime.of(Fit(0, 1.0), LengthMoments.lognormal(1.0, cv=1.0)),
    }[kind]
    stays = stays_s(np.cumsum(gaps), services)
    assert stays.mean() == pytest.approx(queueing.mg1_stay_s(rho, service), rel=0.03)
    if kind == "exponential":
        expected = queueing.mm1_stay_quantile_s(rho, 1.0, 0.9)
        assert np.quantile(stays, 0.9) == pytest.approx(expected, rel=0.03)


def test_m5_bursty_arrivals_wait_several_times_longer_than_any_poisson_formula_says() -> None:
    rng, n = np.random.default_rng(7), 500_000
    cv = 13.15  # between arrivals of Azure's code trace
    gaps = rng.gamma(1 / cv**2, cv**2 / 0.5, n)  # rho 0.5
    stays = stays_s(np.cumsum(gaps), rng.exponential(1.0, n))
    assert stays.mean() > 10 * queueing.mg1_stay_s(0.5, ServiceTime.exponential(1.0))


def test_no_stay_is_stationary_at_full_load() -> None:
    assert queueing.mg1_stay_s(1.0, ServiceTime.fixed(1.0)) == math.inf
    assert queueing.mm1_stay_quantile_s(1.0, 1.0, 0.9) == math.inf


def test_a_stay_shorter_than_the_service_is_refused() -> None:
    with pytest.raises(
        queueing.StayTooShortError, match=r"0\.1 s is not possible: the service alone takes 0\.2 s"
    ):
        queueing.mg1_rate_rps(0.1, ServiceTime.fixed(0.2))


@pytest.mark.parametrize("share", [0.0, 1.0, 90.0, -0.1])
def test_a_quantile_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        queueing.quantile_factor(share)


@given(service_s=st.floats(1e-3, 10), cv=st.floats(0, 3), wait=st.floats(1e-3, 100))
def test_rate_and_stay_are_each_others_inverse(service_s: float, cv: float, wait: float) -> None:
    service = ServiceTime.of(Fit(0, service_s), LengthMoments.lognormal(1.0, cv))
    stay_s = service_s * (1 + wait)
    rate = queueing.mg1_rate_rps(stay_s, service)
    assert 0 < rate * service_s < 1
    assert queueing.mg1_stay_s(rate, service) == pytest.approx(stay_s, rel=1e-6)


@given(rho=st.floats(0.01, 0.98), cv=st.floats(0, 1))
def test_up_to_a_spread_of_one_mm1_is_the_safe_side_and_md1_the_optimistic_one(rho: float, cv: float) -> None:
    between = queueing.mg1_stay_s(rho, ServiceTime.of(Fit(0, 1.0), LengthMoments.lognormal(1.0, cv)))
    fixed, exponential = ServiceTime.fixed(1.0), ServiceTime.exponential(1.0)
    assert queueing.mg1_stay_s(rho, fixed) * (1 - 1e-9) <= between
    assert between <= queueing.mg1_stay_s(rho, exponential) * (1 + 1e-9)
