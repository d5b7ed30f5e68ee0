"""The compiled loop takes runs of steps at once and keeps sums; a plain simulator, step by step, must agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import served
from sim.kernel.reference import Clock, Engine, Request


@dataclass(frozen=True)
class Case:
    """One set-up; arrivals and lengths are drawn with `seed`."""

    seed: int
    rate_rps: float
    kv_tokens: int
    max_batch: int
    batched_tokens: int
    link_bytes_per_s: float
    context_s: float

    @property
    def profile(self) -> Profile:
        """A pass and a latency apart, links slow or fast; odd figures, so that no two events fall on one moment."""
        return Profile(
            Fit(0.0121734, 4.08313e-5, 2.1e-9), Fit(0.0061317, 4.07171e-4, self.context_s),
            self.kv_tokens, self.max_batch, batched_tokens=self.batched_tokens, measured_pass_s=0.0091913,
            kv_bytes_per_token=1.00137e5, link_bytes_per_s=self.link_bytes_per_s,
        )  # fmt: skip

    @property
    def trace(self) -> Trace:
        """150 requests with ends of the range among them: prompts and outputs of one token, and large ones."""
        draw = np.random.default_rng(self.seed)
        isl = np.clip(draw.lognormal(5, 1.2, 150), 1, self.kv_tokens // 2).astype(np.int32)
        osl = np.clip(draw.lognormal(3, 1.3, 150), 1, self.kv_tokens // 2 - 1).astype(np.int32)
        return Trace.of("random", np.cumsum(draw.exponential(1 / self.rate_rps, 150)), isl, osl)


CASES = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    rate_rps=st.sampled_from([2.0, 20.0, 60.0, 500.0]),
    kv_tokens=st.sampled_from([400, 1500, 6000, 100_000]),
    max_batch=st.sampled_from([1, 3, 16, 64]),
    batched_tokens=st.sampled_from([64, 300, 2048]),
    link_bytes_per_s=st.sampled_from([1e8, 2e9, 1e11]),
    context_s=st.sampled_from([0.0, 2e-6]),
)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_one_prefill_and_one_decode_engine_match_the_plain_simulator(case: Case) -> None:
    clock, profile = Clock(), case.profile
    decode = Engine(clock, profile)
    prefill = Engine(clock, profile, decode)
    expected = _plain(clock, prefill, case.trace)
    state = served(case.trace, profile, [k.PREFILL, k.DECODE])
    _same(state, expected, prefill.preemptions + decode.preemptions)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_one_engine_that_does_both_matches_the_plain_simulator(case: Case) -> None:
    clock, profile = Clock(), case.profile
    engine = Engine(clock, profile)
    expected = _plain(clock, engine, case.trace)
    state = served(case.trace, profile, [k.DECODE])
    _same(state, expected, engine.preemptions)


def test_the_cases_preempt_cut_prompts_and_wait_for_links() -> None:
    """What the two above would not see if it never happened."""
    tight = Case(3, 60.0, 1500, 64, 300, 1e8, 2e-6)
    state = served(tight.trace, tight.profile, [k.PREFILL, k.DECODE])
    assert state.counts[k.PREEMPTED] > 10
    assert tight.trace.input_tokens.max() > tight.batched_tokens
    fast = served(tight.trace, replace(tight, link_bytes_per_s=1e11).profile, [k.PREFILL, k.DECODE])
    assert state.requests["first_s"].mean() > fast.requests["first_s"].mean() + 0.01


def _plain(clock: Clock, first: Engine, trace: Trace) -> list[Request]:
    requests = [
        Request(float(at_s), int(isl), int(osl))
        for at_s, isl, osl in zip(trace.arrival_s, trace.input_tokens, trace.output_tokens, strict=True)
    ]
    for request in requests:
        clock.at(request.arrival_s, partial(first.submit, request))
    clock.run()
    return requests


def _same(state: k.State, expected: list[Request], preemptions: int) -> None:
    np.testing.assert_allclose(state.requests["first_s"], [r.first_s for r in expected], rtol=1e-9)
    np.testing.assert_allclose(state.requests["finish_s"], [r.finish_s for r in expected], rtol=1e-9)
    assert state.counts[k.PREEMPTED] == preemptions
