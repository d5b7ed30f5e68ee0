"""At equal cost disaggregation sometimes never pays, and pays where decode interference is what hurts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.capacity import roofline
from pdoperator.capacity.datasheets import GPUS, INTERCONNECTS, MODELS
from pdoperator.capacity.equal_cost import Load, ModelTooLargeError, System, equal_cost

MODEL, GPU = MODELS["Qwen/Qwen2.5-7B-Instruct"], GPUS["a100-80gb"].derated(0.5)
SYSTEM = System(MODEL, GPU, INTERCONNECTS["nvlink"], engines=4, hop_s=0.005)
LOOSE = Load(2048, 200, ttft_s=10, tpot_s=1.0)
TIGHT_TPOT = Load(8192, 200, ttft_s=5, tpot_s=0.012)


def test_b3_with_loose_targets_it_never_pays_for_a_split_can_only_waste_what_all_gpus_share() -> None:
    result = equal_cost(SYSTEM, LOOSE)
    assert result.qps is None
    assert result.colocated_qps > result.disaggregated_qps > 0


def test_b3_with_long_prompts_and_a_tight_tpot_it_pays_above_what_colocated_engines_carry() -> None:
    result = equal_cost(SYSTEM, TIGHT_TPOT)
    assert result.qps == result.colocated_qps > 0
    assert result.disaggregated_qps > 1.5 * result.colocated_qps
    assert result.prefill_engines + result.decode_engines == 4
    assert result.prefill_engines > result.decode_engines


def test_colocated_tpot_is_a_decode_step_stretched_by_the_prefills_between() -> None:
    load = replace(TIGHT_TPOT, osl_tokens=1e-9)  # decode without load: the step of a sequence that is alone
    t_p = roofline.prefill_s(MODEL, GPU, load.isl_tokens)
    step = roofline.decode_step_s(MODEL, GPU, 1, load.context_tokens)
    rho = 1 - step / load.tpot_s
    assert equal_cost(SYSTEM, load).colocated_qps == pytest.approx(4 * rho / t_p, rel=1e-6)


def test_b3_prefill_engines_of_a_split_queue_too() -> None:
    load = Load(8192, 1e-9, ttft_s=2.0, tpot_s=0.012)
    t_p = roofline.prefill_s(MODEL, GPU, 8192)
    overhead = roofline.transfer_s(MODEL, 8192, SYSTEM.link_bytes_per_s) + SYSTEM.hop_s
    wait = 2.0 - overhead - t_p
    per_engine = 2 * wait / (t_p * (2 * wait + t_p))  # M/D/1
    # The queue before a fast link is next to nothing.
    assert equal_cost(SYSTEM, load).disaggregated_qps == pytest.approx(3 * per_engine, rel=1e-4)


def test_a_slow_link_saturates() -> None:
    per_request_s = 8192 * 57_344 / 125e6
    slow = equal_cost(replace(SYSTEM, link_bytes_per_s=125e6), replace(LOOSE, isl_tokens=8192, ttft_s=100))
    assert 0.8 * 3 < slow.disaggregated_qps * per_request_s < 3


def test_a_prefill_waits_half_a_decode_step_that_it_cannot_interrupt() -> None:
    t_p = roofline.prefill_s(MODEL, GPU, 1024)
    step = roofline.decode_step_s(MODEL, GPU, 1, 1024)
    below, above = (
        equal_cost(SYSTEM, Load(1024, 1e-9, ttft_s=t_p + step / 2 + slack_s, tpot_s=1.0)).colocated_qps
        for slack_s in (-1e-5, 1e-5)
    )
    assert below == 0 < above


def test_targets_that_nothing_meets_are_no_reason_to_disaggregate() -> None:
    result = equal_cost(SYSTEM, replace(LOOSE, ttft_s=0.001))
    assert (result.colocated_qps, result.disaggregated_qps, result.qps) == (0, 0, None)


def test_a_target_that_only_a_split_meets_is_a_reason_from_the_first_request_on() -> None:
    step = roofline.decode_step_s(MODEL, GPU, 1, 2148)
    t_p = roofline.prefill_s(MODEL, GPU, 2048)
    fast_link = replace(SYSTEM, link_bytes_per_s=1e15, hop_s=0.0)
    result = equal_cost(fast_link, Load(2048, 200, ttft_s=t_p + step / 4, tpot_s=0.05))
    assert result.qps == 0
    assert result.disaggregated_qps > 0


def test_where_tpot_binds_the_batch_is_what_littles_law_says() -> None:
    load = Load(2048, 500, ttft_s=10, tpot_s=0.03)
    rate = equal_cost(SYSTEM, load).colocated_qps / 4
    batch = rate * load.osl_tokens * load.tpot_s
    rho = rate * roofline.prefill_s(MODEL, GPU, load.isl_tokens)
    step = roofline.decode_step_s(MODEL, GPU, batch, load.context_tokens)
    assert batch > 10
    assert step / (1 - rho) == pytest.approx(load.tpot_s, rel=1e-6)


def test_decode_engines_cannot_compute_more_tokens_than_their_peak() -> None:
    weak = replace(SYSTEM, gpu=GPUS["a100-80gb"].derated(0.01), engines=2)
    load = Load(1, 1000, ttft_s=10, tpot_s=1.0)
    per_token_s = roofline.decode_flops_per_token(MODEL, load.context_tokens) / weak.gpu.flops
    assert equal_cost(weak, load).disaggregated_qps * 1000 * per_token_s == pytest.approx(1)


def test_kv_memory_limits_a_batch_that_compute_and_targets_would_allow() -> None:
    small = replace(SYSTEM, gpu=replace(GPU, memory_bytes=20e9))
    load = Load(2048, 2000, ttft_s=10, tpot_s=1.0)
    assert equal_cost(small, load).colocated_qps < 0.7 * equal_cost(SYSTEM, load).colocated_qps


def test_a_model_that_does_not_fit_is_refused() -> None:
    large = replace(SYSTEM, model=MODELS["Qwen/Qwen2.5-72B-Instruct"])
    with pytest.raises(ModelTooLargeError, match=r"weights take 1[34]\d\.\d GB .* room for 72\.0 GB"):
        equal_cost(large, LOOSE)
    assert equal_cost(replace(large, gpu=GPU.times(4)), LOOSE).colocated_qps > 0


def test_a_split_of_one_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 engines, got 1"):
        equal_cost(replace(SYSTEM, engines=1), LOOSE)


LOADS = st.builds(
    Load, st.floats(64, 16_000), st.floats(1, 2000), ttft_s=st.floats(0.05, 20), tpot_s=st.floats(0.005, 0.5)
)


@settings(max_examples=25)
@given(load=LOADS, looser=st.floats(1, 4))
def test_looser_targets_never_carry_less(load: Load, looser: float) -> None:
    tight = equal_cost(SYSTEM, load)
    loose = equal_cost(SYSTEM, replace(load, ttft_s=load.ttft_s * looser, tpot_s=load.tpot_s * looser))
    assert loose.colocated_qps >= tight.colocated_qps * (1 - 1e-6)
    assert loose.disaggregated_qps >= tight.disaggregated_qps * (1 - 1e-6)


@settings(max_examples=25)
@given(load=LOADS, hop_s=st.floats(0, 1))
def test_a_longer_hop_only_ever_makes_disaggregation_less_attractive(load: Load, hop_s: float) -> None:
    near, far = equal_cost(SYSTEM, load), equal_cost(replace(SYSTEM, hop_s=0.005 + hop_s), load)
    assert far.colocated_qps == near.colocated_qps
    assert far.disaggregated_qps <= near.disaggregated_qps * (1 + 1e-6)
