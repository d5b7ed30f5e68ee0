"""Counters of all routers to demand over an interval. Pure: readings and times are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import SloCounts
from pdoperator.signals.answers import Answers
from pdoperator.signals.router_metrics import Counts
from pdoperator.signals.spread import Covariance, Spread


@dataclass(slots=True)
class _Router:
    """One router: its newest counters, and what it has counted since `since_s`."""

    newest: Counts
    newest_s: float
    since_s: float
    counted: Counts = field(default_factory=Counts)
    rate_rps: float = 0.0  # over the last interval for which there was a newer reading


@dataclass(frozen=True, slots=True)
class RouterCounts:
    """Counters of one router pod as of `at_s`."""

    created_s: float
    at_s: float
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
    _last: Interval | None = None
    _newest_s: float = 0.0  # of the readings that it was made of
    _answers: Answers = field(default_factory=Answers)
    _isl_spread: Spread = field(default_factory=Spread)
    _osl_spread: Spread = field(default_factory=Spread)
    _covariance: Covariance = field(default_factory=Covariance)

    def update(self, read: Mapping[str, RouterCounts], now_s: float, complete: bool) -> bool | None:
        """Takes in new counters. Returns whether requests came since the last call; None: that is not known.

        `complete`: all routers that serve were read.
        """
        came, known = False, complete
        for name, router in read.items():
            counted = self._count(name, router)
            came = came or (counted is not None and counted.admitted > 0)
            known = known and counted is not None
        if complete:
            self._there = frozenset(read)
            self._looked_s = now_s
        return True if came else (False if known else None)

    def _count(self, name: str, read: RouterCounts) -> Counts | None:
        """What the router counted since it was last read; None at its first reading, if it was there before."""
        known = self._routers.get(name)
        if known is None:
            is_new = self._looked_s is not None and read.created_s > self._looked_s
            since_s = read.created_s if is_new else read.at_s
            counted = read.counts if is_new else Counts()
            self._routers[name] = _Router(read.counts, read.at_s, since_s, counted)
            return read.counts if is_new else None
        counted = read.counts.since(known.newest)
        known.newest, known.counted = read.counts, known.counted + counted
        known.newest_s = max(known.newest_s, read.at_s)
        return counted

    def close(self, now_s: float, unread: str) -> Interval:
        """Ends the interval and begins the next. `unread` says which router could not be read; empty: all were."""
        if unread or not self._routers:
            return Interval.unknown(unread or "no router has been read")
        if all(router.newest_s <= router.since_s for router in self._routers.values()):
            return self._without_news(now_s)
        started_s = min(router.since_s for router in self._routers.values())
        self._newest_s = max(router.newest_s for router in self._routers.values())
        for name, router in self._routers.items():
            # One that is gone has counted nothing since; one that could not be read for a while, for longer.
            over_s = (router.newest_s if name in self._there else self._newest_s) - router.since_s
            if over_s > 0:
                router.rate_rps = router.counted.admitted / over_s
        rate = sum(router.rate_rps for router in self._routers.values())
        counted = sum((router.counted for router in self._routers.values()), Counts())
        # A router that is gone has counted in this interval for the last time.
        self._routers = {name: router for name, router in self._routers.items() if name in self._there}
        for router in self._routers.values():
            router.since_s, router.counted = router.newest_s, Counts()
        over_s = self._newest_s - started_s
        age_s = now_s - self._newest_s
        self._last = Interval(
            demand=self._demand(rate, counted, over_s, age_s),
            tpot_s=_mean(counted.tpot_s, counted.tpots, "with more than one output token", over_s),
            ttft_s=_mean(counted.ttft_s, counted.ttfts, "that streams", over_s),
            slo=Value(SloCounts(int(counted.judged), max(0, int(counted.judged - counted.within_slo)))),
        )
        return self._last

    def _without_news(self, now_s: float) -> Interval:
        """No router has a newer reading than at the last decision: what was known then, older by now.

        So it is when Prometheus scrapes less often than decisions are taken. Counts are not told twice.
        """
        if self._last is None:
            return Interval.unknown("the first reading of the routers: rates need two")
        age_s, last = now_s - self._newest_s, self._last
        demand = last.demand if isinstance(last.demand, Missing) else Value(last.demand.x, age_s)
        return replace(last, demand=demand, slo=Missing("no newer reading since the last decision"))

    def _demand(
        self, rate_rps: float, counted: Counts, over_s: float, age_s: float
    ) -> Value[Demand | None] | Missing:
        """ISL of what was admitted, where that is known at admission, else of what finished."""
        self._answers.add(counted, over_s)
        self._isl_spread.add(counted.sized, counted.sized_tokens, counted.sized_squares, over_s)
        answer = self._answers.mean_tokens
        mean = answer or 1.0  # spread is about the mean of the moment: a turn of the load is none
        self._osl_spread.add(
            counted.outputs, counted.output_tokens / mean, counted.output_squares / mean**2, over_s
        )
        self._covariance.add(counted, over_s)
        isl, osl = self._lengths
        if counted.sized > 0:
            isl = counted.sized_tokens / counted.sized
        elif counted.inputs > 0:
            isl = counted.input_tokens / counted.inputs
        osl = answer or osl
        self._lengths = isl, osl
        if rate_rps == 0:
            return Value(None, age_s)
        if isl is None or osl is None:
            return Missing("requests came but none has finished yet, so their lengths are not known")
        demand = Demand(
            rate_rps,
            isl,
            osl,
            isl_cv=self._isl_spread.cv(defaults.ISL_CV),
            osl_cv=self._osl_spread.cv(defaults.OSL_CV),
            covariance=self._covariance.relative(defaults.LENGTHS_COVARIANCE),
        )
        return Value(demand, age_s)


def _mean(total: float, count: float, what: str, over_s: float) -> Value[float] | Missing:
    if count <= 0:
        return Missing(f"no request {what} finished in {over_s:.0f} s")
    return Value(total / count)
