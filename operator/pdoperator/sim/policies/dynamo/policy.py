"""NVIDIA Dynamo's planner (ai-dynamo 1.5.1), its own code: both loops, told each tick what its engines would report.

Throughput loop, every 180 s: requests, ISL and OSL one interval ahead (ARIMA) over what one engine can do; that is a
floor. Load loop, every 5 s: an engine more where all are estimated to miss a target, one less where none would, nothing
while a change is under way. Its performance models are fitted to the profile's own steps. Engines tell how many
prompts wait, not how long those are, so their tokens are taken as that many of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.profile import Chunk, Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.sim.policies.dynamo.process import PlannerProcess
from pdoperator.sim.policies.policy import ForecastPoint, PolicyBase
from pdoperator.sim.policies.seen import demand, ready, value

TICK_S = 5.0  # scale_interval_seconds
# It needs five samples of different lengths at least; these cover a step.
PREFILL_SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
BATCHES = (1, 8, 32, 64, 128, 256)
CONTEXTS = (512, 2048, 8192)


@dataclass(slots=True, kw_only=True)
class Dynamo(PolicyBase):
    """`usual`: the demand that it has seen for one interval when the replay begins; `most_gpus`: its budget.

    `ttft_s`, `tpot_s`: the targets it is told; `adjust_s`: the throughput loop's interval; `sensitivity`: percent of a
    target under which an engine is given back; `load`: whether the load loop is on. Raises PlannerMissingError.
    """

    profile: Profile
    ttft_s: float
    tpot_s: float
    most_gpus: int
    usual: Demand
    adjust_s: float = 180.0
    sensitivity: float = 80.0
    load: bool = True
    _process: PlannerProcess | None = None
    _isl_tokens: float = 0.0

    def choose(self, seen: Observation) -> PerRole[int]:
        """What it scales to; the target as it was where it scales nothing."""
        if self._process is None:
            self._process = PlannerProcess(self.configuration())
            self._isl_tokens = self.usual.isl_tokens
        answer = self._process.answer(self._told(seen))
        if answer["rate_rps"] is not None:
            self.forecasts.append(ForecastPoint(seen.at_s + self.adjust_s, answer["rate_rps"]))
        return self.target if answer["engines"] is None else PerRole(*answer["engines"])

    def configuration(self) -> dict[str, Any]:
        """What the planner is built from: its defaults but for targets, budget, and what this policy varies."""
        profile = self.profile
        return {
            "config": {
                "mode": "disagg",
                "optimization_target": "sla",
                "ttft_ms": 1000 * self.ttft_s,
                "itl_ms": 1000 * self.tpot_s,
                "enable_load_scaling": self.load,
                "throughput_adjustment_interval_seconds": round(self.adjust_s),
                "load_scaling_down_sensitivity": round(self.sensitivity),
                "max_gpu_budget": self.most_gpus,
                "prefill_engine_num_gpu": profile.gpus_per_replica,
                "decode_engine_num_gpu": profile.gpus_per_replica,
                "pre_deployment_sweeping_mode": "none",
            },
            "engine": {
                "num_gpu": profile.gpus_per_replica,
                "max_num_batched_tokens": profile.batched_tokens,
                "max_num_seqs": profile.max_batch,
                "max_kv_tokens": profile.kv_tokens,
            },
            "prefill_samples": list(self._prefill_samples()),
            "decode_samples": list(self._decode_samples()),
            "warm": {
                "traffic": _traffic(self.usual),
                "ready": _pair(self.target),
                "expected": _pair(self.target),
                "prefill": [],
                "decode": [],
            },
        }

    def _told(self, seen: Observation) -> dict[str, Any]:
        now = demand(seen)
        if now is not None:
            self._isl_tokens = now.isl_tokens
        prefill, decode = ready(seen, Role.PREFILL), ready(seen, Role.DECODE)
        return {
            "traffic": _traffic(now or Demand(0.0, 0.0, 0.0)),
            "ready": [len(prefill), len(decode)],
            "expected": _pair(self.target),
            "prefill": [self._prefill_step(engine) for engine in prefill],
            "decode": [self._decode_step(engine) for engine in decode],
        }

    def _prefill_step(self, engine: EngineView) -> dict[str, Any]:
        """The step that an engine with so many prompts is in."""
        prompts = value(engine.waiting) or 0.0
        waiting = prompts * self._isl_tokens
        tokens = min(waiting, float(self.profile.batched_tokens))
        taken = math.ceil(prompts * tokens / waiting) if waiting else 0
        return _step(
            engine.name,
            self.profile.step_s(0, 0, (Chunk(0, round(tokens)),)) if tokens else 0.0,
            (taken, tokens),
            (prompts - taken, waiting - tokens),
        )

    def _decode_step(self, engine: EngineView) -> dict[str, Any]:
        sequences = value(engine.running) or 0.0
        tokens = (value(engine.kv_use) or 0.0) * self.profile.kv_tokens
        queued = value(engine.waiting) or 0.0
        return _step(
            engine.name,
            self.profile.step_s(round(sequences), tokens) if sequences else 0.0,
            (sequences, tokens),
            (queued, queued * self._isl_tokens),
        )

    def _prefill_samples(self) -> Iterator[dict[str, Any]]:
        for share in PREFILL_SHARES:
            tokens = round(share * self.profile.batched_tokens)
            yield _step("sample", self.profile.step_s(0, 0, (Chunk(0, tokens),)), (1, tokens), (0, 0))

    def _decode_samples(self) -> Iterator[dict[str, Any]]:
        for context in CONTEXTS:
            for batch in BATCHES:
                tokens = batch * context
                if batch <= self.profile.max_batch and tokens <= self.profile.kv_tokens:
                    yield _step("sample", self.profile.step_s(batch, tokens), (batch, tokens), (0, 0))


def _step(
    name: str, step_s: float, scheduled: tuple[float, float], queued: tuple[float, float]
) -> dict[str, Any]:
    """A forward pass: requests and tokens in it and behind it."""
    return {
        "name": name,
        "step_s": step_s,
        "requests": round(scheduled[0]),
        "tokens": round(scheduled[1]),
        "queued": round(queued[0]),
        "queued_tokens": round(queued[1]),
    }


def _pair(engines: PerRole[int]) -> list[int]:
    return [engines.prefill, engines.decode]


def _traffic(now: Demand) -> dict[str, float]:
    return {
        "duration_s": TICK_S,
        "requests": now.rate_rps * TICK_S,
        "isl_tokens": now.isl_tokens,
        "osl_tokens": now.osl_tokens,
        "prefix_hit": now.prefix_hit,
    }
