"""DistServe's formulas on its own numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity import distserve
from pdoperator.capacity.distserve import A100_80GB

D_S, R_RPS, K = 0.2, 3.0, 1.6


def test_s1_ttft_of_one_engine_of_a_pipeline_and_of_tensor_parallelism() -> None:
    assert distserve.ttft_s(R_RPS, D_S) == pytest.approx(0.35)
    assert distserve.inter_op_ttft_s(R_RPS, D_S) == pytest.approx(0.2214, abs=5e-5)
    assert distserve.intra_op_ttft_s(R_RPS, D_S, K) == pytest.approx(0.1625)


def test_s1_intra_op_wins_at_low_rates_and_inter_op_at_high_ones() -> None:
    assert distserve.intra_op_ttft_s(0.5, D_S, K) < distserve.inter_op_ttft_s(0.5, D_S)
    assert distserve.intra_op_ttft_s(7.8, D_S, K) > distserve.inter_op_ttft_s(7.8, D_S)


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_s1_replicas_share_the_rate(replicas: int) -> None:
    assert distserve.ttft_s(R_RPS * replicas, D_S, replicas) == pytest.approx(0.35)


def test_beyond_its_rate_a_queue_has_no_ttft() -> None:
    assert distserve.ttft_s(5.0, D_S) == math.inf
    assert distserve.inter_op_ttft_s(10.0, D_S) == math.inf
    assert distserve.intra_op_ttft_s(8.1, D_S, K) == math.inf


@pytest.mark.parametrize("speedup", [0.9, 2.1, math.nan])
def test_a_speedup_that_two_gpus_cannot_give_is_refused(speedup: float) -> None:
    with pytest.raises(ValueError, match="1 to 2 times"):
        distserve.intra_op_ttft_s(R_RPS, D_S, speedup)


@pytest.mark.parametrize(
    ("rate", "goodput", "n"), [(10, 5.6, 2), (11.2, 5.6, 2), (11.3, 5.6, 3), (0, 5.6, 1)]
)
def test_s2_instances_for_a_rate(rate: float, goodput: float, n: int) -> None:
    assert distserve.instances_needed(rate, goodput) == n


def test_an_instance_without_goodput_is_not_replicated() -> None:
    with pytest.raises(ValueError, match="at no rate"):
        distserve.instances_needed(1.0, 0.0)


@pytest.mark.parametrize(("isl", "ms"), [(512, 72.1), (1024, 129.8), (2048, 256.2)])
def test_c3_published_prefill_latencies_of_opt_13b(isl: int, ms: float) -> None:
    assert A100_80GB["opt-13b", 1].prefill_s([isl]) * 1000 == pytest.approx(ms, abs=0.05)


@pytest.mark.parametrize(("batch", "ms"), [(32, 31.4), (128, 65.4)])
def test_c3_published_decode_latencies_of_opt_13b(batch: int, ms: float) -> None:
    assert A100_80GB["opt-13b", 1].decode_s([512] * batch) * 1000 == pytest.approx(ms, abs=0.05)


def test_c3_prompts_of_a_batch_are_squared_before_they_are_added() -> None:
    model = A100_80GB["opt-66b", 2]
    assert model.prefill_s([300, 700]) < model.prefill_s([1000])


def test_c3_the_coefficients_of_large_batches_hold_from_95_on() -> None:
    model = A100_80GB["opt-13b", 1]
    assert model.decode_s([512] * 94) * 1000 == pytest.approx(19.93 + 94 * (512 * 0.000627 + 0.0385))
    assert model.decode_s([512] * 95) * 1000 == pytest.approx(7.17 + 95 * (512 * 0.00058 + 0.158))


@given(rate=st.floats(0, 4.9), more=st.floats(0, 4))
def test_a_higher_rate_never_lowers_ttft(rate: float, more: float) -> None:
    higher = rate + more
    assert distserve.ttft_s(higher, D_S) >= distserve.ttft_s(rate, D_S)
    assert distserve.inter_op_ttft_s(higher, D_S) >= distserve.inter_op_ttft_s(rate, D_S)
    assert distserve.intra_op_ttft_s(higher, D_S, K) >= distserve.intra_op_ttft_s(rate, D_S, K)
