"""What has piled up: prompts that wait, and requests that decode, as engines that it takes to serve them in time."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import Missing, Value
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.bottleneck import decode_holds_kv
from pdoperator.planning.observation import Observation


@dataclass(frozen=True, slots=True)
class Pressure:
    """`waiting_s`: engine-seconds of prompts that wait for prefill; `decoding`: engines full of what decodes."""

    waiting_s: float = 0.0
    decoding: float = 0.0

    @property
    def prefill(self) -> float:
        """Prefill engines that would work off what waits in good time."""
        return self.waiting_s / defaults.BACKLOG_S


def pressure(observation: Observation, sizer: Sizer) -> Pressure:
    """Of what the engines report; an engine that does not tell adds nothing here and forbids shrinking elsewhere.

    Requests that wait while decode is full wait for decode: prefill engines hold KV that nobody fetches. More prefill
    would make that worse, so then they do not count as prefill's. While decode has room, all that waits is prompts, on
    decode engines too (those that they prefill themselves).
    """
    serving = [engine for engine in observation.engines if engine.usable]
    decoders = [engine for engine in serving if engine.role is Role.DECODE]
    held = sum(_x(engine.exporting) for engine in serving)
    decoding = (sum(_x(engine.running) for engine in decoders) + held) / sizer.batch
    waiting = sum(_x(engine.waiting) for engine in serving)
    if decoding >= len(decoders) or decode_holds_kv(observation):
        return Pressure(0.0, decoding + waiting / sizer.batch)
    return Pressure(waiting * sizer.per_request.prefill, decoding)


def _x(reading: Value[float] | Value[int] | Missing) -> float:
    return reading.x if isinstance(reading, Value) else 0.0
