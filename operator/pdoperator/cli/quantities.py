"""Quantities on the command line: their units are checked, and a wrong one is answered with a guess."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from pdoperator.api import units
from pdoperator.api.values import PerRole
from pdoperator.capacity.decode_curve import DecodeCurve, DecodePoint
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.trace import Trace, TraceError

_FLEET = re.compile(r"^([1-9][0-9]*)\s*[Pp]?\s*:?\s*([1-9][0-9]*)\s*[Dd]?$")
_SEPARATED = re.compile(r"[Pp:]")


class Duration(click.ParamType[float]):
    """A duration with its unit, in seconds; longer than `longest_s` it was meant in milliseconds."""

    name = "duration"

    def __init__(self, longest_s: float, zero: bool = False) -> None:
        self.longest_s = longest_s
        self.zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails naming what is accepted, or the likely unit."""
        if isinstance(value, float):
            return value
        try:
            seconds = units.seconds(value)
        except ValueError as error:
            if (bare := _bare_number(value)) is not None and bare > 0:
                guess = f"{bare:g}s" if bare < 1 else f"{bare:g}ms"
                self.fail(f"{value!r} has no unit; did you mean {guess}?", param, ctx)
            self.fail(str(error), param, ctx)
        if seconds > self.longest_s:
            guess = f"; did you mean {seconds:g}ms?" if seconds / 1000 <= self.longest_s else ""
            self.fail(
                f"{value} is longer than the {self.longest_s:g}s that make sense here{guess}", param, ctx
            )
        if seconds == 0 and not self.zero:
            self.fail("must be longer than 0", param, ctx)
        return seconds


class Positive(click.ParamType[float]):
    """A finite number above 0; above `largest` the hint says what was probably meant."""

    name = "number"

    def __init__(self, largest: float = math.inf, hint: str = "") -> None:
        self.largest = largest
        self.hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails when it is none, not positive, or implausible."""
        number = _bare_number(str(value))
        if number is None:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not number > 0:
            self.fail(f"must be greater than 0, got {value}", param, ctx)
        if number > self.largest:
            self.fail(f"{value} is implausible; {self.hint}", param, ctx)
        return number


class NotNegative(Positive):
    """A finite number, 0 or more."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        return 0.0 if _bare_number(str(value)) == 0 else super().convert(value, param, ctx)


class Lengths(click.ParamType[list[float]]):
    """Lengths in tokens, separated by commas."""

    name = "tokens,tokens,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """The lengths in the order given."""
        one = Positive()
        lengths = [one.convert(part.strip(), param, ctx) for part in str(value).split(",")]
        return [int(x) if x.is_integer() else x for x in lengths]


class Curve(click.ParamType[DecodeCurve]):
    """A decode curve as BATCH:TPOT pairs, e.g. 10:12.8ms,20:16.4ms,30:18.8ms."""

    name = "batch:tpot,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DecodeCurve:
        """The curve; fails naming the pair that cannot be."""
        points = []
        for pair in str(value).split(","):
            batch, colon, tpot = pair.partition(":")
            number = _bare_number(batch)
            if not colon or number is None:
                self.fail(f"{pair!r} is not a pair like 10:12.8ms", param, ctx)
            if (bare := _bare_number(tpot)) is not None:
                guess = f"{bare:g}ms" if bare >= 1 else f"{bare:g}s"
                self.fail(f"{pair!r} has no unit; did you mean {batch}:{guess}?", param, ctx)
            try:
                points.append(DecodePoint(number, units.seconds(tpot)))
            except ValueError as error:
                self.fail(f"{pair!r}: {error}", param, ctx)
        try:
            return DecodeCurve(tuple(points))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Fleet(click.ParamType[PerRole[int]]):
    """Prefill and decode engines, prefill first: 3:5, 3P5D or 3P:5D."""

    name = "P:D"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PerRole[int]:
        """Engines by role."""
        match = _FLEET.match(str(value).strip())
        if not match or not _SEPARATED.search(str(value)):
            self.fail(f"{value!r} is not a fleet; write it like 3:5 or 3P5D, prefill first", param, ctx)
        return PerRole(int(match[1]), int(match[2]))


def _bare_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class TraceType(click.ParamType[Trace]):
    """A trace file, of any form that is known."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Trace:
        """The trace; fails with what is wrong with the file, and where."""
        try:
            return load(value)
        except TraceError as error:
            self.fail(str(error), param, ctx)
