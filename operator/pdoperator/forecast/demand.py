"""Demand on a service, and its history."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdoperator.api import defaults


@dataclass(frozen=True, slots=True)
class Demand:
    """Demand over one interval: admitted requests per second, mean ISL and OSL in tokens, and their spread.

    `isl_cv` and `osl_cv` are coefficients of variation; `prefix_hit` is the share of input tokens that need no prefill
    because a prefix cache holds them. `covariance` is that of ISL and OSL over the product of their means: 0 when they
    are independent, never below -1.
    """

    rate_rps: float
    isl_tokens: float
    osl_tokens: float
    isl_cv: float = defaults.ISL_CV
    osl_cv: float = defaults.OSL_CV
    prefix_hit: float = 0.0
    covariance: float = defaults.LENGTHS_COVARIANCE

    @property
    def decoded_isl_tokens(self) -> float:
        """The mean prompt behind a token that is decoded, E[ISL OSL]/E[OSL]: who answers at length, counts for more."""
        return self.isl_tokens * (1 + self.covariance)


@dataclass(frozen=True, slots=True)
class Sample:
    """Demand seen over the interval that ended at `at_s`."""

    at_s: float
    demand: Demand


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """Samples, oldest first, at most `limit` of them."""

    limit: int
    samples: tuple[Sample, ...] = ()

    def with_sample(self, sample: Sample) -> DemandHistory:
        """The history with one more sample; the oldest goes when it is full."""
        return replace(self, samples=(*self.samples, sample)[-self.limit :])
