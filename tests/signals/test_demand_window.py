"""Counters of routers that come, go, restart and cannot be read, to demand."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import SloCounts
from pdoperator.signals.counters import ByLength
from pdoperator.signals.demand_window import DemandWindow, Interval, RouterCounts
from pdoperator.signals.router_metrics import Counts

BEFORE_S, NOW_S = 500.0, 1000.0


def finished(requests: float, isl: float = 100, osl: float = 10, tpot_s: float = 0.05) -> Counts:
    """Counters after this many requests, all finished."""
    return Counts(requests, requests * isl, requests, requests * osl, requests, requests * tpot_s, requests)


class Routers:
    """A window and readings put into it."""

    def __init__(self) -> None:
        self.window = DemandWindow()

    def read(self, at_s: float, **counts: Counts) -> bool | None:
        read = {name: RouterCounts(BEFORE_S, at_s, c) for name, c in counts.items()}
        return self.window.update(read, at_s, complete=True)

    def interval(self, at_s: float, **counts: Counts) -> Interval:
        self.read(at_s, **counts)
        return self.window.close(at_s, unread="")


def told(interval: Interval) -> tuple[float, ...]:
    """The demand that is known, field by field."""
    assert isinstance(interval.demand, Value)
    assert interval.demand.x is not None
    return astuple(interval.demand.x)


def approximately(demand: Demand) -> object:
    return pytest.approx(astuple(demand))


@pytest.fixture
def routers() -> Routers:
    started = Routers()
    started.interval(NOW_S, a=finished(10))
    return started


def test_demand_is_what_was_counted_between_two_readings(routers: Routers) -> None:
    interval = routers.interval(NOW_S + 10, a=Counts(40, 13_000, 30, 2300, 30, 1.5, 30))
    assert interval.demand == Value(Demand(3.0, 600.0, 110.0))
    assert isinstance(interval.tpot_s, Value)
    assert interval.tpot_s.x == pytest.approx(0.05)


def test_the_first_reading_gives_no_demand_whatever_the_counters_say() -> None:
    assert isinstance(Routers().interval(NOW_S, a=finished(10_000)).demand, Missing)


def test_rates_of_all_routers_add_up_and_lengths_are_weighted_by_requests() -> None:
    routers = Routers()
    routers.interval(NOW_S, a=finished(0), b=finished(0))
    interval = routers.interval(NOW_S + 10, a=finished(30, isl=100), b=finished(10, isl=500))
    assert interval.demand == Value(Demand(4.0, 200.0, 10.0))


def test_a_router_that_restarted_counts_from_zero(routers: Routers) -> None:
    routers.read(NOW_S + 5, a=finished(20))
    assert routers.interval(NOW_S + 10, a=finished(5)).demand == Value(Demand(1.5, 100.0, 10.0))


def test_a_router_that_is_gone_never_makes_demand_negative(routers: Routers) -> None:
    routers.interval(NOW_S + 10, a=finished(20), b=finished(900))
    assert told(routers.interval(NOW_S + 20, a=finished(40))) == approximately(Demand(2.0, 100.0, 10.0))


def test_what_a_router_counted_before_it_went_is_not_lost_and_not_counted_twice(routers: Routers) -> None:
    routers.read(NOW_S + 5, a=finished(30))
    assert routers.interval(NOW_S + 10, b=finished(900)).demand == Value(Demand(2.0, 100.0, 10.0))
    assert told(routers.interval(NOW_S + 20, b=finished(910))) == approximately(Demand(1.0, 100.0, 10.0))


def test_a_router_that_came_within_the_interval_counts_with_all_it_has(routers: Routers) -> None:
    routers.window.update(
        {
            "a": RouterCounts(BEFORE_S, NOW_S + 10, finished(10)),
            "b": RouterCounts(NOW_S + 5, NOW_S + 10, finished(10)),
        },
        NOW_S + 10,
        complete=True,
    )
    assert routers.window.close(NOW_S + 10, unread="").demand == Value(Demand(2.0, 100.0, 10.0))


def test_an_older_router_that_is_seen_for_the_first_time_adds_nothing_yet(routers: Routers) -> None:
    assert routers.interval(NOW_S + 10, a=finished(20), b=finished(5000)).demand == Value(
        Demand(1.0, 100.0, 10.0)
    )


def test_a_router_that_cannot_be_read_makes_the_demand_unknown_and_is_made_up_for_later(
    routers: Routers,
) -> None:
    routers.window.update({}, NOW_S + 10, complete=False)
    assert routers.window.close(NOW_S + 10, unread="router a: away") == Interval.unknown("router a: away")
    assert routers.interval(NOW_S + 20, a=finished(50)).demand == Value(Demand(2.0, 100.0, 10.0))


def test_isl_is_that_of_admitted_requests_where_admission_knows_it(routers: Routers) -> None:
    admitted = Counts(admitted=30, sized=20, sized_tokens=20 * 900)
    assert routers.interval(NOW_S + 10, a=finished(10) + finished(5) + admitted).demand == Value(
        Demand(3.5, 900.0, 10.0)
    )


def test_demand_in_overload_is_what_is_admitted_not_what_finishes(routers: Routers) -> None:
    """dynamo PR#11693: completions, which capacity caps, hid the demand of an overload from the forecast."""
    overload = finished(10) + Counts(100, 100, 1, 10, 1)
    assert routers.interval(NOW_S + 10, a=overload).demand == Value(Demand(10.0, 100.0, 10.0))


