"""What one router's metrics say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pdoperator.api.names import Role
from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.signals.counters import Counters
from pdoperator.signals.exposition import Series, read_series, total

_ADMITTED = "pdrouter_requests_admitted_total"
_OUTSTANDING = "pdrouter_outstanding_requests"
_EXPORTS = "pdrouter_kv_exports"
_ENGINE_INFO = "pdrouter_engine_info"
# The router's counters by our names.
_COUNTERS = {
    "admitted": _ADMITTED,
    "input_tokens": "pdrouter_request_input_tokens_sum",
    "inputs": "pdrouter_request_input_tokens_count",
    "output_tokens": "pdrouter_request_output_tokens_sum",
    "outputs": "pdrouter_request_output_tokens_count",
    "tpot_s": "pdrouter_tpot_seconds_sum",
    "tpots": "pdrouter_tpot_seconds_count",
    "ttft_s": "pdrouter_ttft_seconds_sum",
    "ttfts": "pdrouter_ttft_seconds_count",
    "sized": "pdrouter_admitted_sized_total",
    "sized_tokens": "pdrouter_admitted_input_tokens_total",
    "sized_squares": "pdrouter_admitted_input_tokens_squared_total",
    "output_squares": "pdrouter_output_tokens_squared_total",
    "token_products": "pdrouter_request_token_product_sum",
    "products": "pdrouter_request_token_product_count",
    "judged": "pdrouter_requests_judged_total",
    "within_slo": "pdrouter_requests_within_slo_total",
}
ROUTER_SERIES = frozenset({_OUTSTANDING, _EXPORTS, _ENGINE_INFO, *_COUNTERS.values()})


@dataclass(frozen=True, slots=True)
class Counts(Counters):
    """A router's counters: since it started, or over an interval.

    `sized`: admitted with known or estimated length. `token_products`: input times output tokens of a request, of so
    many `products`: 0 from routers that do not tell.
    """

    admitted: float = 0.0
    input_tokens: float = 0.0
    inputs: float = 0.0
    output_tokens: float = 0.0
    outputs: float = 0.0
    tpot_s: float = 0.0
    tpots: float = 0.0
    ttft_s: float = 0.0
    ttfts: float = 0.0
    sized: float = 0.0
    sized_tokens: float = 0.0
    sized_squares: float = 0.0
    output_squares: float = 0.0
    token_products: float = 0.0
    products: float = 0.0
    judged: float = 0.0
    within_slo: float = 0.0


@dataclass(frozen=True, slots=True)
class RouterReading:
    """One scrape of one router. An engine that is not in `outstanding` or `exports` has nothing from this router."""

    counts: Counts
    outstanding: Mapping[str, PerRole[int]]
    exports: Mapping[str, int]
    roles: Mapping[str, Role]


def read_router(text: str) -> RouterReading:
    """The reading in a router's exposition. Raises ValueError when it is not one."""
    return router_reading(read_series(text, ROUTER_SERIES))


def router_reading(series: Mapping[str, list[Series]]) -> RouterReading:
    """The reading in a router's series. Raises ValueError when they are not a router's."""
    admitted = total(series, _ADMITTED)
    if admitted is None:
        raise ValueError(f"no {_ADMITTED} in the metrics: not a router's")
    if not all(math.isfinite(sample.value) for samples in series.values() for sample in samples):
        raise ValueError("a metric of the router is no finite number")

    # A histogram without an observation may not be there yet.
    counts = Counts(*(total(series, name) or 0.0 for name in _COUNTERS.values()))
    return RouterReading(
        counts,
        _outstanding(series.get(_OUTSTANDING, [])),
        {sample.labels.get("engine", ""): int(sample.value) for sample in series.get(_EXPORTS, [])},
        _roles(series.get(_ENGINE_INFO, [])),
    )


def _outstanding(samples: list[Series]) -> dict[str, PerRole[int]]:
    engines: dict[str, dict[Role, int]] = {}
    for sample in samples:
        role = sample.labels.get("role", "")
        if role in SERVING_ROLES:
            engines.setdefault(sample.labels.get("engine", ""), {})[Role(role)] = int(sample.value)
    return {name: PerRole(by.get(Role.PREFILL, 0), by.get(Role.DECODE, 0)) for name, by in engines.items()}


def _roles(samples: list[Series]) -> dict[str, Role]:
    known = set(Role)
    return {
        sample.labels.get("engine", ""): Role(sample.labels["role"])
        for sample in samples
        if sample.value == 1 and sample.labels.get("role") in known
    }
