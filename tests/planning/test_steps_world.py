"""Steps taken again and again, while targets change, engines restart, readings fail and the operator dies."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api.names import Role, State
from pdoperator.api.values import PerRole
from pdoperator.planning.steps import next_steps
from planning.fleet import limits
from planning.world import World

BUDGET = 8
TROUBLED_S, CALM_S = 80, 90
POOLS = {"shared": {"shared": 2}, "dedicated": {"prefill": 1, "decode": 1}}


def some_target(random: Random) -> PerRole[int]:
    prefill = random.randint(1, BUDGET - 1)
    return PerRole(prefill, random.randint(1, BUDGET - prefill))


def tick(world: World, target: PerRole[int]) -> int:
    """One pass of the operator and a second of the cluster; how many steps there were to take."""
    replicas_before = sum(world.replicas.values())
    steps = next_steps(target, world.views(), world.replicas, world.now_s, limits(budget=BUDGET))
    world.take(steps)
    replicas = sum(world.replicas.values())
    assert replicas <= BUDGET
    # A shared pool never holds more than target or current; dedicated ones may while the other still drains.
    assert replicas <= max(replicas_before, target.prefill + target.decode) or len(world.replicas) > 1
    world.replica_sets()
    world.pass_second()
    assert world.wrongly_deleted == []
    return len(steps)


def serving(world: World) -> Counter[Role]:
    return Counter(p.role for p in world.pods.values() if world.ready(p) and p.state is State.SERVING)


@pytest.mark.parametrize("pools", list(POOLS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_happens_no_work_is_lost_the_budget_holds_and_the_target_is_reached(
    pools: str, seed: int
) -> None:
    random = Random(seed)
    world = World(random, POOLS[pools])
    target = some_target(random)
    for _ in range(TROUBLED_S):
        if random.random() < 0.05:
            target = some_target(random)
        tick(world, target)
    world.calm = True
    for _ in range(CALM_S):
        last = tick(world, target)
    assert last == 0
    assert serving(world) == {Role.PREFILL: target.prefill, Role.DECODE: target.decode}
    assert sum(world.replicas.values()) == target.prefill + target.decode


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_both_roles_are_served_all_the_time_once_two_engines_are_ready(seed: int) -> None:
    random = Random(seed)
    world = World(random, {"shared": 2})
    world.calm = True
    target = some_target(random)
    for second in range(150):
        if random.random() < 0.05:
            target = some_target(random)
        tick(world, target)
        if second > 20:
            assert set(serving(world)) >= {Role.PREFILL, Role.DECODE}
