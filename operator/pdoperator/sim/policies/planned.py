"""The cluster's own strategies: the very planning/decide that the operator runs, on what the simulator shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdoperator.api.autoscaling import Strategy
from pdoperator.api.spec import Mode, Spec
from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import DemandHistory
from pdoperator.planning.adaptive.remembered import restore
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import History
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings, plan_settings
from pdoperator.planning.strategies import strategy as planning
from pdoperator.sim.policies.policy import ForecastPoint, PolicyBase
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.samples import samples_of
from pdoperator.sim.traffic.trace import Trace


@dataclass(slots=True, kw_only=True)
class Planned(PolicyBase):
    """Decides as a service with these settings does; `history` is what it remembers."""

    settings: PlanSettings
    history: History
    strategy: planning.Strategy | None = None  # in place of the one that the settings name

    def choose(self, seen: Observation) -> PerRole[int]:
        """The decision's target."""
        decision, self.history = decide(self.settings, seen, self.history, self.strategy)
        if decision.forecast is not None:
            ahead = decision.forecast
            self.forecasts.append(ForecastPoint(seen.at_s + ahead.horizon_s, ahead.demand.rate_rps))
        return decision.target


def settings_of(
    scenario: Scenario,
    strategy: Strategy,
    *,
    percentile: int,
    interval_s: float,
    shared_pool: bool,
    mode: Mode = Mode.DISAGGREGATED,
) -> PlanSettings:
    """What a service with the scenario's targets, budget and first fleet plans with."""

    def role(first: int) -> dict[str, int]:
        return {"replicas": first, "maxReplicas": scenario.max_engines}

    spec = Spec.model_validate(
        {
            "model": {"name": "replayed"},
            "mode": mode,
            "hardware": {"gpusPerReplica": scenario.profile.gpus_per_replica},
            "prefill": role(scenario.first.prefill),
            "decode": role(scenario.first.decode),
            "slo": {
                "ttft": {"target": _milliseconds(scenario.ttft_s), "percentile": percentile},
                "tpot": {"target": _milliseconds(scenario.tpot_s), "percentile": percentile},
            },
            "autoscaling": {
                "strategy": strategy,
                "interval": _milliseconds(interval_s),
                "gpuBudget": scenario.gpu_budget,
            },
        }
    )
    settings = plan_settings(spec, shared_pool=shared_pool)
    return replace(settings, profile=scenario.profile, profile_named=True)


def no_history(settings: PlanSettings) -> History:
    """What a service remembers when it starts."""
    return History(DemandHistory(settings.window), settings.first)


def remembered(settings: PlanSettings, before: Trace) -> History:
    """What a service with strategy Adaptive remembers that has served `before`, which ends at time 0."""
    state = restore(settings, {}, samples_of(before, settings.interval_s))
    return replace(no_history(settings), strategy=settings.strategy, state=state)


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
