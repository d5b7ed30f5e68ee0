"""How lengths spread, and what two of them have in common, from sums; older requests count less and less."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.signals.router_metrics import Counts


@dataclass(slots=True)
class Average:
    """The mean of a quantity over requests that fade with a half-life."""

    _requests: float = 0.0
    _total: float = 0.0

    def add(self, requests: float, total: float, over_s: float) -> None:
        """What came over the last `over_s` seconds."""
        keep = 0.5 ** (over_s / defaults.SPREAD_HALF_LIFE_S)
        self._requests = self._requests * keep + requests
        self._total = self._total * keep + total

    @property
    def mean(self) -> float | None:
        """None with too few requests, and from routers that do not tell the quantity."""
        if self._requests < defaults.SPREAD_MIN_REQUESTS or self._total <= 0:
            return None
        return self._total / self._requests


@dataclass(slots=True)
class Spread:
    """How far lengths are spread about their mean."""

    _lengths: Average = field(default_factory=Average)
    _squares: Average = field(default_factory=Average)

    def add(self, requests: float, total: float, squares: float, over_s: float) -> None:
        """Lengths and the squares of the same, summed over requests of the last `over_s` seconds."""
        self._lengths.add(requests, total, over_s)
        self._squares.add(requests, squares, over_s)

    def cv(self, otherwise: float) -> float:
        """Coefficient of variation; `otherwise` while it is not known."""
        mean, square = self._lengths.mean, self._squares.mean
        if mean is None or square is None:
            return otherwise
        return math.sqrt(max(0.0, square - mean**2)) / mean


@dataclass(slots=True)
class Covariance:
    """How far long prompts have long answers."""

    _inputs: Average = field(default_factory=Average)
    _outputs: Average = field(default_factory=Average)
    _products: Average = field(default_factory=Average)

    def add(self, counts: Counts, over_s: float) -> None:
        """Requests that ended in the last `over_s` seconds."""
        self._inputs.add(counts.inputs, counts.input_tokens, over_s)
        self._outputs.add(counts.outputs, counts.output_tokens, over_s)
        self._products.add(counts.products, counts.token_products, over_s)

    def relative(self, otherwise: float) -> float:
        """Covariance over the product of the means; `otherwise` while it is not known."""
        isl, osl, product = self._inputs.mean, self._outputs.mean, self._products.mean
        if isl is None or osl is None or product is None:
            return otherwise
        return product / (isl * osl) - 1
