"""What has piled up: prompts that wait, and requests that decode, as engines that it takes to serve them in time."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import Missing, Value
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.bottleneck import decode_holds_kv
from pdoperator.planning.observation import EngineView, Observation


@dataclass(frozen=True, slots=True)
class Pressure:
    """`waiting_s`: work in prompts that wait for prefill; `decoding`: engines full of what decodes or soon will."""

    waiting_s: float = 0.0
    decoding: float = 0.0

    @property
    def prefill(self) -> float:
        """Prefill engines that would work off what waits in good time."""
        return self.waiting_s / defaults.BACKLOG_S


def pressure(observation: Observation, sizer: Sizer) -> Pressure:
    """Of what the engines report; an engine that does not tell adds nothing here and forbids shrinking elsewhere.

    What waits on an engine whose KV is full, and on decode engines while decode is, waits for decode: more prefill
    would make that worse. All else that waits is prompts, on decode engines too (those that they prefill themselves),
    however full decode is for a moment: else each burst that prefill is too small for would flip engines to decode.
    """
    serving = [engine for engine in observation.engines if engine.usable]
    decoders = [engine for engine in serving if engine.role is Role.DECODE]
    held = sum(_x(engine.exporting) for engine in serving)
    decoding = (sum(_x(engine.running) for engine in decoders) + held) / sizer.batch
    full = decoding >= len(decoders) or bool(decode_holds_kv(observation))

    def stuck(engine: EngineView) -> bool:
        return _x(engine.kv_use) >= defaults.KV_FULL or (full and engine.role is Role.DECODE)

    for_decode = sum(_x(engine.waiting) for engine in serving if stuck(engine))
    prompts = sum(_x(engine.waiting) for engine in serving if not stuck(engine))
    return Pressure(prompts * sizer.per_request.prefill, decoding + for_decode / sizer.batch)


def _x(reading: Value[float] | Value[int] | Missing) -> float:
    return reading.x if isinstance(reading, Value) else 0.0
