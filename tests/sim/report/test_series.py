"""A replay cut into bins for drawing: nothing is lost, and what is unknown is not drawn as zero."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.policies.policy import ForecastPoint
from pdoperator.sim.replay import FleetSeries, Outcome
from pdoperator.sim.report.series import Series, series_of
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace

N = 100
TRACE = Trace.of("t", np.append(np.arange(0.0, 99.0), 200.0), np.full(N, 10), np.full(N, 5))


def series(ttft_s: float = 0.5, bins: int = 10, forecasts: list[ForecastPoint] | None = None) -> Series:
    t_s = np.array([50.0, 100.0, 150.0])
    counts = np.array([1, 2, 3], np.int32)
    outcome = Outcome(
        trace=TRACE,
        scenario=Scenario(Profile(Fit(0.1), Fit(0.1), 1000, 10), 1.0, 1.0, PerRole(4, 5)),
        policy="p",
        ttft_s=np.full(N, ttft_s, np.float32),
        tpot_s=np.full(N, 0.01, np.float32),
        finished=np.full(N, not math.isnan(ttft_s)),
        finish_s=np.zeros(N),
        fleet=FleetSeries(t_s, *[counts] * 8),
        engine_seconds=1.0,
        busy_seconds=1.0,
        flips=0,
        scale_events=0,
        settle_s=np.zeros(0),
        preemptions=0,
        local_prefills=0,
        wall_s=1.0,
    )
    return series_of(outcome, forecasts or [], bins)


def test_every_request_is_in_a_bin() -> None:
    assert series().rate_rps.sum() * series().bin_s == pytest.approx(N)
    assert series().input_tokens_per_s.sum() * series().bin_s == pytest.approx(N * 10)


def test_a_bin_without_requests_has_no_latency_and_no_misses_rather_than_zero() -> None:
    quiet = series()
    assert np.isnan(quiet.ttft_s[:, 6]).all()
    assert np.isnan(quiet.missed[6])
    assert quiet.missed[0] == 0.0


def test_a_request_without_a_first_token_is_late_and_missed() -> None:
    failed = series(math.nan)
    assert failed.ttft_s[0, 0] == math.inf
    assert failed.missed[0] == 1.0


def test_engines_are_those_of_the_last_decision_and_at_first_the_first_fleet() -> None:
    engines = series().engines
    assert engines["prefill_ready"].tolist() == [4, 4, 1, 1, 2, 2, 2, 3, 3, 3]
    assert engines["decode_starting"].tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]


def test_forecasts_come_in_the_order_of_the_time_they_are_for() -> None:
    t_s, rates = series(forecasts=[ForecastPoint(20.0, 2.0), ForecastPoint(10.0, 1.0)]).forecast
    assert (t_s.tolist(), rates.tolist()) == ([10.0, 20.0], [1.0, 2.0])


def test_of_two_forecasts_for_a_time_the_one_with_the_shorter_horizon_counts() -> None:
    made = [
        ForecastPoint(for_s, rate) for for_s, rate in ((20.0, 1.0), (30.0, 1.0), (15.0, 2.0), (25.0, 2.0))
    ]
    t_s, rates = series(forecasts=made).forecast
    assert (t_s.tolist(), rates.tolist()) == ([15.0, 25.0, 30.0], [2.0, 2.0, 1.0])
