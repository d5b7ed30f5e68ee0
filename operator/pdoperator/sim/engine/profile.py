"""How fast a simulated engine is: the latency formulas of a capacity profile, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.profile import Chunk

Quadratic = tuple[float, float, float]


@dataclass(frozen=True)
class SimProfile:
    """``ttft_s = a + b*isl + c*isl^2``; ``itl_s = a + b*batch + c*batch*context``, each as (a, b, c).

    Of the first ``a`` the engine is free for others during ``latency_s``; the rest is what a step with prompts costs.
    """

    ttft_s: Quadratic
    itl_s: Quadratic
    kv_tokens: int
    kv_bytes_per_token: float = 0.0
    link_bytes_per_s: float = 0.0  # 0: transfers take no time
    startup_s: float = 0.0  # until the port opens
    latency_s: float = 0.0

    def step_s(self, batch: int, context_tokens: int, chunks: Sequence[Chunk]) -> float:
        """Seconds of a step: ``batch`` sequences that hold ``context_tokens`` together decode, chunks are prefilled.

        As ``capacity.profile.Profile.step_s`` has it.
        """
        (prefill_a, prefill_b, prefill_c), (decode_a, decode_b, decode_c) = self.ttft_s, self.itl_s
        constant_s = max(decode_a if batch else 0.0, prefill_a - self.latency_s if chunks else 0.0)
        squares = ((start + tokens) ** 2 - start**2 for start, tokens in chunks)
        prefill_s = prefill_b * sum(tokens for _, tokens in chunks) + prefill_c * sum(squares)
        return constant_s + decode_b * batch + decode_c * context_tokens + prefill_s

    def transfer_s(self, tokens: int) -> float:
        if self.link_bytes_per_s <= 0:
            return 0.0
        return tokens * self.kv_bytes_per_token / self.link_bytes_per_s


INSTANT = SimProfile((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), kv_tokens=1_000_000)

# Of a capacity profile. It starts at once (see PD_SIM_STARTUP_S) and has a link of some loopback's speed.
_TINY = BUILTIN["cpu-tiny"]
CPU_TINY = SimProfile(
    ttft_s=(_TINY.ttft.a, _TINY.ttft.b, _TINY.ttft.c),
    itl_s=(_TINY.itl.a, _TINY.itl.b, _TINY.itl.c),
    kv_tokens=_TINY.kv_tokens,
    kv_bytes_per_token=_TINY.kv_bytes_per_token or 0.0,
    link_bytes_per_s=1e8,
    latency_s=_TINY.latency_s,
)

BUILT_IN: Mapping[str, SimProfile] = {"cpu-tiny": CPU_TINY, "instant": INSTANT}


def load_profile(text: str) -> SimProfile:
    """A built-in name, a JSON object, or the path of a JSON file. What the JSON leaves out is CPU_TINY's.

    Raises ValueError with the accepted forms when it is none of these.
    """
    if text in BUILT_IN:
        return BUILT_IN[text]
    try:
        raw = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
        return _from_mapping(raw)
    except (OSError, TypeError, KeyError, ValueError) as error:
        names = ", ".join(BUILT_IN)
        raise ValueError(
            f"simulated profile {text[:80]!r}: not one of {names}, a JSON object or a JSON file ({error})"
        ) from None


def _from_mapping(raw: Mapping[str, Any]) -> SimProfile:
    given: dict[str, Any] = {}
    for field in fields(SimProfile):
        if raw.get(field.name) is None:
            continue
        value = raw[field.name]
        if field.name in ("ttft_s", "itl_s"):
            given[field.name] = _coefficients(value)
        elif field.name == "kv_tokens":
            given[field.name] = int(value)
        else:
            given[field.name] = float(value)
    return replace(CPU_TINY, **given)


def _coefficients(value: Any) -> Quadratic:
    """``[a, b, c]`` or ``{"a":, "b":, "c":}``; missing ones are 0."""
    parts = (
        [value.get(key, 0.0) for key in "abc"] if isinstance(value, Mapping) else [*value, 0.0, 0.0, 0.0][:3]
    )
    a, b, c = (float(part) for part in parts)
    return a, b, c
