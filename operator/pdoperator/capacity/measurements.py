"""From measurements of a live engine to its profile. What is measured says `capacity.measuring`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdoperator.capacity.fitting import fit_itl, fit_ttft
from pdoperator.capacity.profile import Chunk, Fit, Profile

# Decoded per sequence: long enough that a batch decodes together for most of it.
OUTPUT_TOKENS = 64
# Prompts of a few tokens, so that steps cost little beside their constant.
TINY_PROMPT = 4
FITTING_ROUNDS = 5
SHORTEST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Setting:
    """What is not measured: KV cache by the engine's metrics, --max-num-batched-tokens, and what it runs on."""

    kv_tokens: int
    batched_tokens: int
    gpus: int
    kv_bytes_per_token: float | None
    startup_s: float | None
    link_bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class TtftPoint:
    """A prompt that is alone: seconds to its first token."""

    isl_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SaturatedPoint:
    """Prompts of one length of which some always wait: their number, seconds for all of them, and engine steps."""

    isl_tokens: int
    prompts: int
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True)
class ItlPoint:
    """Sequences that decode together: their number, mean context and seconds per step."""

    batch: int
    context_tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class MixedPoint:
    """A prompt that comes while a batch decodes: by how many seconds the batch's step is longer for it."""

    batch: int
    isl_tokens: int
    extra_s: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that was measured. `max_batch` is the largest batch that ran at once."""

    ttft: tuple[TtftPoint, ...]
    saturated: tuple[SaturatedPoint, ...]
    itl: tuple[ItlPoint, ...]
    mixed: tuple[MixedPoint, ...]
    max_batch: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of a profile against what it was made from: mean and largest of the latencies that were fitted,
    and predicted over measured (1 is right) of what was not: packed prefill throughput, prompts beside a batch."""

    ttft_mean: float
    ttft_max: float
    itl_mean: float
    itl_max: float
    packed: float
    mixed: float


class NotMeasuredError(ValueError):
    """Measurements that give no profile."""


def profile_of(setting: Setting, measured: Measurements) -> Profile:
    """The profile that lies nearest to the measurements. Raises NotMeasuredError."""
    if len(measured.ttft) < 3 or len(measured.itl) < 3:
        raise NotMeasuredError("a profile needs TTFT at three lengths and ITL at three batches or contexts")
    pass_s = 0.0
    # A prompt of several steps costs a constant for each of them, which is known only with the other coefficients.
    for _ in range(FITTING_ROUNDS):
        points = [
            (p.isl_tokens, max(p.seconds - (_steps(p, setting.batched_tokens) - 1) * pass_s, SHORTEST_S))
            for p in measured.ttft
        ]
        ttft = fit_ttft(points).fit
        pass_s = _pass_s(measured.saturated, ttft)
    return Profile(
        ttft=_rounded(ttft),
        itl=_rounded(fit_itl([(p.batch, p.context_tokens, p.seconds) for p in measured.itl]).fit),
        kv_tokens=setting.kv_tokens,
        max_batch=measured.max_batch,
        gpus_per_replica=setting.gpus,
        startup_s=setting.startup_s,
        kv_bytes_per_token=setting.kv_bytes_per_token,
        link_bytes_per_s=setting.link_bytes_per_s,
        batched_tokens=setting.batched_tokens,
        measured_pass_s=min(_significant(pass_s), _rounded(ttft).a) if measured.saturated else None,
    )


def _steps(point: TtftPoint, batched_tokens: int) -> int:
    return math.ceil(point.isl_tokens / batched_tokens)


def _pass_s(saturated: Sequence[SaturatedPoint], ttft: Fit) -> float:
    """What a step costs beside its tokens: the least that any saturated run shows, as idle engines only add to it.

    A run takes the latency of one request, which the engine is free in, and its steps: T = (a - p) + steps*p + tokens.
    """
    constants = [
        (p.seconds - ttft.a - p.prompts * (ttft.b * p.isl_tokens + ttft.c * p.isl_tokens**2)) / (p.steps - 1)
        for p in saturated
        if p.steps > 1 and p.isl_tokens == TINY_PROMPT
    ]
    return min(max(min(constants, default=ttft.a), 0.0), ttft.a)


def errors(profile: Profile, measured: Measurements) -> Errors:
    """How the profile fits its measurements; NaN for what was not measured."""
    ttft = [
        abs(
            (profile.ttft_s(p.isl_tokens) + (_steps(p, profile.batched_tokens) - 1) * profile.pass_s)
            / p.seconds
            - 1
        )
        for p in measured.ttft
    ]
    itl = [abs(profile.itl_s(p.batch, p.context_tokens) / p.seconds - 1) for p in measured.itl]
    packed = [_saturated_s(profile, p) / p.seconds for p in measured.saturated if p.isl_tokens != TINY_PROMPT]
    extra = [(_extra_s(profile, p), p.extra_s) for p in measured.mixed]
    return Errors(
        ttft_mean=float(np.mean(ttft)),
        ttft_max=max(ttft),
        itl_mean=float(np.mean(itl)),
        itl_max=max(itl),
        packed=float(np.mean(packed)) if packed else math.nan,
        mixed=sum(x for x, _ in extra) / sum(x for _, x in extra) if extra else math.nan,
    )


def _saturated_s(profile: Profile, point: SaturatedPoint) -> float:
    work_s = profile.step_s(0, 0, [Chunk(0, point.isl_tokens)]) - profile.pass_s
    return profile.latency_s + point.steps * profile.pass_s + point.prompts * work_s


def _extra_s(profile: Profile, point: MixedPoint) -> float:
    prompt = [Chunk(0, point.isl_tokens)]
    return profile.step_s(point.batch, 0, prompt) - profile.step_s(point.batch, 0)


def _rounded(fit: Fit) -> Fit:
    return Fit(_significant(fit.a), _significant(fit.b), _significant(fit.c))


def _significant(value: float) -> float:
    return float(f"{value:.4g}")
