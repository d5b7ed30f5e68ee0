"""What one engine can do: fitted latencies and memory. The same form serves planning, simulation and sizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pdoperator.api import defaults
from pdoperator.api.spec import InlineProfile, LatencyFit
from pdoperator.capacity.tables import DecodeTable, PrefillTable


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of a fitted latency, in seconds: finite and not negative, at least one of them positive."""

    a: float
    b: float = 0.0
    c: float = 0.0

    def __post_init__(self) -> None:
        coefficients = (self.a, self.b, self.c)
        if not all(math.isfinite(x) and x >= 0 for x in coefficients):
            raise ValueError(f"latency coefficients must be finite and not negative, got {coefficients}")
        if not any(coefficients):
            raise ValueError("a latency cannot be 0 throughout; give at least one positive coefficient")

    def at(self, b_times: float, c_times: float) -> float:
        """Seconds: a + b*b_times + c*c_times."""
        return self.a + self.b * b_times + self.c * c_times

    @classmethod
    def from_api(cls, fit: LatencyFit) -> Fit:
        """The fit as the API has it."""
        return cls(fit.a, fit.b, fit.c)


class Chunk(NamedTuple):
    """A part of a prompt: `tokens` of it after the first `start`, whose KV is there."""

    start: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One engine, measured: prefill alone and decode alone. Raises ValueError where it cannot describe an engine.

    `kv_tokens` is the KV cache of one engine in tokens, `max_batch` the most sequences it decodes together,
    `batched_tokens` the most tokens of one step (vLLM's max-num-batched-tokens), `measured_pass_s` what one prefill
    step costs beside its tokens, None where it was not told apart from latency that does not occupy the engine. An
    engine without GPUs counts as one GPU. The surroundings are None where they are not known: `startup_s` from pod to
    ready, `kv_bytes_per_token` of all its GPUs together, `link_bytes_per_s` in one direction, of all of them. Where
    there are tables the latencies are theirs and the formulas were fitted to them, for what needs a formula.
    """

    ttft: Fit
    itl: Fit
    kv_tokens: int
    max_batch: int
    gpus_per_replica: int = 1
    startup_s: float | None = None
    kv_bytes_per_token: float | None = None
    link_bytes_per_s: float | None = None
    batched_tokens: int = defaults.BATCHED_TOKENS
    measured_pass_s: float | None = None
    ttft_table: PrefillTable | None = None
    itl_table: DecodeTable | None = None

    def __post_init__(self) -> None:
        for name in ("kv_tokens", "max_batch", "gpus_per_replica", "batched_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("startup_s", "kv_bytes_per_token", "link_bytes_per_s", "measured_pass_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        if self.link_bytes_per_s == 0:
            raise ValueError("link_bytes_per_s must be above 0; leave it out if it is not known")
        if self.measured_pass_s is not None and self.measured_pass_s > self.ttft.a:
            raise ValueError(
                f"a pass of {self.measured_pass_s:g} s is longer than ttft.a, {self.ttft.a:g} s, of which it is a part"
            )

    def ttft_s(self, isl_tokens: float) -> float:
        """Seconds to the first token of a prompt that is alone: a + b*isl + c*isl^2, or the table's.

        Raises OutsideTableError where a table was not measured.
        """
        if self.ttft_table is not None:
            return self.ttft_table.seconds(isl_tokens)
        return self.ttft.at(isl_tokens, isl_tokens**2)

    def itl_s(self, batch: float, context_tokens: float) -> float:
        """Seconds of a decode step of sequences of this mean length: a + b*batch + c*batch*context, or the table's.

        Raises OutsideTableError where a table was not measured.
        """
        if self.itl_table is not None:
            return self.itl_table.seconds(batch, context_tokens)
        return self.itl.at(batch, batch * context_tokens)

    @property
    def pass_s(self) -> float:
        """What one prefill step costs beside its tokens, and what occupies the engine.

        Where it was not measured it is at most that of a decode step, itl.a: either reads the weights once (inferred).
        """
        return min(self.ttft.a, self.itl.a) if self.measured_pass_s is None else self.measured_pass_s

    @property
    def latency_s(self) -> float:
        """The part of a first token's latency in which the engine is free for others: HTTP, scheduler, detokenizer."""
        return self.ttft.a - self.pass_s

    @property
    def transfer_s_per_token(self) -> float:
        """What handing over a token's KV takes; 0 where memory or link are not known."""
        if not self.kv_bytes_per_token or not self.link_bytes_per_s:
            return 0.0
        return self.kv_bytes_per_token / self.link_bytes_per_s

    def step_s(self, batch: int, context_tokens: float, chunks: Sequence[Chunk] = ()) -> float:
        """Seconds of one step in which `batch` sequences with `context_tokens` in all decode and chunks are prefilled.

            constant + itl.b*batch + itl.c*context_tokens + sum over chunks (ttft.b*n + ttft.c*((s + n)^2 - s^2))

        By the formulas, tables or not. A step that only decodes costs `itl_s`, one that only prefills a whole prompt
        `ttft_s - latency_s`, as measured. In a mixed step the weights are read once, so of both constants (itl.a and
        pass_s) only the larger counts, and the tokens' costs add up: an assumption, as in Sarathi-Serve's (OSDI'24)
        hybrid batches. Parts of a prompt cost together what the whole costs, but for one more constant a step.
        """
        constant_s = max(self.itl.a if batch else 0.0, self.pass_s if chunks else 0.0)
        decode_s = self.itl.b * batch + self.itl.c * context_tokens
        prefill_s = sum(self.ttft.b * n + self.ttft.c * ((start + n) ** 2 - start**2) for start, n in chunks)
        return constant_s + decode_s + prefill_s

    @classmethod
    def from_api(cls, profile: InlineProfile) -> Profile:
        """The profile that a spec carries. Raises ValueError."""
        return cls(
            Fit.from_api(profile.ttft), Fit.from_api(profile.itl), profile.kv_tokens, profile.max_batch
        )
