"""Counters that are read together: their sums and differences, field by field."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

C = TypeVar("C", bound="Counters")


@dataclass(frozen=True, slots=True)
class Counters:
    """Base of a row of counters. All fields of a subclass are floats that default to 0."""

    def __add__(self: C, other: C) -> C:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self: C, other: C) -> C:
        return type(self)(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def falls(self) -> bool:
        """Whether any of them is negative: as a difference, the process has restarted in between."""
        return any(getattr(self, f.name) < 0 for f in fields(self))

    def since(self: C, before: C) -> C:
        """What was counted since `before`; after a restart, all there is."""
        counted = self - before
        return self if counted.falls else counted
