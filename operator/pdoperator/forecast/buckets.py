"""Readings in equal steps of time, newest last, at most so many of them."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SPARE = 1.25  # room of a log over what is kept: its copying is rare, its memory small


class _Log:
    """Readings (NaN: missing) and running sums of the known ones; grows at its end only, so older holders keep theirs.

    Arrays of the standard library, because single items of them are read far faster than NumPy's.
    """

    __slots__ = ("capacity", "count", "square", "total", "values")

    def __init__(self, values: Floats, capacity: int) -> None:
        self.capacity = max(capacity, len(values))
        present = np.where(np.isnan(values), 0.0, values)
        self.values = array("d", values.tobytes())
        self.total, self.square, self.count = (
            array("d", np.concatenate([[0.0], np.cumsum(summed)]).tobytes())
            for summed in (present, present**2, ~np.isnan(values))
        )

    def append(self, value: float) -> None:
        known = value == value
        self.values.append(value)
        self.total.append(self.total[-1] + value if known else self.total[-1])
        self.square.append(self.square[-1] + value * value if known else self.square[-1])
        self.count.append(self.count[-1] + known)


@dataclass(frozen=True, slots=True)
class Buckets:
    """`keep` buckets at most; `end` is the number of steps from time zero to the end of the newest one.

    Appending returns new Buckets that share the log with the old ones, which stay as they are.
    """

    keep: int
    end: int
    size: int  # rows of the log that belong to this value
    log: _Log

    @classmethod
    def of(cls, keep: int, end: int, values: Floats) -> Buckets:
        """Buckets with these values (NaN: missing), the newest ending `end` steps after time zero."""
        kept = np.asarray(values, dtype=float)[-keep:]
        return cls(keep, end, len(kept), _Log(kept, math.ceil(keep * _SPARE)))

    def __len__(self) -> int:
        return min(self.size, self.keep)

    @property
    def known(self) -> bool:
        """Whether there is any reading at all."""
        return self.log.count[self.size] > self.log.count[self.size - len(self)]

    def appended(self, value: float) -> Buckets:
        """One step on; NaN is a missing reading."""
        log = self.log
        if (
            len(log.values) != self.size or self.size >= log.capacity
        ):  # another went on from here, or it is full
            return Buckets.of(self.keep, self.end + 1, np.append(self.values(), value))
        log.append(value)
        return Buckets(self.keep, self.end + 1, self.size + 1, log)

    def values(self, start: int | None = None, stop: int | None = None) -> Floats:
        """The readings between two numbers of steps from time zero, of those that are kept; NaN for missing ones."""
        first, last = self._rows(
            self.end - self.keep if start is None else start, self.end if stop is None else stop
        )
        return np.array(self.log.values[first:last])

    def peak(self, start: int, stop: int) -> float:
        """The highest known reading between two numbers of steps from time zero; NaN where there is none."""
        values = self.values(start, stop)
        return float(np.fmax.reduce(values)) if len(values) else math.nan

    def mean(self, start: int, stop: int) -> float:
        """Mean of the known readings between two numbers of steps from time zero; NaN where there is none."""
        first, last = self._rows(start, stop)
        count = self.log.count[last] - self.log.count[first]
        return (self.log.total[last] - self.log.total[first]) / count if count else math.nan

    def spread(self, start: int, stop: int) -> float:
        """Standard deviation of the known readings between two numbers of steps; 0 where there are none."""
        first, last = self._rows(start, stop)
        count = self.log.count[last] - self.log.count[first]
        if not count:
            return 0.0
        mean = (self.log.total[last] - self.log.total[first]) / count
        return math.sqrt(max((self.log.square[last] - self.log.square[first]) / count - mean * mean, 0.0))

    def _rows(self, start: int, stop: int) -> tuple[int, int]:
        oldest, offset = self.size - len(self), self.size - self.end
        first, last = start + offset, stop + offset
        first = oldest if first < oldest else min(first, self.size)
        return first, max(first, min(last, self.size))
