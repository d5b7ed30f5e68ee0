"""When does disaggregation pay at equal cost? k GPUs that do both against the best split of the same k GPUs.

Mean-field model at one ISL and OSL, Poisson arrivals, roofline latencies. It adds what the closed form of
PD-Disaggregation-Eval leaves out: decode interference, the queue in front of prefill engines, KV memory, the price.

- Colocated, each GPU at Q/k: prefills go first, so decode steps stretch to step(B) / (1 - rho); a prefill waits its
  M/D/1 queue and half a decode step, which it cannot interrupt (M/G/1 with vacations).
- Disaggregated, p + d = k: prefill is M/D/1 at Q/p, then so is its link, then the hop; decode steps take
  step(B) at Q/d.
- B by Little's law: the requests in decode at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pdoperator.capacity import roofline
from pdoperator.capacity.datasheets import GpuSheet, ModelSheet
from pdoperator.capacity.lengths import ServiceTime
from pdoperator.capacity.queueing import mg1_stay_s

# vLLM's --gpu-memory-utilization
MEMORY_SHARE = 0.9
# A gain within the precision of the search is none.
PRECISION = 1e-6
_BISECTIONS = 40


class ModelTooLargeError(ValueError):
    """The weights alone do not fit."""

    def __init__(self, weight_bytes: float, room_bytes: float) -> None:
        super().__init__(
            f"the weights take {weight_bytes / 1e9:.1f} GB and an engine has room for {room_bytes / 1e9:.1f} GB; "
            "give an engine more GPUs"
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: lengths in tokens, targets for the means of TTFT and TPOT in seconds."""

    isl_tokens: float
    osl_tokens: float
    ttft_s: float
    tpot_s: float

    @property
    def context_tokens(self) -> float:
        """Mean length of a sequence while it decodes."""
        return self.isl_tokens + self.osl_tokens / 2


@dataclass(frozen=True, slots=True)
class System:
    """What serves it: `engines` of `gpu` each, linked at `link_bytes_per_s`; the hop is the router's, in seconds."""

    model: ModelSheet
    gpu: GpuSheet
    link_bytes_per_s: float
    engines: int
    hop_s: float


@dataclass(frozen=True, slots=True)
class EqualCost:
    """Requests per second within both targets: colocated, and with the best split."""

    colocated_qps: float
    disaggregated_qps: float
    prefill_engines: int
    decode_engines: int

    @property
    def qps(self) -> float | None:
        """The rate above which disaggregation pays: the most that colocated engines carry. None is never."""
        gains = self.disaggregated_qps > self.colocated_qps * (1 + PRECISION) + PRECISION
        return self.colocated_qps if gains else None


def equal_cost(system: System, load: Load) -> EqualCost:
    """Both limits. Raises ModelTooLargeError, and ValueError below two engines."""
    if system.engines < 2:
        raise ValueError(f"a split needs at least 2 engines, got {system.engines}")
    room = system.gpu.memory_bytes * MEMORY_SHARE
    if system.model.weight_bytes >= room:
        raise ModelTooLargeError(system.model.weight_bytes, room)
    k = system.engines
    ceiling = k / roofline.prefill_s(system.model, system.gpu, load.isl_tokens)
    colocated = _highest(partial(_colocated_meets, system, load), ceiling)
    splits = {p: _highest(partial(_split_meets, system, load, p), ceiling) for p in range(1, k)}
    prefill = max(splits, key=lambda p: splits[p])
    return EqualCost(colocated, splits[prefill], prefill, k - prefill)


def _colocated_meets(system: System, load: Load, qps: float) -> bool:
    rate_rps = qps / system.engines
    t_p = roofline.prefill_s(system.model, system.gpu, load.isl_tokens)
    rho = rate_rps * t_p
    if rho >= 1:
        return False
    step = _decode_step_s(system, load, rate_rps, 1 - rho)
    ttft = mg1_stay_s(rate_rps, ServiceTime.fixed(t_p)) + step / 2
    return step / (1 - rho) <= load.tpot_s and ttft <= load.ttft_s


def _split_meets(system: System, load: Load, prefill_engines: int, qps: float) -> bool:
    prefill_rps, decode_rps = qps / prefill_engines, qps / (system.engines - prefill_engines)
    t_p = roofline.prefill_s(system.model, system.gpu, load.isl_tokens)
    transfer = roofline.transfer_s(system.model, load.isl_tokens, system.link_bytes_per_s)
    computing = mg1_stay_s(prefill_rps, ServiceTime.fixed(t_p))
    moving = mg1_stay_s(prefill_rps, ServiceTime.fixed(transfer))
    ttft = computing + moving + system.hop_s
    return ttft <= load.ttft_s and _decode_step_s(system, load, decode_rps, 1.0) <= load.tpot_s


def _decode_step_s(system: System, load: Load, rate_rps: float, share: float) -> float:
    """Seconds of a decode step at this rate where decode gets `share` of the time; infinite where it cannot keep up.

    Solves B = rate * OSL * step(B) / share. A step is w + beta B (memory) or alpha B (compute), whichever is longer;
    at a stable point it is the former. The step that a request sees has at least itself in it.
    """
    model, gpu = system.model, system.gpu
    tokens_per_s = rate_rps * load.osl_tokens / share
    kv = load.context_tokens * model.kv_bytes_per_token
    beta = kv / gpu.bytes_per_s
    alpha = roofline.decode_flops_per_token(model, load.context_tokens) / gpu.flops
    if tokens_per_s * max(alpha, beta) >= 1:
        return math.inf
    batch = tokens_per_s * model.weight_bytes / gpu.bytes_per_s / (1 - tokens_per_s * beta)
    if model.weight_bytes + max(1.0, batch) * kv > gpu.memory_bytes * MEMORY_SHARE:
        return math.inf
    return roofline.decode_step_s(model, gpu, max(1.0, batch), load.context_tokens)


def _highest(meets: Callable[[float], bool], ceiling: float) -> float:
    """The highest rate up to `ceiling` that meets, where whatever is below a rate that meets does too; else 0."""
    low, high = 0.0, ceiling
    if not meets(ceiling * PRECISION):
        return 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low
