"""The traces of the matrix, each scaled to the same mean load for every profile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pdoperator.capacity.profile import Profile
from pdoperator.sim.policies.work import request_work
from pdoperator.sim.traffic.loaders import load
from pdoperator.sim.traffic.synthetic import dopd_ramp, phase_inversion, topology_walk
from pdoperator.sim.traffic.trace import Trace
from pdoperator.sim.traffic.transform import SPREAD_S, alternated, busiest, scaled, window

# Engines that the mean load would keep fully busy at the loose TPOT target; some 8 to 16 are then needed.
BUSY_ENGINES = 8.0
HOUR_S, DAY_S = 3600.0, 86400.0
# An engine of 8 B parameters serves so much that two days are tens of millions of requests: more than this are cut.
MOST_REQUESTS = 12_000_000


@dataclass(frozen=True, slots=True)
class Workload:
    """`make(folder, seed)`: the trace at its own scale; `about` says what it is and how certain.

    `before`: the same of the days before it, where there are any: what policies may know when the trace begins.
    """

    name: str
    about: str
    make: Callable[[Path, int], Trace]
    spread_s: float = SPREAD_S  # what users share lasts longer than this; see `scaled`
    loose_only: bool = False  # prompts that take half of a TTFT of 2 s alone: only where that is the target
    before: Callable[[Path, int], Trace] | None = None


@lru_cache(maxsize=8)
def _file(path: Path) -> Trace:
    return load(path)


def _whole(name: str) -> Callable[[Path, int], Trace]:
    return lambda folder, seed: _file(folder / f"{name}.csv.gz")


def _days(name: str, first: int, end: int) -> Callable[[Path, int], Trace]:
    return lambda folder, seed: window(_file(folder / f"{name}.csv.gz"), first * DAY_S, end * DAY_S)


def _code_and_conversation(folder: Path, seed: int) -> Trace:
    """As they are: code asks for 6,400 input tokens a second and few outputs, conversation for 7,100 and 1,200."""
    return alternated([_file(folder / f"azure2023_{kind}.csv.gz") for kind in ("code", "conv")], 20 * 60.0)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("azure2024-conv", "Azure 2024 conversation, days 2 and 3; drawn from digitised rates and lengths (S)",
                 _days("azure2024_conv_semisynth_1of25", 2, 4),
                 before=_days("azure2024_conv_semisynth_1of25", 0, 2)),
        Workload("servegen-m-large", "Alibaba's m-large (ServeGen), days 2 and 3; drawn from published clients (S)",
                 _days("servegen_m-large_synth", 2, 4), before=_days("servegen_m-large_synth", 0, 2)),
        Workload("mooncake-conv", "Mooncake conversation, 59 min, prefix hits as an unlimited cache has them (M)",
                 _whole("mooncake_conversation")),
        Workload("burstgpt-ramp", "a 480 s ramp as in DOPD's replay, with BurstGPT's bursts and lengths (S)",
                 lambda folder, seed: dopd_ramp(seed, 10.0), spread_s=1.0),
        Workload("azure2023-conv", "Azure 2023 conversation, 40 min (M)", _whole("azure2023_conv")),
        Workload("azure2023-code", "Azure 2023 code, 40 min, violently bursty (M)", _whole("azure2023_code")),
        Workload("code-conv-code", "Azure 2023 code and conversation in turns of 20 min (M)", _code_and_conversation,
                 spread_s=60.0),
        Workload("topology-walk", "Narwhal's walk from prefill to decode and back in eight phases of 20 min (S)",
                 lambda folder, seed: topology_walk(seed, 4.0), loose_only=True),
        Workload("phase-inversion", "Narwhal's turn from all prefill to all decode to both, 5 min each (S)",
                 lambda folder, seed: phase_inversion(2.0, seed), loose_only=True),
    )
}  # fmt: skip


def at_scale(
    workload: Workload, folder: Path, profile: Profile, tpot_s: float, seed: int, longest_s: float = math.inf
) -> tuple[Trace, Trace | None]:
    """The trace with as many users as keep BUSY_ENGINES busy on average, cut where that is too much to simulate; and
    the same users' earlier days, where there are any.

    Of a trace longer than `longest_s` only its busiest part of that length is taken, without what came before.
    """
    trace, before = workload.make(folder, seed), workload.before
    if trace.span_s > longest_s:
        trace, before = busiest(trace, longest_s), None
    prefill_s, decode_s, _ = request_work(trace, profile, tpot_s)
    factor = BUSY_ENGINES * trace.span_s / float(prefill_s.sum() + decode_s.sum())
    if len(trace) * factor > MOST_REQUESTS:
        trace = window(trace, 0.0, trace.span_s * MOST_REQUESTS / (len(trace) * factor))
    earlier = before and scaled(before(folder, seed), factor, seed, workload.spread_s)
    return scaled(trace, factor, seed, workload.spread_s), earlier
