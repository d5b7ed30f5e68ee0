"""All measurements of one engine, kept in a file after each of them, so that an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pdoperator.capacity import measuring
from pdoperator.capacity.measurements import ItlPoint, Measurements, MixedPoint, SaturatedPoint, TtftPoint
from pdoperator.capacity.measuring import EngineInfo, Itl, Measurement, Mixed, Saturated, Ttft
from pdoperator.cli.profiler import Profiler

T = TypeVar("T")


class OtherEngineError(ValueError):
    """The file of an interrupted run is of another engine, or no such file."""


class Kept:
    """What was measured so far, in a file beside the profile."""

    def __init__(self, path: Path, info: EngineInfo) -> None:
        """Raises OtherEngineError."""
        self.path, self._info = path, dataclasses.asdict(info)
        self._points: dict[str, Any] = {}
        if path.exists():
            try:
                kept = orjson.loads(path.read_bytes())
                engine, self._points = kept["engine"], dict(kept["points"])
            except (ValueError, KeyError, TypeError):
                raise OtherEngineError(f"{path} is not what an interrupted run leaves; remove it") from None
            if engine != self._info:
                raise OtherEngineError(
                    f"{path} is of another engine ({engine}); remove it, or name another file"
                )

    def get(self, measurement: Measurement) -> Any | None:
        """What is kept of a measurement, None when it was not done."""
        return self._points.get(str(measurement))

    def put(self, measurement: Measurement, result: dict[str, Any]) -> None:
        """Keep it, on disk at once."""
        self._points[str(measurement)] = result
        written = self.path.with_suffix(".tmp")
        written.write_bytes(orjson.dumps({"engine": self._info, "points": self._points}))
        os.replace(written, self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


async def measure(
    profiler: Profiler,
    info: EngineInfo,
    batched_tokens: int,
    kept: Kept,
    advance: Callable[[Measurement], None],
) -> Measurements:
    """Do what is not kept yet. `advance` is told of each measurement after it; raises what Profiler raises."""
    results: list[tuple[Measurement, dict[str, Any]]] = []
    largest, limit = (
        1,
        None,
    )  # the largest batch that ran together; the one that the engine runs at most, once met
    for measurement in measuring.plan(info, batched_tokens):
        if isinstance(measurement, Itl) and limit is not None and measurement.batch > limit:
            advance(measurement)
            continue
        result = kept.get(measurement)
        if result is None:
            result = await _measured(profiler, measurement)
            kept.put(measurement, result)
        if isinstance(measurement, Itl):
            largest = max(largest, measurement.batch if result["point"] else 1)
            # Fewer than ran together before is no limit but tokens that came in one heap.
            if 1 < largest <= result["most"] < measurement.batch:
                limit = result["most"]
        results.append((measurement, result))
        advance(measurement)
    return Measurements(
        ttft=tuple(_points(results, Ttft, TtftPoint)),
        saturated=tuple(_points(results, Saturated, SaturatedPoint)),
        itl=tuple(_points(results, Itl, ItlPoint)),
        mixed=tuple(_points(results, Mixed, MixedPoint)),
        max_batch=limit or largest,
    )


async def _measured(profiler: Profiler, measurement: Measurement) -> dict[str, Any]:
    point: Any
    match measurement:
        case Ttft(isl):
            point = await profiler.ttft(isl)
        case Saturated(isl, at_once, prompts):
            point = await profiler.saturated(isl, at_once, prompts)
        case Itl(batch, context):
            point, most = await profiler.itl(batch, context)
            return {"point": point and dataclasses.asdict(point), "most": most}
        case Mixed(batch, isl):
            point = await profiler.mixed(batch, isl)
    return {"point": point and dataclasses.asdict(point)}


def _points(
    results: list[tuple[Measurement, dict[str, Any]]], kind: type[Measurement], of: Callable[..., T]
) -> Iterator[T]:
    for measurement, result in results:
        if isinstance(measurement, kind) and result["point"] is not None:
            yield of(**result["point"])
