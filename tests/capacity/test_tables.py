"""Measured tables: interpolated between their points, refused beyond them, and in seconds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.capacity import dopd, profile_document
from pdoperator.capacity.fitting import fit_itl, fit_ttft
from pdoperator.capacity.tables import DecodeTable, OutsideTableError, PrefillTable

TTFT = PrefillTable((100, 1000, 4000), (0.02, 0.03, 0.09))
ITL = DecodeTable((1, 8, 32), (500, 4000), ((0.004, 0.005), (0.006, 0.010), (0.012, None)))
DOCUMENT: dict[str, Any] = {
    "ttft": {"isl": [100, 1000, 4000], "s": [0.02, 0.03, 0.09]},
    "itl": {
        "batch": [1, 8, 32],
        "context": [500, 4000],
        "s": [[0.004, 0.005], [0.006, 0.010], [0.012, None]],
    },
    "kv_tokens": 100_000,
}


@pytest.mark.parametrize(("isl", "seconds"), [(100, 0.02), (550, 0.025), (2500, 0.06), (4000, 0.09)])
def test_ttft_is_linear_between_the_points(isl: float, seconds: float) -> None:
    assert TTFT.seconds(isl) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("batch", "context", "seconds"),
    [
        (1, 500, 0.004),
        (8, 4000, 0.010),
        (4.5, 500, 0.005),
        (4.5, 2250, 0.00625),
        (32, 500, 0.012),
        (20, 500, 0.009),
    ],
)
def test_itl_is_bilinear_between_the_points(batch: float, context: float, seconds: float) -> None:
    assert ITL.seconds(batch, context) == pytest.approx(seconds)


@pytest.mark.parametrize("isl", [99, 4001])
def test_a_prompt_outside_the_table_is_refused_with_what_was_measured(isl: float) -> None:
    with pytest.raises(OutsideTableError, match=f"{isl} tokens lies outside .* from 100 to 4000"):
        TTFT.seconds(isl)


@pytest.mark.parametrize(
    ("batch", "context"), [(0.5, 500), (33, 500), (8, 499), (8, 4001), (32, 600), (20, 4000)]
)
def test_a_batch_outside_the_table_or_in_a_gap_is_refused(batch: float, context: float) -> None:
    with pytest.raises(OutsideTableError, match="outside the table of ITL, which was measured from 1 to 32"):
        ITL.seconds(batch, context)


@pytest.mark.parametrize(
    ("context", "target_s", "batch"),
    [
        (500, 0.006, 8),
        (500, 0.009, 20),
        (500, 1.0, 32),
        (500, 0.0062, 8.8),
        (500, 0.003, 0),
        (4000, 1.0, 8),
        (2250, 0.00625, 4.5),
    ],
)
def test_the_largest_batch_within_a_target_is_one_that_was_measured(
    context: float, target_s: float, batch: float
) -> None:
    assert ITL.largest_batch(context, target_s) == pytest.approx(batch)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("ttft", {"isl": [100, 100, 400], "s": [1, 2, 3]}, "the axis isl must rise, but 100 follows 100"),
        ("ttft", {"isl": [100, 50], "s": [1, 2]}, "the axis isl must rise, but 50 follows 100"),
        ("ttft", {"isl": [100], "s": [1]}, "the axis isl needs at least two values"),
        ("ttft", {"isl": [0, 50], "s": [1, 2]}, "the axis isl must be positive"),
        ("ttft", {"isl": [100, 400], "s": [0.1]}, "ttft has 1 values for 2 on its axis"),
        ("ttft", {"isl": [100, 400], "s": [0.1, math.nan]}, "ttft must be positive and finite"),
        ("ttft", {"isl": [100, 400], "s": [0.1, 0]}, "ttft must be positive and finite"),
        ("ttft", {"isl": [100, 400], "s": [20, 28]}, "20 s to prefill 100 tokens .* looks like milliseconds"),
        ("ttft", {"isl": [100, 400], "ms": [20, 28]}, "'ms' is not known"),
        ("ttft", {"isl": [100, 400]}, "ttft.s is not a list"),
        ("itl", {"batch": [1, 1], "context": [9, 10], "s": [[1, 1], [1, 1]]}, "the axis batch must rise"),
        ("itl", {"batch": [1, 2], "context": [10, 9], "s": [[1, 1], [1, 1]]}, "the axis context must rise"),
        ("itl", {"batch": [1, 2], "context": [9, 10], "s": [[1, 1]]}, "itl has 1 rows for 2 batches"),
        (
            "itl",
            {"batch": [1, 2], "context": [9, 10], "s": [[1], [1]]},
            "a row of itl has 1 values for 2 contexts",
        ),
        ("itl", {"batch": [1, 2], "context": [9, 10], "s": [[4, 5], [6, 7]]}, "looks like milliseconds"),
        ("itl", {"batch": [1, 2], "context": [9, 10], "s": [["x", 1], [1, 1]]}, "itl.s is not a number: 'x'"),
        ("itl", {"batch": [1, 2], "context": [9, 10], "s": 7}, "itl.s is not a list of rows"),
        ("itl", {"batch": [1, 2], "context": [9, 10], "s": [[None, None], [None, None]]}, "no value at all"),
    ],
)
def test_what_cannot_be_a_table_is_refused_with_the_guess(key: str, value: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        profile_document.parse({**DOCUMENT, key: value})


def test_d2_a_profile_of_tables_uses_them_and_has_formulas_fitted_to_them() -> None:
    profile = profile_document.parse(DOCUMENT)
    assert profile.ttft_s(550) == pytest.approx(0.025)
    assert profile.itl_s(4.5, 2250) == pytest.approx(0.00625)
    assert profile.ttft.at(1000, 1000**2) == pytest.approx(0.03, rel=0.1)
    assert dopd.tpot_concurrency(profile, 500, 0.009, 1.0) == 20
    with pytest.raises(OutsideTableError):
        dopd.tpot_concurrency(profile, 50, 0.009, 1.0)


positive = st.floats(1e-4, 1.0)


@settings(deadline=None)
@given(a=positive, b=st.floats(1e-7, 1e-3), c=st.floats(1e-11, 1e-7))
def test_a_fit_finds_the_formula_that_made_its_points(a: float, b: float, c: float) -> None:
    ttft = fit_ttft([(x, a + b * x + c * x * x) for x in (16, 128, 512, 2048, 8192)])
    assert (ttft.fit.a, ttft.fit.b, ttft.fit.c) == pytest.approx((a, b, c), rel=1e-3, abs=1e-12)
    itl = fit_itl([(n, x, a + b * n + c * n * x) for n in (1, 8, 64) for x in (128, 1024, 4096)])
    assert itl.max_error < 1e-6


def test_a_fit_has_no_negative_coefficient_where_points_bend_down() -> None:
    fitted = fit_ttft([(100, 0.1), (1000, 0.5), (2000, 0.7), (4000, 0.9)])
    assert min(fitted.fit.a, fitted.fit.b, fitted.fit.c) == 0
    assert 0 < fitted.mean_error < fitted.max_error


@pytest.mark.parametrize("points", [[], [(100, 0.0)], [(100, math.nan)]])
def test_a_fit_needs_positive_points(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="positive, finite points"):
        fit_ttft(points)
