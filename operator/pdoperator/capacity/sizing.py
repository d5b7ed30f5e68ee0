"""How many prefill and decode engines, by every method side by side. A method that lacks an input says which."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pdoperator.api import defaults
from pdoperator.api.values import Missing, PerRole
from pdoperator.capacity import dopd, mm1
from pdoperator.capacity.decode_curve import DecodeCurve
from pdoperator.capacity.lengths import LengthMoments, ServiceTime
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.capacity.queueing import mg1_rate_rps, mg1_stay_s

T = TypeVar("T")


class Method(StrEnum):
    """The methods. `md1` is `mg1` with prompts of one length; `dopd` is `dopd-paper` with concurrency held to TPOT."""

    MM1 = "mm1"
    MM1_PERCENTILE = "mm1-percentile"
    MD1 = "md1"
    MG1 = "mg1"
    DOPD_RELEASE = "dopd-release"
    DOPD_PAPER = "dopd-paper"
    DOPD = "dopd"


class InputMissingError(ValueError):
    """A method needs an input that was not given."""


class TpotTooTightError(ValueError):
    """A TPOT target that not even a sequence that decodes alone meets."""

    def __init__(self, target_s: float, alone_s: float) -> None:
        super().__init__(
            f"a TPOT of {target_s * 1e3:.4g} ms cannot be met by any number of decode engines: a sequence that is "
            f"alone takes {alone_s * 1e3:.4g} ms per token"
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """What comes in: mean lengths in tokens; requests per second, or requests in decode at once; spread of ISL.

    `lengths` are the moments of measured prompts, where there are any; they go before the spread.
    """

    isl_tokens: float
    osl_tokens: float
    rate_rps: float | None = None
    concurrent: float | None = None
    isl_cv: float | None = None
    lengths: LengthMoments | None = None

    def spread(self, cv_if_unknown: float) -> LengthMoments:
        """Moments of the prompts: as measured, else lognormal."""
        return self.lengths or LengthMoments.lognormal(self.isl_tokens, _or(self.isl_cv, cv_if_unknown))


@dataclass(frozen=True, slots=True)
class Targets:
    """What is asked for, in seconds. Means; `percentile` (0 to 100) is that of TTFT in the percentile form."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    percentile: float = defaults.PERCENTILE
    overhead_s: float = defaults.TTFT_OVERHEAD_S


@dataclass(frozen=True, slots=True)
class Engine:
    """What one engine can do: prefill latency by ISL; decode as a curve, a profile or one TPOT (seconds); KV."""

    prefill: Fit | None = None
    decode: DecodeCurve | Profile | float | None = None
    kv_blocks: int | None = None
    block_tokens: int = defaults.KV_BLOCK_TOKENS


@dataclass(frozen=True, slots=True)
class Rounded:
    """A fleet in whole engines, held against the targets again; `ttft_s` is infinite when prefill cannot keep up."""

    prefill_replicas: int
    decode_replicas: int
    ttft_s: float
    max_tokens_per_min: float
    meets_targets: bool


@dataclass(frozen=True, slots=True)
class QueueSize:
    """By a queueing formula for prefill and a measured curve for decode; counts not rounded, then rounded up.

    `nearest` is rounded as the M/M/1 paper does.
    """

    prefill: float
    decode: float
    prefill_replicas: int
    decode_replicas: int
    ratio: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    decode_batch: float
    rho: float
    rate_rps: float
    service_s: float
    ttft_floor_s: float
    ttft_s: float
    max_tokens_per_min: float
    nearest: Rounded


@dataclass(frozen=True, slots=True)
class DopdSize:
    """By DOPD; its intermediate values. `sequence_blocks` is None where KV memory is not given."""

    sequence_blocks: int | None
    max_concurrency: int
    prefill_s: float
    tpot_s: float
    decode_residence_s: float
    concurrent: float
    ratio: float
    prefill_replicas: int
    decode_replicas: int


Sized = QueueSize | DopdSize


@dataclass(frozen=True, slots=True)
class DecodePace:
    """One decode engine at its TPOT target: sequences at once, and output tokens per second."""

    batch: float
    tokens_per_s: float


def sizes(demand: Demand, targets: Targets, engine: Engine) -> dict[Method, Sized | Missing]:
    """Every method's answer, or why it has none."""
    methods: dict[Method, Callable[[], Sized]] = {
        Method.MM1: lambda: _mm1(demand, targets, engine, None),
        Method.MM1_PERCENTILE: lambda: _mm1(demand, targets, engine, targets.percentile),
        Method.MD1: lambda: _mg1(demand, targets, engine, LengthMoments.fixed(demand.isl_tokens)),
        Method.MG1: lambda: _mg1(demand, targets, engine, demand.spread(defaults.ISL_CV)),
        Method.DOPD_RELEASE: lambda: _dopd(Method.DOPD_RELEASE, demand, targets, engine),
        Method.DOPD_PAPER: lambda: _dopd(Method.DOPD_PAPER, demand, targets, engine),
        Method.DOPD: lambda: _dopd(Method.DOPD, demand, targets, engine),
    }
    return {method: _answer(size) for method, size in methods.items()}


