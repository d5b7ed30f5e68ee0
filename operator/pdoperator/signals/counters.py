"""Counters that are read together: their sums and differences, field by field."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from pdoperator.api import defaults

C = TypeVar("C", bound="Counters")


@dataclass(frozen=True, slots=True)
class ByLength:
    """A counter for each class of lengths, by the bounds of LENGTH_BOUNDS_TOKENS and one for what is beyond."""

    values: tuple[float, ...] = (0.0,) * (len(defaults.LENGTH_BOUNDS_TOKENS) + 1)

    def __add__(self, other: ByLength) -> ByLength:
        return ByLength(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: ByLength) -> ByLength:
        return ByLength(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    @property
    def falls(self) -> bool:
        """Whether any of them is negative."""
        return any(value < 0 for value in self.values)


NONE = ByLength()


@dataclass(frozen=True, slots=True)
class Counters:
    """Base of counters that are read together. All fields of a subclass are floats or ByLength, and default to 0."""

    def __add__(self: C, other: C) -> C:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self: C, other: C) -> C:
        return type(self)(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def falls(self) -> bool:
        """Whether any of them is negative: as a difference, the process has restarted in between."""
        read = (getattr(self, f.name) for f in fields(self))
        return any(x.falls if isinstance(x, ByLength) else x < 0 for x in read)

    def since(self: C, before: C) -> C:
        """What was counted since `before`; after a restart, all there is."""
        counted = self - before
        return self if counted.falls else counted
