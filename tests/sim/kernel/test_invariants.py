"""Whatever happens to a fleet, requests, KV and GPUs are accounted for at every event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.planning.observation import Observation
from pdoperator.sim import replay as module
from pdoperator.sim.fleet import Fleet
from pdoperator.sim.replay import Outcome
from pdoperator.sim.scenario import Failure, LocalPrefill, RouterOptions, Scenario
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.checks import run_checked

BUDGET = 7
Settle = Callable[[Fleet, float], None]


@dataclass
class Restless:
    """A policy that wants another fleet at every decision, drawn with `seed`."""

    seed: int
    shared_pool: bool
    router: RouterOptions
    name: str = "restless"
    interval_s: float = 7.0
    _draw: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(self.seed)

    def decide(self, seen: Observation) -> PerRole[int]:
        """Half of the time as before, else any fleet within the budget."""
        assert len(seen.engines) <= BUDGET
        prefill = int(self._draw.integers(0, 4))
        return PerRole(prefill, int(self._draw.integers(1, BUDGET - prefill)))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Engines small enough for preemption, start-ups short enough to matter, failures."""
    kv_tokens = draw(st.sampled_from([500, 2000, 50_000]))
    profile = Profile(
        Fit(0.03, 2e-4, 1e-8), Fit(0.02, 1e-3, 1e-6), kv_tokens, draw(st.sampled_from([2, 8, 64])),
        batched_tokens=draw(st.sampled_from([128, 1024])), kv_bytes_per_token=1e5,
        link_bytes_per_s=draw(st.sampled_from([2e7, 1e9])),
    )  # fmt: skip
    failures = draw(st.lists(st.floats(1, 60), max_size=3))
    return Scenario(
        profile, 2.0, 0.08, PerRole(2, 3), gpu_budget=BUDGET, startup_s=draw(st.sampled_from([0.0, 9.0])),
        startup_cv=0.3, max_engines=BUDGET, failures=tuple(Failure(t) for t in failures),
        seed=draw(st.integers(0, 2**32 - 1)),
    )  # fmt: skip


ROUTERS = st.builds(
    RouterOptions,
    local_prefill=st.sampled_from(LocalPrefill),
    chunk_tokens=st.sampled_from([None, 128]),
)


@settings(max_examples=25, deadline=None)
@given(scenarios(), ROUTERS, st.booleans(), st.sampled_from([3.0, 30.0]))
def test_requests_kv_and_gpus_are_accounted_for_at_every_event(
    scenario: Scenario, router: RouterOptions, shared_pool: bool, rate_rps: float
) -> None:
    trace = _trace(scenario, rate_rps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_until", run_checked)
        patch.setattr(Fleet, "settle", _within_budget(Fleet.settle))
        outcome = module.replay(trace, scenario, Restless(scenario.seed, shared_pool, router))
    assert outcome.engine_seconds <= BUDGET * trace.span_s + 1e-6
    _times_are_in_order(trace, outcome)


@settings(max_examples=10, deadline=None)
@given(scenarios(), ROUTERS, st.booleans())
def test_the_same_seed_gives_the_same_bytes(
    scenario: Scenario, router: RouterOptions, shared_pool: bool
) -> None:
    trace = _trace(scenario, 10.0)
    first, second = (
        module.replay(trace, scenario, Restless(scenario.seed, shared_pool, router)) for _ in range(2)
    )
    for name in ("ttft_s", "tpot_s", "finish_s", "settle_s"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.engine_seconds == second.engine_seconds


def _trace(scenario: Scenario, rate_rps: float) -> Trace:
    draw, most = np.random.default_rng(scenario.seed), scenario.profile.kv_tokens // 2
    isl = np.clip(draw.lognormal(5, 1, 120), 1, most).astype(np.int32)
    osl = np.clip(draw.lognormal(3.5, 1, 120), 1, most + 3).astype(np.int32)  # some of them do not fit
    cached = np.minimum(draw.integers(0, 300, 120, np.int32), isl)
    arrival_s = np.cumsum(draw.exponential(1 / rate_rps, 120))
    return Trace.of("random", arrival_s, isl, osl, cached)


def _within_budget(settle: Settle) -> Settle:
    def checked(fleet: Fleet, now_s: float) -> None:
        settle(fleet, now_s)
        assert len(fleet.pods) <= BUDGET

    return checked


def _times_are_in_order(trace: Trace, outcome: Outcome) -> None:
    done = outcome.finished
    tokens = trace.output_tokens[done]
    assert (outcome.ttft_s[done] > 0).all()
    assert (outcome.tpot_s[done][tokens > 1] > 0).all()
    last_s = trace.arrival_s[done] + outcome.ttft_s[done] + outcome.tpot_s[done] * (tokens - 1)
    latency_s = outcome.scenario.profile.latency_s
    np.testing.assert_allclose(last_s, outcome.finish_s[done] + latency_s, rtol=1e-4)