def fleet_limit(demand: Demand, targets: Targets, engine: Engine, fleet: PerRole[int]) -> mm1.FleetLimit:
    """The inverse problem, by mm1: what this fleet takes. Raises ValueError naming what is missing or impossible."""
    prefill_tps = _mm1_prefill_tokens_per_s(demand, targets, engine, None)
    decode_tps = decode_pace(demand, targets, engine).tokens_per_s
    return mm1.fleet_limit(fleet, demand.isl_tokens, demand.osl_tokens, prefill_tps, decode_tps)


def decode_pace(demand: Demand, targets: Targets, engine: Engine) -> DecodePace:
    """What one decode engine does at the TPOT target. Raises ValueError."""
    target_s = _given(targets.tpot_s, "a TPOT target")
    decode = _given(engine.decode, "a decode curve or a profile")
    if isinstance(decode, DecodeCurve):
        return DecodePace(decode.batch(target_s), decode.tokens_per_s(target_s))
    batch = _concurrency(Method.DOPD, demand, targets, engine)
    return DecodePace(batch, batch / _tpot_s(demand, engine, batch))


def _answer(size: Callable[[], Sized]) -> Sized | Missing:
    try:
        return size()
    except ValueError as error:
        return Missing(str(error))


def _mm1(demand: Demand, targets: Targets, engine: Engine, percentile: float | None) -> QueueSize:
    prefill_tps = _mm1_prefill_tokens_per_s(demand, targets, engine, percentile)
    saturated = _saturated_tokens_per_s(demand, engine)

    def ttft_s(rate_rps: float) -> float:
        return mm1.ttft_s(saturated, demand.isl_tokens, targets.overhead_s, rate_rps, percentile)

    return _queue_size(demand, targets, engine, prefill_tps, demand.isl_tokens / saturated, ttft_s)


def _mm1_prefill_tokens_per_s(
    demand: Demand, targets: Targets, engine: Engine, percentile: float | None
) -> float:
    return mm1.prefill_tokens_per_s(
        _saturated_tokens_per_s(demand, engine),
        demand.isl_tokens,
        _given(targets.ttft_s, "a TTFT target"),
        targets.overhead_s,
        percentile,
    )


def _mg1(demand: Demand, targets: Targets, engine: Engine, lengths: LengthMoments) -> QueueSize:
    prefill = _given(engine.prefill, "a prefill throughput or latency, or a profile")
    service = ServiceTime.of(prefill, lengths)
    target_s = _given(targets.ttft_s, "a TTFT target")
    stay_s = target_s - targets.overhead_s
    if stay_s <= service.mean_s:
        raise mm1.TargetTooTightError(target_s, service.mean_s, targets.overhead_s)
    prefill_tps = mg1_rate_rps(stay_s, service) * demand.isl_tokens

    def ttft_s(rate_rps: float) -> float:
        return mg1_stay_s(rate_rps, service) + targets.overhead_s

    return _queue_size(demand, targets, engine, prefill_tps, service.mean_s, ttft_s)


def _queue_size(
    demand: Demand,
    targets: Targets,
    engine: Engine,
    prefill_tps: float,
    service_s: float,
    ttft_s: Callable[[float], float],
) -> QueueSize:
    """Counts for both sides; `ttft_s` gives the TTFT of one prefill engine by its arrival rate."""
    rate = _given(demand.rate_rps, "a request rate")
    pace = decode_pace(demand, targets, engine)
    isl, osl = demand.isl_tokens, demand.osl_tokens
    prefill = mm1.engines_needed(rate, isl, prefill_tps)
    decode = mm1.engines_needed(rate, osl, pace.tokens_per_s)

    def rounded(prefill_replicas: int, decode_replicas: int) -> Rounded:
        fleet = PerRole(prefill_replicas, decode_replicas)
        limit = mm1.fleet_limit(fleet, isl, osl, prefill_tps, pace.tokens_per_s)
        return Rounded(
            prefill_replicas,
            decode_replicas,
            ttft_s(rate / prefill_replicas),
            limit.tokens_per_min(isl, osl),
            limit.rps >= rate * (1 - mm1.COUNT_TOLERANCE),
        )

    up = rounded(mm1.enough(prefill), mm1.enough(decode))
    return QueueSize(
        prefill=prefill,
        decode=decode,
        prefill_replicas=up.prefill_replicas,
        decode_replicas=up.decode_replicas,
        ratio=mm1.ratio(isl, osl, prefill_tps, pace.tokens_per_s),
        prefill_tokens_per_s=prefill_tps,
        decode_tokens_per_s=pace.tokens_per_s,
        decode_batch=pace.batch,
        rho=prefill_tps * service_s / isl,
        rate_rps=rate,
        service_s=service_s,
        ttft_floor_s=mm1.ttft_floor_s(isl / service_s, isl, targets.overhead_s),
        ttft_s=up.ttft_s,
        max_tokens_per_min=up.max_tokens_per_min,
        nearest=rounded(mm1.nearest(prefill), mm1.nearest(decode)),
    )


