"""Failures that users of other autoscalers have reported, one test each: none of them may happen here.

Threads that are about drains, metrics sources or the data path have their tests in those rooms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api import defaults, names
from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History, Remove
from pdoperator.planning.observation import Observation, Transfers
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.steps import next_steps
from pdoperator.signals.pods import PodView
from planning.fleet import NOW_S, engine, fleet, no_history, observation, settings, unread

WIDE = {"minReplicas": 1, "maxReplicas": 100}
AT_ONCE = {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}]}
NO_DELAY = {"behavior": {"scaleUp": AT_ONCE, "scaleDown": {"stabilizationWindowSeconds": 0}}}
LOAD = Demand(30.0, 512, 64)  # DOPD asks for 12P:3D
QUIET = Demand(0.1, 64, 64)  # 1P:1D
FORECASTING = ("DOPD", "MM1", "Adaptive")
SETTLED = 40  # ticks, 10 min: Adaptive gives nothing away in its first five


def plan(strategy: str = "DOPD", *, shared_pool: bool = True, **more: Any) -> PlanSettings:
    scaling = NO_DELAY | {"strategy": strategy, "forecast": {"model": "LastValue"}} | more
    return settings(shared_pool=shared_pool, prefill=WIDE, decode=WIDE, autoscaling=scaling)


def after(
    settings: PlanSettings, *observations: Observation, history: History | None = None
) -> tuple[Decision, History]:
    history = history or no_history()
    for i, seen in enumerate(observations):
        decision, history = decide(settings, replace(seen, at_s=NOW_S + 15 * i), history)
    return decision, history


def running(prefill: int, decode: int) -> History:
    """A fleet of this size is what was decided last."""
    return replace(no_history(), target=PerRole(prefill, decode))


# --- missing, stale and misleading signals -----------------------------------------------------------------


@pytest.mark.parametrize("strategy", FORECASTING)
def test_a_read_that_failed_is_no_idle_window(strategy: str) -> None:
    """dynamo#14765, aibrix PR#2592: an error or a wrong name read as 0 requests shrank pools under traffic."""
    busy, failed = (
        observation(LOAD, engines=fleet(12, 3)),
        observation(Missing("timeout"), engines=fleet(12, 3)),
    )
    decision, history = after(plan(strategy), busy)
    held, _ = after(plan(strategy), *[failed] * 10, history=history)
    assert held.target == decision.target
    assert held.reason is Reason.HOLD_METRICS_MISSING


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_a_fleet_shrinks_when_traffic_stops_though_latencies_are_undefined(strategy: str) -> None:
    """dynamo#6985: NaN latencies at idle blocked scale-down for ever, 1P to 7P and stuck."""
    idle = observation(None, idle_for_s=99, engines=fleet(7, 3), tpot_s=Missing("none finished"))
    idle = replace(idle, engines=tuple(replace(e, running=Value(0.0)) for e in idle.engines))
    decision, _ = after(plan(strategy), observation(QUIET), *[idle] * SETTLED, history=running(7, 3))
    assert decision.target == PerRole(1, 1)


def test_at_idle_the_count_is_zero_and_the_lengths_are_those_last_known() -> None:
    """dynamo PR#9759, PR#11294: a zero count is valid; averages over nothing are not."""
    _, history = after(plan(), observation(LOAD), observation(None))
    assert history.demand.samples[-1].demand == Demand(0.0, 512, 64)


def test_a_cache_hit_rate_that_is_not_known_does_not_count_as_a_cache() -> None:
    """dynamo PR#8314: a missing hit rate must not discount prefill; here it is 0 only where nothing hits."""
    unknown, _ = after(plan("MM1"), observation(LOAD))
    warm, _ = after(plan("MM1"), observation(replace(LOAD, prefix_hit=0.8)))
    assert warm.target.prefill < unknown.target.prefill


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_an_engine_without_metrics_that_is_not_ready_blocks_nothing(strategy: str) -> None:
    """aibrix#617, #1032: one such pod blocked all scaling, even down."""
    starting = engine("new", ready=False, running=Missing("no address"), waiting=Missing("no address"))
    quiet = observation(QUIET, engines=(*fleet(4, 4), starting))
    decision, _ = after(plan(strategy), *[quiet] * SETTLED, history=running(4, 4))
    assert decision.target.prefill + decision.target.decode < 8


