"""The true work of a trace, and what the bounds make of it."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.oracle import Oracle
from pdoperator.sim.policies.work import Work, request_work, work_of
from pdoperator.sim.traffic.trace import Trace
from planning.fleet import observation

PROFILE = Profile(Fit(0.02, 1e-4, 1e-8), Fit(0.01, 1e-4, 1e-7), kv_tokens=100_000, max_batch=200)
RNG = np.random.default_rng(4)
TRACE = Trace.of(
    "random",
    np.sort(RNG.uniform(0, 1000, 5000)),
    RNG.integers(1, 5000, 5000, dtype=np.int32),
    RNG.integers(1, 800, 5000, dtype=np.int32),
)


def test_no_work_is_lost_or_made_by_spreading_it_over_windows() -> None:
    prefill_s, decode_s, _ = request_work(TRACE, PROFILE, 0.08)
    for window_s in (1.0, 7.0, 60.0, 5000.0):
        work = work_of(TRACE, PROFILE, 0.08, window_s)
        assert work.prefill.sum() * window_s == pytest.approx(prefill_s.sum())
        assert work.decode.sum() * window_s == pytest.approx(decode_s.sum())


def test_decode_work_lies_where_the_request_is() -> None:
    one = Trace.of("one", np.array([15.0]), np.array([1000]), np.array([2000]))
    _, decode_s, residence_s = request_work(one, PROFILE, 0.08)
    work = work_of(one, PROFILE, 0.08, 10.0)
    assert np.flatnonzero(work.decode > 1e-9).tolist() == list(range(1, int((15 + residence_s[0]) / 10) + 1))
    assert work.decode[2] == pytest.approx(decode_s[0] / residence_s[0])


@pytest.mark.parametrize(
    ("tpot_s", "batch"),
    [
        (0.031, 70 / 1.2),  # by TPOT: 21 ms over 0.1 ms + 2000 x 0.1 us
        (10.0, 50.0),  # by KV: 100,000 over 2000
    ],
)
def test_a_token_costs_its_share_of_a_full_step(tpot_s: float, batch: float) -> None:
    one = Trace.of("one", np.array([1.0]), np.array([1900]), np.array([200]))
    _, decode_s, residence_s = request_work(one, PROFILE, tpot_s)
    batch = min(batch, (tpot_s - 0.01) / (1e-4 + 2000e-7), 50.0)
    assert residence_s[0] / decode_s[0] == pytest.approx(batch)
    assert residence_s[0] == pytest.approx(200 * (0.01 + batch * 3e-4))


def test_cached_tokens_need_no_prefill() -> None:
    cold = Trace.of("cold", np.array([1.0]), np.array([2000]), np.array([10]))
    warm = Trace.of("warm", np.array([1.0]), np.array([2000]), np.array([10]), np.array([1500]))
    assert request_work(cold, PROFILE, 0.08)[0][0] == pytest.approx(0.2 + 0.04)
    assert request_work(warm, PROFILE, 0.08)[0][0] == pytest.approx(0.05 + 1e-8 * (2000**2 - 1500**2))


WORK = Work(10.0, np.array([1.0, 1.0, 4.0, 1.0]), np.array([2.0, 2.0, 2.0, 0.1]))


def at(at_s: float) -> Observation:
    return observation(None, at_s)


def test_clairvoyant_has_what_the_window_needs() -> None:
    policy = Oracle("", 10.0, PerRole(1, 1), work=WORK, load=PerRole(0.5, 1.0))
    assert [policy.decide(at(t)) for t in (0.0, 20.0, 30.0, 99.0)] == [
        PerRole(2, 2), PerRole(8, 2), PerRole(2, 1), PerRole(2, 1)]  # fmt: skip


def test_foresight_has_as_many_as_it_will_need_and_splits_them_for_now() -> None:
    policy = Oracle("", 10.0, PerRole(1, 1), work=WORK, load=PerRole(1.0, 1.0), lead_s=10.0)
    assert policy.decide(at(0.0)) == PerRole(1, 2)
    assert policy.decide(at(10.0)) == PerRole(2, 4)
    assert policy.decide(at(20.0)) == PerRole(4, 2)


def test_aggregated_engines_carry_both() -> None:
    policy = Oracle("", 10.0, PerRole(0, 1), work=WORK, load=PerRole(1.0, 1.0), aggregated=True)
    assert policy.decide(at(20.0)) == PerRole(0, 6)
