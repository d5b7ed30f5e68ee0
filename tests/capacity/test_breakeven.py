"""The break-even table of PD-Disaggregation-Eval within 1 %, recomputed from the data sheets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity import roofline
from pdoperator.capacity.breakeven import break_even
from pdoperator.capacity.datasheets import (
    GPUS,
    INTERCONNECTS,
    MODELS,
    UnknownNameError,
    sheet,
)

MODEL, GPU = MODELS["Qwen/Qwen2.5-7B-Instruct"], GPUS["a100-80gb"]
NVLINK, PCIE = INTERCONNECTS["nvlink"], INTERCONNECTS["pcie"]
MIB = 2**20


def qps(isl: float, link: float) -> float:
    rate = break_even(MODEL, GPU, link, isl).qps
    assert rate is not None
    return rate


def test_b1_the_roofline_has_the_published_constants() -> None:
    assert MODEL.kv_bytes_per_token == 57_344
    assert MODEL.weight_bytes == pytest.approx(13.05e9, rel=1e-3)
    assert GPU.ridge == pytest.approx(200.6, abs=0.05)


@pytest.mark.parametrize(
    ("isl", "prefill_ms", "intensity", "kv_mib", "nvlink_ms", "pcie_ms", "qps_nvlink", "qps_pcie"),
    [
        (128, 8.46, 139, 7, 0.012, 0.229, 43.99, 45.16),
        (256, 11.76, 277, 14, 0.024, 0.459, 25.45, 26.95),
        (512, 23.61, 547, 28, 0.049, 0.918, 7.46, 8.49),
        (1024, 47.55, 1070, 56, 0.098, 1.835, 2.04, 2.64),
        (2048, 96.46, 2048, 112, 0.196, 3.670, 0.53, 0.85),
        (4096, 198.31, 3787, 224, 0.391, 7.340, 0.13, 0.30),
        (8192, 418.21, 6648, 448, 0.783, 14.68, 0.03, 0.11),
    ],
)
def test_b1_the_published_table(
    isl: int, prefill_ms: float, intensity: float, kv_mib: float,
    nvlink_ms: float, pcie_ms: float, qps_nvlink: float, qps_pcie: float,
) -> None:  # fmt: skip
    last_digit = 0.006  # the table has two decimals, which are more than 1 % of its smallest numbers
    nvlink, pcie = (break_even(MODEL, GPU, link, isl) for link in (NVLINK, PCIE))
    assert nvlink.prefill_s * 1e3 == pytest.approx(prefill_ms, rel=0.001)
    assert roofline.arithmetic_intensity(MODEL, isl) == pytest.approx(intensity, rel=0.005)
    assert isl * MODEL.kv_bytes_per_token / MIB == pytest.approx(kv_mib)
    assert nvlink.transfer_s * 1e3 == pytest.approx(nvlink_ms, abs=6e-4)
    assert pcie.transfer_s * 1e3 == pytest.approx(pcie_ms, rel=0.003)
    assert nvlink.qps == pytest.approx(qps_nvlink, rel=0.01, abs=last_digit)
    assert pcie.qps == pytest.approx(qps_pcie, rel=0.01, abs=last_digit)


def test_b2_there_is_no_single_constant_of_qps_times_isl() -> None:
    assert qps(128, NVLINK) * 128 == pytest.approx(5_630, rel=0.01)
    assert qps(8192, NVLINK) * 8192 == pytest.approx(267, rel=0.01)


GRID = range(128, 8193, 128)


def test_b2_the_threshold_falls_with_isl_and_is_higher_over_a_slower_link() -> None:
    for one, longer in itertools.pairwise(GRID):
        assert qps(longer, NVLINK) < qps(one, NVLINK)
    for isl in GRID:
        assert qps(isl, PCIE) > qps(isl, NVLINK)


def test_at_the_threshold_the_wait_on_a_colocated_gpu_equals_what_disaggregation_adds() -> None:
    point = break_even(MODEL, GPU, PCIE, 2048)
    assert point.qps is not None
    rho = point.qps * point.prefill_s
    assert point.prefill_s * rho / (1 - rho) == pytest.approx(point.transfer_s + 0.005)


def test_an_overhead_that_no_queue_repays_is_never() -> None:
    assert break_even(MODEL, GPU, INTERCONNECTS["ethernet-25g"], 128, hop_s=1.0).qps is None


def test_a_decode_step_reads_every_weight_and_the_kv_of_every_sequence() -> None:
    step = roofline.decode_step_s(MODEL, GPU, 8, 1000)
    assert step == pytest.approx((13.05e9 + 8 * 1000 * 57_344) / 1555e9, rel=1e-3)


def test_a_large_batch_is_limited_by_compute() -> None:
    h, ffn = 3584, 18944
    per_token = 28 * (8 * h**2 + 4 * 16 * h + 6 * h * ffn)
    assert roofline.decode_step_s(MODEL, GPU, 4000, 16) == pytest.approx(4000 * per_token / 312e12)


@given(isl=st.integers(1, 100_000), longer=st.integers(1, 100_000))
def test_a_longer_prompt_never_prefills_faster(isl: int, longer: int) -> None:
    assert roofline.prefill_s(MODEL, GPU, isl + longer) >= roofline.prefill_s(MODEL, GPU, isl)


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "qwen/qwen2.5-7b-instruct"])
def test_a_sheet_is_found_whatever_the_case(name: str) -> None:
    assert sheet("model", name, MODELS) is MODEL


def test_an_unknown_sheet_is_refused_with_the_near_names_or_all_of_them() -> None:
    with pytest.raises(UnknownNameError, match=r"no GPU is called 'h100'; did you mean .*h100-sxm"):
        sheet("GPU", "h100", GPUS)
    with pytest.raises(UnknownNameError, match=r"known: .*nvlink, .*pcie"):
        sheet("interconnect", "zzz", INTERCONNECTS)


# Decoder layers only; the published totals hold embeddings too.
@pytest.mark.parametrize(
    ("name", "billion"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.358),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1.31),
        ("Qwen/Qwen2.5-3B-Instruct", 2.77),
        ("Qwen/Qwen2.5-7B-Instruct", 6.53),
        ("Qwen/Qwen2.5-14B-Instruct", 13.1),
        ("Qwen/Qwen2.5-32B-Instruct", 31.0),
        ("Qwen/Qwen2.5-72B-Instruct", 70.0),
    ],
)
def test_the_sheets_give_the_published_parameters_without_embeddings(name: str, billion: float) -> None:
    assert MODELS[name].weight_bytes / 2e9 == pytest.approx(billion, rel=0.015)
