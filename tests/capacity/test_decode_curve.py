"""A decode curve is never extrapolated, and one that cannot be is refused."""

from __future__ import annotations

import math

import pytest

from pdoperator.capacity.decode_curve import DecodeCurve, DecodePoint, OutsideCurveError


def curve(*points: tuple[float, float]) -> DecodeCurve:
    return DecodeCurve(tuple(DecodePoint(batch, tpot_s) for batch, tpot_s in points))


STRAIGHT = curve((10, 0.01), (20, 0.015), (30, 0.02))


def test_batch_is_linear_between_the_points_and_exact_on_them() -> None:
    assert STRAIGHT.batch(0.0125) == pytest.approx(15)
    assert STRAIGHT.batch(0.02) == pytest.approx(30)


def test_a_quadratic_through_three_points_meets_them() -> None:
    assert STRAIGHT.tokens_per_s(0.015) == pytest.approx(20 / 0.015)


@pytest.mark.parametrize("tpot_s", [0.0099, 0.0201, math.nan])
def test_outside_the_measured_range_there_is_no_answer(tpot_s: float) -> None:
    for read in (STRAIGHT.batch, STRAIGHT.tokens_per_s):
        with pytest.raises(OutsideCurveError, match=r"measured from 0\.01 s \(batch 10\) to 0\.02 s"):
            read(tpot_s)


@pytest.mark.parametrize("batch", [9, 31])
def test_outside_the_measured_batches_there_is_no_tpot(batch: float) -> None:
    assert STRAIGHT.tpot_s(25) == pytest.approx(0.0175)
    with pytest.raises(OutsideCurveError, match="measured from 10 to 30"):
        STRAIGHT.tpot_s(batch)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (((1, 0.01), (2, 0.02)), "at least 3 points, got 2"),
        (((1, 0.01), (3, 0.02), (2, 0.03)), "must rise .* 2:0.03s follows 3:0.02s"),
        (((1, 0.01), (2, 0.03), (3, 0.02)), "must rise"),
        (((1, 0.01), (2, 0.02), (2, 0.02)), "must rise"),
        (((0, 0.01), (2, 0.02), (3, 0.03)), "batch must be positive, got 0"),
        (((1, math.nan), (2, 0.02), (3, 0.03)), "TPOT must be positive, got nan"),
        (((1, -0.01), (2, 0.02), (3, 0.03)), "TPOT must be positive, got -0.01"),
    ],
)
def test_what_cannot_be_a_curve_is_refused(points: tuple[tuple[float, float], ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        curve(*points)


def test_a_curve_in_milliseconds_is_refused_with_that_guess() -> None:
    with pytest.raises(ValueError, match=r"12\.8 s per token at batch 10 .*milliseconds, 12\.8ms\?"):
        curve((10, 12.8), (20, 16.4), (30, 18.8))