def test_the_spread_of_lengths_comes_from_their_squares(routers: Routers) -> None:
    lengths = [100] * 50 + [300] * 50
    counted = finished(11) + Counts(
        admitted=100,
        sized=100,
        sized_tokens=sum(lengths),
        sized_squares=sum(n**2 for n in lengths),
    )
    interval = routers.interval(NOW_S + 10, a=counted)
    assert isinstance(interval.demand, Value)
    assert interval.demand.x is not None
    assert interval.demand.x.isl_cv == pytest.approx(0.5)
    assert interval.demand.x.osl_cv == defaults.OSL_CV  # too few have finished to tell


def test_a_turn_to_answers_a_hundred_times_as_long_is_no_spread_of_answers(routers: Routers) -> None:
    def ended(count: int, osl: float) -> Counts:
        squares = count * osl**2 * 1.25  # half of them half as long again, half of them half as long
        return replace(finished(count, osl=osl), output_squares=squares)

    short = finished(10) + ended(5000, 50)
    routers.interval(NOW_S + 5, a=short)
    for i in range(1, 20):
        interval = routers.interval(NOW_S + 60 + 5 * i, a=short + ended(20 * i, 5000))
    assert isinstance(interval.demand, Value)
    assert interval.demand.x is not None
    assert interval.demand.x.osl_tokens == pytest.approx(5000, rel=0.01)
    assert interval.demand.x.osl_cv == pytest.approx(0.5, rel=0.1)


def by_length(up_to: dict[int, float]) -> ByLength:
    """A row by the bounds of its classes."""
    return ByLength(tuple(up_to.get(bound, 0.0) for bound in (*defaults.LENGTH_BOUNDS_TOKENS, -1)))


def together(pairs: list[tuple[int, int]]) -> Counts:
    """Finished requests of these input and output tokens, from a router that tells their products."""
    isl, osl = sum(i for i, _ in pairs), sum(o for _, o in pairs)
    counted = Counts(len(pairs), isl, len(pairs), osl, len(pairs))
    return replace(counted, products=len(pairs), token_products=sum(i * o for i, o in pairs))


def covariance(interval: Interval) -> float:
    return Demand(*told(interval)).covariance


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(100, 10), (300, 30)] * 20, 0.25),
        ([(100, 30), (300, 10)] * 20, -0.25),
        ([(100, 10), (100, 30), (300, 10), (300, 30)] * 10, 0.0),
        ([(100, 10), (300, 30)] * 5, defaults.LENGTHS_COVARIANCE),  # too few to tell
    ],
)
def test_what_prompts_and_answers_have_in_common_comes_from_their_products(
    pairs: list[tuple[int, int]], expected: float
) -> None:
    routers = Routers()
    routers.interval(NOW_S, a=Counts())
    assert covariance(routers.interval(NOW_S + 10, a=together(pairs))) == pytest.approx(expected)


def test_routers_without_the_product_leave_it_unknown_and_do_not_make_it_small() -> None:
    """An older router beside a newer one: what it does not tell counts neither as 0 nor as the rarest correlation."""
    pairs = [(100, 10), (300, 30)] * 20
    older = replace(together(pairs), products=0.0, token_products=0.0)
    routers = Routers()
    routers.interval(NOW_S, a=Counts(), b=Counts())
    assert covariance(routers.interval(NOW_S + 10, a=older, b=Counts())) == defaults.LENGTHS_COVARIANCE
    assert covariance(routers.interval(NOW_S + 20, a=older + older, b=together(pairs))) == pytest.approx(0.25)


