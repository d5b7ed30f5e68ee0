"""Modes through whole decisions: what is asked for, when the mode changes, and how that is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.modes.memory import ModeMemory
from pdoperator.planning.settings import PlanSettings
from planning import fleet
from planning.fleet import NOW_S, no_history, observation

LOAD = Demand(3.0, 512, 64)
SMALL = {"minReplicas": 1, "maxReplicas": 4}
WIDE = {"minReplicas": 1, "maxReplicas": 64}
LAST_VALUE = {"forecast": {"model": "LastValue"}}
AT_ONCE = {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}]}
NO_DELAY = {"behavior": {"scaleUp": AT_ONCE, "scaleDown": {"stabilizationWindowSeconds": 0}}}
STRATEGIES = ("Adaptive", "DOPD", "MM1", "Reactive", "Static", "External")
# Long prompts on Llama 70B: aggregated takes a sixth less at 2 s and 80 ms, a tenth more at 1 s and 40 ms.
LONG = Demand(6.0, 12_000.0, 340.0, isl_cv=1.3)
INTERVAL_S = 15.0


def service(mode: str, strategy: str = "DOPD", role: dict[str, Any] = SMALL, **more: Any) -> PlanSettings:
    """A service in a shared pool."""
    spec: dict[str, Any] = {"replicas": 5} if strategy == "External" else {}
    autoscaling = {"strategy": strategy, **LAST_VALUE, **more}
    return fleet.settings(mode=mode, prefill=role, decode=role, autoscaling=autoscaling, **spec)


def auto(ttft_s: float = 2.0, tpot_s: float = 0.08, **more: Any) -> PlanSettings:
    """Mode Auto on Llama 70B."""
    profile = BUILTIN["h100-llama-3.3-70b-fp8-tp4"]
    settings = service("Auto", "MM1", WIDE, **NO_DELAY, **more)
    return replace(settings, profile=profile, ttft_target_s=ttft_s, tpot_target_s=tpot_s)


def history(prefill: int, decode: int) -> History:
    """Of a service with this fleet in force."""
    return replace(no_history(), target=PerRole(prefill, decode))


def once(settings: PlanSettings, past: History, demand: Demand | Missing | None = LOAD) -> Decision:
    """One decision on a fleet that is what was asked for."""
    target = past.target or settings.first
    seen = observation(demand, engines=fleet.fleet(target.prefill, target.decode))
    return decide(settings, seen, past)[0]


def run(
    settings: PlanSettings, past: History, demands: Sequence[Demand | Missing | None]
) -> tuple[list[Decision], History]:
    """Decisions an interval apart, the fleet following at once."""
    decisions = []
    for i, demand in enumerate(demands):
        target = past.target or settings.first
        engines = fleet.fleet(target.prefill, target.decode)
        seen = observation(demand, NOW_S + INTERVAL_S * i, engines, idle_for_s=0.0)
        decision, past = decide(settings, seen, past)
        decisions.append(decision)
    return decisions, past


def held(seconds: float) -> int:
    """Decisions until something has lasted so long."""
    return int(seconds / INTERVAL_S) + 1


def modes(decisions: list[Decision]) -> str:
    """A or D by decision."""
    return "".join("D" if decision.target.prefill else "A" for decision in decisions)


# --- mode Aggregated ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_aggregated_wants_no_prefill_engine_whatever_the_strategy(strategy: str) -> None:
    assert once(service("Aggregated", strategy), no_history()).target.prefill == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_disaggregated_wants_both_roles_whatever_there_was(strategy: str) -> None:
    decision = once(service("Disaggregated", strategy), history(0, 5))
    assert min(decision.target.prefill, decision.target.decode) >= 1


def test_first_replicas_of_both_roles_add_up() -> None:
    settings = service("Aggregated", "Static", {"replicas": 3})
    assert settings.first == once(settings, no_history()).target == PerRole(0, 6)


@given(
    strategy=st.sampled_from(STRATEGIES),
    rate=st.floats(0.1, 100),
    budget=st.integers(2, 9),
    current=st.tuples(st.integers(0, 4), st.integers(1, 8)),
)
def test_bounds_of_both_roles_add_up_and_the_budget_holds(
    strategy: str, rate: float, budget: int, current: tuple[int, int]
) -> None:
    settings = service("Aggregated", strategy, gpuBudget=max(budget, 5))
    decision = once(settings, history(*current), Demand(rate, 512, 64))
    assert decision.target.prefill == 0
    assert 2 <= decision.target.decode <= min(8, max(budget, 5))


def test_a_ratio_holds_while_disaggregated_only() -> None:
    bounds: dict[str, Any] = {"ratio": {"min": "1:1"}}
    assert once(service("Aggregated", **bounds), no_history()).target.prefill == 0
    split = once(service("Disaggregated", **bounds), no_history()).target
    assert split.prefill >= split.decode


@pytest.mark.parametrize(
    ("mode", "before", "after"), [("Aggregated", (3, 2), (0, 5)), ("Disaggregated", (0, 5), None)]
)
def test_an_edit_of_the_mode_flips_engines_and_starts_none(
    mode: str, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    """Also while scaling is held by a window: roles change, the number of engines does not."""
    target = once(service(mode, "DOPD"), history(*before), Missing("no router was read")).target
    assert target.prefill + target.decode == 5
    assert after is None or target == PerRole(*after)


def test_an_edit_of_the_mode_goes_through_while_changes_are_paused() -> None:
    paused = service("Aggregated", pause=[{"role": "Prefill"}])
    assert once(paused, history(3, 2)).target == PerRole(0, 5)


def test_what_a_strategy_holds_stays_as_it_is() -> None:
    decision = once(service("Aggregated"), history(0, 7), Missing("no router was read"))
    assert (decision.target, decision.reason) == (PerRole(0, 7), Reason.HOLD_METRICS_MISSING)


def test_an_aggregated_fleet_does_not_grow_by_what_it_already_is() -> None:
    """A young Adaptive gives nothing away: it asks for the fleet that there is, which is not exchanged once more."""
    settings = replace(
        service("Aggregated", "Adaptive", WIDE, **NO_DELAY),
        profile=BUILTIN["h100-llama-3.3-70b-fp8-tp4"],
        ttft_target_s=1.0,
        tpot_target_s=0.04,
    )
    decisions, _ = run(settings, history(0, 40), [Demand(60.0, 2047.0, 28.0)] * held(defaults.LEARN_S - 30))
    assert {decision.target.decode for decision in decisions} == {40}


def test_a_decision_tells_what_its_forecast_takes_aggregated() -> None:
    decision = once(service("Aggregated", "DOPD", WIDE, **NO_DELAY), history(0, 5))
    assert f"aggregated that is {decision.wanted.decode} engines" in decision.message


# --- mode Auto ------------------------------------------------------------------------------------------------


def test_auto_changes_once_the_other_mode_has_been_better_for_minutes() -> None:
    """llm-d#48, dynamo#3774: disaggregation is often the slower mode, and nobody said when."""
    decisions, _ = run(auto(), history(9, 7), [LONG] * (held(defaults.MODE_HOLD_S) + 10))
    changes = held(defaults.MODE_HOLD_S) - 1
    assert modes(decisions) == "D" * changes + "A" * 11
    assert "Aggregated from now on" in decisions[changes].message


