"""From a shared pool to dedicated ones and back, with and without room for both."""

from __future__ import annotations

from random import Random

import pytest

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import PerRole
from pdoperator.planning.observation import EngineView
from pdoperator.planning.settings import Limits
from pdoperator.planning.steps import next_steps
from pdoperator.planning.transition import kept_by_leaving
from planning.fleet import engine, limits
from planning.world import World

P, D = Role.PREFILL, Role.DECODE
SHARED, DEDICATED = frozenset({"shared"}), frozenset({"prefill", "decode"})


class Change:
    """A calm world whose pools are exchanged; what served at every second is noted."""

    def __init__(self, target: PerRole[int], replicas: dict[str, int], leaving: frozenset[str]) -> None:
        self.world = World(Random(7), replicas)
        self.world.calm = True
        self.target = target
        self.leaving: frozenset[str] = frozenset()
        self.fewest = {P: 99, D: 99}
        self.fewest_serving = 99
        self.most_held = 0
        self.run(30, None)
        for pool in {"shared", "prefill", "decode"} - set(replicas):
            self.world.replicas[pool] = 0
        self.leaving = leaving
        self.fewest = {P: 99, D: 99}
        self.fewest_serving, self.most_held = 99, 0

    def run(self, seconds: int, bounds: Limits | None) -> None:
        for _ in range(seconds):
            world = self.world
            replicas = dict(world.replicas)
            world.take(
                next_steps(self.target, world.views(), replicas, world.now_s, bounds, leaving=self.leaving)
            )
            world.pass_second()
            usable = [view for view in world.views() if view.usable and view.state is State.SERVING]
            for role in self.fewest:
                self.fewest[role] = min(self.fewest[role], sum(1 for e in usable if e.role is role))
            self.fewest_serving = min(self.fewest_serving, len(usable))
            self.most_held = max(self.most_held, len(world.pods))

    @property
    def sizes(self) -> dict[str, int]:
        return {pool: count for pool, count in self.world.replicas.items() if count}


def test_a_full_budget_lets_the_old_pool_make_room_one_engine_at_a_time() -> None:
    change = Change(PerRole(2, 2), {"shared": 4}, SHARED)
    change.run(200, limits(budget=4))
    assert change.sizes == {"prefill": 2, "decode": 2}
    assert change.most_held == 4
    assert min(change.fewest.values()) >= 1


def test_back_to_a_shared_pool_under_a_full_budget() -> None:
    change = Change(PerRole(1, 3), {"prefill": 1, "decode": 3}, DEDICATED)
    change.run(200, limits(budget=4))
    assert change.sizes == {"shared": 4}
    assert change.most_held == 4
    assert min(change.fewest.values()) >= 1


def test_a_budget_of_two_engines_is_served_by_one_for_a_while_rather_than_waiting_for_ever() -> None:
    change = Change(PerRole(1, 1), {"shared": 2}, SHARED)
    change.run(200, limits(budget=2))
    assert change.sizes == {"prefill": 1, "decode": 1}
    assert (change.most_held, change.fewest_serving) == (2, 1)


@pytest.mark.parametrize("budget", [None, 8])
def test_with_room_the_new_pools_serve_before_the_old_one_shrinks(budget: int | None) -> None:
    change = Change(PerRole(2, 2), {"shared": 4}, SHARED)
    change.run(200, limits(budget=budget))
    assert change.sizes == {"prefill": 2, "decode": 2}
    assert change.fewest_serving >= 4


def test_pools_of_a_role_each_become_an_aggregated_shared_one() -> None:
    """No engine of the new pool will ever prefill, so none of the old ones waits for that."""
    change = Change(PerRole(0, 3), {"prefill": 1, "decode": 2}, DEDICATED)
    change.run(200, limits())
    assert change.sizes == {"shared": 3}
    assert change.fewest_serving >= 3


def dedicated(name: str, role: Role, **changes: object) -> EngineView:
    return engine(name, role, pool=Pool(role.value), **changes)


OLD = [engine("s1", P), engine("s2", D), engine("s3", D)]


@pytest.mark.parametrize(
    ("new", "cramped", "kept"),
    [
        pytest.param([], False, 3, id="nothing new serves yet"),
        pytest.param([], True, 2, id="no room: one makes room"),
        pytest.param([dedicated("p", P, ready=False)], True, 3, id="one starts: it is waited for"),
        pytest.param([dedicated("p", P, ready=False, scheduled=False)], True, 2, id="one finds no node"),
        pytest.param([dedicated("p", P)], False, 2, id="one serves, one may go"),
        pytest.param([dedicated("p", P), dedicated("d", D), dedicated("d2", D)], False, 0, id="all serve"),
    ],
)
def test_what_the_old_pool_keeps(new: list[EngineView], cramped: bool, kept: int) -> None:
    assert kept_by_leaving(PerRole(1, 2), new, OLD, cramped=cramped) == kept


def test_the_last_engine_of_a_role_stays_until_the_new_pools_have_both() -> None:
    old = [engine("s1", P), engine("s2", D)]
    assert kept_by_leaving(PerRole(1, 1), [dedicated("d", D)], old, cramped=False) == 1
    assert kept_by_leaving(PerRole(1, 1), [dedicated("d", D), dedicated("p", P)], old, cramped=False) == 0
