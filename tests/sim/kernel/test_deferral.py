"""Prompts that will miss the TTFT target let others go first, for a bounded time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.transfers import hand_over
from pdoperator.sim.scenario import LocalPrefill, RouterOptions
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.checks import run_checked
from sim.kernel.engines import TTFT_S, engines_of, served

# A thousand tokens take a second to prefill; a step takes one prompt of 500 tokens.
PROFILE = Profile(Fit(0.0, 1e-3), Fit(1e-3), kv_tokens=1_000_000, max_batch=64, batched_tokens=500)
FLEET = [k.PREFILL, k.DECODE]


def even(rate_rps: float, seconds: float) -> Trace:
    """Prompts of half a second, evenly spread; two a second are what one engine can do."""
    n = round(rate_rps * seconds)
    return Trace.of("even", np.arange(n) / rate_rps, np.full(n, 500), np.full(n, 2))


def waits_s(state: k.State) -> np.ndarray:
    """TTFT by request."""
    return np.asarray(state.requests["first_s"] - state.requests["arrival_s"])


@pytest.mark.parametrize("load", [1.5, 2.0, 3.0])
def test_as_many_as_can_be_served_are_served_in_time_while_the_overload_lasts(load: float) -> None:
    overload = even(2.0 * load, 60.0)
    in_order = waits_s(served(overload, PROFILE, FLEET)) <= TTFT_S
    deferring = waits_s(served(overload, PROFILE, FLEET, RouterOptions(deferral_s=60.0))) <= TTFT_S
    assert in_order.mean() < 0.1
    assert deferring.mean() > 0.9 / load


def test_nothing_changes_while_there_is_no_overload() -> None:
    light = even(1.6, 120.0)
    plain, deferring = (
        served(light, PROFILE, FLEET, RouterOptions(deferral_s=s)).requests for s in (0.0, 60.0)
    )
    np.testing.assert_array_equal(plain, deferring)


def test_nobody_starves_however_long_the_overload_lasts() -> None:
    """Whoever has yielded for its time goes before all that come later: a wait is bounded by the work before that."""
    deferral_s = 20.0
    state = served(even(4.0, 300.0), PROFILE, FLEET, RouterOptions(deferral_s=deferral_s))
    first_s, arrival_s = state.requests["first_s"], state.requests["arrival_s"]
    deferred = state.requests["deferred"]
    assert deferred.any()
    for r in np.flatnonzero(deferred)[::25]:
        later = arrival_s > arrival_s[r] + deferral_s + 1.0  # a step of two prompts may be under way
        assert not (first_s[later] < first_s[r]).any()


def test_deferred_prompts_use_what_others_leave() -> None:
    state = served(even(6.0, 10.0), PROFILE, FLEET, RouterOptions(deferral_s=60.0))
    assert state.requests["finish_s"].max() < 60 * 0.5 + 1.0


def test_a_decode_engine_takes_no_prompt_while_others_are_deferred() -> None:
    """Local prefill is for bursts; in an overload it would cost the decode engines their own target."""
    lazy = RouterOptions(LocalPrefill.LAZY, deferral_s=60.0)
    state = served(even(8.0, 60.0), PROFILE, FLEET, lazy)
    requests = state.requests
    since_s = requests["arrival_s"][requests["deferred"]][0]
    assert requests["local"].any()
    assert not requests["local"][requests["arrival_s"] > since_s].any()


def test_prompts_that_no_engine_serves_in_time_are_no_overload() -> None:
    """One of two has begun, the other yields: what comes meanwhile goes past prefill."""
    arrival_s, isl = np.array([0.0, 0.0, 5.0, 5.0, 5.0]), np.array([8000, 8000, 500, 500, 500])
    trace = Trace.of("mixed", arrival_s, isl, np.full(5, 2))
    lazy = RouterOptions(LocalPrefill.LAZY, deferral_s=60.0)
    requests = served(trace, PROFILE, FLEET, lazy).requests
    assert requests["deferred"].tolist() == [True, True, False, False, False]
    assert requests["local"].tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("deferral_s", "order"),
    [(60.0, [1, 4, 5, 0, 2, 3]), (2.5, [1, 0, 4, 2, 5, 3]), (0.0, [0, 2, 4, 1, 5, 3])],
)
def test_kv_gets_room_on_a_decode_engine_in_the_order_of_priority(
    deferral_s: float, order: list[int]
) -> None:
    """Requests come one a second, and are handed over in another order; 0, 2 and 3 are deferred."""
    state, params = engines_of(even(1.0, 6.0), PROFILE, FLEET, RouterOptions(deferral_s=deferral_s))
    state.requests["source"] = 0
    state.requests["deferred"][[0, 2, 3]] = True
    for r in (0, 2, 4, 1, 5, 3):
        hand_over(state, params, r, 1)
    queue = state.queues[1, k.ROOMS]
    waiting = [int(queue["head"])]
    while state.requests["next"][waiting[-1]] != k.NONE:
        waiting.append(int(state.requests["next"][waiting[-1]]))
    assert (waiting, queue["tail"], queue["count"]) == (order, order[-1], 6)


REQUESTS = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.integers(1, 2000), st.integers(1, 20)), min_size=5, max_size=60
)


@settings(deadline=None, max_examples=50)
@given(REQUESTS, st.sampled_from([0.0, 1.0, 20.0]), st.sampled_from(LocalPrefill), st.integers(0, 2))
def test_every_request_ends_once_and_who_is_not_deferred_is_overtaken_by_nobody(
    drawn: list[tuple[float, int, int]], deferral_s: float, local: LocalPrefill, prefill: int
) -> None:
    gaps, isl, osl = (np.array(column) for column in zip(*drawn, strict=True))
    trace = Trace.of("drawn", np.cumsum(gaps), isl, osl)
    roles = [k.PREFILL] * prefill + [k.DECODE]
    state, params = engines_of(trace, PROFILE, roles, RouterOptions(local, deferral_s=deferral_s))
    run_checked(state, params, np.inf)
    assert (state.requests["state"] == k.FINISHED).all()
    _nobody_overtakes(state.requests[~state.requests["local"]], params.deferral_s)


def _nobody_overtakes(prefilled: k.Records, deferral_s: float) -> None:
    """Of those that one engine prefilled; a deferred one at most by what came within the deferral."""
    engines = {int(e) for e in prefilled["source"]}
    for mine in (prefilled[prefilled["source"] == e] for e in engines):
        for one in mine:
            may_go_first = one["arrival_s"] + (deferral_s if one["deferred"] else 0.0)
            later = mine[(mine["arrival_s"] > may_go_first) & ~mine["deferred"]]
            assert (later["first_s"] >= one["first_s"] - 1e-9).all()
