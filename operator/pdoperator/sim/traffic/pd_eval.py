"""The load of PD-Disaggregation-Eval's second stage: 2 architectures x 3 profiles x 5 rates, 30 runs, reproducible.

github.com/wang-zr12/PD-Disaggregation-Eval at 24b7180. It publishes the design and no table of results. Two faults of
its harness are not repeated: throughput is requests over wall time (not over the longest latency), and the first token
is the first with content (not a chunk that only names the role).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pdoperator.sim.traffic import synthetic
from pdoperator.sim.traffic.trace import Tokens, Trace

RUN_S = 180.0
COOL_DOWN_S = 10.0
RATES_RPS = (5.0, 10.0, 20.0, 30.0, 50.0)
# Its longest prompts exceed its own --max-model-len of 8192, so it has requests that vLLM refuses; here they are cut.
MAX_MODEL_LEN = 8192


class Architecture(StrEnum):
    """One colocated engine on one GPU, against one prefill and one decode engine on two."""

    COLOCATED = "colocated"
    DISAGGREGATED = "disaggregated"


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lengths in tokens: lognormal by median and sigma of the logarithm, clipped."""

    median: float
    sigma: float
    clip: tuple[int, int]

    def draw(self, rng: np.random.Generator, n: int) -> Tokens:
        drawn = np.rint(rng.lognormal(np.log(self.median), self.sigma, n))
        return np.clip(drawn, *self.clip).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Source:
    """A data set."""

    input: Lognormal
    output: Lognormal


HUMAN_EVAL = Source(Lognormal(140, 0.55, (50, 500)), Lognormal(70, 0.55, (20, 300)))
SWE_BENCH = Source(Lognormal(3500, 0.85, (800, 15_000)), Lognormal(250, 0.8, (50, 1500)))


@dataclass(frozen=True, slots=True)
class CodeProfile:
    """A use: share of HumanEval prompts (the others are SWE-bench's), output clip, TTFT target, weight in the mix."""

    name: str
    human_eval: float
    output_clip: tuple[int, int]
    ttft_target_s: float
    weight: float


PROFILES = (
    CodeProfile("inline_completion", 0.85, (10, 200), 0.5, 0.50),
    CodeProfile("code_explanation", 0.20, (100, 600), 1.5, 0.25),
    CodeProfile("function_generation", 0.60, (100, 800), 1.0, 0.25),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One of the 30."""

    architecture: Architecture
    profile: CodeProfile
    rate_rps: float

    @property
    def gpus(self) -> int:
        return 1 if self.architecture is Architecture.COLOCATED else 2

    def trace(self, seed: int) -> Trace:
        """Its requests. Both architectures get the same ones from the same seed."""
        return synthetic.poisson(self.rate_rps, RUN_S, lengths(self.profile), seed, self.profile.name)


def matrix() -> Iterator[Run]:
    """The 30 runs, in the order of the source's script."""
    for architecture in Architecture:
        for profile in PROFILES:
            for rate_rps in RATES_RPS:
                yield Run(architecture, profile, rate_rps)


def lengths(profile: CodeProfile) -> synthetic.Lengths:
    """Input and output lengths of requests of this profile, of the same data set each."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Tokens, Tokens]:
        human = rng.random(n) < profile.human_eval
        inputs = np.where(human, HUMAN_EVAL.input.draw(rng, n), SWE_BENCH.input.draw(rng, n))
        outputs = np.where(human, HUMAN_EVAL.output.draw(rng, n), SWE_BENCH.output.draw(rng, n))
        outputs = np.clip(outputs, *profile.output_clip)
        return np.minimum(inputs, MAX_MODEL_LEN - outputs), outputs

    return draw
