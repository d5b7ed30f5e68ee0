"""One engine that serves one prompt after another is a queue with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pdoperator.capacity.distserve import ttft_s
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.queueing import mm1_stay_quantile_s
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import engines_of, served

# A prompt of this length takes a second; max_batch 1 lets no second prompt into a step.
SERVICE_TOKENS = 10_000
QUEUE = Profile(
    Fit(0.0, 1 / SERVICE_TOKENS), Fit(1.0), 10**9, max_batch=1, batched_tokens=10**9, measured_pass_s=0.0
)
LOADS = pytest.mark.parametrize("rho", [0.5, 0.7, 0.886])


@LOADS
def test_exponential_service_is_the_mm1_queue(rho: float) -> None:
    draw = np.random.default_rng(1)
    tokens = np.maximum(1, np.rint(draw.exponential(SERVICE_TOKENS, 3_000_000))).astype(np.int32)
    stay_s = _stay_s(draw, rho, tokens)
    assert stay_s.mean() == pytest.approx(1 / (1 - rho), rel=0.03)
    assert np.quantile(stay_s, 0.9) == pytest.approx(mm1_stay_quantile_s(rho, 1.0, 0.9), rel=0.03)


@LOADS
def test_equal_service_is_the_md1_queue(rho: float) -> None:
    stay_s = _stay_s(np.random.default_rng(2), rho, np.full(2_000_000, SERVICE_TOKENS, np.int32))
    assert stay_s.mean() == pytest.approx(ttft_s(rho, 1.0), rel=0.03)
    p90_s = float(np.quantile(stay_s, 0.9))
    assert _md1_within(rho, p90_s * 0.97) < 0.9 < _md1_within(rho, p90_s * 1.03)


def test_distserves_example_of_a_prefill_engine_has_its_mean_ttft() -> None:
    """S1: D 0.2 s at R 3 per second, 0.35 s on average."""
    stay_s = _stay_s(np.random.default_rng(3), 3.0, np.full(500_000, SERVICE_TOKENS // 5, np.int32))
    assert stay_s.mean() == pytest.approx(0.35, rel=0.01)


def test_requests_in_the_system_are_those_that_have_come_and_not_gone() -> None:
    """Little's law, at a thousand moments and not on average alone."""
    draw = np.random.default_rng(4)
    arrival_s = np.cumsum(draw.exponential(1 / 0.9, 2000))
    trace = Trace.of("t", arrival_s, draw.integers(1, 20_000, 2000, np.int32), np.ones(2000, np.int32))
    state, params = engines_of(trace, QUEUE, [k.DECODE])
    moments_s = np.linspace(0, arrival_s[-1], 1000)
    seen = []
    for moment_s in moments_s:
        run_until(state, params, moment_s)
        seen.append(int(state.cursors[k.OUTSTANDING]))
    run_until(state, params, np.inf)
    gone_s = np.sort(state.requests["finish_s"])
    expected = np.searchsorted(arrival_s, moments_s, "right") - np.searchsorted(gone_s, moments_s, "right")
    np.testing.assert_array_equal(seen, expected)
    assert np.mean(seen) == pytest.approx(
        (state.requests["finish_s"] - arrival_s).sum() / arrival_s[-1], rel=0.1
    )


def _stay_s(draw: np.random.Generator, rate_rps: float, tokens: NDArray[np.int32]) -> NDArray[np.float64]:
    """Times in the system, each of which must be what Lindley's recursion gives for the same arrivals."""
    n = len(tokens)
    arrival_s = np.cumsum(draw.exponential(1 / rate_rps, n))
    state = served(Trace.of("t", arrival_s, tokens, np.ones(n, np.int32)), QUEUE, [k.DECODE])
    finish_s = np.array(state.requests["finish_s"])
    work_s = np.cumsum(tokens / SERVICE_TOKENS)
    begun_s = np.maximum.accumulate(arrival_s - (work_s - tokens / SERVICE_TOKENS))
    np.testing.assert_allclose(finish_s, work_s + begun_s, rtol=1e-9)
    return finish_s - arrival_s


def _md1_within(rho: float, stay_s: float) -> float:
    """P(time in an M/D/1 queue of service 1 <= t), Erlang's formula."""
    wait_s = stay_s - 1
    terms = (
        (-rho * (wait_s - i)) ** i / math.factorial(i) * math.exp(rho * (wait_s - i))
        for i in range(math.floor(wait_s) + 1)
    )
    return (1 - rho) * sum(terms)
