"""What one engine can do: fitted latencies and memory. The same form serves planning, simulation and sizing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.spec import InlineProfile, LatencyFit


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of a fitted latency, in seconds: finite and not negative, at least one of them positive."""

    a: float
    b: float = 0.0
    c: float = 0.0

    def __post_init__(self) -> None:
        coefficients = (self.a, self.b, self.c)
        if not all(math.isfinite(x) and x >= 0 for x in coefficients):
            raise ValueError(f"latency coefficients must be finite and not negative, got {coefficients}")
        if not any(coefficients):
            raise ValueError("a latency cannot be 0 throughout; give at least one positive coefficient")

    @classmethod
    def from_api(cls, fit: LatencyFit) -> Fit:
        """The fit as the API has it."""
        return cls(fit.a, fit.b, fit.c)


@dataclass(frozen=True, slots=True)
class Profile:
    """One engine, measured: prefill alone and decode alone. Raises ValueError where it cannot describe an engine.

    `kv_tokens` is the KV cache of one engine in tokens, `max_batch` the most sequences it decodes together.
    """

    ttft: Fit
    itl: Fit
    kv_tokens: int
    max_batch: int

    def __post_init__(self) -> None:
        if self.kv_tokens < 1 or self.max_batch < 1:
            raise ValueError(
                f"kv_tokens and max_batch must be at least 1, got {self.kv_tokens}, {self.max_batch}"
            )

    def ttft_s(self, isl_tokens: float) -> float:
        """Seconds to the first token of a prompt that is alone: a + b*isl + c*isl^2."""
        return self.ttft.a + self.ttft.b * isl_tokens + self.ttft.c * isl_tokens**2

    def itl_s(self, batch: float, context_tokens: float) -> float:
        """Seconds per decode step of `batch` sequences of this mean length: a + b*batch + c*batch*context."""
        return self.itl.a + self.itl.b * batch + self.itl.c * batch * context_tokens

    @classmethod
    def from_api(cls, profile: InlineProfile) -> Profile:
        """The profile that a spec carries. Raises ValueError."""
        return cls(
            Fit.from_api(profile.ttft), Fit.from_api(profile.itl), profile.kv_tokens, profile.max_batch
        )
