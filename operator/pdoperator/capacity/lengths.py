"""Moments of a length distribution, and of a latency that is a polynomial of the length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pdoperator.capacity.profile import Fit


@dataclass(frozen=True, slots=True)
class LengthMoments:
    """E[L] to E[L^4] of a length in tokens: all that the mean and variance of a quadratic latency need."""

    first: float
    second: float
    third: float
    fourth: float

    @classmethod
    def fixed(cls, tokens: float) -> LengthMoments:
        """Every length is the same. Raises ValueError unless it is positive and finite."""
        return cls.lognormal(tokens, cv=0.0)

    @classmethod
    def lognormal(cls, mean_tokens: float, cv: float) -> LengthMoments:
        """Lognormal lengths by mean and coefficient of variation: E[L^k] = mean^k (1 + cv^2)^(k(k-1)/2).

        Raises ValueError unless the mean is positive and both are finite and not negative.
        """
        if not (math.isfinite(mean_tokens) and mean_tokens > 0):
            raise ValueError(f"a mean length must be positive, got {mean_tokens}")
        if not (math.isfinite(cv) and cv >= 0):
            raise ValueError(f"a coefficient of variation cannot be negative, got {cv}")
        spread = 1 + cv**2
        return cls(
            mean_tokens, mean_tokens**2 * spread, mean_tokens**3 * spread**3, mean_tokens**4 * spread**6
        )

    @classmethod
    def of(cls, lengths_tokens: Sequence[float]) -> LengthMoments:
        """Moments of measured lengths. Raises ValueError when there are none, or one is not positive."""
        if not lengths_tokens:
            raise ValueError("a length distribution needs at least one length")
        for length in lengths_tokens:
            if not (math.isfinite(length) and length > 0):
                raise ValueError(f"a length must be positive, got {length}")
        n = len(lengths_tokens)
        first, second, third, fourth = (math.fsum(x**k for x in lengths_tokens) / n for k in (1, 2, 3, 4))
        return cls(first, second, third, fourth)

    @property
    def cv(self) -> float:
        """Coefficient of variation: standard deviation over mean."""
        return math.sqrt(max(0.0, self.second / self.first**2 - 1))


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A service time by its first two moments: E[S] in seconds, E[S^2] in seconds squared."""

    mean_s: float
    second_moment_s2: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean_s) and self.mean_s > 0):
            raise ValueError(f"a service time must be positive and finite, got {self.mean_s}")
        if not self.second_moment_s2 >= self.mean_s**2 * (1 - 1e-9):
            raise ValueError("E[S^2] of a service time is never below E[S]^2")

    @classmethod
    def fixed(cls, seconds: float) -> ServiceTime:
        """Every service takes the same time (the D of M/D/1)."""
        return cls(seconds, seconds**2)

    @classmethod
    def exponential(cls, mean_s: float) -> ServiceTime:
        """Exponential service (the second M of M/M/1)."""
        return cls(mean_s, 2 * mean_s**2)

    @classmethod
    def of(cls, ttft: Fit, lengths: LengthMoments) -> ServiceTime:
        """Prefill times a + b*L + c*L^2 of prompts with these lengths.

        E[S] = a + b E[L] + c E[L^2] is DOPD's variance correction in exact form: at equal mean length it grows with
        the variance, where the latency of the mean length does not.
        """
        a, b, c = ttft.a, ttft.b, ttft.c
        mean_s = a + b * lengths.first + c * lengths.second
        second = (
            a**2
            + 2 * a * b * lengths.first
            + (b**2 + 2 * a * c) * lengths.second
            + 2 * b * c * lengths.third
            + c**2 * lengths.fourth
        )
        return cls(mean_s, second)

    @property
    def rate_rps(self) -> float:
        """mu: services per second of a server that never idles, 1/E[S]."""
        return 1 / self.mean_s
