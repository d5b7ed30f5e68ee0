"""How long answers are, from what routers count of those that have ended and of those under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pdoperator.api import defaults
from pdoperator.capacity.life_table import mean_tokens
from pdoperator.signals.counters import ByLength
from pdoperator.signals.router_metrics import Counts


def _nothing() -> NDArray[np.float64]:
    return np.zeros(len(ByLength().values))


@dataclass(slots=True)
class Answers:
    """What was counted, fading over ANSWERS_S: few answers end in one interval."""

    _outputs: float = 0.0
    _output_tokens: float = 0.0
    _ended: NDArray[np.float64] = field(default_factory=_nothing)
    _ended_tokens: NDArray[np.float64] = field(default_factory=_nothing)
    _generated: NDArray[np.float64] = field(default_factory=_nothing)

    def add(self, counts: Counts, over_s: float) -> None:
        """What came over the last `over_s` seconds."""
        keep = math.exp(-over_s / defaults.ANSWERS_S)
        self._outputs = self._outputs * keep + counts.outputs
        self._output_tokens = self._output_tokens * keep + counts.output_tokens
        self._ended = self._ended * keep + counts.ended.values
        self._ended_tokens = self._ended_tokens * keep + counts.ended_tokens.values
        self._generated = self._generated * keep + counts.generated.values

    @property
    def mean_tokens(self) -> float | None:
        """Of all answers, or from routers that do not tell of those under way, of the ended. None before one has."""
        if self._generated.any():
            return mean_tokens(self._ended.tolist(), self._ended_tokens.tolist(), self._generated.tolist())
        return self._output_tokens / self._outputs if self._outputs > 0 else None