def test_but_a_role_that_could_not_be_read_keeps_its_size() -> None:
    """aibrix#617 the other way round: partial data is tolerated, but only so much may be missing."""
    blind = observation(QUIET, engines=(*fleet(4, 1), *unread(Role.DECODE, 3)))
    decision, _ = after(plan(shared_pool=False), blind, history=running(4, 4))
    assert (decision.target, decision.reason) == (PerRole(4, 4), Reason.HOLD_METRICS_MISSING)


@pytest.mark.parametrize(("ready_s", "counts"), [(NOW_S - 60, False), (NOW_S - 600, True)])
def test_the_first_minutes_of_a_new_engine_say_nothing_of_what_engines_can_do(
    ready_s: float, counts: bool
) -> None:
    """dynamo#12430: new workers' slow first passes entered the capacity model, and decode was over-scaled."""
    engines = (*fleet(12, 2), engine("new", Role.DECODE, ready_s=ready_s))
    seen = observation(LOAD, engines=engines)
    calm, _ = after(plan(), seen)
    slow, _ = after(plan(), replace(seen, tpot_s=Value(0.2)))
    assert (slow.wanted.decode > calm.wanted.decode) is counts


def test_engines_that_are_gone_carry_no_load() -> None:
    """llm-d-autoscaling PR#385: series of dead pods made phantom load."""
    dead = engine("dead", Role.PREFILL, deleting=True, waiting=Value(99.0), running=Value(99.0))
    with_dead, _ = after(
        plan("Reactive"), observation(LOAD, engines=(*fleet(2, 2), dead)), history=running(2, 2)
    )
    without, _ = after(plan("Reactive"), observation(LOAD, engines=fleet(2, 2)), history=running(2, 2))
    assert with_dead.target == without.target


def test_one_missing_metric_does_not_stop_growth_that_another_asks_for() -> None:
    """keda#6887: a whole object was blocked when one of its triggers failed."""
    no_kv = tuple(replace(e, kv_use=Missing("no such series")) for e in fleet(2, 2, decode_waiting=20))
    decision, _ = after(plan("Reactive"), observation(LOAD, engines=no_kv), history=running(2, 2))
    assert decision.target.decode == 8


@pytest.mark.parametrize("strategy", FORECASTING)
def test_without_metrics_a_reactive_emergency_is_a_floor_and_no_second_controller(strategy: str) -> None:
    """keda#6659, #4249: a fallback overrode higher signals and oscillated."""
    overload = fleet(2, 2, prefill_waiting=10)
    known, _ = after(plan(strategy), observation(LOAD, engines=overload), history=running(2, 2))
    assert known.target.prefill > 4  # the forecast asks for more, and gets it
    blind = observation(Missing("away"), engines=overload)
    decisions = [after(plan(strategy), *[blind] * n, history=running(2, 2))[0] for n in (1, 2, 5)]
    assert [decision.target for decision in decisions] == [PerRole(4, 2)] * 3


# --- prefill or decode -------------------------------------------------------------------------------------


def test_prefill_heavy_load_gets_prefill() -> None:
    """llm-d-autoscaling#1213: 20 requests/s of long prompts added decode pods, never prefill."""
    decision, _ = after(plan(), observation(Demand(20, 2000, 16), engines=fleet(2, 2)), history=running(2, 2))
    assert decision.target.prefill > 10 * decision.target.decode


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_prefill_is_not_added_when_decode_holds_the_kv(strategy: str) -> None:
    """llm-d-autoscaling#1325: prefill KV held for export looked like load, and prefill scaled up."""
    jam = fleet(
        4,
        2,
        decode_kv_use=0.97,
        decode_running=9,
        prefill_kv_use=1.0,
        prefill_waiting=40,
        prefill_exporting=20,
    )
    decision, _ = after(plan(strategy), observation(QUIET, engines=jam), history=running(4, 2))
    assert decision.target.prefill <= 4
    assert decision.target.decode >= 3
    assert decision.bottleneck is Bottleneck.DECODE
    assert "80 finished prefills wait for it" in decision.evidence


