"""Lost engines: what has given no token yet is served elsewhere, as `router/` does; a stream that began ends."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import kill, run_until
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.checks import check, run_checked
from sim.kernel.engines import engines_of

# A prompt of 1000 tokens takes 1 s and its KV as long; a decode step 0.1 s.
PROFILE = Profile(
    Fit(0.0, 1e-3), Fit(0.1), 10_000, 8, measured_pass_s=0.0, kv_bytes_per_token=1.0, link_bytes_per_s=1e3
)
P, D = k.PREFILL, k.DECODE


def _after_loss(roles: list[int], lost: int, at_s: float, requests: int = 1) -> k.State:
    """Prompts of 1000 tokens and 10 tokens out from time 0; engine `lost` is lost at `at_s`."""
    trace = Trace.of("t", np.zeros(requests), np.full(requests, 1000), np.full(requests, 10))
    state, params = engines_of(trace, PROFILE, roles)
    run_until(state, params, at_s)
    kill(state, params, lost, at_s)
    check(state, params, at_s)
    run_checked(state, params, np.inf)
    assert state.counts[k.ENDED] == requests
    assert (state.engines["kv"] == 0).all()
    return state


def test_a_prompt_on_a_lost_prefill_engine_is_prefilled_by_another() -> None:
    state = _after_loss([P, P, D], lost=0, at_s=0.5)
    assert state.requests["state"] == k.FINISHED
    assert state.requests["first_s"] == pytest.approx(0.5 + 1 + 1 + 0.1)
    assert not state.requests["local"][0]


def test_without_another_prefill_engine_decode_does_it_alone() -> None:
    state = _after_loss([P, D], lost=0, at_s=0.5)
    assert state.requests["first_s"] == pytest.approx(0.5 + 1)
    assert state.requests["local"][0]


def test_kv_lost_on_its_way_is_computed_anew_where_it_was_to_be_decoded() -> None:
    """vLLM's load failure policy `recompute`, noticed when the transfer should have ended."""
    state = _after_loss([P, D], lost=0, at_s=1.5)
    assert state.requests["first_s"] == pytest.approx(2 + 1)


def test_a_request_that_waits_on_a_lost_decode_engine_is_served_by_another_without_its_kv() -> None:
    state = _after_loss([P, D, D], lost=1, at_s=1.5)
    assert state.requests["first_s"] == pytest.approx(1.5 + 1)
    assert state.requests["local"][0]


def test_a_stream_that_has_begun_fails_with_its_engine() -> None:
    state = _after_loss([P, D, D], lost=1, at_s=2.55)
    assert state.requests["state"] == k.FAILED
    assert state.counts[k.MISSED] == 1


def test_without_any_engine_requests_fail() -> None:
    trace = Trace.of("t", np.zeros(2), np.full(2, 1000), np.full(2, 10))
    state, params = engines_of(trace, PROFILE, [D])
    run_until(state, params, 0.5)
    state.engines["serving"] = False
    kill(state, params, 0, 0.5)
    assert (state.requests["state"] == k.FAILED).all()
    assert state.cursors[k.OUTSTANDING] == 0
