"""A dry run decides as if it were carried out, changes nothing, and grades itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdoperator.api.values import PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, DryRunScore, History
from pdoperator.planning.dry_run import from_text, to_text, told
from pdoperator.planning.settings import PlanSettings
from planning.fleet import NOW_S, fleet, no_history, observation, settings

WIDE = {"minReplicas": 1, "maxReplicas": 100}
AT_ONCE = {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}]}
NO_DELAY = {"scaleUp": AT_ONCE, "scaleDown": {"stabilizationWindowSeconds": 0}}
SMALL, LARGE = Demand(3, 512, 64), Demand(30, 512, 64)  # 4P:1D and 12P:3D
STARTUP_S = 60.0


def plan(*, dry_run: bool = True, **more: Any) -> PlanSettings:
    scaling = {
        "strategy": "DOPD",
        "forecast": {"model": "LastValue"},
        "behavior": NO_DELAY,
        "dryRun": dry_run,
    }
    return settings(prefill=WIDE | {"replicas": 8}, decode=WIDE | {"replicas": 2}, autoscaling=scaling | more)


def after(
    *loads: Demand, settings: PlanSettings | None = None, history: History | None = None, since: int = 0
) -> tuple[Decision, History]:
    """A decision each 15 s beside a fleet of 8P:2D that nobody changes."""
    settings, history = settings or plan(), history or no_history()
    for i, load in enumerate(loads, since):
        seen = observation(load, NOW_S + 15 * i, engines=fleet(8, 2), startup_p90_s=Value(STARTUP_S))
        decision, history = decide(settings, seen, history)
    return decision, history


def score(*loads: Demand) -> DryRunScore:
    found = after(*loads)[0].dry_run
    assert found is not None
    return found


def test_what_is_in_force_stays_while_decisions_go_on() -> None:
    decision, history = after(LARGE, SMALL)
    assert decision.target == PerRole(4, 1)
    assert history.target == PerRole(8, 2)


def test_each_decision_builds_on_the_one_before_as_if_it_had_been_carried_out() -> None:
    slow = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}
    decision, _ = after(LARGE, LARGE, LARGE, settings=plan(behavior=slow))
    assert decision.target.prefill + decision.target.decode == 13


def test_it_saves_gpu_time_where_less_was_needed() -> None:
    found = score(*[SMALL] * 5)
    assert found.gpu_s == pytest.approx(60 * 5)
    assert found.actual_gpu_s == pytest.approx(60 * 10)
    assert (found.short_s, found.actual_short_s) == (0, 0)


def test_it_owns_up_to_the_time_until_its_engines_would_have_served() -> None:
    found = score(*[SMALL] * 9, *[LARGE] * 9)
    # The fleet that there was lacks engines all the time, its own only until they would have started.
    assert found.actual_short_s == pytest.approx(9 * 15)
    assert found.short_s == pytest.approx(STARTUP_S)


def test_its_score_goes_on_after_a_restart_of_the_operator() -> None:
    _, history = after(*[SMALL] * 5)
    assert history.dry_run is not None
    kept = replace(history, dry_run=from_text(to_text(history.dry_run)))
    found, _ = after(SMALL, history=kept, since=5)
    assert found.dry_run == score(*[SMALL] * 6)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"target": [1, 2], "score": {"other": 1}}', '{"target": 3}']
)
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert from_text(text) is None


def test_time_that_nobody_watched_is_on_no_account() -> None:
    _, history = after(SMALL, SMALL)
    decision, _ = after(SMALL, history=history, since=1000)
    assert decision.dry_run is not None
    assert decision.dry_run.gpu_s == pytest.approx(15 * 5)


def test_when_it_ends_decisions_start_from_what_is_in_force() -> None:
    _, history = after(SMALL, SMALL)
    decision, history = after(SMALL, settings=plan(dry_run=False), history=history, since=2)
    assert decision.dry_run is None
    assert history.dry_run is None
    assert history.rescales[-1].change == PerRole(-4, -1)


def test_the_score_in_words() -> None:
    assert told(DryRunScore(0, 7200, 36000, 72000, 150, 30)) == (
        "in 2.0 h decisions would have held 10.0 GPU-h (there were 20.0)"
        " and lacked engines for 2.5 min (as it was: 0.5)"
    )
