"""What one router's metrics say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.signals.counters import NONE, ByLength, Counters
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
_ENDED = "pdrouter_request_output_tokens_bucket"
_ENDED_TOKENS = "pdrouter_output_tokens_by_length_total"
_GENERATED = "pdrouter_generated_tokens_total"
_BY_LENGTH = {_ENDED, _ENDED_TOKENS, _GENERATED}
ROUTER_SERIES = frozenset({_OUTSTANDING, _EXPORTS, _ENGINE_INFO, *_BY_LENGTH, *_COUNTERS.values()})
_CLASSES = [float(bound) for bound in defaults.LENGTH_BOUNDS_TOKENS] + [math.inf]


@dataclass(frozen=True, slots=True)
class Counts(Counters):
    """A router's counters: since it started, or over an interval.

    `sized`: admitted with known or estimated length. `token_products`: input times output tokens of a request, of so
    many `products`: 0 from routers that do not tell. Answers that ended and their tokens, by length, and tokens
    generated, by position, those of answers under way too: all 0 from routers that do not tell the last.
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
    ended: ByLength = NONE
    ended_tokens: ByLength = NONE
    generated: ByLength = NONE


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
    sums: dict[str, Any] = {ours: total(series, name) or 0.0 for ours, name in _COUNTERS.items()}
    ended, ended_tokens, generated = _answers(series)
    return RouterReading(
        Counts(**sums, ended=ended, ended_tokens=ended_tokens, generated=generated),
        _outstanding(series.get(_OUTSTANDING, [])),
        {sample.labels.get("engine", ""): int(sample.value) for sample in series.get(_EXPORTS, [])},
        _roles(series.get(_ENGINE_INFO, [])),
    )


def _answers(series: Mapping[str, list[Series]]) -> tuple[ByLength, ByLength, ByLength]:
    """Ended answers, their tokens, generated tokens. A router of another version has none of them, or other classes."""
    up_to = _by_class(series.get(_ENDED, []), "le")
    tokens, generated = (_by_class(series.get(name, []), "up_to") for name in (_ENDED_TOKENS, _GENERATED))
    if not (up_to and tokens and generated):
        return NONE, NONE, NONE
    ended = tuple(above - below for above, below in zip(up_to, (0.0, *up_to), strict=False))
    return ByLength(ended), ByLength(tokens), ByLength(generated)


def _by_class(samples: list[Series], bound: str) -> tuple[float, ...]:
    """Values in the order of LENGTH_BOUNDS_TOKENS; () unless all of these classes are there and no other."""
    values = {float(sample.labels.get(bound, "nan")): sample.value for sample in samples}
    return tuple(values[each] for each in _CLASSES) if values.keys() == set(_CLASSES) else ()


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