@pytest.mark.parametrize("strategy", FORECASTING)
def test_prompts_longer_than_the_target_pin_no_fleet(strategy: str) -> None:
    """dynamo PR#11624: a TTFT floor pinned prefill; one prompt's own time cannot be fixed by replicas."""
    long_prompts = Demand(0.05, 8192, 64)  # 5.8 s alone; one every 20 s
    seen = observation(long_prompts, engines=fleet(2, 1), ttft_s=Value(5.8))
    decision, _ = after(plan(strategy), seen, history=running(2, 1))
    assert decision.target.prefill <= 8
    assert any("alone" in sentence for sentence in decision.evidence)
    assert decision.bottleneck is Bottleneck.NONE


def test_one_engine_over_its_target_with_a_long_queue_is_enough_for_an_emergency() -> None:
    """dynamo#10528: a rule that all engines must be over left the queue unserved in bursts."""
    uneven = (
        *fleet(1, 2, prefill_waiting=30),
        *(engine(f"p{i}", Role.PREFILL) for i in range(3)),
    )
    decision, _ = after(plan(), observation(QUIET, engines=uneven), history=running(4, 2))
    assert decision.reason is Reason.EMERGENCY
    assert decision.target.prefill > 4


@given(
    wanted=st.lists(
        st.tuples(st.floats(0.1, 60), st.integers(16, 2000), st.integers(4, 400)), min_size=1, max_size=6
    ),
    shared=st.booleans(),
)
def test_at_full_budget_no_decision_is_ever_over_it(
    wanted: list[tuple[float, int, int]], shared: bool
) -> None:
    """dynamo#12428: a rebalance at full budget went over it and stayed Pending."""
    tight = plan(shared_pool=shared, gpuBudget=8)
    history = running(4, 4)
    for i, load in enumerate(wanted):
        seen = observation(Demand(*load), NOW_S + 15 * i, engines=fleet(4, 4))
        decision, history = decide(tight, seen, history)
        assert tight.limits.cost(decision.target) <= 8


def test_a_pod_that_never_starts_freezes_nothing() -> None:
    """dynamo#14251: a Pending pod froze all decisions for an hour; falling demand must cancel what never came."""
    pending = tuple(engine(f"pending-{i}", ready=False, scheduled=False) for i in range(8))
    quiet = observation(QUIET, engines=(*fleet(4, 2), *pending))
    decision, _ = after(plan(), quiet, history=running(12, 2))
    assert decision.target == PerRole(1, 1)


def test_a_role_that_lacks_a_reading_does_not_keep_the_other_from_growing() -> None:
    """dynamo PR#8196: one role that lacked a capability blocked the other."""
    blind = (*fleet(2, 0, prefill_waiting=10), *unread(Role.DECODE, 2))
    decision, _ = after(
        plan("Reactive", shared_pool=False), observation(LOAD, engines=blind), history=running(2, 2)
    )
    assert decision.target == PerRole(4, 2)


@pytest.mark.parametrize(("bound", "wanted"), [({"max": "1:2"}, (1, 2)), ({"min": "2:1"}, (2, 1))])
def test_a_ratio_is_prefill_to_decode_and_holds_whichever_side_is_needed(
    bound: dict[str, str], wanted: tuple[int, int]
) -> None:
    """kthena#905, #1213: the direction of a ratio confused its users."""
    for load in (Demand(3, 1000, 8), Demand(3, 64, 200)):
        target = after(plan(ratio=bound), observation(load))[0].target
        if "max" in bound:
            assert target.prefill * wanted[1] <= target.decode * wanted[0]
        else:
            assert target.prefill * wanted[1] >= target.decode * wanted[0]


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_neither_role_is_ever_left_without_an_engine(strategy: str) -> None:
    """llm-d-autoscaling#1531: may P be 0 while D is not? Here minReplicas is at least 1, for both."""
    idle = observation(None, idle_for_s=9999, engines=fleet(3, 3, prefill_running=0, decode_running=0))
    ticks = (observation(QUIET), *[idle] * SETTLED)
    assert after(plan(strategy), *ticks, history=running(3, 3))[0].target == PerRole(1, 1)


