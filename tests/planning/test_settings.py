"""A spec in plain numbers."""

from __future__ import annotations

import pytest

from pdoperator.api import defaults
from pdoperator.api.autoscaling import ForecastModel, Strategy
from pdoperator.api.behavior import PolicyType, SelectPolicy
from pdoperator.api.spec import Spec
from pdoperator.api.values import PerRole
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.planning.settings import PlanSettings, RatePolicy, RoleLimits, Rules
from pdoperator.planning.settings import plan_settings as settings_of


def spec(**parts: object) -> Spec:
    return Spec.model_validate({"model": {"name": "tiny"}} | parts)


def plan_settings(found: Spec) -> PlanSettings:
    return settings_of(found, shared_pool=True)


def test_every_setting_comes_from_its_field() -> None:
    plan = plan_settings(
        spec(
            hardware={"preset": "h100", "profile": "h200-llama-3.1-8b-fp8-tp1"},
            prefill={"minReplicas": 2, "maxReplicas": 6, "tensorParallelSize": 4},
            decode={"replicas": 3, "maxReplicas": 9, "tensorParallelSize": 2},
            slo={"ttft": {"target": "1s", "percentile": 95}, "tpot": {"target": "50ms", "percentile": 99}},
            replicas=5,
            autoscaling={
                "strategy": "External",
                "interval": "30s",
                "forecast": {"model": "LastValue", "window": 20, "horizon": "2m30s", "quantile": 0.8},
                "gpuBudget": 40,
                "ratio": {"min": "1:4", "max": "3:1"},
                "behavior": {
                    "scaleUp": {"stabilizationWindowSeconds": 15},
                    "scaleDown": {
                        "stabilizationWindowSeconds": 60,
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
                        "selectPolicy": "Min",
                        "tolerance": 0.2,
                    },
                },
            },
        )
    )
    assert plan.limits.roles == PerRole(RoleLimits(2, 6, 2, 4), RoleLimits(1, 9, 3, 2))
    assert (plan.limits.budget, plan.limits.ratio_min, plan.limits.ratio_max) == (40, (1, 4), (3, 1))
    assert (plan.strategy, plan.enabled, plan.total) == (Strategy.EXTERNAL, True, 5)
    assert (plan.interval_s, plan.shared_pool) == (30.0, True)
    assert (plan.ttft_target_s, plan.ttft_percentile) == (1.0, 95)
    assert (plan.tpot_target_s, plan.tpot_percentile) == (0.05, 99)
    assert (plan.model, plan.window) == (ForecastModel.LAST_VALUE, 20)
    assert (plan.horizon_s, plan.quantile) == (150, 0.8)
    assert (plan.behavior.up.window_s, plan.behavior.down.window_s) == (15, 60)
    assert plan.behavior.up.policies == (
        RatePolicy(PolicyType.PERCENT, 100, 15),
        RatePolicy(PolicyType.PODS, 4, 15),
    )
    assert plan.behavior.down == Rules(
        60, (RatePolicy(PolicyType.PODS, 1, 30),), SelectPolicy.MIN, tolerance=0.2
    )
    assert plan.profile is BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    assert (plan.first, plan.least) == (PerRole(2, 3), PerRole(2, 1))


def test_the_start_up_time_is_the_profiles_where_it_knows_one() -> None:
    known = BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    found = plan_settings(spec(hardware={"profile": "h200-llama-3.1-8b-fp8-tp1"})).startup_s
    assert found == (defaults.STARTUP_S if known.startup_s is None else known.startup_s)
    own = {"ttft": {"a": 0.1}, "itl": {"a": 0.01}, "kvTokens": 1000}
    assert plan_settings(spec(hardware={"inlineProfile": own})).startup_s == defaults.STARTUP_S


def test_a_horizon_is_each_strategys_own_unless_it_is_given() -> None:
    assert plan_settings(spec()).horizon_s is None


@pytest.mark.parametrize(
    ("strategy", "interval_s"),
    [(strategy.value, 5 if strategy is Strategy.ADAPTIVE else 15) for strategy in Strategy],
)
def test_how_often_is_decided_is_the_strategys_own_unless_it_is_given(
    strategy: str, interval_s: float
) -> None:
    assert plan_settings(spec(autoscaling={"strategy": strategy})).interval_s == interval_s
    assert plan_settings(spec(autoscaling={"strategy": strategy, "interval": "1m30s"})).interval_s == 90


def test_a_service_that_names_no_strategy_is_sized_by_adaptive() -> None:
    assert plan_settings(spec()).strategy is Strategy.ADAPTIVE


def test_on_cpu_an_engine_counts_as_one_of_the_budget() -> None:
    plan = plan_settings(spec(hardware={"preset": "cpu"}, prefill={"tensorParallelSize": 2}))
    assert plan.limits.cost(PerRole(2, 3)) == 5


def test_an_unknown_profile_is_refused_by_name_of_its_field() -> None:
    with pytest.raises(ValueError, match=r"spec\.hardware\.profile 'b100'"):
        plan_settings(spec(hardware={"profile": "b100"}))
