"""Loads and bounds that a person foresees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.units import timestamp
from pdoperator.api.values import PerRole, Value, total
from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive.needs import Sizer
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.settings import PlanSettings
from planning.fleet import NOW_S, no_history, observation, settings

WIDE = {"minReplicas": 1, "maxReplicas": 100}
AT_ONCE = {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}]}
SCALING = {
    "strategy": "DOPD",
    "forecast": {"model": "LastValue"},
    "behavior": {"scaleUp": AT_ONCE, "scaleDown": {"stabilizationWindowSeconds": 0}},
}
STARTUP_S = 100.0
LOAD = Demand(3.0, 512, 64)


def plan(**more: Any) -> PlanSettings:
    return settings(prefill=WIDE, decode=WIDE, autoscaling=SCALING | more)


def event(start_s: float, end_s: float, **more: Any) -> PlanSettings:
    entry = {"from": timestamp(NOW_S + start_s), "to": timestamp(NOW_S + end_s), **more}
    return plan(calendar=[entry])


def at(
    settings: PlanSettings, *loads: tuple[float, float], history: History | None = None
) -> tuple[Decision, History]:
    """The decision after (seconds from now, requests per second), one tick each; engines take STARTUP_S to start."""
    history = history or no_history()
    for at_s, rate in loads:
        demand = replace(LOAD, rate_rps=rate) if rate else None
        seen = observation(demand, NOW_S + at_s, startup_p90_s=Value(STARTUP_S), idle_for_s=999)
        decision, history = decide(settings, seen, history)
    return decision, history


def test_a_floor_is_prepared_for_as_long_before_as_an_engine_takes_to_start() -> None:
    launch = event(200, 3600, floor=30.0)
    assert at(launch, (84, 3.0))[0].target == at(plan(), (0, 3.0))[0].target
    decision, _ = at(launch, (85, 3.0))
    assert decision.target == at(plan(), (0, 30.0))[0].target
    assert decision.reason is Reason.CALENDAR
    assert decision.message.startswith("calendar 30.0 req/s, ISL 512, OSL 64 in 15 s needs prefill")


def test_a_load_above_the_floor_is_what_counts() -> None:
    decision, _ = at(event(0, 3600, floor=1.0), (0, 3.0))
    assert decision.reason is Reason.LAST_VALUE


def test_a_factor_multiplies_the_load_before_the_event_and_not_the_event_itself() -> None:
    launch = event(100, 3600, factor=3.0)
    _, history = at(launch, (0, 10.0))
    decision, history = at(launch, (120, 30.0), history=history)
    assert decision.target == at(plan(), (0, 30.0))[0].target


def test_an_event_that_turns_out_smaller_still_keeps_its_factor_until_its_end() -> None:
    launch = event(100, 3600, factor=3.0)
    _, history = at(launch, (0, 10.0))
    decision, history = at(launch, (1000, 8.0), history=history)
    assert decision.reason is Reason.CALENDAR
    decision, history = at(launch, (3600, 8.0), history=history)
    assert decision.reason is Reason.LAST_VALUE
    assert not history.events


def test_a_factor_of_an_event_that_has_begun_unseen_adds_nothing() -> None:
    decision, _ = at(event(-10, 3600, factor=3.0), (0, 10.0))
    assert decision.reason is Reason.LAST_VALUE


def test_adaptive_which_forecasts_for_itself_is_prepared_as_early() -> None:
    entry = {"from": timestamp(NOW_S + 200), "to": timestamp(NOW_S + 3600), "floor": 30.0}
    launch = plan(strategy="Adaptive", calendar=[entry])
    before, history = at(launch, (79, 3.0), (94, 3.0))
    assert before.reason is Reason.FORECAST
    decision, history = at(launch, (95, 3.0), history=history)
    assert decision.reason is Reason.CALENDAR
    assert decision.message.startswith("calendar 30.0 req/s, ISL 512, OSL 64 in 105 s needs prefill")
    busy = Sizer.of(LOAD, launch).busy(30.0)
    assert total(decision.target) > busy.prefill + busy.decode > total(before.target)
    expected, _ = at(launch, (100, 60.0), history=history)
    assert expected.reason is Reason.FORECAST  # the load itself is more than the calendar


def test_an_idle_service_is_woken_for_an_event() -> None:
    launch = event(defaults.IDLE_AFTER_S, 3600, floor=30.0)
    decision, _ = at(launch, (-900, 3.0), (0, 0.0))
    assert decision.reason is Reason.CALENDAR
    assert decision.target == at(plan(), (0, 30.0))[0].target


def schedule(**more: Any) -> dict[str, Any]:
    return {"from": timestamp(NOW_S), "to": timestamp(NOW_S + 60), **more}


def test_bounds_of_a_schedule_take_the_place_of_the_roles_own_while_it_lasts() -> None:
    night = plan(schedules=[schedule(prefill={"minReplicas": 7}, decode={"minReplicas": 3})])
    decision, history = at(night, (0, 3.0))
    assert (decision.target, decision.limited) == (PerRole(7, 3), Reason.TOO_FEW_REPLICAS)
    assert decision.message.endswith("minReplicas of a schedule makes it 7P:3D")
    assert at(night, (60, 3.0), history=history)[0].target == PerRole(4, 1)


def test_a_schedule_may_lower_the_most_too_and_leaves_the_other_role_alone() -> None:
    night = plan(schedules=[schedule(prefill={"maxReplicas": 2})])
    assert at(night, (0, 30.0))[0].target == PerRole(2, at(plan(), (0, 30.0))[0].target.decode)


def test_the_first_schedule_that_applies_counts() -> None:
    two = plan(schedules=[schedule(prefill={"minReplicas": 6}), schedule(prefill={"minReplicas": 9})])
    assert at(two, (0, 3.0))[0].target.prefill == 6


def test_a_schedule_never_asks_for_what_cannot_be_had() -> None:
    night = plan(schedules=[schedule(prefill={"minReplicas": 7, "maxReplicas": 9})])
    own = night.limits
    scarce = replace(own, roles=PerRole(replace(own.roles.prefill, most=4), own.roles.decode), short=True)
    assert at(replace(night, limits=scarce), (0, 30.0))[0].target.prefill == 4
