"""What one router's metrics say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from pdoperator.api.names import Role
from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.signals.exposition import Series, read_series, total

_ADMITTED = "pdrouter_requests_admitted_total"
_INPUT = "pdrouter_request_input_tokens"
_OUTPUT = "pdrouter_request_output_tokens"
_TPOT = "pdrouter_tpot_seconds"
_OUTSTANDING = "pdrouter_outstanding_requests"
_ENGINE_INFO = "pdrouter_engine_info"

_WANTED = frozenset(
    {_ADMITTED, _OUTSTANDING, _ENGINE_INFO}
    | {f"{name}_{part}" for name in (_INPUT, _OUTPUT, _TPOT) for part in ("sum", "count")}
)


@dataclass(frozen=True, slots=True)
class Counts:
    """A router's counters: since it started, or over an interval."""

    admitted: float = 0.0
    input_tokens: float = 0.0
    inputs: float = 0.0
    output_tokens: float = 0.0
    outputs: float = 0.0
    tpot_s: float = 0.0
    tpots: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(Counts)))

    @property
    def falls(self) -> bool:
        """Whether any of them is negative: as a difference, the router has restarted in between."""
        return any(getattr(self, f.name) < 0 for f in fields(Counts))


@dataclass(frozen=True, slots=True)
class RouterReading:
    """One scrape of one router. An engine that is not in `outstanding` has nothing from this router."""

    counts: Counts
    outstanding: Mapping[str, PerRole[int]]
    roles: Mapping[str, Role]


def read_router(text: str) -> RouterReading:
    """The reading in a router's exposition. Raises ValueError when it is not one."""
    series = read_series(text, _WANTED)
    admitted = total(series, _ADMITTED)
    if admitted is None:
        raise ValueError(f"no {_ADMITTED} in the metrics: not a router's")
    if not all(math.isfinite(sample.value) for samples in series.values() for sample in samples):
        raise ValueError("a metric of the router is no finite number")

    def count(name: str) -> float:
        return total(series, name) or 0.0  # a histogram without an observation may not be there yet

    counts = Counts(
        admitted=admitted,
        input_tokens=count(f"{_INPUT}_sum"),
        inputs=count(f"{_INPUT}_count"),
        output_tokens=count(f"{_OUTPUT}_sum"),
        outputs=count(f"{_OUTPUT}_count"),
        tpot_s=count(f"{_TPOT}_sum"),
        tpots=count(f"{_TPOT}_count"),
    )
    return RouterReading(
        counts, _outstanding(series.get(_OUTSTANDING, [])), _roles(series.get(_ENGINE_INFO, []))
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
