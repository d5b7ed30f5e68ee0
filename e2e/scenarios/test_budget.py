"""A full GPU budget: it is never exceeded, and what it keeps from happening is told."""

from __future__ import annotations

from demo.kubectl import wait_for
from demo.traffic import steady
from pdoperator.api import names
from scenarios.world import Fleet, World, few_and_forty, light_load


@few_and_forty
def test_more_load_than_the_budget_can_serve_is_told_and_served(world: World, fleet: Fleet) -> None:
    budget = fleet.prefill + fleet.decode
    held: list[int] = []

    def limited() -> bool:
        held.append(len(world.engine_pods(fleet.name)))
        return world.told(fleet.name, "ScalingLimited", status="True", reason="GPUBudget")

    def until_told() -> None:
        # More replicas than the budget has room for: else maxReplicas would be what limits.
        roomy = {"maxReplicas": 4 * budget}
        world.edit(fleet.name, prefill=roomy, decode=roomy, autoscaling={"strategy": "DOPD"})
        wait_for("ScalingLimited by the GPU budget", limited, 60 * world.patience)

    # Prompts that keep at least an eighth more engines busy than the budget has, to say nothing of their answers.
    rate_rps = (0.33 if world.plan.engine == "vllm" else 0.65) * budget
    load = steady("documents", 60 * world.patience, rate_rps, (1900, 4))
    assert world.failures_until_done(fleet.name, load, until_told) == []
    assert max(held) <= budget


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
