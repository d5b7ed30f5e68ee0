"""DOPD's equations against the vectors that were computed from the released planner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.capacity import dopd
from pdoperator.capacity.profile import Fit, Profile

KV_BLOCKS, BLOCK_TOKENS = 2040, 128
PROFILE = Profile(
    ttft=Fit(0.02, 1e-4), itl=Fit(0.01, 1e-4, 1e-7), kv_tokens=KV_BLOCKS * BLOCK_TOKENS, max_batch=10_000
)


@pytest.mark.parametrize(
    (
        "isl",
        "osl",
        "ttft_s",
        "tpot_s",
        "requests",
        "blocks",
        "c_max",
        "ratio",
        "p_release",
        "decode",
        "p_paper",
    ),
    [
        (1024.4, 245.3, 0.15, 0.035, 100, 9, 226, 3.949, 4, 1, 4),
        (1024.4, 245.3, 0.15, 0.035, 400, 9, 226, 3.949, 4, 2, 8),
        (2048, 28, 0.30, 0.035, 400, 17, 120, 36.735, 37, 4, 147),
        (200, 250, 0.05, 0.035, 400, 3, 680, 3.886, 4, 1, 4),
    ],
)
def test_d1_released_and_paper_form_give_the_published_counts(
    isl: float, osl: float, ttft_s: float, tpot_s: float, requests: int,
    blocks: int, c_max: int, ratio: float, p_release: int, decode: int, p_paper: int,
) -> None:  # fmt: skip
    assert dopd.sequence_blocks(isl, osl, BLOCK_TOKENS) == blocks
    assert dopd.memory_concurrency(KV_BLOCKS, blocks) == c_max
    r = dopd.prefill_per_decode(c_max, ttft_s, dopd.decode_residence_s(osl, tpot_s))
    assert round(r, 3) == ratio
    assert dopd.prefill_engines_release(r) == p_release
    assert dopd.decode_engines(requests, c_max) == decode
    assert dopd.prefill_engines_paper(r, decode) == p_paper


def test_d1_the_papers_counts_never_starve_prefill_where_the_release_does() -> None:
    assert dopd.prefill_engines_release(3.949) == 4
    assert dopd.prefill_engines_paper(3.949, 2) == 8


def test_d4_a_slower_decode_than_profiled_lowers_the_ratio() -> None:
    as_profiled = dopd.prefill_per_decode(226, 0.15, dopd.decode_residence_s(245.3, 0.035))
    twice_as_slow = dopd.prefill_per_decode(226, 0.15, dopd.decode_residence_s(245.3, 0.035, correction=2.0))
    assert twice_as_slow == pytest.approx(as_profiled / 2)


def test_d1_tpot_limits_concurrency_where_memory_would_allow_more() -> None:
    by_memory = dopd.decode_concurrency(PROFILE, 1024, 256, 10.0, 1.0, BLOCK_TOKENS)
    by_tpot = dopd.decode_concurrency(PROFILE, 1024, 256, 0.02, 1.0, BLOCK_TOKENS)
    assert by_memory == KV_BLOCKS // 9
    assert by_tpot == 46  # (0.02 - 0.01) / (1e-4 + 1e-7 * 1152)


def test_a_target_that_a_batch_meets_exactly_allows_that_batch() -> None:
    profile = Profile(ttft=Fit(0.02), itl=Fit(0.016, 0.0005), kv_tokens=16384, max_batch=16)
    assert dopd.tpot_concurrency(profile, 100, 0.02, 1.0) == 8


def test_one_request_is_always_admitted_even_if_it_misses_every_limit() -> None:
    assert dopd.decode_concurrency(PROFILE, 1_000_000, 10, 1e-6, 1.0, BLOCK_TOKENS) == 1


def test_the_engines_own_batch_limit_holds() -> None:
    profile = Profile(ttft=Fit(0.02), itl=Fit(0.001), kv_tokens=10**7, max_batch=16)
    assert dopd.decode_concurrency(profile, 10, 10, 1.0, 1.0, BLOCK_TOKENS) == 16


def test_littles_law_gives_the_requests_in_decode() -> None:
    assert dopd.running_requests(3.0, dopd.decode_residence_s(200, 0.024)) == pytest.approx(14.4)


def test_no_ratio_without_time_in_decode() -> None:
    with pytest.raises(ValueError, match="no time in decode"):
        dopd.prefill_per_decode(10, 0.1, 0.0)


@pytest.mark.parametrize(("observed_s", "correction"), [(0.02, 1.0), (0.03, 1.5), (0.4, 4.0), (0.001, 0.25)])
def test_d4_the_decode_correction_is_observed_over_profiled_within_bounds(
    observed_s: float, correction: float
) -> None:
    assert dopd.decode_correction(observed_s, 0.02, 0.25, 4.0) == pytest.approx(correction)


def test_d4_the_batch_behind_an_observed_tpot_follows_from_littles_law_per_decode_engine() -> None:
    assert dopd.requests_per_decode_engine(10, 200, 0.03, 3) == pytest.approx(20)
    assert dopd.requests_per_decode_engine(0.1, 2, 0.03, 0) == 1.0


def test_d4_the_prefill_correction_is_observed_over_profiled() -> None:
    assert dopd.prefill_correction(0.6, 0.15) == pytest.approx(4)


def test_d4_littles_law_gives_the_concurrency_that_the_profile_is_asked_for() -> None:
    batch = dopd.observed_concurrency(requests=120, interval_s=30, duration_s=10, decode=2)
    assert batch == pytest.approx(20)
    correction = dopd.decode_correction(0.018, PROFILE.itl_s(batch, 1000), 0.25, 4.0)
    assert correction == pytest.approx(0.018 / (0.01 + 20 * 1e-4 + 20 * 1000 * 1e-7))
    residence_s = dopd.decode_residence_s(245.3, 0.035, correction)
    assert residence_s == pytest.approx(245.3 * 0.035 * correction)


@given(
    target_s=st.floats(0.011, 1.0),
    context=st.floats(1, 30_000),
    correction=st.floats(0.25, 4.0),
)
def test_tpot_concurrency_is_the_largest_batch_that_meets_the_target(
    target_s: float, context: float, correction: float
) -> None:
    c = dopd.tpot_concurrency(PROFILE, context, target_s, correction)
    if c > 0:
        assert PROFILE.itl_s(c, context) * correction <= target_s * (1 + 1e-6)
    if c < PROFILE.max_batch:
        assert PROFILE.itl_s(c + 1, context) * correction > target_s


@given(rate=st.floats(0, 1e4), more=st.floats(0, 1e4), concurrency=st.integers(1, 1000))
def test_more_load_never_asks_for_fewer_decode_engines(rate: float, more: float, concurrency: int) -> None:
    assert dopd.decode_engines(rate + more, concurrency) >= dopd.decode_engines(rate, concurrency)
