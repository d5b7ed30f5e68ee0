"""A measured decode curve: TPOT against the number of sequences that decode together, at one ISL and OSL."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

# A quadratic has three coefficients.
MIN_POINTS = 3
# Faster than one token per second is every engine that anybody serves from; a larger figure is in milliseconds.
PLAUSIBLE_ITL_S = 1.0


class OutsideCurveError(ValueError):
    """A TPOT that the curve was not measured at; nothing is extrapolated."""


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """One measurement: `batch` sequences decode together at `tpot_s` seconds per token."""

    batch: float
    tpot_s: float

    @property
    def tokens_per_s(self) -> float:
        """Output tokens per second of the engine."""
        return self.batch / self.tpot_s


@dataclass(frozen=True, slots=True)
class DecodeCurve:
    """Points by rising batch and rising TPOT, at least three. Raises ValueError for what cannot be such a curve."""

    points: tuple[DecodePoint, ...]

    def __post_init__(self) -> None:
        if len(self.points) < MIN_POINTS:
            raise ValueError(f"a decode curve needs at least {MIN_POINTS} points, got {len(self.points)}")
        for point in self.points:
            if not (math.isfinite(point.batch) and point.batch > 0):
                raise ValueError(f"a batch must be positive, got {point.batch}")
            if not (math.isfinite(point.tpot_s) and point.tpot_s > 0):
                raise ValueError(f"a TPOT must be positive, got {point.tpot_s}")
            if point.tpot_s > PLAUSIBLE_ITL_S:
                raise ValueError(
                    f"{point.tpot_s:g} s per token at batch {point.batch:g} is not plausible; is it milliseconds, "
                    f"{point.tpot_s:g}ms?"
                )
        for one, next_one in itertools.pairwise(self.points):
            if next_one.batch <= one.batch or next_one.tpot_s <= one.tpot_s:
                raise ValueError(
                    f"batch and TPOT of a decode curve must rise from point to point, but {next_one.batch:g}:"
                    f"{next_one.tpot_s:g}s follows {one.batch:g}:{one.tpot_s:g}s"
                )

    def tokens_per_s(self, tpot_s: float) -> float:
        """TP_decode: output tokens per second at this TPOT, a quadratic fit of throughput against TPOT.

        So does the demo of arXiv 2603.04716. Raises OutsideCurveError outside the measured range.
        """
        self._within(tpot_s)
        tpots = np.array([p.tpot_s for p in self.points])
        scale = tpots.max()  # keeps the least-squares problem well conditioned
        fit = np.polynomial.Polynomial.fit(tpots / scale, [p.tokens_per_s for p in self.points], deg=2)
        return float(fit(tpot_s / scale))

    def batch(self, tpot_s: float) -> float:
        """Sequences that decode together at this TPOT, linear between the points. Raises OutsideCurveError."""
        self._within(tpot_s)
        return float(np.interp(tpot_s, [p.tpot_s for p in self.points], [p.batch for p in self.points]))

    def tpot_s(self, batch: float) -> float:
        """TPOT of a batch, linear between the points. Raises OutsideCurveError outside the measured range."""
        low, high = self.points[0], self.points[-1]
        if not low.batch <= batch <= high.batch:
            raise OutsideCurveError(
                f"a batch of {batch:g} lies outside the decode curve, which was measured from {low.batch:g} to "
                f"{high.batch:g}"
            )
        return float(np.interp(batch, [p.batch for p in self.points], [p.tpot_s for p in self.points]))

    def _within(self, tpot_s: float) -> None:
        low, high = self.points[0], self.points[-1]
        if not low.tpot_s <= tpot_s <= high.tpot_s:
            raise OutsideCurveError(
                f"a TPOT of {tpot_s:g} s lies outside the decode curve, which was measured from {low.tpot_s:g} s "
                f"(batch {low.batch:g}) to {high.tpot_s:g} s (batch {high.batch:g})"
            )
