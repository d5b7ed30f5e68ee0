"""Engines on one time-sliced GPU: each its share, or a refusal that says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.sharing import Footprint, SharingRefusedError, check_tpot, shared
from pdoperator.capacity.tables import DecodeTable, PrefillTable

# 15 GB of weights in an engine that has 86.4 GB of a GH200.
FOOTPRINT = Footprint(weight_bytes=15e9, kv_bytes_per_token=57_344)
ALONE = Profile(Fit(0.02, 1e-5, 1e-9), Fit(0.004, 4e-5, 3e-8), kv_tokens=int(71.4e9 / 57_344), max_batch=256)


def test_an_engine_that_is_alone_keeps_its_profile() -> None:
    assert shared(ALONE, 1, FOOTPRINT).ttft == ALONE.ttft
    assert shared(ALONE, 1, FOOTPRINT).kv_tokens == pytest.approx(ALONE.kv_tokens, abs=1)


def test_with_two_engines_everything_takes_twice_as_long() -> None:
    half = shared(ALONE, 2, FOOTPRINT)
    assert half.ttft_s(4000) == pytest.approx(2 * ALONE.ttft_s(4000))
    assert half.itl_s(8, 4000) == pytest.approx(2 * ALONE.itl_s(8, 4000))
    assert half.max_batch == ALONE.max_batch


def test_tables_and_a_measured_pass_are_shared_too() -> None:
    tables = replace(
        ALONE,
        measured_pass_s=0.005,
        ttft_table=PrefillTable((100, 4000), (0.02, 0.08)),
        itl_table=DecodeTable((1, 8), (100, 4000), ((0.004, 0.005), (0.006, None))),
    )
    half = shared(tables, 2, FOOTPRINT)
    assert half.ttft_s(100) == pytest.approx(0.04)
    assert half.itl_s(1, 4000) == pytest.approx(0.010)
    assert half.pass_s == pytest.approx(0.010)


def test_two_engines_have_less_than_half_the_kv_for_each_keeps_its_own_weights() -> None:
    half = shared(ALONE, 2, FOOTPRINT)
    assert half.kv_tokens == pytest.approx((86.4e9 / 2 - 15e9) / 57_344, rel=1e-4)
    assert half.kv_tokens < ALONE.kv_tokens / 2


def test_a_gpu_too_small_for_the_weights_of_all_is_refused() -> None:
    with pytest.raises(SharingRefusedError, match=r"1/6 .* is 14\.4 GB, .* beside 15\.0 GB of weights"):
        shared(ALONE, 6, FOOTPRINT)


@pytest.mark.parametrize("engines", [0, -1])
def test_a_gpu_is_not_shared_by_nobody(engines: int) -> None:
    with pytest.raises(ValueError, match="at least one engine"):
        shared(ALONE, engines, FOOTPRINT)


def test_a_tpot_target_refuses_a_share_that_is_too_slow() -> None:
    half = shared(ALONE, 2, FOOTPRINT)
    check_tpot(ALONE, 1000, 0.005)
    with pytest.raises(SharingRefusedError, match=r"takes 8\.1 ms per token, and the TPOT target is 5\.0 ms"):
        check_tpot(half, 1000, 0.005)


@given(engines=st.integers(1, 4), context=st.floats(1, 30_000))
def test_one_more_engine_never_makes_a_share_faster_or_larger(engines: int, context: float) -> None:
    fewer, more = shared(ALONE, engines, FOOTPRINT), shared(ALONE, engines + 1, FOOTPRINT)
    assert more.itl_s(1, context) > fewer.itl_s(1, context)
    assert more.kv_tokens < fewer.kv_tokens
