"""Metrics as design.md defines them, on outcomes small enough to count by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.metrics import attainable, goodput_crossing, scale_attained, summary
from pdoperator.sim.replay import FleetSeries, Outcome
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

PROFILE = Profile(
    Fit(0.1, 1e-3),
    Fit(0.01, 1e-3),
    100_000,
    64,
    gpus_per_replica=2,
    kv_bytes_per_token=1e4,
    link_bytes_per_s=1e8,
)
SCENARIO = Scenario(PROFILE, ttft_s=1.0, tpot_s=0.05, first=PerRole(1, 1))
NAN = math.nan


def outcome(ttft_s: list[float], tpot_s: list[float], **more: Any) -> Outcome:
    n = len(ttft_s)
    trace = Trace.of("t", np.arange(1.0, n + 1), np.full(n, 100), np.full(n, 10))
    none = np.zeros(0, np.int32)
    given: dict[str, Any] = {
        "finished": ~np.isnan(tpot_s),
        "engine_seconds": 3600.0,
        "settle_s": np.zeros(0),
    }
    return Outcome(
        trace=trace,
        scenario=SCENARIO,
        policy="p",
        ttft_s=np.array(ttft_s, np.float32),
        tpot_s=np.array(tpot_s, np.float32),
        finish_s=np.zeros(n),
        fleet=FleetSeries(np.zeros(0), *[none] * 8),
        busy_seconds=0.0,
        flips=3,
        scale_events=4,
        preemptions=0,
        local_prefills=0,
        wall_s=1.0,
        **(given | more),
    )


def test_both_targets_count_and_a_failed_request_is_a_miss() -> None:
    one = summary(outcome([0.5, 2.0, 0.5, NAN, 0.9], [0.01, 0.01, 0.06, NAN, 0.05]))
    assert one.attainment == pytest.approx(2 / 5)
    assert one.failed == 1
    assert not one.attains
    assert (one.flips, one.scale_events, one.seed, one.policy) == (3, 4, 0, "p")


def test_gpu_hours_count_every_gpu_of_an_engine_and_goodput_is_per_gpu() -> None:
    one = summary(outcome([0.5] * 10, [0.01] * 10))
    assert one.gpu_hours == 2.0
    assert one.goodput_rps_per_gpu == pytest.approx(10 / 7200)
    assert one.goodput_tokens_per_s == pytest.approx(10 * 10 / 10)


def test_a_request_without_a_first_token_is_infinitely_late_in_percentiles() -> None:
    one = summary(outcome([0.1] * 8 + [NAN] * 2, [0.01] * 8 + [NAN] * 2))
    assert one.ttft_p50_s == pytest.approx(0.1)
    assert one.ttft_p90_s == math.inf
    assert one.tpot_p99_s == math.inf


def test_percentiles_are_values_that_occurred() -> None:
    one = summary(outcome([i / 100 for i in range(1, 101)], [0.01] * 100))
    assert (one.ttft_p50_s, one.ttft_p90_s, one.ttft_p99_s) == pytest.approx((0.50, 0.90, 0.99))


def test_attainable_counts_prefill_transfer_and_a_step_against_ttft_and_a_lone_batch_against_tpot() -> None:
    """100 ms + 1 ms a token, then 0.1 ms a token on the link, then a step of 11 ms: 808 tokens just fit 1 s."""
    n = 4
    fits = Trace.of("t", np.arange(1.0, n + 1), np.array([808, 809, 100, 100]), np.full(n, 10))
    assert attainable(fits, SCENARIO) == 0.75
    tight = Scenario(PROFILE, 1.0, 0.0109, PerRole(1, 1))
    assert attainable(fits, tight) == 0.0
    single = Trace.of("t", np.arange(1.0, n + 1), np.full(n, 100), np.array([1, 1, 2, 2]))
    assert attainable(single, tight) == 0.5


def test_what_a_prefix_cache_holds_is_not_prefilled() -> None:
    trace = Trace.of("t", np.array([1.0]), np.array([1500]), np.array([10]), np.array([1000]))
    assert attainable(trace, SCENARIO) == 1.0


def test_attains_is_99_percent_of_what_is_attainable() -> None:
    assert not summary(outcome([0.5] * 98 + [2.0] * 2, [0.01] * 100)).attains
    assert summary(outcome([0.5] * 99 + [2.0], [0.01] * 100)).attains


def test_slo_scale_is_the_factor_that_90_percent_need() -> None:
    assert scale_attained(outcome([i / 10 for i in range(1, 11)], [0.01] * 10)) == pytest.approx(0.9)
    assert scale_attained(outcome([0.5] * 10, [0.1] * 10)) == pytest.approx(2.0)
    assert scale_attained(outcome([0.5] * 8 + [NAN] * 2, [0.01] * 8 + [NAN] * 2)) == math.inf


@pytest.mark.parametrize(
    ("attainments", "share", "goodput"),
    [
        ([1.0, 0.95, 0.85, 0.2], 0.90, 2.5 / 2),  # between 2 and 3, half way
        ([1.0, 0.95, 0.85, 0.2], 0.99, 1.2 / 2),
        ([0.8, 0.7, 0.6, 0.5], 0.90, None),
        ([1.0, 1.0, 1.0, 0.95], 0.90, None),
    ],
)
def test_goodput_is_where_the_line_crosses(
    attainments: list[float], share: float, goodput: float | None
) -> None:
    found = goodput_crossing([1.0, 2.0, 3.0, 4.0], attainments, share, gpus=2)
    assert found == (None if goodput is None else pytest.approx(goodput))
