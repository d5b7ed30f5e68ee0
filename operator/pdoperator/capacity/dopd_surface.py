"""The profiles of Dynamo's SLA planner, which DOPD took over: a curve of TTFT, a grid of ITL over KV usage and context.

As their `PrefillInterpolator` and `DecodeInterpolator` read them, but for the unit: seconds. Where a value was not
measured they give that of the nearest measurement; `capacity.tables` refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, griddata

from pdoperator.capacity.tables import LONGEST_STEP_S, PrefillTable

CELLS = 100  # a side
CUBIC = 4  # coefficients


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """One measurement: share of the KV cache in use, mean context, seconds per step, output tokens/s of one GPU."""

    kv_usage: float
    context_tokens: float
    itl_s: float
    tokens_per_s_per_gpu: float


class PrefillCurve:
    """TTFT of a prompt that is alone, a cubic spline over its length; beyond the measurements that of their ends."""

    def __init__(self, table: PrefillTable) -> None:
        """Raises ValueError for a table of fewer than four lengths."""
        if len(table.isl_tokens) < CUBIC:
            raise ValueError(f"a cubic needs at least {CUBIC} lengths, got {len(table.isl_tokens)}")
        self._spline = CubicSpline(table.isl_tokens, table.ttft_s)
        self._shortest, self._longest = table.isl_tokens[0], table.isl_tokens[-1]

    def ttft_s(self, isl_tokens: float) -> float:
        """Seconds to the first token."""
        return float(self._spline(min(max(isl_tokens, self._shortest), self._longest)))

    def tokens_per_s(self, isl_tokens: float) -> float:
        """Input tokens per second of one engine that prefills one prompt after the other."""
        return isl_tokens / self.ttft_s(isl_tokens)


class DecodeSurface:
    """Built once from measurements; a lookup takes the nearest cell."""

    def __init__(self, points: Sequence[DecodePoint], kv_tokens: int) -> None:
        """`kv_tokens` is the KV cache of one engine. Raises ValueError when there is nothing to interpolate."""
        if len(points) < CUBIC:
            raise ValueError(f"a decode surface needs at least {CUBIC} points, got {len(points)}")
        shortest_s = min(point.itl_s for point in points)
        if shortest_s > LONGEST_STEP_S:
            raise ValueError(
                f"{shortest_s:g} s for one token is not plausible; the table looks like milliseconds, divide it by 1000"
            )
        self._kv_tokens = kv_tokens
        usages = np.array([point.kv_usage for point in points])
        contexts = np.array([point.context_tokens for point in points])
        self._usages = np.linspace(0, 1, CELLS)
        self._contexts = np.linspace(0, contexts.max(), CELLS)
        self._itl_s = self._cells(usages, contexts, [point.itl_s for point in points])
        self._throughput = self._cells(usages, contexts, [point.tokens_per_s_per_gpu for point in points])

    def itl_s(self, concurrency: float, context_tokens: float) -> float:
        """Seconds per step of so many sequences of this mean length; beyond the surface, that of its edge."""
        row = _nearest(self._contexts, context_tokens)
        return float(self._itl_s[row, _nearest(self._usages, concurrency * context_tokens / self._kv_tokens)])

    def best_throughput(self, itl_s: float, context_tokens: float) -> float:
        """Tokens per second and GPU of the fullest cell that meets the target; of the emptiest when none does.

        From full to empty, cell by cell: a cubic interpolant need not rise.
        """
        row = _nearest(self._contexts, context_tokens)
        for column in range(CELLS - 1, -1, -1):
            if self._itl_s[row, column] <= itl_s:
                return float(self._throughput[row, column])
        return float(self._throughput[row, 0])

    def _cells(
        self, usages: NDArray[np.float64], contexts: NDArray[np.float64], values: Sequence[float]
    ) -> NDArray[np.float64]:
        """Cubic inside the convex hull of the measurements, the nearest measurement outside."""
        at = np.meshgrid(self._usages, self._contexts)
        cells: NDArray[np.float64] = griddata((usages, contexts), values, tuple(at), method="cubic")
        nearest = griddata((usages, contexts), values, tuple(at), method="nearest")
        return np.where(np.isnan(cells), nearest, cells)


def _nearest(axis: NDArray[np.float64], value: float) -> int:
    return int(np.clip(round(value / axis[-1] * (CELLS - 1)), 0, CELLS - 1))