@pytest.mark.parametrize("strategy", ["DOPD", "MM1", "Reactive"])
def test_an_engine_of_a_role_that_is_not_known_here_counts_for_neither(strategy: str) -> None:
    """dynamo#8261: encoders had no autoscaling. They have none here either, but they do not blur prefill and decode."""
    encoder = PodView("e", "10.0.0.9", True, False, NOW_S, labels={names.LABEL_ROLE: "encode"})
    busy = engine("e", encoder.role, waiting=Value(99.0), running=Value(99.0), kv_use=Value(1.0))
    with_it, _ = after(plan(strategy), observation(LOAD, engines=(*fleet(2, 2), busy)), history=running(2, 2))
    without, _ = after(plan(strategy), observation(LOAD, engines=fleet(2, 2)), history=running(2, 2))
    assert with_it.target == without.target


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_transfers_that_fail_are_named_and_no_engine_is_spent_on_them(strategy: str) -> None:
    """smg#2382: killed decodes left prefill engines Ready, and every transfer from them failed."""
    poisoned = observation(
        QUIET, engines=fleet(2, 2, prefill_exporting=9), transfers=Value(Transfers(done=1, failed=9))
    )
    decision, _ = after(plan(strategy), poisoned, history=running(2, 2))
    assert decision.bottleneck is Bottleneck.KV_TRANSFER
    assert "9 of 10 KV transfers failed or came too late" in decision.evidence
    assert decision.target.prefill <= 2


def test_an_engine_that_has_turned_unhealthy_is_no_capacity_and_goes_first() -> None:
    """smg#2382 again: idle because it is broken, it must not make the others look idle, and is no engine to keep."""
    broken = engine("broken", Role.DECODE, ready=False)
    hot = fleet(2, 2, decode_running=20)
    decision, _ = after(plan("Reactive"), observation(LOAD, engines=(*hot, broken)), history=running(2, 3))
    assert decision.target.decode == 4  # 40 that run, 10 an engine
    steps = next_steps(PerRole(2, 2), (*hot, broken), {"shared": 5}, NOW_S)
    assert steps == [Remove("broken", 0.0, timed_out=False)]


# --- forecasts ---------------------------------------------------------------------------------------------


def test_the_horizon_is_the_measured_start_up_time_and_has_a_default() -> None:
    """llm-d-autoscaling#1071: horizon at least the cold start, measured; 5 min until it is."""
    measured, _ = after(plan("MM1"), observation(LOAD, startup_p90_s=Value(137.0)))
    assert measured.forecast is not None
    assert measured.forecast.horizon_s == 137 + 15
    first, _ = after(plan("MM1"), observation(LOAD))
    assert first.forecast is not None
    assert first.forecast.horizon_s == 300 + 15


@pytest.mark.parametrize("strategy", FORECASTING)
def test_more_load_means_more_engines_and_never_fewer(strategy: str) -> None:
    """kthena PR#1364: the prediction replaced the target, so that a peak shrank the fleet. Test the sign."""
    sizes = [after(plan(strategy), observation(replace(LOAD, rate_rps=r)))[0].target for r in (3, 30, 90)]
    assert sizes[0].prefill < sizes[1].prefill < sizes[2].prefill
    assert sizes[0].decode <= sizes[1].decode <= sizes[2].decode


