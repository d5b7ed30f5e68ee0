"""One decision after another: what is decided from what is known, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Candidate, Decision, History
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from planning.fleet import NOW_S, engine, fleet, no_history, observation, settings

LOAD = Demand(3.0, 512, 64)
AT_ONCE = {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}]}
UP_AT_ONCE = {"behavior": {"scaleUp": AT_ONCE}}
NO_DELAY = {"behavior": {"scaleUp": AT_ONCE, "scaleDown": {"stabilizationWindowSeconds": 0}}}
LAST_VALUE = {"forecast": {"model": "LastValue"}}
DOPD = {"strategy": "DOPD"} | LAST_VALUE
WIDE = {"minReplicas": 1, "maxReplicas": 100}


def scaling(**more: object) -> PlanSettings:
    """DOPD on the last value, without windows, between 1 and 100 engines a role."""
    return settings(prefill=WIDE, decode=WIDE, autoscaling=NO_DELAY | DOPD | more)


def after(plan: PlanSettings, *observations: Observation, history: History | None = None) -> Decision:
    """The decision after these observations, an interval apart."""
    history = history or no_history()
    for i, seen in enumerate(observations):
        decision, history = decide(plan, replace(seen, at_s=NOW_S + 15 * i), history)
    return decision


def ratio(target: PerRole[int]) -> float:
    return target.prefill / target.decode


def test_prefill_heavy_and_decode_heavy_load_end_on_opposite_sides_within_the_budget() -> None:
    plan = settings(
        prefill=WIDE,
        decode=WIDE,
        slo={"tpot": {"target": "20ms"}},
        autoscaling=NO_DELAY | DOPD | {"gpuBudget": 4},
    )
    prefill_heavy = after(plan, observation(Demand(3.0, 1000, 8))).target
    decode_heavy = after(plan, observation(Demand(3.0, 64, 200))).target
    assert ratio(prefill_heavy) > 1 > ratio(decode_heavy)
    assert max(t.prefill + t.decode for t in (prefill_heavy, decode_heavy)) <= 4


def test_a_decision_tells_forecast_need_and_what_there_was() -> None:
    decision = after(scaling(), observation(LOAD))
    # TPOT(16) = 24 ms, T_dec = 64 * 24 ms = 1.536 s, 4.6 running: one decode; R = 16 * 0.3784 / 1.536 = 3.94
    assert decision.target == PerRole(4, 1)
    assert (
        decision.message == "last value 3.0 req/s, ISL 512, OSL 64 in 15 s needs prefill 4 (was 1), decode 1"
    )
    assert (decision.reason, decision.limited) == (Reason.LAST_VALUE, Reason.WITHIN_LIMITS)


def test_auto_arima_is_named_as_the_forecast() -> None:
    plan = scaling(forecast={"model": "AutoARIMA"})
    decision = after(plan, *[observation(LOAD)] * 5)
    assert decision.reason is Reason.FORECAST
    assert decision.message.startswith("forecast 3.0 req/s, ISL 512, OSL 64 in 15 s needs")
    assert decision.forecast is not None
    assert (decision.forecast.model, decision.forecast.horizon_s) == ("AutoARIMA", 15)


def test_a_bound_that_cuts_is_named_in_reason_and_message() -> None:
    decision = after(scaling(gpuBudget=3), observation(LOAD))
    assert (decision.wanted, decision.target) == (PerRole(4, 1), PerRole(2, 1))
    assert decision.limited is Reason.GPU_BUDGET
    assert decision.message.endswith("decode 1; gpuBudget makes it 2P:1D")


def test_what_was_asked_for_and_rejected_is_told_with_what_spoke_against_it() -> None:
    cut = after(scaling(gpuBudget=3), observation(LOAD))
    assert cut.candidates == (
        Candidate(PerRole(2, 1)),
        Candidate(PerRole(4, 1), "gpuBudget makes it 2P:1D"),
    )
    assert after(scaling(), observation(LOAD)).candidates == ()  # nothing else was weighed


def test_without_metrics_the_target_stays() -> None:
    decision = after(scaling(), observation(LOAD), observation(Missing("router r-1 did not answer")))
    assert (decision.target, decision.reason) == (PerRole(4, 1), Reason.HOLD_METRICS_MISSING)
    assert decision.message == "held: router r-1 did not answer"


def test_metrics_too_old_to_justify_a_change_count_as_missing() -> None:
    stale = replace(
        observation(None), demand=Value(Demand(90, 512, 64), age_s=defaults.METRICS_MAX_AGE_S + 1)
    )
    decision = after(scaling(), observation(LOAD), stale)
    assert (decision.target, decision.reason) == (PerRole(4, 1), Reason.HOLD_METRICS_MISSING)


def test_a_short_silence_changes_nothing() -> None:
    decision = after(scaling(), observation(LOAD), observation(None, idle_for_s=defaults.IDLE_AFTER_S - 1))
    assert (decision.target, decision.reason) == (PerRole(4, 1), Reason.IDLE)


def test_a_long_silence_brings_the_minimums() -> None:
    decision = after(scaling(), observation(LOAD), observation(None, idle_for_s=defaults.IDLE_AFTER_S))
    assert (decision.target, decision.reason) == (PerRole(1, 1), Reason.IDLE)
    assert decision.message == "no request for 50 s: minReplicas"


def test_no_request_ever_is_a_load_of_nothing_not_an_unknown_one() -> None:
    decision = after(scaling(), observation(None, idle_for_s=99))
    assert decision.reason is Reason.IDLE


def test_a_lower_need_waits_for_the_scale_down_window() -> None:
    plan = settings(prefill=WIDE, decode=WIDE, autoscaling=DOPD | UP_AT_ONCE)
    decision = after(plan, observation(Demand(30, 512, 64)), observation(Demand(3, 512, 64)))
    assert decision.wanted == PerRole(4, 1)
    assert (decision.target, decision.reason) == (PerRole(12, 3), Reason.STABILIZED)
    assert decision.message.endswith("held at 12P:3D by the stabilisation window")
    assert decision.candidates[1] == Candidate(PerRole(4, 1), "held at 12P:3D by the stabilisation window")


def test_the_window_of_one_role_never_keeps_the_other_from_the_engines_it_needs_now() -> None:
    plan = settings(
        prefill=WIDE, decode=WIDE, slo={"tpot": {"target": "20ms"}}, autoscaling=DOPD | {"gpuBudget": 4}
    )
    decode_heavy, prefill_heavy = observation(Demand(4.5, 64, 200)), observation(Demand(3, 1000, 8))
    assert after(plan, decode_heavy).target == PerRole(1, 3)
    assert after(plan, decode_heavy, prefill_heavy).target == PerRole(3, 1)


def test_a_restart_does_not_shrink_the_fleet_at_once() -> None:
    plan = settings(prefill=WIDE, decode=WIDE, autoscaling=DOPD | UP_AT_ONCE)
    found = replace(no_history(), target=PerRole(6, 6))
    assert after(plan, observation(LOAD), history=found).target == PerRole(6, 6)


def test_decode_that_is_slower_than_profiled_gets_more_engines() -> None:
    busy = observation(Demand(30, 64, 200), engines=(engine("a", Role.DECODE),), tpot_s=Value(0.05))
    as_profiled = after(scaling(), observation(Demand(30, 64, 200)))
    assert after(scaling(), busy).target.decode > as_profiled.target.decode


def test_static_and_disabled_keep_the_specs_replicas_whatever_the_load() -> None:
    fixed: dict[str, Any] = {"prefill": {"replicas": 2}, "decode": {"replicas": 3}}
    static = after(settings(**fixed, autoscaling={"strategy": "Static"}), observation(LOAD))
    disabled = after(settings(**fixed, autoscaling={"enabled": False}), observation(LOAD))
    assert (static.target, static.reason) == (PerRole(2, 3), Reason.STATIC)
    assert (disabled.target, disabled.reason) == (PerRole(2, 3), Reason.SCALING_DISABLED)


def test_external_keeps_the_total_and_splits_it_by_the_load() -> None:
    plan = settings(replicas=6, prefill=WIDE, decode=WIDE, autoscaling={"strategy": "External"} | LAST_VALUE)
    assert after(plan, observation(Demand(3, 1000, 8))).target == PerRole(5, 1)
    assert after(plan, observation(Demand(3, 64, 200))).target == PerRole(1, 5)


def test_external_follows_a_new_total_while_the_load_is_not_known() -> None:
    plan = settings(replicas=8, prefill=WIDE, decode=WIDE, autoscaling={"strategy": "External"})
    history = replace(no_history(), target=PerRole(1, 3))
    assert after(plan, observation(Missing("away")), history=history).target == PerRole(2, 6)


def test_external_keeps_the_total_where_a_roles_bounds_bend_the_split() -> None:
    plan = settings(replicas=6, prefill={"maxReplicas": 2}, autoscaling={"strategy": "External"} | LAST_VALUE)
    assert after(plan, observation(Demand(3, 1000, 8))).target == PerRole(2, 4)


def test_a_decision_names_the_bottleneck_with_its_evidence() -> None:
    decision = after(scaling(), observation(LOAD, engines=fleet(1, 1)))
    assert decision.bottleneck is Bottleneck.PREFILL
    assert decision.evidence == ("1 of 4 prefill engines needed are ready",)


def test_the_history_keeps_no_more_than_the_forecasts_window() -> None:
    plan, history = scaling(forecast={"model": "LastValue", "window": 5}), no_history()
    for i in range(9):
        _, history = decide(plan, observation(LOAD, at_s=NOW_S + i), history)
    assert len(history.demand.samples) == 5


def test_an_interval_without_requests_is_a_rate_of_zero_at_the_lengths_last_known() -> None:
    _, history = decide(scaling(), observation(LOAD), no_history())
    _, history = decide(scaling(), observation(None), history)
    assert history.demand.samples[-1].demand == Demand(0.0, 512, 64)
