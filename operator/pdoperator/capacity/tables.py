"""Measured latencies as tables, interpolated between their points and never beyond them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# No engine that anybody serves from is slower; a larger figure is in milliseconds.
LONGEST_SHORT_PREFILL_S = 5.0
SLOWEST_PREFILL_TPS = 100.0
LONGEST_STEP_S = 1.0


class OutsideTableError(ValueError):
    """A value that the table was not measured at; nothing is extrapolated."""


@dataclass(frozen=True, slots=True)
class PrefillTable:
    """Seconds to the first token of a prompt that is alone, by rising length; linear between the points.

    Raises ValueError for what is no table.
    """

    isl_tokens: tuple[float, ...]
    ttft_s: tuple[float, ...]

    def __post_init__(self) -> None:
        _rising("isl", self.isl_tokens)
        _seconds("ttft", self.ttft_s, len(self.isl_tokens))
        shortest, seconds = self.isl_tokens[0], self.ttft_s[0]
        if seconds > LONGEST_SHORT_PREFILL_S and shortest / seconds < SLOWEST_PREFILL_TPS:
            raise ValueError(
                f"{seconds:g} s to prefill {shortest:g} tokens is not plausible; the table looks like milliseconds, "
                "divide it by 1000"
            )

    def seconds(self, isl_tokens: float) -> float:
        """TTFT at this length. Raises OutsideTableError."""
        shortest, longest = self.isl_tokens[0], self.isl_tokens[-1]
        if not shortest <= isl_tokens <= longest:
            raise OutsideTableError(
                f"a prompt of {isl_tokens:g} tokens lies outside the table of TTFT, which was measured from "
                f"{shortest:g} to {longest:g}"
            )
        return float(np.interp(isl_tokens, self.isl_tokens, self.ttft_s))

    def slower(self, times: float) -> PrefillTable:
        """The table of an engine that takes so many times as long."""
        return PrefillTable(self.isl_tokens, tuple(x * times for x in self.ttft_s))

    @property
    def points(self) -> list[tuple[float, float]]:
        """Length and seconds of all that was measured."""
        return list(zip(self.isl_tokens, self.ttft_s, strict=True))


@dataclass(frozen=True, slots=True)
class DecodeTable:
    """Seconds of a decode step, one row a batch, one column a mean context; None where it was not measured.

    Batches and contexts rise. Between the points it is bilinear. Raises ValueError for what is no table.
    """

    batches: tuple[float, ...]
    contexts_tokens: tuple[float, ...]
    itl_s: tuple[tuple[float | None, ...], ...]

    def __post_init__(self) -> None:
        _rising("batch", self.batches)
        _rising("context", self.contexts_tokens)
        if len(self.itl_s) != len(self.batches):
            raise ValueError(f"itl has {len(self.itl_s)} rows for {len(self.batches)} batches")
        for row in self.itl_s:
            _seconds("itl", [x for x in row if x is not None], None)
            if len(row) != len(self.contexts_tokens):
                raise ValueError(
                    f"a row of itl has {len(row)} values for {len(self.contexts_tokens)} contexts"
                )
        measured = [x for row in self.itl_s for x in row if x is not None]
        if not measured:
            raise ValueError("itl has no value at all")
        if min(measured) > LONGEST_STEP_S:
            raise ValueError(
                f"{min(measured):g} s for one token is not plausible; the table looks like milliseconds, divide it by "
                "1000"
            )

    def seconds(self, batch: float, context_tokens: float) -> float:
        """Seconds of one step. Raises OutsideTableError."""
        by_batch = [
            np.interp(context_tokens, self.contexts_tokens, _known(row), left=math.nan, right=math.nan)
            for row in self.itl_s
        ]
        found = float(np.interp(batch, self.batches, by_batch, left=math.nan, right=math.nan))
        if math.isnan(found):
            raise OutsideTableError(
                f"{batch:g} sequences of {context_tokens:g} tokens lie outside the table of ITL, which was measured "
                f"from {self.batches[0]:g} to {self.batches[-1]:g} sequences of {self.contexts_tokens[0]:g} to "
                f"{self.contexts_tokens[-1]:g} tokens, gaps left out"
            )
        return found

    def largest_batch(self, context_tokens: float, itl_s: float) -> float:
        """The largest measured batch whose step does not take longer; 0 when none. Raises OutsideTableError."""
        curve: list[tuple[float, float]] = []
        for batch in self.batches:
            try:
                curve.append((batch, self.seconds(batch, context_tokens)))
            except OutsideTableError:
                if batch == self.batches[0]:
                    raise
                break
        if curve[-1][1] <= itl_s:
            return curve[-1][0]
        for (low, low_s), (high, high_s) in reversed(list(itertools.pairwise(curve))):
            if low_s <= itl_s:
                return low + (high - low) * (itl_s - low_s) / (high_s - low_s)
        return 0.0

    def slower(self, times: float) -> DecodeTable:
        """The table of an engine that takes so many times as long."""
        rows = (tuple(None if x is None else x * times for x in row) for row in self.itl_s)
        return DecodeTable(self.batches, self.contexts_tokens, tuple(rows))

    @property
    def points(self) -> list[tuple[float, float, float]]:
        """Batch, context and seconds of all that was measured."""
        return [
            (batch, context, seconds)
            for batch, row in zip(self.batches, self.itl_s, strict=True)
            for context, seconds in zip(self.contexts_tokens, row, strict=True)
            if seconds is not None
        ]


def _known(row: Sequence[float | None]) -> list[float]:
    return [math.nan if x is None else x for x in row]


def _rising(name: str, axis: Sequence[float]) -> None:
    if len(axis) < 2:
        raise ValueError(f"the axis {name} needs at least two values, got {len(axis)}")
    if not all(math.isfinite(x) and x > 0 for x in axis):
        raise ValueError(f"the axis {name} must be positive and finite")
    for one, next_one in itertools.pairwise(axis):
        if next_one <= one:
            raise ValueError(f"the axis {name} must rise, but {next_one:g} follows {one:g}")


def _seconds(name: str, values: Sequence[float], count: int | None) -> None:
    if count is not None and len(values) != count:
        raise ValueError(f"{name} has {len(values)} values for {count} on its axis")
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
