"""Policies by name: what can be written, and what is answered to a name that does not exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pdoperator.api.values import Missing, PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.forecast.demand import Demand
from pdoperator.planning.adaptive.state import AdaptiveState
from pdoperator.planning.decide import decide
from pdoperator.planning.periods import Once
from pdoperator.planning.settings import CalendarEvent
from pdoperator.sim.policies.builders import BUILDERS, BY_FLEET
from pdoperator.sim.policies.catalogue import SEARCHED, PolicyNameError, check, prepare
from pdoperator.sim.policies.grids import GRIDS
from pdoperator.sim.policies.planned import Planned
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.search import LOADS
from pdoperator.sim.traffic.trace import Trace
from planning.fleet import fleet, observation

TRACE = Trace.of("even", np.arange(100.0), np.full(100, 1000), np.full(100, 100))
SCENARIO = Scenario(BUILTIN["h200-llama-3.1-8b-fp8-tp1"], 2.0, 0.08, PerRole(3, 2), gpu_budget=20)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - set(BY_FLEET)))
def test_every_policy_starts_with_the_first_fleet_or_as_many_aggregated_engines(name: str) -> None:
    policy, scenario = prepare(name, TRACE, SCENARIO)
    assert policy.name == name
    assert scenario.first == policy.target
    assert scenario.first in (PerRole(3, 2), PerRole(0, 5))


@pytest.mark.parametrize("name", [*SEARCHED, *(one for grid in GRIDS.values() for one in grid)])
def test_every_searched_name_and_every_setting_of_a_grid_exists(name: str) -> None:
    check(name)
    if name not in SEARCHED:
        prepare(name, TRACE, SCENARIO)


@pytest.mark.parametrize(
    "name",
    [
        "aggregated-best", "static:1:1", "static:1:3", "static-best", "dyn-load", "dyn-sla", "dynamo", "heteroscale",
        "tokenscale", "arrow", "dopd-release", "dopd",
    ],
)  # fmt: skip
def test_x1_the_policies_of_the_comparison_are_there(name: str) -> None:
    check(name)


def test_a_static_split_starts_as_it_stays() -> None:
    policy, scenario = prepare("static:3:5", TRACE, SCENARIO)
    assert policy.target == scenario.first == PerRole(3, 5)


def test_options_follow_colons() -> None:
    policy, scenario = prepare("arrow:engines=9:expand=0.8", TRACE, SCENARIO)
    assert scenario.first == PerRole(5, 4)
    assert getattr(policy, "expand") == 0.8  # noqa: B009  the protocol knows no options


def test_bounds_pay_nothing_for_starts_and_flips() -> None:
    _, scenario = prepare("clairvoyant", TRACE, SCENARIO)
    assert (scenario.startup_s, scenario.flip_s, scenario.gpu_budget) == (0, 0, None)
    _, scenario = prepare("foresight", TRACE, SCENARIO)
    assert (scenario.startup_s, scenario.gpu_budget) == (SCENARIO.startup_s, 20)


def test_bounds_have_the_engines_that_the_lightest_load_of_their_search_asks_for() -> None:
    """Or a search would find that nothing attains where its first try ran out of engines."""
    _, scenario = prepare("clairvoyant", TRACE, SCENARIO)
    assert scenario.max_engines * LOADS[0] >= SCENARIO.max_engines
    _, scenario = prepare("foresight", TRACE, SCENARIO)
    assert scenario.max_engines == SCENARIO.max_engines


def test_adaptive_knows_the_days_before_the_trace_and_nothing_of_the_trace() -> None:
    def engines_kept_busy(every_s: float) -> float:
        arrivals_s = np.arange(0.0, 3600.0, every_s)
        before = Trace.of("before", arrivals_s, np.full(len(arrivals_s), 1000), np.full(len(arrivals_s), 100))
        policy, _ = prepare("adaptive", TRACE, SCENARIO, before=before)
        assert isinstance(policy, Planned)
        assert isinstance(policy.history.state, AdaptiveState)
        assert policy.history.state.total.fine.end == 0
        return policy.history.state.total.recent(60.0)

    assert engines_kept_busy(0.1) == pytest.approx(10 * engines_kept_busy(1.0), rel=0.02)
    unknowing, _ = prepare("adaptive", TRACE, SCENARIO)
    assert isinstance(unknowing, Planned)
    assert unknowing.history.state is None


@pytest.mark.parametrize("name", ["adaptive", "mm1", "dopd", "reactive"])
@pytest.mark.parametrize("calendar", [(), (CalendarEvent(Once(0.0, 1e9), factor=0.0, floor_rps=500.0),)])
def test_what_is_replayed_decides_as_a_service_does(name: str, calendar: tuple[CalendarEvent, ...]) -> None:
    """Seeing demand, then blind in an overload: all that stands around a strategy in a cluster stands there too."""
    policy, _ = prepare(name, TRACE, SCENARIO)
    assert isinstance(policy, Planned)
    policy.settings = replace(policy.settings, calendar=calendar)
    history, overload = policy.history, fleet(3, 2, prefill_waiting=40.0, decode_kv_use=0.97)
    for tick, demand in enumerate([Demand(5.0, 1000, 100)] * 3 + [Missing("away")] * 3):
        seen = observation(demand, 15.0 * tick, overload)
        decision, history = decide(policy.settings, seen, history)
        assert policy.decide(seen) == decision.target


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dynload", "there is no policy 'dynload'; did you mean dyn-load or dyn-sla or dyn-load-best?"),
        ("static-bst", "static-best"),
        ("zzz", "there are static, hybrid"),
        ("static:3", "write it like static:3:5"),
        ("static:0:5", "write it like static:3:5"),
        ("arrow:engine=9", "has no option 'engine'; did you mean engines?"),
        ("arrow:engines=many", "engines must be a number"),
        ("arrow:engines=nan", "engines must be a number"),
        ("arrow:engines", "engines must be a number"),
        ("arrow:engines=-1", "engines must be a number of 0 or more"),
        ("adaptive:percentile=100", "percentile is at most 99"),
        ("adaptive:quantile=3", "quantile is at most 0.999"),
    ],
)
def test_a_wrong_name_is_answered_with_what_exists(name: str, message: str) -> None:
    with pytest.raises(PolicyNameError) as refused:
        check(name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "percentile"), [("adaptive", 90), ("adaptive:percentile=99", 99)])
def test_adaptive_may_plan_for_another_percentile_than_the_scenarios(name: str, percentile: int) -> None:
    policy, _ = prepare(name, TRACE, SCENARIO, percentile=90)
    assert isinstance(policy, Planned)
    assert (policy.settings.ttft_percentile, policy.settings.tpot_percentile) == (percentile, percentile)
