"""What holds for the peak of any load."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.forecast.load_forecast import LoadForecast, NoLoadSeenError

INTERVAL_S = 5.0


def noisy(seed: int, size: int, level: float) -> list[float | None]:
    return [float(value) for value in np.random.default_rng(seed).gamma(np.full(size, 2.0), level)]


readings = st.one_of(st.none(), st.floats(0, 1e4, allow_subnormal=False))
loads = st.one_of(
    st.lists(readings, min_size=1, max_size=150),
    st.builds(noisy, st.integers(0, 99), st.integers(50, 300), st.sampled_from([0.01, 1.0, 100.0])),
).filter(lambda values: any(value is not None for value in values))


def seen(values: list[float | None], factor: float = 1.0) -> LoadForecast:
    forecast = LoadForecast.empty(INTERVAL_S)
    for step, value in enumerate(values):
        forecast = forecast.observe(step * INTERVAL_S, None if value is None else value * factor)
    return forecast


@settings(max_examples=15, deadline=None)
@given(loads)
def test_a_peak_is_a_finite_load_of_at_least_zero(values: list[float | None]) -> None:
    peak = seen(values).peak(125, 0.95, 30)
    assert 0 <= peak.point <= peak.value < math.inf


@settings(max_examples=15, deadline=None)
@given(loads, st.tuples(st.floats(0.01, 0.999), st.floats(0.01, 0.999)))
def test_a_peak_rises_with_the_quantile(values: list[float | None], quantiles: tuple[float, float]) -> None:
    forecast = seen(values)
    low, high = (forecast.peak(125, quantile, 30).value for quantile in sorted(quantiles))
    assert low <= high


@settings(max_examples=15, deadline=None)
@given(loads, st.tuples(st.floats(1, 4000), st.floats(1, 4000)))
def test_a_peak_rises_with_the_horizon(values: list[float | None], horizons: tuple[float, float]) -> None:
    forecast = seen(values)
    near, far = (forecast.peak(horizon, 0.9, 30).value for horizon in sorted(horizons))
    assert near <= far * (1 + 1e-9)


@settings(max_examples=15, deadline=None)
@given(loads)
def test_no_peak_is_expected_far_above_all_that_was_seen(values: list[float | None]) -> None:
    highest = max(value for value in values if value is not None)
    assert seen(values).peak(125, 0.995, 30).value <= 1.4 * highest * (1 + 1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([2.0**-12, 0.5, 8.0, 2.0**12]))
def test_a_peak_scales_with_the_load(seed: int, factor: float) -> None:
    values = noisy(seed, 300, 3.0)
    plain, scaled = seen(values).peak(125, 0.9, 30), seen(values, factor).peak(125, 0.9, 30)
    assert scaled.value == pytest.approx(plain.value * factor, rel=1e-6)
    assert (scaled.model, scaled.trusted) == (plain.model, plain.trusted)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 1e3), st.lists(st.booleans(), min_size=60, max_size=300))
def test_missing_readings_of_a_constant_load_change_nothing(load: float, known: list[bool]) -> None:
    forecast = seen([load, *(load if there else None for there in known)])
    assert forecast.peak(125, 0.5, 30).value == pytest.approx(load, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(loads)
def test_text_brings_the_readings_back(values: list[float | None]) -> None:
    before = seen(values)
    after = LoadForecast.from_text(before.to_text())
    highest = np.nanmax(before.fine.values())
    np.testing.assert_allclose(after.fine.values(), before.fine.values(), rtol=1e-3, atol=highest * 1e-6)


@settings(max_examples=10, deadline=None)
@given(loads, loads)
def test_two_futures_of_one_past_do_not_meet(one: list[float | None], other: list[float | None]) -> None:
    past = seen([1.0] * 30)
    split = [past, past]
    for step in range(max(len(one), len(other))):
        for at, future in enumerate((one, other)):
            if step < len(future):
                split[at] = split[at].observe((30 + step) * INTERVAL_S, future[step])
    for forecast, future in zip(split, (one, other), strict=True):
        np.testing.assert_array_equal(
            forecast.fine.values()[30:], [math.nan if value is None else value for value in future]
        )
    assert past.peak(125, 0.5, 30).value == pytest.approx(1.0)


def test_a_silence_longer_than_the_history_ends_with_nothing_known() -> None:
    forecast = seen([3.0] * 200).observe(5 * 3600.0, None)
    with pytest.raises(NoLoadSeenError):
        forecast.peak(125, 0.9, 30)
    assert forecast.observe(5 * 3600.0 + 5, 4.0).peak(125, 0.5, 30).point == pytest.approx(4.0)
