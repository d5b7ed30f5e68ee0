"""What is measured of a live engine to know its profile, in the order of its doing: minutes, not hours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pdoperator.capacity.measurements import OUTPUT_TOKENS, TINY_PROMPT

SHORTEST_PROMPT = 32  # shorter ones measure HTTP
LONGEST_PROMPT = 16384  # a quadratic that is known so far goes on
# So many tiny prompts under way that some always wait; each place is taken so often.
SATURATING = (4, 16, 64)
GENERATIONS = 10
PACKED_PROMPTS = (64, 512)  # lengths of prompts that fill whole steps
PACKED_STEPS = 4
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXTS_TOKENS = (64, 1024, 4096)
KV_SHARE = 0.9  # of the cache that a batch may fill
MIXED_BATCH = 4
MIXED_PROMPTS = (64, 256, 1024)
# What an output token counts in prompt tokens, for the time that is left: a decode step reads all weights for it.
STEP_WEIGHT = 30


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself."""

    model: str
    kv_tokens: int
    max_model_len: int

    @property
    def longest_prompt(self) -> int:
        return min(LONGEST_PROMPT, self.max_model_len - 1, self.kv_tokens - 1)


@dataclass(frozen=True, slots=True)
class Ttft:
    """A prompt that is alone."""

    isl_tokens: int

    @property
    def weight(self) -> float:
        return 3 * self.isl_tokens + STEP_WEIGHT


@dataclass(frozen=True, slots=True)
class Saturated:
    """Prompts of one length, so many under way at once."""

    isl_tokens: int
    at_once: int
    prompts: int

    @property
    def weight(self) -> float:
        return self.prompts * (self.isl_tokens + 1)


@dataclass(frozen=True, slots=True)
class Itl:
    """Sequences of one context that decode together."""

    batch: int
    context_tokens: int

    @property
    def weight(self) -> float:
        return self.context_tokens + OUTPUT_TOKENS * (STEP_WEIGHT + self.batch)


@dataclass(frozen=True, slots=True)
class Mixed:
    """A prompt beside a batch that decodes."""

    batch: int
    isl_tokens: int

    @property
    def weight(self) -> float:
        return 3 * (self.isl_tokens + 2 * OUTPUT_TOKENS * STEP_WEIGHT)


Measurement = Ttft | Saturated | Itl | Mixed


def plan(info: EngineInfo, batched_tokens: int) -> Iterator[Measurement]:
    """All measurements. Larger batches follow smaller ones, so that those after the engine's limit can be left out."""
    for isl in _doubling(SHORTEST_PROMPT, info.longest_prompt):
        yield Ttft(isl)
    for at_once in SATURATING:
        yield Saturated(TINY_PROMPT, at_once, at_once * GENERATIONS)
    for isl in PACKED_PROMPTS:
        if isl <= info.longest_prompt:
            prompts = max(2, PACKED_STEPS * batched_tokens // isl)
            yield Saturated(isl, prompts, prompts)
    for batch, context in itertools.product(BATCHES, CONTEXTS_TOKENS):
        sequence = context + OUTPUT_TOKENS
        if sequence <= info.max_model_len and batch * sequence <= KV_SHARE * info.kv_tokens:
            yield Itl(batch, context)
    for isl in MIXED_PROMPTS:
        if isl <= min(info.longest_prompt, batched_tokens - MIXED_BATCH):
            yield Mixed(MIXED_BATCH, isl)


def _doubling(first: int, last: int) -> Iterator[int]:
    """first, 2 first, 4 first … and last."""
    yield from itertools.takewhile(lambda n: n < last, (first << i for i in itertools.count()))
    yield last
