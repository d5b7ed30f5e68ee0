"""Single steps against what vLLM 0.32's scheduler does (vllm/v1/core/sched/scheduler.py)."""

from __future__ import annotations

import numpy as np
import pytest

from pdoperator.capacity.distserve import A100_80GB
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.sim.kernel import state as k
from pdoperator.sim.traffic.trace import Trace
from sim.kernel.engines import served

P, D = k.PREFILL, k.DECODE


def _engine(**changes: float) -> Profile:
    """1 ms a prompt token, 100 ms a decode step, 20 ms of latency, links that take no time."""
    settings = {"kv_tokens": 100_000, "max_batch": 8, "batched_tokens": 2048, **changes}
    return Profile(Fit(0.02, 1e-3), Fit(0.1), measured_pass_s=0.0, **settings)  # type: ignore[arg-type]


def _served(roles: list[int], isl: list[int], osl: list[int], profile: Profile | None = None) -> k.State:
    trace = Trace.of("t", np.zeros(len(isl)), np.array(isl, np.int32), np.array(osl, np.int32))
    return served(trace, profile or _engine(), roles)


def test_prompts_are_packed_into_a_step_and_the_last_one_is_cut() -> None:
    """The first to come is alone in its step; then two and a half prompts, then the rest."""
    state = _served([D], [100, 1000, 1000, 1000], [1] * 4, _engine(batched_tokens=2500))
    assert state.requests["first_s"] == pytest.approx([0.1, 2.6, 2.6, 3.1])


def test_a_prompt_beside_decodes_gets_what_the_batch_leaves_of_the_token_budget() -> None:
    """After the first prompt one sequence decodes: the second one's 100 tokens take two steps of 63 and 37."""
    state = _served([D], [64, 100], [10, 1], _engine(batched_tokens=64))
    assert state.requests["first_s"] == pytest.approx([0.064, 0.064 + 2 * 0.1 + 0.1])


def test_the_first_token_of_a_disaggregated_request_comes_from_the_decode_engine() -> None:
    """Prefill 1 s, a second call 20 ms, one decode step; the router's client gets no token before that."""
    state = _served([P, D], [1000], [3])
    assert state.requests["first_s"] == pytest.approx(1 + 0.02 + 0.1)
    assert state.requests["finish_s"] == pytest.approx(1 + 0.02 + 3 * 0.1)


def test_kv_is_asked_for_between_two_steps_of_the_decode_engine() -> None:
    """The second prefill ends at 1.5 s, in a step that ends at 1.52 s: pulled from there, decoded a step later."""
    state = _served([P, D], [1000, 500], [20, 20], _engine(max_batch=1))
    assert state.requests["first_s"][0] == pytest.approx(1.12)
    assert state.requests["first_s"][1] > state.requests["finish_s"][0]  # one at a time
    state = _served([P, D], [1000, 500], [20, 20], _engine(batched_tokens=1000))
    assert state.requests["first_s"][1] == pytest.approx(1.52 + 0.1 + 0.1)


def test_kv_stays_on_the_prefill_engine_while_decode_has_no_room() -> None:
    """S3: prefill memory is the buffer. Decode has room for two prompts, but not for the outputs of the first too."""
    state = _served([P, D], [600, 600], [20, 20], _engine(kv_tokens=1205, batched_tokens=600))
    first_s, finish_s = state.requests["first_s"], state.requests["finish_s"]
    assert first_s[1] == pytest.approx(finish_s[0] + 0.02 + 0.1)


def test_a_prefill_engine_full_of_kv_that_nobody_fetches_begins_no_prompt() -> None:
    """S3: it holds the second and the third; the fourth begins when they have gone, at the end of the first output."""
    state = _served([P, D], [600] * 4, [20] * 4, _engine(kv_tokens=1205, batched_tokens=600))
    assert state.requests["first_s"][3] > state.requests["finish_s"][0] + 0.02 + 0.6


def test_the_last_to_come_is_preempted_and_computed_anew() -> None:
    state = _served([D], [100, 100], [60, 60], _engine(kv_tokens=260))
    assert state.counts[k.PREEMPTED] == 1
    finish_s = state.requests["finish_s"]
    assert finish_s[1] > finish_s[0]
    # Tokens that both decode: until 2 x (100 + n) would pass 260; then the first is alone, and the second after it.
    assert finish_s[0] == pytest.approx(0.1 + 0.1 + 59 * 0.1)


def test_distserves_published_latencies() -> None:
    """C3: OPT-13B on one A100: 72.1, 129.8, 256.2 ms of prefill; steps of 31.4 and 65.4 ms for 32 and 128 at 512."""
    latency = A100_80GB["opt-13b", 1]
    for isl, expected_s in ((512, 0.0721), (1024, 0.1298), (2048, 0.2562)):
        state = _served([D], [isl], [1], _distserve(latency.prefill_ms, latency.decode_small_ms))
        assert state.requests["first_s"] == pytest.approx(expected_s, abs=5e-5)
    for batch, decode_ms, expected_s in (
        (32, latency.decode_small_ms, 0.0314),
        (128, latency.decode_large_ms, 0.0654),
    ):
        outputs = [9] + [2] * (batch - 1)  # the first prompt is prefilled before the others
        state = _served([P, D], [511] * batch, outputs, _distserve((0.0, 1e-9, 0.0), decode_ms))
        step_s = (state.requests["finish_s"] - state.requests["first_s"])[1:]
        assert step_s == pytest.approx(expected_s, abs=1e-4)


def _distserve(prefill_ms: tuple[float, ...], decode_ms: tuple[float, ...]) -> Profile:
    """Its decode coefficients are in the order constant, context, batch."""
    a, context, batch = decode_ms
    return Profile(
        Fit(*(x / 1000 for x in prefill_ms)), Fit(a / 1000, batch / 1000, context / 1000),
        kv_tokens=10**6, max_batch=256, batched_tokens=10**6, measured_pass_s=prefill_ms[0] / 1000,
    )  # fmt: skip
