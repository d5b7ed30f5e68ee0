"""Charts: well-formed SVG, within their frame, with nothing drawn where nothing is known."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.sim.report.plot import LEFT, RIGHT, WIDTH, Plot, nice_ticks, short, time_ticks


def paths(plot: Plot) -> list[str]:
    figure = ET.fromstring(plot.svg("A & B"))
    return [path.attrib["d"] for path in figure.iter("path")]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=2, max_size=50))
def test_whatever_the_values_the_line_stays_in_its_frame(values: list[float]) -> None:
    for floor in (None, 0.01):
        plot = Plot(100.0, 10.0, "s", floor=floor)
        plot.line(np.linspace(0, 100, len(values)), np.array(values), "p50", "p50")
        for path in paths(plot):
            points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", path)]
            assert all(LEFT <= x <= WIDTH - RIGHT and 0 <= y <= plot.height for x, y in points)
            assert "nan" not in path


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    plot = Plot(4.0, 1.0, "s")
    plot.line(np.arange(5.0), np.array([0.1, 0.2, np.nan, 0.3, 0.4]), "p50")
    assert paths(plot)[0].count("M") == 2


def test_an_area_without_height_is_left_out() -> None:
    plot = Plot(4.0, 1.0, "s")
    plot.area(np.arange(4.0), np.zeros(4), np.zeros(4), "load")
    assert paths(plot) == []


@pytest.mark.parametrize(
    ("top", "ticks"), [(10.0, [0, 2.5, 5, 7.5, 10]), (7.0, [0, 2, 4, 6]), (0.5, [0, 0.2, 0.4])]
)
def test_ticks_are_round(top: float, ticks: list[float]) -> None:
    assert nice_ticks(top) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("span_s", "last"), [(600.0, "10 min"), (4800.0, "80 min"), (86400.0, "24 h"), (5 * 86400.0, "5 d")]
)
def test_time_is_told_in_the_unit_that_fits(span_s: float, last: str) -> None:
    assert time_ticks(span_s)[-1][1] == last


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (2500, "2500"), (25000, "25k"), (2.5e6, "2.5M")])
def test_short(value: float, text: str) -> None:
    assert short(value) == text
