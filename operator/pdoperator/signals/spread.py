"""Mean and spread of lengths from sums and sums of squares, older requests counting less and less."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api import defaults


@dataclass(slots=True)
class Spread:
    """Requests, the sum of their lengths and of the squares."""

    _requests: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0

    def add(self, requests: float, total: float, squares: float, over_s: float) -> None:
        """What came over the last `over_s` seconds."""
        keep = 0.5 ** (over_s / defaults.SPREAD_HALF_LIFE_S)
        self._requests = self._requests * keep + requests
        self._sum = self._sum * keep + total
        self._squares = self._squares * keep + squares

    def cv(self, otherwise: float) -> float:
        """Coefficient of variation; `otherwise` with too few requests or from routers that tell no squares."""
        if self._requests < defaults.SPREAD_MIN_REQUESTS or self._sum <= 0 or self._squares <= 0:
            return otherwise
        mean = self._sum / self._requests
        return math.sqrt(max(0.0, self._squares / self._requests - mean**2)) / mean
