"""The loop's counts of answers by length, in the middle of a run too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api import defaults
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.answers import generated_by_position
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import engines_of

PROFILE = Profile(Fit(0.03, 2e-4, 1e-8), Fit(0.02, 1e-3, 1e-6), 50_000, 64)
BOUNDS = np.array([0, *defaults.LENGTH_BOUNDS_TOKENS, np.inf])


def trace(osl: list[int]) -> Trace:
    """Prompts of 100 tokens, one every 50 ms."""
    nothing = np.zeros(len(osl), int)
    arrival_s = np.linspace(0.0, 0.05 * (len(osl) - 1), len(osl))
    return Trace.of("answers", arrival_s, nothing + 100, np.array(osl), nothing)


@settings(deadline=None, max_examples=20)
@given(osl=st.lists(st.integers(1, 600), min_size=1, max_size=30))
def test_at_the_end_every_token_stands_at_its_position(osl: list[int]) -> None:
    state, params = engines_of(trace(osl), PROFILE, [k.PREFILL, k.DECODE])
    run_until(state, params, np.inf)
    lengths = np.array(osl)
    positions = [np.clip(lengths, low, high).sum() - low * len(osl) for low, high in pairwise(BOUNDS)]
    assert generated_by_position(state, params, 1e9).tolist() == positions
    assert state.lengths[k.ENDED_COUNT].sum() == len(osl)
    assert state.lengths[k.ENDED_TOKENS].sum() == lengths.sum()


def test_answers_under_way_count_token_by_token() -> None:
    """One sequence alone: a token every step of 21 ms, whatever run of steps is under way."""
    state, params = engines_of(trace([500]), PROFILE, [k.PREFILL, k.DECODE])
    seen = []
    for now_s in (2.0, 4.0, 6.0):
        run_until(state, params, now_s)
        seen.append(generated_by_position(state, params, now_s).sum())
    assert state.lengths[k.ENDED_COUNT].sum() == 0
    step_s = PROFILE.itl.a + PROFILE.itl.b
    assert np.diff(seen) == pytest.approx(2.0 / step_s, rel=0.02)
