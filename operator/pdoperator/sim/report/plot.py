"""Small charts over time as inline SVG: areas, lines, bars, a target; no script, no fonts, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

WIDTH = 1060
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 8, 24
TICKS = 4
HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass(slots=True)
class Plot:
    """A chart over `span_s` seconds from 0 to `top` (from `floor` where the axis is logarithmic).

    Colours are CSS classes of the page. Values beyond the axes are drawn at the edge; NaN breaks a line.
    """

    span_s: float
    top: float
    unit: str
    height: int = 150
    floor: float | None = None
    _parts: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str]] = field(default_factory=list)

    def line(self, t_s: Points, values: Points, css: str, name: str = "", step: bool = False) -> None:
        """A line through the points; `step`: each value holds until the next."""
        self._name(css, name)
        pieces = []
        for t, v in _unbroken(t_s, values):
            xs, ys = self._x(t), self._y(v)
            if step:
                xs, ys = np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]
            pieces.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True)))
        if pieces:
            self._parts.append(f'<path class="line {css}" d="{"".join(pieces)}"/>')

    def area(self, t_s: Points, low: Points, high: Points, css: str, name: str = "") -> None:
        """The space between two series, which hold until the next point and the last of which ends the chart."""
        self._name(css, name)
        t = np.append(t_s, self.span_s)
        xs = np.repeat(self._x(t), 2)[1:-1]
        upper, lower = np.repeat(self._y(high), 2), np.repeat(self._y(low), 2)
        if not (upper < lower - 0.05).any():
            return
        there = [f"{x:.1f} {y:.1f}" for x, y in zip(xs, upper, strict=True)]
        back = [f"{x:.1f} {y:.1f}" for x, y in zip(xs[::-1], lower[::-1], strict=True)]
        self._parts.append(f'<path class="area {css}" d="M{"L".join(there + back)}Z"/>')

    def level(self, value: float, css: str, name: str) -> None:
        """A horizontal line, such as a target."""
        self._name(css, name)
        y = float(self._y(np.array([value]))[0])
        self._parts.append(
            f'<line class="line {css}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )

    def svg(self, title: str) -> str:
        """The chart with its axes and legend, as a figure."""
        inner = "".join((*self._axes(), *self._parts))
        legend = "".join(
            f'<span><i class="key {css}"></i>{escape(name)}</span>' for css, name in self._legend
        )
        return (
            f'<figure><figcaption><b>{escape(title)}</b><span class="legend">{legend}</span></figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(title)}">{inner}</svg></figure>'
        )

    def _axes(self) -> list[str]:
        lines = []
        for value in self._ticks():
            y = float(self._y(np.array([value]))[0])
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
        lines.append(f'<text class="unit" x="4" y="{TOP + 8}">{escape(self.unit)}</text>')
        for t, label in time_ticks(self.span_s):
            x = float(self._x(np.array([t]))[0])
            lines.append(f'<text x="{x:.1f}" y="{self.height - 6}" text-anchor="middle">{label}</text>')
        return lines

    def _ticks(self) -> list[float]:
        if self.floor is not None:
            low, high = math.ceil(math.log10(self.floor)), math.floor(math.log10(self.top))
            return [10.0**k for k in range(low, high + 1)]
        return nice_ticks(self.top)

    def _x(self, t_s: Points) -> Points:
        x: Points = LEFT + np.clip(t_s / self.span_s, 0, 1) * (WIDTH - LEFT - RIGHT)
        return x

    def _y(self, values: Points) -> Points:
        if self.floor is None:
            share = values / self.top
        else:
            share = np.log(np.maximum(values, self.floor) / self.floor) / math.log(self.top / self.floor)
        y: Points = self.height - BOTTOM - np.clip(share, 0, 1) * (self.height - TOP - BOTTOM)
        return y

    def _name(self, css: str, name: str) -> None:
        if name and (css, name) not in self._legend:
            self._legend.append((css, name))


def _unbroken(t_s: Points, values: Points) -> list[tuple[Points, Points]]:
    """Runs of points without NaN."""
    there = ~np.isnan(values)
    cuts = np.flatnonzero(np.diff(there.astype(np.int8))) + 1
    pieces = zip(np.split(t_s, cuts), np.split(values, cuts), strict=True)
    return [(t, v) for t, v in pieces if len(v) and not np.isnan(v[0])]


def nice_ticks(top: float) -> list[float]:
    """About four round numbers up to `top`."""
    step = 10 ** math.floor(math.log10(top / TICKS))
    step = next(step * k for k in (1, 2, 2.5, 5, 10) if step * k * TICKS >= top)
    return [step * i for i in range(math.floor(top / step + 1e-9) + 1)]


def time_ticks(span_s: float) -> list[tuple[float, str]]:
    """Round times along the chart, with their labels in minutes, hours or days."""
    steps = [
        60,
        300,
        600,
        1200,
        1800,
        *(HOUR_S * k for k in (1, 2, 3, 6, 12)),
        *(DAY_S * k for k in (1, 2, 7)),
    ]
    step = next((s for s in steps if span_s / s <= 8), steps[-1])
    unit_s, unit = (60.0, "min") if step < HOUR_S else (HOUR_S, "h") if step < DAY_S else (DAY_S, "d")
    return [(i * step, f"{i * step / unit_s:g} {unit}") for i in range(int(span_s / step) + 1)]


def short(value: float) -> str:
    """A number in as few characters as it needs."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):g}{suffix}"
    return f"{value:g}"


def top_of(series: Sequence[Points], least: float = 1e-9) -> float:
    """Where an axis may end that shows all finite values of these."""
    finite = [float(np.max(x[np.isfinite(x)])) for x in series if np.isfinite(x).any()]
    return max([least, *finite]) * 1.05
