"""New engines for old ones, and the end of a service."""

from __future__ import annotations

from demo import deploy
from demo.kubectl import wait_for
from scenarios.world import Fleet, World, light_load


def test_a_new_template_rolls_out_while_the_service_serves(world: World, fleet: Fleet) -> None:
    before = set(world.reach.engines(fleet.name))
    template = world.sample(fleet.name)["spec"]["engine"]["template"]

    def roll() -> None:
        world.edit(
            fleet.name, engine={"template": template | {"metadata": {"annotations": {"rolled": "yes"}}}}
        )
        wait_for(
            "all engines anew",
            lambda: not before & set(world.reach.engines(fleet.name)),
            150 * world.patience,
        )
        world.wait_for_sizes(fleet.name, 1, 2)

    assert world.failures_during(fleet.name, light_load(30), roll) == []


def test_deleting_a_service_leaves_nothing_behind(world: World, fleet: Fleet) -> None:
    deploy.delete_service(world.kubectl, fleet.name, 90 * world.patience)
    assert deploy.left_over(world.kubectl, fleet.name) == []
