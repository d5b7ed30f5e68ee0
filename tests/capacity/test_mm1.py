"""The M/M/1 sizing paper's example to its digits, and what must hold whatever the numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity import mm1
from pdoperator.capacity.decode_curve import DecodeCurve, DecodePoint

ISL, OSL, OVERHEAD_S, SATURATED = 6144, 512, 0.1, 28_309
TOTAL_TPS = 5_000_000 / 60
CURVE = DecodeCurve(
    tuple(
        DecodePoint(batch, ms / 1000)
        for batch, ms in [(10, 12.8), (20, 16.4), (30, 18.8), (40, 21.6), (50, 23.9), (60, 26.2)]
    )
)
PREFILL_TPS = mm1.prefill_tokens_per_s(SATURATED, ISL, 2.0, OVERHEAD_S)
DECODE_TPS = CURVE.tokens_per_s(0.020)
RATE_RPS = mm1.request_rate_rps(TOTAL_TPS, ISL, OSL)


def test_m1_the_papers_example_is_met_to_its_digits() -> None:
    usable_tps = mm1.prefill_tokens_per_s(SATURATED, ISL, 2.0, OVERHEAD_S)
    assert usable_tps == pytest.approx(25_075.3, abs=0.05)
    assert usable_tps / SATURATED == pytest.approx(0.8858, abs=5e-5)
    assert mm1.service_rate_rps(SATURATED, ISL) == pytest.approx(4.608, abs=5e-4)
    assert usable_tps / ISL == pytest.approx(4.081, abs=5e-4)
    assert mm1.engines_needed(RATE_RPS, ISL, PREFILL_TPS) == pytest.approx(3.068, abs=5e-4)
    assert mm1.engines_needed(RATE_RPS, OSL, DECODE_TPS) == pytest.approx(3.791, abs=5e-4)
    assert mm1.ratio(ISL, OSL, PREFILL_TPS, DECODE_TPS) == pytest.approx(0.809, abs=5e-4)


def test_m2_the_quadratic_fit_of_throughput_against_tpot_gives_the_demos_figure() -> None:
    assert CURVE.tokens_per_s(0.020) == pytest.approx(1_690.95, abs=0.01)
    assert CURVE.batch(0.020) == pytest.approx(34.29, abs=0.005)


@pytest.mark.parametrize(
    ("count", "up", "near"), [(3.068, 4, 3), (3.791, 4, 4), (0.2, 1, 1), (2.5, 3, 3), (0, 1, 1)]
)
def test_m1_counts_are_rounded_up_or_as_the_paper_does_to_the_nearest(
    count: float, up: int, near: int
) -> None:
    assert (mm1.enough(count), mm1.nearest(count)) == (up, near)


def test_a_count_that_is_whole_but_for_rounding_errors_is_not_rounded_up() -> None:
    assert mm1.enough(3.0000000000004) == 3


@pytest.mark.parametrize(
    ("ttft_s", "tokens_per_s", "engines"),
    [
        (0.5, 12_949, 5.94),
        (0.75, 18_857, 4.08),
        (1.0, 21_482, 3.58),
        (1.5, 23_920, 3.22),
        (2.0, 25_075, 3.07),
        (3.0, 26_190, 2.94),
        (5.0, 27_055, 2.84),
    ],
)
def test_m1_sensitivity_to_the_ttft_target(ttft_s: float, tokens_per_s: float, engines: float) -> None:
    usable = mm1.prefill_tokens_per_s(SATURATED, ISL, ttft_s, OVERHEAD_S)
    assert usable == pytest.approx(tokens_per_s, abs=0.6)
    assert mm1.engines_needed(RATE_RPS, ISL, usable) == pytest.approx(engines, abs=0.006)


def test_m3_two_seconds_at_p90_cost_more_prefill_than_two_seconds_on_average() -> None:
    usable = mm1.prefill_tokens_per_s(SATURATED, ISL, 2.0, OVERHEAD_S, percentile=90)
    assert usable == pytest.approx(20_863, abs=0.6)
    assert mm1.engines_needed(RATE_RPS, ISL, usable) == pytest.approx(3.69, abs=0.006)


def test_m3_a_mean_ttft_of_two_seconds_hides_a_p90_of_four_and_a_half() -> None:
    rate = PREFILL_TPS / ISL
    assert mm1.ttft_s(SATURATED, ISL, 0.0, rate, percentile=90) == pytest.approx(4.375, abs=0.005)
    assert mm1.ttft_s(SATURATED, ISL, 0.0, rate, percentile=99) == pytest.approx(8.75, abs=0.01)
    assert mm1.ttft_s(SATURATED, ISL, OVERHEAD_S, rate) == pytest.approx(2.0)


def test_an_overloaded_prefill_engine_has_no_ttft() -> None:
    assert mm1.ttft_s(SATURATED, ISL, 0.0, rate_rps=4.7) == math.inf


def test_m2_the_demos_feasibility_floor() -> None:
    assert mm1.ttft_floor_s(SATURATED, ISL, OVERHEAD_S) == pytest.approx(0.3012, abs=5e-5)


@pytest.mark.parametrize("ttft_s", [0.05, 0.1, 0.3012, 0.317])
def test_m2_a_target_below_the_latency_of_a_lone_prompt_is_refused_with_that_latency(ttft_s: float) -> None:
    with pytest.raises(
        mm1.TargetTooTightError, match=r"0\.217 s to prefill and 0\.1 s of overhead, 0\.317 s"
    ):
        mm1.prefill_tokens_per_s(SATURATED, ISL, ttft_s, OVERHEAD_S)


def test_with_the_sized_counts_neither_side_idles() -> None:
    requests, window_s = 1000.0, 1000.0 / RATE_RPS
    assert mm1.total_tokens_per_s(requests, ISL, OSL, window_s) == pytest.approx(TOTAL_TPS)
    prefill = mm1.engines_needed(RATE_RPS, ISL, PREFILL_TPS)
    decode = mm1.engines_needed(RATE_RPS, OSL, DECODE_TPS)
    assert mm1.busy_s(requests, ISL, PREFILL_TPS, prefill) == pytest.approx(window_s)
    assert mm1.busy_s(requests, OSL, DECODE_TPS, decode) == pytest.approx(window_s)


@pytest.mark.parametrize(
    ("fleet", "binding", "million_tpm"),
    [
        (PerRole(3, 3), Role.DECODE, 3.957),
        (PerRole(3, 4), Role.PREFILL, 4.890),
        (PerRole(4, 4), Role.DECODE, 5.276),
    ],
)
def test_m4_what_a_fleet_takes_and_which_side_binds(
    fleet: PerRole[int], binding: Role, million_tpm: float
) -> None:
    limit = mm1.fleet_limit(fleet, ISL, OSL, PREFILL_TPS, DECODE_TPS)
    assert limit.binding is binding
    assert limit.tokens_per_min(ISL, OSL) / 1e6 == pytest.approx(million_tpm, abs=5e-4)


LOADS = st.floats(0.01, 1e4)
TARGETS_S = st.floats(0.4, 30)


@given(rate=LOADS, more=LOADS, target_s=TARGETS_S)
def test_more_load_never_asks_for_fewer_engines_and_never_for_none(
    rate: float, more: float, target_s: float
) -> None:
    usable = mm1.prefill_tokens_per_s(SATURATED, ISL, target_s, OVERHEAD_S)
    fewer, many = (mm1.enough(mm1.engines_needed(r, ISL, usable)) for r in (rate, rate + more))
    assert 1 <= fewer <= many


@given(target_s=TARGETS_S, looser_s=TARGETS_S)
def test_a_looser_target_never_needs_more_engines(target_s: float, looser_s: float) -> None:
    tight, loose = (
        mm1.prefill_tokens_per_s(SATURATED, ISL, t, OVERHEAD_S) for t in (target_s, target_s + looser_s)
    )
    assert 0 < tight <= loose < SATURATED


@given(rate=LOADS, target_s=TARGETS_S)
def test_the_sized_fleet_takes_the_load_that_it_was_sized_for(rate: float, target_s: float) -> None:
    usable = mm1.prefill_tokens_per_s(SATURATED, ISL, target_s, OVERHEAD_S)
    prefill = mm1.enough(mm1.engines_needed(rate, ISL, usable))
    decode = mm1.enough(mm1.engines_needed(rate, OSL, DECODE_TPS))
    assert mm1.fleet_limit(PerRole(prefill, decode), ISL, OSL, usable, DECODE_TPS).rps >= rate * (1 - 1e-6)
    assert mm1.ttft_s(SATURATED, ISL, OVERHEAD_S, rate / prefill) <= target_s * (1 + 1e-6)
