"""The signals of a decision as status tells them: what was read, and what is done where nothing was. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pdoperator.api import defaults
from pdoperator.api.reasons import SignalUse
from pdoperator.api.status import SignalStatus
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation, PrefillTimes, SloCounts, Transfers

U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal; `otherwise` is what decisions do without it."""

    name: str
    read: Callable[[Observation], Value[str] | Missing]
    otherwise: SignalUse


def signals(observation: Observation) -> list[SignalStatus]:
    """All signals of one observation."""
    return [_told(signal, signal.read(observation)) for signal in _SIGNALS]


def _told(signal: _Signal, reading: Value[str] | Missing) -> SignalStatus:
    if isinstance(reading, Missing):
        return SignalStatus(
            name=signal.name, state="Missing", used_as=signal.otherwise.value, message=reading.why
        )
    if reading.age_s <= defaults.SIGNAL_FRESH_S:
        state, use = "Fresh", SignalUse.AS_READ
    elif reading.age_s <= defaults.METRICS_MAX_AGE_S or signal.otherwise is not SignalUse.HOLD:
        state, use = "Old", SignalUse.LAST_GOOD
    else:
        state, use = "Old", signal.otherwise
    return SignalStatus(
        name=signal.name, state=state, age_seconds=round(reading.age_s), used_as=use.value, message=reading.x
    )


def _map(reading: Value[U] | Missing, tell: Callable[[U], str]) -> Value[str] | Missing:
    return reading if isinstance(reading, Missing) else Value(tell(reading.x), reading.age_s)


def _demand(demand: Demand | None) -> str:
    if demand is None:
        return "no request"
    return f"{demand.rate_rps:.2f} req/s, ISL {demand.isl_tokens:.0f}, OSL {demand.osl_tokens:.0f}"


def _slo(counts: SloCounts) -> str:
    return f"{counts.missed} of {counts.ended} requests missed a target"


def _times(seen: PrefillTimes) -> str:
    return f"prompts wait {seen.wait_s:.3f} s and take {seen.service_s:.3f} s"


def _transfers(seen: Transfers) -> str:
    return f"{seen.done} done, {seen.failed} failed, {seen.expired} expired, {seen.late} late"


def _over_engines(
    read: Callable[[EngineView], Value[float] | Missing], tell: Callable[[list[float]], str]
) -> Callable[[Observation], Value[str] | Missing]:
    """A figure of all serving engines together; Missing if not one of them could be read."""

    def together(observation: Observation) -> Value[str] | Missing:
        usable = [engine for engine in observation.engines if engine.usable]
        readings = [read(engine) for engine in usable]
        known = [reading for reading in readings if isinstance(reading, Value)]
        if not known:
            whys: Iterable[str] = (reading.why for reading in readings if isinstance(reading, Missing))
            return Missing(next(iter(whys), "no engine serves"))
        unread = f"; {len(usable) - len(known)} engines could not be read" if len(known) < len(usable) else ""
        return Value(tell([value.x for value in known]) + unread, max(value.age_s for value in known))

    return together


_SIGNALS = (
    _Signal("demand", lambda o: _map(o.demand, _demand), SignalUse.HOLD),
    _Signal("ttft", lambda o: _map(o.ttft_s, lambda x: f"{x:.3f} s"), SignalUse.PROFILE),
    _Signal("tpot", lambda o: _map(o.tpot_s, lambda x: f"{x * 1e3:.1f} ms"), SignalUse.PROFILE),
    _Signal("slo", lambda o: _map(o.slo, _slo), SignalUse.LEFT_OUT),
    _Signal(
        "queues",
        _over_engines(lambda e: e.waiting, lambda xs: f"{sum(xs):.0f} requests wait at {len(xs)} engines"),
        SignalUse.LEFT_OUT,
    ),
    _Signal(
        "kvUse",
        _over_engines(lambda e: e.kv_use, lambda xs: f"{max(xs):.0%} at the fullest of {len(xs)} engines"),
        SignalUse.LEFT_OUT,
    ),
    _Signal("prefillTime", lambda o: _map(o.prefill_times, _times), SignalUse.LEFT_OUT),
    _Signal("prefixHit", lambda o: _map(o.prefix_hit, lambda x: f"{x:.0%}"), SignalUse.COLD_CACHE),
    _Signal("transfers", lambda o: _map(o.transfers, _transfers), SignalUse.LEFT_OUT),
    _Signal("startup", lambda o: _map(o.startup_p90_s, lambda x: f"p90 {x:.0f} s"), SignalUse.DEFAULT),
)
