"""Edits, losses, and an operator or an API server that goes away: no request is lost."""

from __future__ import annotations

import time
from collections import Counter

from demo.kubectl import wait_for
from pdoperator.api import names
from scenarios.world import Fleet, World, few_and_forty, light_load, long_answers, static


@few_and_forty
def test_an_edited_size_is_reached_and_victims_drain_first(world: World, fleet: Fleet) -> None:
    def shrink() -> None:
        world.resize(fleet, prefill=+1, decode=-1)
        # Else the engine that flips may be the one that goes, and its flip is never through.
        wait_for("RoleFlipped", lambda: "RoleFlipped" in world.reasons(fleet.name), 60 * world.patience)
        world.resize(fleet, prefill=-1, decode=0)

    assert world.failures_during(fleet.name, light_load(12), shrink) == []
    assert "EngineDrained" in world.reasons(fleet.name)


@few_and_forty
def test_an_operator_killed_in_the_middle_of_a_flip_goes_on_with_it(world: World, fleet: Fleet) -> None:
    """Answers of the old role keep the flip from being through."""

    def flip() -> None:
        world.until_busy(fleet, decode=fleet.decode)
        world.edit(fleet.name, **static(fleet.prefill + 1, fleet.decode - 1))
        flipping = world.until_engines(fleet, names.ANNOTATION_FLIP_STARTED)
        world.kill_operator()
        assert flipping == world.engines_with(fleet, names.ANNOTATION_FLIP_STARTED), "killed too late"
        world.until_operator_is_back()
        wait_for("the end of the flip", lambda: "RoleFlipped" in world.reasons(fleet.name), 240)

    assert world.failures_during(fleet.name, long_answers(2 * fleet.decode), flip) == []
    assert world.sizes(fleet.name) == (fleet.prefill + 1, fleet.decode - 1)


@few_and_forty
def test_an_operator_killed_in_the_middle_of_a_drain_goes_on_with_it(world: World, fleet: Fleet) -> None:
    def drain() -> None:
        world.until_busy(fleet, decode=fleet.decode)
        world.edit(fleet.name, **static(fleet.prefill, fleet.decode - 1))
        (victim,) = world.until_engines(fleet, names.ANNOTATION_DRAIN_STARTED)
        world.kill_operator()
        assert world.engines_with(fleet, names.ANNOTATION_DRAIN_STARTED) == {victim}, "killed too late"
        world.until_operator_is_back()
        wait_for("the end of the victim", lambda: victim not in world.roles(fleet.name), 240)

    assert world.failures_during(fleet.name, long_answers(2 * fleet.decode), drain) == []
    world.wait_for_sizes(fleet.name, fleet.prefill, fleet.decode - 1)
    assert "EngineDrained" in world.reasons(fleet.name)


def test_the_router_serves_on_while_the_operator_is_killed_and_comes_back(world: World, fleet: Fleet) -> None:
    before = world.kubectl.json("get", "deployment", f"{fleet.name}-engine")["metadata"]

    def replace() -> None:
        world.kill_operator()
        world.until_operator_is_back()

    assert world.failures_during(fleet.name, light_load(15), replace) == []
    # The new one acts, at the latest when the Lease of the dead one has run out.
    world.resize(fleet, prefill=+1, decode=-1, limit_s=120)
    after = world.kubectl.json("get", "deployment", f"{fleet.name}-engine")["metadata"]
    assert after["uid"] == before["uid"]


@few_and_forty
def test_a_lost_engine_is_replaced_and_given_its_role(world: World, fleet: Fleet) -> None:
    victim, lost_role = next(iter(world.roles(fleet.name).items()))
    world.kubectl.run("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")

    def replaced() -> bool:
        roles = world.roles(fleet.name)
        return victim not in roles and Counter(roles.values()) == {
            "prefill": fleet.prefill,
            "decode": fleet.decode,
        }

    wait_for(f"another {lost_role} engine", replaced, 60 * world.patience)


@few_and_forty
def test_the_api_server_may_be_away_for_half_a_minute(world: World, fleet: Fleet) -> None:
    def outage() -> None:
        world.stop_api_server()
        time.sleep(30)
        world.start_api_server()

    assert world.failures_during(fleet.name, light_load(35), outage) == []
    world.resize(fleet, prefill=+1, decode=-1, limit_s=90)


@few_and_forty
def test_an_engine_without_room_is_told_and_given_up_while_the_rest_serves_on(
    world: World, fleet: Fleet
) -> None:
    template = world.sample(fleet.name)["spec"]["engine"]["template"]
    template["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "900"
    world.edit(fleet.name, engine={"template": template})
    wait_for("Unschedulable", lambda: "Unschedulable" in world.reasons(fleet.name), 60 * world.patience)
    world.is_given_up(fleet, light_load(600))
