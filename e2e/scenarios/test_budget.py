"""A full GPU budget: it is never exceeded."""

from __future__ import annotations

from demo.kubectl import wait_for
from pdoperator.api import names
from scenarios.world import Fleet, World, light_load


def test_a_full_budget_is_kept_while_one_pool_becomes_two(world: World, fleet: Fleet) -> None:
    held: list[int] = []

    def become_two() -> None:
        def two_pools() -> bool:
            pods = world.engine_pods(fleet.name)
            held.append(len(pods))
            pools = {pod["metadata"]["labels"][names.LABEL_POOL] for pod in pods}
            return pools == {"prefill", "decode"}

        world.edit(fleet.name, pool="Dedicated")
        wait_for("engines in pools of their own", two_pools, 180 * world.patience)
        world.wait_for_sizes(fleet.name, fleet.prefill, fleet.decode)

    assert world.failures_during(fleet.name, light_load(20), become_two) == []
    assert max(held) <= fleet.prefill + fleet.decode
