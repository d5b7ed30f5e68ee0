"""The mode changes by flips, at an edit or by itself: no engine starts or stops for it, and no request is lost."""

from __future__ import annotations

import pytest

from demo.kubectl import wait_for
from demo.traffic import steady
from pdoperator.api import defaults
from scenarios.world import BY_DEFAULT, Fleet, World, few_and_forty


def modes_told(world: World, fleet: Fleet) -> list[str]:
    """What each ModeChanged says it is now, the earliest first."""
    told = [event for event in world.events(fleet.name) if event["reason"] == "ModeChanged"]
    return [event["message"].split()[0] for event in sorted(told, key=lambda e: str(e["firstTimestamp"]))]


def serves(world: World, fleet: Fleet, mode: str) -> bool:
    """Whether status says so, of the newest spec."""
    service = world.kubectl.service(fleet.name)
    status = service["status"]
    told = (status["mode"], status["observedGeneration"])
    return told == (mode, service["metadata"]["generation"])


@few_and_forty
def test_an_edit_of_the_mode_flips_the_engines_there_and_back(world: World, fleet: Fleet) -> None:
    engines = fleet.prefill + fleet.decode
    before = set(world.roles(fleet.name))

    def there_and_back() -> None:
        world.edit(fleet.name, mode="Aggregated")
        world.wait_for_sizes(fleet.name, 0, engines)
        wait_for("mode Aggregated", lambda: serves(world, fleet, "Aggregated"), 60)
        assert world.kubectl.condition(fleet.name, "Ready")[0] == "True"
        assert world.told(fleet.name, "PrefillReady", status="True", reason="EnoughEngines")
        world.edit(fleet.name, mode="Disaggregated")
        world.wait_for_sizes(fleet.name, fleet.prefill, fleet.decode)
        wait_for("mode Disaggregated", lambda: serves(world, fleet, "Disaggregated"), 60)

    load = steady("chat", 180 * world.patience, 0.2 * engines, (200, 40))
    assert world.failures_until_done(fleet.name, load, there_and_back) == []
    assert set(world.roles(fleet.name)) == before
    assert modes_told(world, fleet) == ["Aggregated", "Disaggregated"]


def test_mode_auto_disaggregates_where_prompts_beside_decodes_break_tpot(world: World, fleet: Fleet) -> None:
    """Long prompts, short answers and 30 ms a token: aggregated no number of engines would do, disaggregated two."""
    if world.plan.engine != "sim":
        pytest.skip("minutes of waiting for a decision, which the lab runs; real engines change mode above")
    world.edit(fleet.name, mode="Aggregated")
    world.wait_for_sizes(fleet.name, 0, fleet.prefill + fleet.decode)
    slo = {"tpot": {"target": "30ms"}}
    limit_s = defaults.MODE_HOLD_S + 60

    def changes() -> None:
        world.edit(fleet.name, mode="Auto", slo=slo, autoscaling=BY_DEFAULT)
        wait_for("mode Disaggregated", lambda: serves(world, fleet, "Disaggregated"), limit_s)

    load = steady("documents", 2 * limit_s, 0.5, (1000, 16))
    assert world.failures_until_done(fleet.name, load, changes) == []
    assert modes_told(world, fleet)[-1] == "Disaggregated"
    assert max(sum(world.sizes(fleet.name)), len(world.roles(fleet.name))) <= fleet.prefill + fleet.decode