def _dopd(method: Method, demand: Demand, targets: Targets, engine: Engine) -> DopdSize:
    prefill = _given(engine.prefill, "a prefill throughput or latency, or a profile")
    # Its variance correction, where the spread is known; without one the mean length stands for all.
    prefill_s = ServiceTime.of(prefill, demand.spread(0.0)).mean_s
    concurrency = _concurrency(method, demand, targets, engine)
    tpot_s = _tpot_s(demand, engine, concurrency)
    residence_s = dopd.decode_residence_s(demand.osl_tokens, tpot_s)
    ratio = dopd.prefill_per_decode(concurrency, prefill_s, residence_s)
    concurrent = _concurrent(demand, residence_s)
    decode = dopd.decode_engines(concurrent, concurrency)
    return DopdSize(
        sequence_blocks=None if engine.kv_blocks is None else _sequence_blocks(demand, engine),
        max_concurrency=concurrency,
        prefill_s=prefill_s,
        tpot_s=tpot_s,
        decode_residence_s=residence_s,
        concurrent=concurrent,
        ratio=ratio,
        prefill_replicas=(
            dopd.prefill_engines_release(ratio)
            if method is Method.DOPD_RELEASE
            else dopd.prefill_engines_paper(ratio, decode)
        ),
        decode_replicas=decode,
    )


def _concurrent(demand: Demand, residence_s: float) -> float:
    if demand.concurrent is not None:
        return demand.concurrent
    return dopd.running_requests(_given(demand.rate_rps, "a request rate or requests at once"), residence_s)


def _concurrency(method: Method, demand: Demand, targets: Targets, engine: Engine) -> int:
    """Sequences that one decode engine holds: by memory as in the release and the paper, or by memory and TPOT."""
    if method is not Method.DOPD:
        _given(engine.kv_blocks, "KV blocks of a decode engine, or a profile")
    limits = [_memory_concurrency(demand, engine)]
    if method is Method.DOPD:
        limits.append(_tpot_concurrency(demand, targets, engine))
    if isinstance(engine.decode, Profile):
        limits.append(engine.decode.max_batch)
    known = [limit for limit in limits if limit is not None]
    if not known:
        raise InputMissingError("needs KV blocks of a decode engine, a decode curve or a profile")
    return min(known)


def _memory_concurrency(demand: Demand, engine: Engine) -> int | None:
    if engine.kv_blocks is None:
        return None
    blocks = _sequence_blocks(demand, engine)
    fitting = dopd.memory_concurrency(engine.kv_blocks, blocks)
    if fitting == 0:
        raise ValueError(f"not even one request fits: it needs {blocks} KV blocks of {engine.kv_blocks}")
    return fitting


def _tpot_concurrency(demand: Demand, targets: Targets, engine: Engine) -> int | None:
    """The largest batch within the TPOT target; None where no target or no curve limits it. Raises ValueError."""
    target_s, decode = targets.tpot_s, engine.decode
    if target_s is None or decode is None:
        return None
    if isinstance(decode, DecodeCurve):
        return max(1, math.floor(decode.batch(target_s) + mm1.COUNT_TOLERANCE))
    alone_s = _tpot_s(demand, engine, 1)
    if alone_s > target_s:
        raise TpotTooTightError(target_s, alone_s)
    if isinstance(decode, Profile):
        return dopd.tpot_concurrency(decode, _context_tokens(demand), target_s, 1.0)
    return None


def _tpot_s(demand: Demand, engine: Engine, batch: float) -> float:
    decode = engine.decode
    if decode is None:
        raise InputMissingError("needs a decode latency, a decode curve or a profile")
    if isinstance(decode, DecodeCurve):
        return decode.tpot_s(batch)
    if isinstance(decode, Profile):
        return decode.itl_s(batch, _context_tokens(demand))
    return decode


def _saturated_tokens_per_s(demand: Demand, engine: Engine) -> float:
    prefill = _given(engine.prefill, "a prefill throughput or latency, or a profile")
    return demand.isl_tokens / ServiceTime.of(prefill, LengthMoments.fixed(demand.isl_tokens)).mean_s


def _sequence_blocks(demand: Demand, engine: Engine) -> int:
    return dopd.sequence_blocks(demand.isl_tokens, demand.osl_tokens, engine.block_tokens)


def _context_tokens(demand: Demand) -> float:
    return dopd.mean_context_tokens(demand.isl_tokens, demand.osl_tokens)


def _given(value: T | None, what: str) -> T:
    if value is None:
        raise InputMissingError(f"needs {what}")
    return value


def _or(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given
