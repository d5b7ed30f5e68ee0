"""Readings in equal steps of time, newest last, at most so many of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class _Log:
    """Running sums that only ever grow at their end; older holders see the rows that they know."""

    __slots__ = ("known", "memo", "total", "used")

    def __init__(self, values: Floats, capacity: int) -> None:
        self.used = len(values)
        self.total = np.zeros(capacity + 1)
        self.known = np.zeros(capacity + 1)
        self.memo: dict[Any, Any] = {}
        self.write(0, values)

    def write(self, at: int, values: Floats) -> None:
        """Appends rows at `at`, its end; NaN is a missing one."""
        missing, end = np.isnan(values), at + len(values) + 1
        self.total[at + 1 : end] = self.total[at] + np.cumsum(np.where(missing, 0.0, values))
        self.known[at + 1 : end] = self.known[at] + np.cumsum(~missing)


@dataclass(frozen=True, slots=True)
class Buckets:
    """`keep` buckets at most; `end` is the number of steps from time zero to the end of the newest one.

    Appending returns new Buckets that share the arrays with the old ones, which stay as they are.
    """

    keep: int
    end: int
    log: _Log
    size: int  # rows of the log that belong to this value

    @classmethod
    def of(cls, keep: int, end: int, values: Floats) -> Buckets:
        """Buckets with these values (NaN: missing), the newest ending `end` steps after time zero."""
        kept = np.asarray(values, dtype=float)[-keep:]
        return cls(keep, end, _Log(kept, 2 * keep), len(kept))

    def __len__(self) -> int:
        return min(self.size, self.keep)

    def appended(self, value: float) -> Buckets:
        """One step on; NaN is a missing reading."""
        log, size = self.log, self.size
        if log.used != size or size + 1 >= len(log.total):  # another value went on from here, or it is full
            return Buckets.of(self.keep, self.end + 1, np.append(self.values(), value))
        known = value == value
        log.total[size + 1] = log.total[size] + value if known else log.total[size]
        log.known[size + 1] = log.known[size] + known
        log.used = size + 1
        return Buckets(self.keep, self.end + 1, log, size + 1)

    def skipped(self, steps: int) -> Buckets:
        """`steps` missing readings on."""
        return Buckets.of(
            self.keep,
            self.end + steps,
            np.concatenate([self.values(), np.full(min(steps, self.keep), np.nan)]),
        )

    def values(self) -> Floats:
        """What is kept, oldest first; NaN for what is missing."""
        first = self.size - len(self)
        known = np.diff(self.log.known[first : self.size + 1])
        return np.where(known > 0, np.diff(self.log.total[first : self.size + 1]), np.nan)

    def mean(self, start: Indices | int, stop: Indices | int) -> Floats:
        """Mean of the known readings between two numbers of steps from time zero; NaN where there is none."""
        first, offset = self.size - len(self), self.size - self.end
        a = np.clip(np.asarray(start) + offset, first, self.size)
        b = np.clip(np.asarray(stop) + offset, first, self.size)
        total, known = self.log.total[b] - self.log.total[a], self.log.known[b] - self.log.known[a]
        mean: Floats = np.divide(total, known, out=np.full(np.shape(total), np.nan), where=known > 0)
        return mean