def test_answers_under_way_count_for_the_length_of_answers() -> None:
    """One of ten tokens has ended, nine have a hundred already: the ended alone would tell of ten."""
    counted = replace(
        Counts(10, 1000, 10, 10, 1),
        ended=by_length({16: 1}),
        ended_tokens=by_length({16: 10}),
        generated=by_length({1: 10, 2: 10, 4: 20, 8: 40, 16: 74, 32: 144, 64: 288, 128: 324}),
    )
    routers = Routers()
    routers.interval(NOW_S, a=Counts())
    assert Demand(*told(routers.interval(NOW_S + 10, a=counted))).osl_tokens > 20


def test_the_length_of_answers_shows_a_turn_of_the_load_in_the_next_interval() -> None:
    routers, counted = Routers(), Counts()
    routers.interval(NOW_S, a=counted)
    lengths = []
    for tick in range(1, 41):
        counted = counted + finished(20, osl=20 if tick <= 20 else 200)
        lengths.append(Demand(*told(routers.interval(NOW_S + 10 * tick, a=counted))).osl_tokens)
    assert lengths[19] == pytest.approx(20)
    assert lengths[20] > 150
    assert lengths[-1] == pytest.approx(200)


def test_requests_that_missed_a_target_are_those_judged_less_those_within(routers: Routers) -> None:
    counted = finished(11) + Counts(judged=8, within_slo=6, ttft_s=4.0, ttfts=8)
    interval = routers.interval(NOW_S + 10, a=counted)
    assert interval.slo == Value(SloCounts(ended=8, missed=2))
    assert interval.ttft_s == Value(0.5)


def test_no_request_is_a_demand_of_none_not_a_missing_one(routers: Routers) -> None:
    interval = routers.interval(NOW_S + 10, a=finished(10))
    assert interval.demand == Value(None)
    assert isinstance(interval.tpot_s, Missing)


def test_lengths_last_known_stand_while_none_finishes(routers: Routers) -> None:
    routers.interval(NOW_S + 10, a=finished(20, isl=300))
    running = finished(20, isl=300) + Counts(admitted=10)
    assert told(routers.interval(NOW_S + 20, a=running)) == approximately(Demand(1.0, 500.0, 10.0))


def test_lengths_are_unknown_until_a_first_request_finishes() -> None:
    routers = Routers()
    routers.interval(NOW_S, a=Counts())
    assert isinstance(routers.interval(NOW_S + 10, a=Counts(admitted=10)).demand, Missing)


def test_whether_requests_came_is_told_at_every_reading(routers: Routers) -> None:
    assert routers.read(NOW_S + 1, a=finished(11)) is True
    assert routers.read(NOW_S + 2, a=finished(11)) is False
    assert routers.window.update({}, NOW_S + 3, complete=False) is None
    assert routers.read(NOW_S + 4, a=finished(11), b=finished(3)) is None


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 50), max_size=3), min_size=1, max_size=20)
)
def test_demand_is_never_negative(readings: list[dict[str, int]]) -> None:
    routers = Routers()
    for i, counted in enumerate(readings):
        demand = routers.interval(NOW_S + 10 * i, **{n: finished(c) for n, c in counted.items()}).demand
        if isinstance(demand, Value) and demand.x is not None:
            assert min(demand.x.rate_rps, demand.x.isl_tokens, demand.x.osl_tokens) >= 0


def test_between_two_scrapes_of_prometheus_the_last_demand_stands_with_its_age() -> None:
    window = DemandWindow()

    def close(now_s: float, at_s: float, counts: Counts) -> Interval:
        window.update({"a": RouterCounts(BEFORE_S, at_s, counts)}, now_s, complete=True)
        return window.close(now_s, unread="")

    close(NOW_S, NOW_S - 3, finished(10))
    seen = close(NOW_S + 15, NOW_S + 12, finished(40))
    assert seen.demand == Value(Demand(2.0, 100.0, 10.0), age_s=3.0)
    again = close(NOW_S + 20, NOW_S + 12, finished(40))
    assert again.demand == Value(Demand(2.0, 100.0, 10.0), age_s=8.0)
    assert isinstance(again.slo, Missing)
