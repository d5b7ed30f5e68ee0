"""The Prometheus text format, reduced to the series that are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Series:
    """One sample."""

    labels: Mapping[str, str]
    value: float


def read_series(text: str, wanted: Collection[str]) -> dict[str, list[Series]]:
    """Samples by series name, of the names in `wanted`. Raises ValueError for text that is no exposition.

    Engines name their metrics `vllm:x`, or `vllm_x` behind some exposition formats: both are found as `vllm:x`.
    Only wanted lines are parsed, as the parser takes some 20 ms for all that vLLM exposes.
    """
    found: dict[str, list[Series]] = {}
    for family in text_string_to_metric_families("".join(_wanted_lines(text, frozenset(wanted)))):
        for sample in family.samples:
            found.setdefault(canonical(sample.name), []).append(Series(sample.labels, sample.value))
    return found


def total(series: Mapping[str, list[Series]], name: str) -> float | None:
    """Sum over all label values; None when the series is not there."""
    samples = series.get(name)
    return None if samples is None else sum(sample.value for sample in samples)


def _wanted_lines(text: str, wanted: frozenset[str]) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        if not line.startswith("#") and canonical(line.split("{", 1)[0].split(" ", 1)[0]) in wanted:
            yield line


def canonical(name: str) -> str:
    """A series' name as vLLM writes it, `vllm:x`, where something on the way has made it `vllm_x`."""
    return f"vllm:{name[5:]}" if name.startswith("vllm_") else name
