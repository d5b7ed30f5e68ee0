"""S3: DistServe's router sends a prompt to the shortest prefill queue and its KV to the least loaded decode engine."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import served

P, D = k.PREFILL, k.DECODE
# 1 ms a prompt token; a decode step of 100 ms and 10 ms a sequence; links that take no time.
ENGINE = Profile(Fit(0.0, 1e-3), Fit(0.1, 0.01), 100_000, 8, batched_tokens=2048, measured_pass_s=0.0)


def _served(roles: list[int], arrival_s: list[float], isl: list[int], osl: list[int]) -> k.State:
    trace = Trace.of("t", np.array(arrival_s), np.array(isl, np.int32), np.array(osl, np.int32))
    return served(trace, ENGINE, roles)


def test_s3_a_prompt_goes_to_the_prefill_engine_with_the_least_work_before_it() -> None:
    """1 s of work on one engine, 0.2 s on the other: in turn the third prompt would have waited for the first."""
    state = _served([P, P, D], [0.0, 0.0, 0.0], [1000, 200, 200], [1, 1, 1])
    assert state.requests["first_s"][2] < 1.0


def test_s3_decode_goes_to_the_engine_with_the_least_load() -> None:
    """Both have had a request when the third comes, and one of them has its own no longer: there it decodes alone."""
    state = _served([P, D, D], [0.0, 0.0, 1.0], [10, 10, 10], [50, 2, 20])
    assert state.requests["finish_s"][1] < state.requests["first_s"][2] < state.requests["finish_s"][0]
    tpot_s = (state.requests["finish_s"] - state.requests["first_s"]) / 19
    assert tpot_s[2] == pytest.approx(0.11)