def test_auto_goes_back_under_targets_that_long_prompts_beside_decodes_break() -> None:
    code = Demand(60.0, 2047.0, 28.0)
    decisions, _ = run(auto(1.0, 0.04), history(0, 16), [code] * (held(defaults.MODE_HOLD_S) + 10))
    assert modes(decisions).startswith("A" * (held(defaults.MODE_HOLD_S) - 1) + "D")


def test_one_interval_that_speaks_against_it_begins_the_time_anew() -> None:
    almost = [LONG] * (held(defaults.MODE_HOLD_S) - 1)
    decisions, _ = run(auto(), history(9, 7), [*almost, Demand(60.0, 2047.0, 28.0), *almost])
    assert set(modes(decisions)) == {"D"}


def test_the_time_goes_on_after_a_restart() -> None:
    almost = [LONG] * (held(defaults.MODE_HOLD_S) - 1)
    _, past = run(auto(), history(9, 7), almost)
    restarted = replace(history(9, 7), mode=ModeMemory.from_text(past.mode.to_text()))
    seen = observation(LONG, NOW_S + defaults.MODE_HOLD_S, fleet.fleet(9, 7))
    assert decide(auto(), seen, restarted)[0].target.prefill == 0


@given(
    noise=st.lists(st.floats(0.7, 1.3), min_size=60, max_size=60), first=st.sampled_from([(9, 7), (0, 16)])
)
def test_a_noisy_constant_load_changes_the_mode_once_at_most(
    noise: list[float], first: tuple[int, int]
) -> None:
    loads = [replace(LONG, rate_rps=LONG.rate_rps * factor) for factor in noise]
    found = modes(run(auto(), history(*first), loads)[0])
    assert sum(a != b for a, b in pairwise(found)) <= 1


@pytest.mark.parametrize(
    ("settings", "past", "demand", "kept", "why"),
    [
        pytest.param(
            replace(auto(), profile_named=False), (9, 7), LONG, "D", "name hardware.profile", id="no profile"
        ),
        pytest.param(auto(), (0, 16), None, "A", "no load to weigh the modes by", id="no request yet"),
        pytest.param(auto(pause=[{"role": "Decode"}]), (9, 7), LONG, "D", "changes are paused", id="paused"),
        pytest.param(replace(auto(), enabled=False), (0, 16), LONG, "D", "as written", id="autoscaling off"),
    ],
)
def test_auto_stays_where_it_cannot_weigh_and_says_so(
    settings: PlanSettings, past: tuple[int, int], demand: Demand | None, kept: str, why: str
) -> None:
    decisions, _ = run(settings, history(*past), [demand] * (held(defaults.MODE_HOLD_S) + 5))
    assert set(modes(decisions)) == {kept}
    assert any(why in line for line in decisions[-1].evidence)


def test_auto_shows_both_fleets_and_why_the_other_was_not_taken() -> None:
    decision = once(auto(), history(9, 7), LONG)
    chosen, other = decision.candidates
    assert (chosen.target, chosen.rejected) == (decision.wanted, "")
    assert other.target.prefill == 0
    assert "has been better for 0 s" in other.rejected
    assert any("aggregated engines" in line for line in decision.evidence)


def test_the_memory_of_the_modes_is_plain_json() -> None:
    _, past = run(auto(), history(9, 7), [LONG])
    assert json.loads(past.mode.to_text())["leaning_s"] == NOW_S
