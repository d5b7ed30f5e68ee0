"""Item B4: the 30 runs of PD-Disaggregation-Eval as a config that anybody gets the same requests from."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.sim.traffic import pd_eval
from pdoperator.sim.traffic.pd_eval import Architecture


def test_b4_the_matrix_has_30_runs_and_both_architectures_get_the_same_requests() -> None:
    runs = list(pd_eval.matrix())
    assert len(runs) == len(set(runs)) == 30
    colocated, disaggregated = runs[0], runs[15]
    assert (colocated.architecture, disaggregated.architecture) == tuple(Architecture)
    assert (colocated.profile, colocated.rate_rps) == (disaggregated.profile, disaggregated.rate_rps)
    assert (colocated.gpus, disaggregated.gpus) == (1, 2)
    one, other = colocated.trace(seed=5), disaggregated.trace(seed=5)
    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert np.array_equal(one.input_tokens, other.input_tokens)


@pytest.mark.parametrize(
    "run", list(pd_eval.matrix())[:15], ids=lambda run: f"{run.profile.name}-{run.rate_rps:g}"
)
def test_b4_each_run_has_its_rate_and_its_lengths(run: pd_eval.Run) -> None:
    trace = run.trace(seed=1)
    assert len(trace) == pytest.approx(180 * run.rate_rps, rel=0.15)
    low, high = run.profile.output_clip
    assert low <= trace.output_tokens.min() <= trace.output_tokens.max() <= high
    assert (trace.input_tokens + trace.output_tokens).max() <= pd_eval.MAX_MODEL_LEN
    # Prompts of HumanEval end where those of SWE-bench begin, but for a gap.
    assert np.mean(trace.input_tokens <= 500) == pytest.approx(run.profile.human_eval, abs=0.05)


def test_b4_the_profiles_weights_make_a_whole() -> None:
    assert sum(profile.weight for profile in pd_eval.PROFILES) == 1
