"""Item D2: the lookups of DOPD's planner, on measurements of an engine whose formula is known."""

from __future__ import annotations

import pytest

from pdoperator.capacity.dopd_surface import DecodePoint, DecodeSurface, PrefillCurve
from pdoperator.capacity.tables import PrefillTable

KV_TOKENS = 200_000


def itl_s(batch: float, context: float) -> float:
    return 0.010 + 5e-5 * batch + 1e-7 * batch * context


def point(usage: float, context: float) -> DecodePoint:
    batch = usage * KV_TOKENS / context
    return DecodePoint(usage, context, itl_s(batch, context), batch / itl_s(batch, context))


SURFACE = DecodeSurface(
    [
        point(usage, context)
        for usage in (0.01, 0.2, 0.4, 0.6, 0.8, 1.0)
        for context in (400, 2000, 8000, 16000)
    ],
    KV_TOKENS,
)
LENGTHS = (100.0, 1000.0, 4000.0, 8000.0, 16000.0)
CURVE = PrefillCurve(PrefillTable(LENGTHS, tuple(0.02 + 1e-5 * x + 1e-9 * x**2 for x in LENGTHS)))


def test_d2_ttft_is_a_cubic_that_meets_a_quadratic_between_its_points() -> None:
    assert CURVE.ttft_s(2500) == pytest.approx(0.02 + 0.025 + 0.00625, rel=1e-6)
    assert CURVE.tokens_per_s(2500) == pytest.approx(2500 / CURVE.ttft_s(2500))


@pytest.mark.parametrize(("isl", "as_at"), [(1, 100), (99, 100), (16001, 16000), (10**6, 16000)])
def test_d2_a_prompt_outside_is_clamped_to_the_profiled_range(isl: float, as_at: float) -> None:
    assert CURVE.ttft_s(isl) == CURVE.ttft_s(as_at)


def test_d2_a_cubic_needs_four_lengths() -> None:
    with pytest.raises(ValueError, match="at least 4 lengths, got 3"):
        PrefillCurve(PrefillTable((1, 2, 3), (0.1, 0.2, 0.3)))


@pytest.mark.parametrize(("batch", "context"), [(20, 2000), (50, 2000), (10, 8000), (8, 12000)])
def test_d2_the_grid_gives_the_itl_of_the_nearest_cell(batch: float, context: float) -> None:
    assert SURFACE.itl_s(batch, context) == pytest.approx(itl_s(batch, context), rel=0.12)


def test_d2_cells_that_were_not_measured_have_the_nearest_measurement() -> None:
    corner = SURFACE.itl_s(0, 16000)  # no usage: left of the convex hull
    assert corner == pytest.approx(point(0.01, 16000).itl_s)


@pytest.mark.parametrize(("batch", "context"), [(10_000, 16000), (1, 10**6)])
def test_d2_beyond_the_grid_is_its_edge(batch: float, context: float) -> None:
    assert SURFACE.itl_s(batch, context) > 0


def test_d2_the_best_throughput_is_that_of_the_fullest_cell_within_the_target() -> None:
    loose, tight, impossible = (SURFACE.best_throughput(target, 8000) for target in (1.0, 0.020, 0.001))
    assert loose == pytest.approx(25 / itl_s(25, 8000), rel=0.1)  # a full cache holds 25 sequences
    assert impossible < tight < loose
    batch = 0.010 / (5e-5 + 1e-7 * 8000)
    assert tight == pytest.approx(batch / 0.020, rel=0.1)


def test_d2_a_table_in_milliseconds_is_refused_with_that_guess() -> None:
    with pytest.raises(ValueError, match="looks like milliseconds, divide it by 1000"):
        DecodeSurface([DecodePoint(u, c, 12.0, 100.0) for u in (0.1, 0.9) for c in (100, 900)], KV_TOKENS)
    with pytest.raises(ValueError, match="looks like milliseconds, divide it by 1000"):
        PrefillTable((100, 1000, 4000, 8000), (18.0, 30.0, 80.0, 160.0))


def test_d2_a_surface_needs_four_points() -> None:
    with pytest.raises(ValueError, match="at least 4 points"):
        DecodeSurface([point(0.1, 100)], KV_TOKENS)
