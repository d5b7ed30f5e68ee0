"""Counters of all routers to demand over an interval. Pure: readings and times are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import SloCounts
from pdoperator.signals.router_metrics import Counts
from pdoperator.signals.spread import Spread


@dataclass(slots=True)
class _Router:
    """One router: its newest counters, and what it has counted since `since_s`."""

    newest: Counts
    since_s: float
    counted: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class RouterCounts:
    """Counters of one router pod, read now."""

    created_s: float
    counts: Counts


@dataclass(frozen=True, slots=True)
class Interval:
    """What came over an interval. Demand of None: no request came."""

    demand: Value[Demand | None] | Missing
    tpot_s: Value[float] | Missing
    ttft_s: Value[float] | Missing
    slo: Value[SloCounts] | Missing

    @staticmethod
    def unknown(why: str) -> Interval:
        """Nothing is known of it."""
        missing = Missing(why)
        return Interval(missing, missing, missing, missing)


@dataclass(slots=True)
class DemandWindow:
    """Previous counters of one service's routers. A restart counts from 0; one that is gone, with what was read."""

    _routers: dict[str, _Router] = field(default_factory=dict)
    _there: frozenset[str] = frozenset()  # those that were there when all were last read
    _looked_s: float | None = None  # when the routers were last all read
    _lengths: tuple[float | None, float | None] = (None, None)  # ISL, OSL last known
    _isl_spread: Spread = field(default_factory=Spread)
    _osl_spread: Spread = field(default_factory=Spread)

    def update(self, read: Mapping[str, RouterCounts], now_s: float, complete: bool) -> bool | None:
        """Takes in new counters. Returns whether requests came since the last call; None: that is not known.

        `complete`: all routers that serve were read.
        """
        came, known = False, complete
        for name, router in read.items():
            counted = self._count(name, router, now_s)
            came = came or (counted is not None and counted.admitted > 0)
            known = known and counted is not None
        if complete:
            self._there = frozenset(read)
            self._looked_s = now_s
        return True if came else (False if known else None)

    def _count(self, name: str, read: RouterCounts, now_s: float) -> Counts | None:
        """What the router counted since it was last read; None at its first reading, if it was there before."""
        known = self._routers.get(name)
        if known is None:
            is_new = self._looked_s is not None and read.created_s > self._looked_s
            since_s = read.created_s if is_new else now_s
            self._routers[name] = _Router(read.counts, since_s, read.counts if is_new else Counts())
            return read.counts if is_new else None
        counted = read.counts.since(known.newest)
        known.newest, known.counted = read.counts, known.counted + counted
        return counted

    def close(self, now_s: float, unread: str) -> Interval:
        """Ends the interval and begins the next. `unread` says which router could not be read; empty: all were."""
        if unread or not self._routers:
            return Interval.unknown(unread or "no router has been read")
        if all(router.since_s >= now_s for router in self._routers.values()):
            return Interval.unknown("the first reading of the routers: rates need two")
        started_s = min(router.since_s for router in self._routers.values())
        # A router that could not be read for a while has counted for longer than the others.
        rate = sum(
            router.counted.admitted / (now_s - router.since_s)
            for router in self._routers.values()
            if router.since_s < now_s
        )
        counted = sum((router.counted for router in self._routers.values()), Counts())
        # A router that is gone has counted in this interval for the last time.
        self._routers = {name: router for name, router in self._routers.items() if name in self._there}
        for router in self._routers.values():
            router.since_s, router.counted = now_s, Counts()
        over_s = now_s - started_s
        return Interval(
            demand=self._demand(rate, counted, over_s),
            tpot_s=_mean(counted.tpot_s, counted.tpots, "with more than one output token", over_s),
            ttft_s=_mean(counted.ttft_s, counted.ttfts, "that streams", over_s),
            slo=Value(SloCounts(int(counted.judged), max(0, int(counted.judged - counted.within_slo)))),
        )

    def _demand(self, rate_rps: float, counted: Counts, over_s: float) -> Value[Demand | None] | Missing:
        """ISL of what was admitted, where that is known at admission, else of what finished; OSL of what finished."""
        self._isl_spread.add(counted.sized, counted.sized_tokens, counted.sized_squares, over_s)
        self._osl_spread.add(counted.outputs, counted.output_tokens, counted.output_squares, over_s)
        isl, osl = self._lengths
        if counted.sized > 0:
            isl = counted.sized_tokens / counted.sized
        elif counted.inputs > 0:
            isl = counted.input_tokens / counted.inputs
        osl = counted.output_tokens / counted.outputs if counted.outputs > 0 else osl
        self._lengths = isl, osl
        if rate_rps == 0:
            return Value(None)
        if isl is None or osl is None:
            return Missing("requests came but none has finished yet, so their lengths are not known")
        isl_cv = self._isl_spread.cv(defaults.ISL_CV)
        return Value(Demand(rate_rps, isl, osl, isl_cv, self._osl_spread.cv(defaults.OSL_CV)))


def _mean(total: float, count: float, what: str, over_s: float) -> Value[float] | Missing:
    if count <= 0:
        return Missing(f"no request {what} finished in {over_s:.0f} s")
    return Value(total / count)
