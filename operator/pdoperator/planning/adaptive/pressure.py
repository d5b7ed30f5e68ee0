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
    """`waiting_s`: engine-seconds of prompts that wait for prefill; `decoding`: engines full of what decodes.

    `prefill`, `decode`: engines that would work off what waits in good time, and decode what comes of it.
    """

    waiting_s: float = 0.0
    decoding: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


def pressure(observation: Observation, sizer: Sizer) -> Pressure:
    """Of what the engines report; an engine that does not tell adds nothing here and forbids shrinking elsewhere.

    Requests whose prefill is done wait for decode: their KV is held for it, and the decode engine reports them as
    waiting. All others that wait are prompts, on decode engines too: those that they prefill themselves, and those
    left from before a flip. What is prefilled must be decoded, so prompts call for both roles, or flips for a backlog
    would starve decode, which then holds up prefill. While decode is full more prefill would only make that worse.
    """
    serving = [engine for engine in observation.engines if engine.usable]
    decoders = [engine for engine in serving if engine.role is Role.DECODE]
    held = sum(_x(engine.exporting) for engine in serving)
    decoding = (sum(_x(engine.running) for engine in decoders) + held) / sizer.batch
    prompts = max(0.0, sum(_x(engine.waiting) for engine in serving) - held)
    waiting_s = prompts * sizer.per_request.prefill
    if decoding >= len(decoders) or decode_holds_kv(observation):
        return Pressure(waiting_s, decoding)
    rate_rps = prompts / defaults.BACKLOG_S
    decode = min(rate_rps * sizer.per_request.decode, prompts / sizer.batch)
    return Pressure(waiting_s, decoding, rate_rps * sizer.per_request.prefill, decode)


def _x(reading: Value[float] | Value[int] | Missing) -> float:
    return reading.x if isinstance(reading, Value) else 0.0
