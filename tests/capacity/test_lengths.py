"""Moments of lengths, and DOPD's variance correction."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity import dopd
from pdoperator.capacity.lengths import LengthMoments, ServiceTime
from pdoperator.capacity.profile import Fit
from pdoperator.sim.traffic.loaders import load

DEMO = Path(__file__).parents[2] / "e2e" / "demo" / "traces"  # slices of Azure's traces of 2023
TTFT = Fit(0.0186, 4.88e-5, 1.1e-9)  # a 70B model


def test_measured_lengths_give_the_moments_of_their_latencies() -> None:
    lengths = [100.0, 2000.0, 500.0, 12000.0]
    latencies = [TTFT.a + TTFT.b * x + TTFT.c * x**2 for x in lengths]
    service = ServiceTime.of(TTFT, LengthMoments.of(lengths))
    assert service.mean_s == pytest.approx(sum(latencies) / 4)
    assert service.second_moment_s2 == pytest.approx(sum(t**2 for t in latencies) / 4)


def test_lognormal_moments_are_those_of_its_samples() -> None:
    expected = LengthMoments.lognormal(1000, cv=0.5)
    sigma = math.sqrt(math.log(1.25))
    rng = np.random.default_rng(3)
    samples = rng.lognormal(math.log(1000) - sigma**2 / 2, sigma, 400_000)
    measured = LengthMoments.of(samples.tolist())
    assert measured.second == pytest.approx(expected.second, rel=0.02)
    assert measured.third == pytest.approx(expected.third, rel=0.05)
    assert measured.fourth == pytest.approx(expected.fourth, rel=0.1)
    assert measured.cv == pytest.approx(0.5, rel=0.02)


def test_d8_the_latency_of_the_mean_length_underestimates_the_mean_latency() -> None:
    lengths = LengthMoments.lognormal(2048, cv=0.96)  # as Azure's code trace
    of_the_mean = TTFT.a + TTFT.b * 2048 + TTFT.c * 2048**2
    mean = ServiceTime.of(TTFT, lengths).mean_s
    assert mean - of_the_mean == pytest.approx(TTFT.c * 0.96**2 * 2048**2)


@pytest.mark.parametrize("name", ["azure2023_code", "azure2023_conv"])
def test_d8_on_azures_lengths_the_correction_is_the_mean_latency_and_raises_the_ratio(name: str) -> None:
    lengths = load(DEMO / f"{name}.csv").input_tokens.astype(float)
    mean_isl, variance = lengths.mean(), lengths.var()
    corrected = ServiceTime.of(TTFT, LengthMoments.of(lengths.tolist())).mean_s
    of_the_mean = TTFT.at(mean_isl, mean_isl**2)
    assert corrected == pytest.approx(np.mean(TTFT.a + TTFT.b * lengths + TTFT.c * lengths**2))
    assert corrected - of_the_mean == pytest.approx(TTFT.c * variance)
    assert dopd.prefill_per_decode(100, corrected, 5.0) > dopd.prefill_per_decode(100, of_the_mean, 5.0)


@given(mean=st.floats(10, 20_000), cv=st.floats(0, 3), more=st.floats(0.01, 1))
def test_d8_the_ratio_rises_with_the_variance_of_isl_at_equal_mean(
    mean: float, cv: float, more: float
) -> None:
    ratios = [
        dopd.prefill_per_decode(100, ServiceTime.of(TTFT, LengthMoments.lognormal(mean, spread)).mean_s, 5.0)
        for spread in (cv, cv + more)
    ]
    assert ratios[0] < ratios[1]


@pytest.mark.parametrize("lengths", [[], [0.0], [1.0, -2.0], [math.nan], [math.inf]])
def test_lengths_that_cannot_be_are_refused(lengths: list[float]) -> None:
    with pytest.raises(ValueError, match="length"):
        LengthMoments.of(lengths)


@pytest.mark.parametrize(("mean", "cv"), [(0, 1), (-1, 1), (math.nan, 1), (10, -1), (10, math.inf)])
def test_a_distribution_that_cannot_be_is_refused(mean: float, cv: float) -> None:
    with pytest.raises(ValueError, match=r"length|variation"):
        LengthMoments.lognormal(mean, cv)


def test_moments_that_no_service_time_has_are_refused() -> None:
    with pytest.raises(ValueError, match="never below"):
        ServiceTime(1.0, 0.5)
    with pytest.raises(ValueError, match="positive"):
        ServiceTime(0.0, 0.5)
