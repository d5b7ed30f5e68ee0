"""What holds for every strategy, and how one is plugged in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pdoperator.api.autoscaling import Strategy
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import Demand
from pdoperator.planning import decide as deciding
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Candidate
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.registry import STRATEGIES
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import no_history, observation, settings

LOAD = observation(Demand(3.0, 512, 64))


def counting(context: Context) -> Proposal:
    """A strategy that counts its own calls in its state."""
    calls = context.history.state or 0
    assert isinstance(calls, int)
    return Proposal(
        PerRole(1, 1),
        Reason.FORECAST,
        "because",
        bottleneck=Bottleneck.ROUTER,
        evidence=("queue wait 0.2 s",),
        candidates=(Candidate(PerRole(2, 1), rejected="one GPU more"),),
        without_forecast=PerRole(1, 2),
        state=calls + 1,
    )


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> PlanSettings:
    monkeypatch.setattr(deciding, "strategy_of", lambda _: counting)
    return settings()


def test_every_strategy_of_the_spec_is_there() -> None:
    assert set(STRATEGIES) == set(Strategy)


@pytest.mark.parametrize(("given", "planned"), [({}, "0.80"), ({"quantile": 0.95}, "0.95")])
def test_adaptive_plans_for_the_quantile_that_the_spec_gives(given: dict[str, float], planned: str) -> None:
    ours = settings(autoscaling={"strategy": "Adaptive", "forecast": given})
    decision, _ = decide(ours, LOAD, no_history())
    assert decision.evidence[3].endswith(f"planned for quantile {planned}")


def test_what_a_strategy_keeps_is_handed_back_to_it(plan: PlanSettings) -> None:
    history = no_history()
    for calls in (1, 2, 3):
        _, history = decide(plan, LOAD, history)
        assert history.state == calls


def test_a_strategy_never_sees_the_state_of_another(plan: PlanSettings) -> None:
    _, history = decide(plan, LOAD, no_history())
    _, history = decide(replace(plan, strategy=Strategy.STATIC), LOAD, history)
    assert history.state == 1


def test_what_a_strategy_tells_of_itself_is_in_the_decision(plan: PlanSettings) -> None:
    decision, _ = decide(plan, LOAD, no_history())
    assert decision.bottleneck is Bottleneck.ROUTER
    assert decision.evidence == ("queue wait 0.2 s",)
    assert decision.candidates == (
        Candidate(PerRole(1, 1)),
        Candidate(PerRole(2, 1), rejected="one GPU more"),
    )
    assert decision.without_forecast == PerRole(1, 2)