def test_a_decision_tells_what_it_would_have_been_without_the_forecast() -> None:
    """dynamo#14238: was the forecast ever compared with the last value? Each decision says it."""
    rising = [observation(replace(LOAD, rate_rps=r)) for r in (10, 20, 30, 40, 50, 60)]
    decision, _ = after(plan(forecast={"model": "AutoARIMA"}), *rising)
    assert decision.without_forecast is not None
    assert decision.wanted.prefill > decision.without_forecast.prefill


# --- restarts and flapping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*FORECASTING, "Reactive"])
def test_a_restart_with_an_empty_history_shrinks_nothing_at_once(strategy: str) -> None:
    """knative#2705: after a restart the fleet shrank on a history of one reading."""
    calm = settings(
        prefill=WIDE, decode=WIDE, autoscaling={"strategy": strategy, "forecast": {"model": "LastValue"}}
    )
    quiet = observation(QUIET, engines=fleet(6, 6))
    decision, _ = after(calm, quiet, history=running(6, 6))
    assert decision.target == PerRole(6, 6)


def test_the_end_of_an_emergency_does_not_discard_engines_that_are_starting() -> None:
    """knative#3153: leaving panic threw away capacity that was still starting."""
    calm = settings(
        prefill=WIDE, decode=WIDE, autoscaling={"strategy": "DOPD", "forecast": {"model": "LastValue"}}
    )
    overload = observation(QUIET, engines=fleet(2, 2, prefill_waiting=10))
    over = observation(QUIET, engines=fleet(2, 2))
    in_emergency, history = after(calm, overload, history=running(2, 2))
    assert in_emergency.target == PerRole(4, 1)
    assert after(calm, over, history=history)[0].target == in_emergency.target


def test_an_outage_of_the_metrics_is_not_followed_by_a_rash_scale_down() -> None:
    """knative#2705 once more: what was held while nothing was known counts as asked for."""
    calm = settings(prefill=WIDE, decode=WIDE, autoscaling={"forecast": {"model": "LastValue"}})
    away = [observation(Missing("away"), engines=fleet(6, 6))] * 40  # 10 min
    quiet = observation(QUIET, engines=fleet(6, 6))
    decision, _ = after(calm, *away, quiet, history=running(6, 6))
    assert decision.target == PerRole(6, 6)


def test_raw_queue_noise_does_not_flip_the_size_every_tick() -> None:
    """llm-d-autoscaling#1427: bounds were patched from the raw queue each 15 s, and the size flapped."""
    calm = settings(prefill=WIDE, decode=WIDE, autoscaling={"strategy": "Reactive"})
    history, sizes = running(4, 4), []
    for i in range(40):
        noise = fleet(
            4, 4, prefill_waiting=4.8 + 0.4 * (i % 2), decode_running=9.7 + 0.6 * (i % 2), prefill_running=9
        )
        decision, history = decide(calm, observation(LOAD, NOW_S + 15 * i, engines=noise), history)
        sizes.append(decision.target)
    assert len(set(sizes)) == 1


def test_a_target_that_no_metric_can_reach_is_not_needed_for_growth() -> None:
    """LLMKube#482: a gauge that ends at 1 never reached its threshold of 2; the most of several metrics counts."""
    full = fleet(2, 2, decode_kv_use=1.0, decode_running=4, decode_waiting=0)
    decision, _ = after(plan("Reactive"), observation(LOAD, engines=full), history=running(2, 2))
    assert decision.target.decode == 3


def test_old_readings_count_as_none() -> None:
    """llm-d-router PR#2165: stale metrics scored as saturated and stopped everything, without a word."""
    old = defaults.METRICS_MAX_AGE_S + 1
    stale = tuple(replace(e, waiting=Value(99.0, old), running=Value(99.0, old)) for e in fleet(2, 2))
    decision, _ = after(
        plan(), replace(observation(None), demand=Value(LOAD, old), engines=stale), history=running(2, 2)
    )
    assert (decision.target, decision.reason) == (PerRole(2, 2), Reason.HOLD_METRICS_MISSING)
    assert decision.message == "held: the newest metrics are 61 s old"
