"""A trace: when requests arrive and how long they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
Tokens = NDArray[np.int32]

MAX_TOKENS = 2**31 - 1


class TraceError(ValueError):
    """A file that is no trace that can be replayed: which, where (0: the file as a whole) and what is wrong."""

    def __init__(self, path: str | Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}" if line else f"{path}: {what}")
        self.path, self.line, self.what = Path(path), line, what


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """At least one request. The arrays have one entry a request, in the order of arrival, and are read-only.

    `arrival_s` counts from the beginning of the trace, `cached_tokens` are those of the prompt that a prefix cache
    without limit holds (0 where that is not known). Raises ValueError for what cannot be a trace.
    """

    name: str
    arrival_s: Seconds
    input_tokens: Tokens
    output_tokens: Tokens
    cached_tokens: Tokens

    def __post_init__(self) -> None:
        requests = len(self.arrival_s)
        if requests == 0:
            raise ValueError(f"trace {self.name} has no requests")
        for tokens in (self.input_tokens, self.output_tokens, self.cached_tokens):
            if len(tokens) != requests:
                raise ValueError(f"trace {self.name} has {requests} arrivals and {len(tokens)} lengths")
        if not (np.isfinite(self.arrival_s).all() and self.arrival_s[0] >= 0):
            raise ValueError(f"arrivals of trace {self.name} must be finite and not negative")
        if (np.diff(self.arrival_s) < 0).any():
            raise ValueError(f"arrivals of trace {self.name} must be sorted")
        if self.input_tokens.min() < 1 or self.output_tokens.min() < 1:
            raise ValueError(f"a request of trace {self.name} has no input or no output tokens")
        if self.cached_tokens.min() < 0 or (self.cached_tokens > self.input_tokens).any():
            raise ValueError(f"cached tokens of trace {self.name} must lie between 0 and the input tokens")
        for array in (self.arrival_s, self.input_tokens, self.output_tokens, self.cached_tokens):
            array.flags.writeable = False

    @classmethod
    def of(
        cls, name: str, arrival_s: Seconds, input_tokens: Tokens, output_tokens: Tokens,
        cached_tokens: Tokens | None = None,
    ) -> Trace:  # fmt: skip
        """A trace of copies of these arrays, no tokens cached where that is not given."""
        return cls(
            name,
            np.array(arrival_s, dtype=np.float64),
            np.array(input_tokens, dtype=np.int32),
            np.array(output_tokens, dtype=np.int32),
            np.zeros(len(arrival_s), np.int32)
            if cached_tokens is None
            else np.array(cached_tokens, np.int32),
        )

    def __len__(self) -> int:
        return len(self.arrival_s)

    def at(self, arrival_s: Seconds, name: str) -> Trace:
        """The same requests at other times."""
        return Trace(name, arrival_s, self.input_tokens, self.output_tokens, self.cached_tokens)

    def part(self, first: int, end: int, from_s: float, name: str) -> Trace:
        """Requests `first` to `end`, the latter excluded, arrivals counted from `from_s`."""
        part = slice(first, end)
        return Trace(
            name,
            self.arrival_s[part] - from_s,
            self.input_tokens[part],
            self.output_tokens[part],
            self.cached_tokens[part],
        )

    @property
    def span_s(self) -> float:
        """Seconds from the beginning of the trace to the last arrival."""
        return float(self.arrival_s[-1])
