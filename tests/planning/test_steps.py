"""Single situations and the steps they call for."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api import defaults
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.decision import CancelDrain, ConfirmFlip, Remove, ScaleTo, SetRole, StartDrain, Step
from pdoperator.planning.observation import EngineView
from pdoperator.planning.steps import next_steps
from planning.fleet import NOW_S, engine, limits

P, D, BOTH = Role.PREFILL, Role.DECODE, Role.BOTH


def steps(target: tuple[int, int], fleet: list[EngineView], replicas: int | None = None) -> list[Step]:
    """Steps of a shared pool that has as many replicas as engines unless told otherwise."""
    count = len(fleet) if replicas is None else replicas
    return next_steps(PerRole(*target), fleet, {"shared": count}, NOW_S)


def draining(name: str, since_s: float = 10.0, **changes: Any) -> EngineView:
    return engine(name, state=State.DRAINING, drain_started_s=NOW_S - since_s, **changes)


def dedicated(name: str, role: Role, **changes: Any) -> EngineView:
    return engine(name, role, pool=Pool(role.value), **changes)


PAIR = [engine("p", P), engine("d", D)]


def test_a_fleet_that_is_the_target_needs_no_step() -> None:
    assert steps((1, 1), PAIR) == []


def test_a_larger_target_adds_replicas_at_once() -> None:
    assert steps((2, 2), PAIR) == [ScaleTo({"shared": 4})]


def test_replicas_that_are_still_starting_are_not_added_again() -> None:
    assert steps((2, 2), PAIR, replicas=4) == []


def test_a_drain_is_taken_back_before_an_engine_is_added() -> None:
    assert steps((2, 2), [*PAIR, draining("x")]) == [CancelDrain("x"), ScaleTo({"shared": 4})]


def test_an_engine_that_is_being_deleted_is_not_taken_back() -> None:
    assert steps((1, 2), [*PAIR, draining("x", deleting=True)], replicas=2) == [ScaleTo({"shared": 3})]


def test_a_ready_engine_gets_its_role_and_begins_to_serve() -> None:
    fleet = [engine("p", P), engine("new", BOTH, state=State.WARMING)]
    assert steps((1, 1), fleet) == [SetRole("new", D, flip=False)]


def test_an_engine_that_is_not_ready_gets_no_role() -> None:
    assert steps((1, 1), [engine("d", D), engine("new", BOTH, state=State.WARMING, ready=False)]) == []


def test_a_changed_ratio_flips_an_engine_and_starts_none() -> None:
    """llm-d-autoscaling#736, DistServe#28: roles that follow the load were asked for, and nobody had them."""
    fleet = [*PAIR, engine("d2", D, outstanding=Value(PerRole(0, 7)))]
    assert steps((2, 1), fleet) == [SetRole("d", P, flip=True)]


def test_a_flip_is_confirmed_when_routers_have_taken_it_up_and_the_old_work_is_done() -> None:
    flipped = engine("d", D, flip_started_s=NOW_S - 3, outstanding=Value(PerRole(0, 5)))
    assert steps((1, 1), [engine("p", P), flipped]) == [ConfirmFlip("d", D, 3.0, timed_out=False)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"routed_role": P}, id="routers still use the old role"),
        pytest.param({"routed_role": None}, id="routers differ"),
        pytest.param({"outstanding": Value(PerRole(1, 0))}, id="old work is left"),
        pytest.param({"outstanding": Missing("router away")}, id="work is not known"),
        pytest.param(
            {"outstanding": Value(PerRole(0, 0), age_s=4.0)}, id="the reading is from before the flip"
        ),
    ],
)
def test_a_flip_is_not_confirmed_while(change: dict[str, Any]) -> None:
    flipped = {"flip_started_s": NOW_S - 3} | change
    assert steps((1, 1), [engine("p", P), engine("d", D, **flipped)]) == []


def test_a_flip_that_takes_too_long_is_reported() -> None:
    took_s = defaults.FLIP_TIMEOUT_S
    flipped = engine("d", D, flip_started_s=NOW_S - took_s, routed_role=P)
    assert steps((1, 1), [engine("p", P), flipped]) == [ConfirmFlip("d", D, took_s, timed_out=True)]


def test_a_smaller_target_drains_the_role_in_surplus_its_least_busy_its_youngest() -> None:
    busy = Value(PerRole(0, 3))
    fleet = [
        engine("p", P),
        engine("busy", D, outstanding=busy, created_s=NOW_S - 1),
        engine("old", D, created_s=NOW_S - 900),
        engine("young", D, created_s=NOW_S - 5),
    ]
    assert steps((1, 2), fleet) == [StartDrain("young")]
    assert steps((1, 1), fleet) == [StartDrain("young"), StartDrain("old")]


def test_a_victim_that_is_not_ready_goes_at_once() -> None:
    fleet = [*PAIR, engine("starting", BOTH, state=State.WARMING, ready=False)]
    assert steps((1, 1), fleet) == [Remove("starting", 0.0, timed_out=False)]


def test_a_victim_that_is_not_ready_goes_before_one_of_the_role_in_surplus() -> None:
    fleet = [engine("p", P, ready=False), engine("p2", P), engine("d1"), engine("d2")]
    assert steps((2, 1), fleet)[0] == Remove("p", 0.0, timed_out=False)


def test_an_engine_that_was_marked_but_spared_is_put_back() -> None:
    fleet = [engine("p", P), engine("d", D, removing=True)]
    assert steps((1, 1), fleet) == [CancelDrain("d")]


def test_a_starting_engine_that_was_marked_but_spared_is_still_starting() -> None:
    """Its ReplicaSet took one without a node. Told to be serving it would never be given up, should it never start."""
    spared = engine("new", BOTH, state=State.WARMING, ready=False, removing=True)
    assert steps((1, 2), [*PAIR, spared]) == [CancelDrain("new", State.WARMING)]


def test_replicas_without_a_pod_go_before_any_engine() -> None:
    assert steps((1, 1), PAIR, replicas=3) == [ScaleTo({"shared": 2})]


def test_no_more_is_drained_than_is_too_many() -> None:
    assert steps((1, 1), [*PAIR, draining("x", since_s=1.0)]) == []


def test_an_empty_engine_is_removed() -> None:
    assert steps((1, 1), [*PAIR, draining("x")]) == [Remove("x", 10.0, timed_out=False)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"outstanding": Value(PerRole(1, 0))}, id="a router has a request on it"),
        pytest.param({"outstanding": Missing("router away")}, id="a router could not be read"),
        pytest.param({"running": Value(1.0)}, id="it runs a request"),
        pytest.param({"waiting": Value(1.0)}, id="it queues a request"),
        pytest.param({"running": Missing("no answer")}, id="it could not be read"),
        pytest.param({"exporting": Value(1)}, id="a decode engine has yet to fetch KV"),
        pytest.param(
            {"exporting": Missing("router away")}, id="nobody knows whether KV is still to be fetched"
        ),
        pytest.param({"kv_use": Value(0.1)}, id="it holds KV whose lease still runs"),
        pytest.param({"kv_use": Missing("not told")}, id="it may hold KV whose lease still runs"),
        pytest.param({"since_s": defaults.DRAIN_QUIET_S - 0.1}, id="a router may not have heard yet"),
        pytest.param({"running": Value(0.0, age_s=9.0)}, id="the reading is from before routers heard"),
    ],
)
def test_a_draining_engine_is_not_removed_while(change: dict[str, Any]) -> None:
    """dynamo#13559, #9344, kthena#1589: engines went with requests in flight, or with KV that decode was pulling."""
    assert steps((1, 1), [*PAIR, draining("x", **change)]) == []


def test_an_engine_that_never_starts_is_not_removed_while_a_rollout_would_let_a_serving_one_go() -> None:
    """Given up in the middle of a rollout: the Deployment shrank the larger revision, which served."""
    late = engine("new", BOTH, state=State.WARMING, ready=False, revision="r2")
    assert steps((1, 1), [*PAIR, late]) == []
    same = engine("new", BOTH, state=State.WARMING, ready=False)
    assert steps((1, 1), [*PAIR, same]) == [Remove("new", 0.0, timed_out=False)]


def test_a_drain_that_takes_too_long_ends_in_removal() -> None:
    """aibrix#2413: a drain needs a limit."""
    stuck = draining("x", since_s=defaults.DRAIN_TIMEOUT_S, outstanding=Value(PerRole(0, 2)))
    assert steps((1, 1), [*PAIR, stuck]) == [Remove("x", defaults.DRAIN_TIMEOUT_S, timed_out=True)]


@pytest.mark.parametrize("kv_use", [Value(0.1), Missing("not told")])
def test_kv_that_nobody_has_fetched_is_waited_for_no_longer_than_its_lease(
    kv_use: Value[float] | Missing,
) -> None:
    lease_s = 300.0
    for past_s, made in ((-1.0, []), (1.0, [Remove("x", 303.0, timed_out=False)])):
        holding = draining("x", since_s=lease_s + defaults.DRAIN_QUIET_S + past_s, kv_use=kv_use)
        replicas = {"shared": 3}
        assert next_steps(PerRole(1, 1), [*PAIR, holding], replicas, NOW_S, lease_s=lease_s) == made


def test_a_drain_is_not_given_up_before_the_lease_of_its_kv_has_run_out() -> None:
    holding = draining("x", since_s=defaults.DRAIN_TIMEOUT_S + 1, exporting=Value(2))
    fleet, replicas = [*PAIR, holding], {"shared": 3}
    assert next_steps(PerRole(1, 1), fleet, replicas, NOW_S, lease_s=300.0) == []
    assert next_steps(PerRole(1, 1), fleet, replicas, NOW_S, lease_s=30.0) == [
        Remove("x", defaults.DRAIN_TIMEOUT_S + 1, timed_out=True)
    ]


@pytest.mark.parametrize(
    ("dear", "cheap"),
    [
        pytest.param(
            {"outstanding": Value(PerRole(0, 1))}, {"kv_use": Value(0.9)}, id="a stream before its KV"
        ),
        pytest.param({"exporting": Value(1)}, {}, id="KV that a decode engine waits for"),
        pytest.param({"kv_use": Value(0.6)}, {"kv_use": Value(0.2)}, id="much KV"),
        pytest.param(
            {"node": "full"}, {"node": "alone"}, id="a node with siblings, which stays in use anyway"
        ),
        pytest.param({"created_s": NOW_S - 900}, {"created_s": NOW_S - 5}, id="a warm prefix cache"),
    ],
)
def test_the_victim_is_the_engine_that_costs_least_to_lose(
    dear: dict[str, Any], cheap: dict[str, Any]
) -> None:
    """llm-d-autoscaling#1152, kubernetes#124821: any pod was deleted, however much it was doing."""
    fleet = [engine("p", P, node="full"), engine("dear", D, **dear), engine("cheap", D, **cheap)]
    assert steps((1, 1), fleet) == [StartDrain("cheap")]


def test_a_draining_engine_that_died_is_removed_at_once() -> None:
    dead = draining("x", ready=False, outstanding=Missing("away"), running=Missing("away"))
    assert steps((1, 1), [*PAIR, dead]) == [Remove("x", 10.0, timed_out=False)]


def test_a_victim_is_held_back_while_its_replica_set_would_take_another() -> None:
    blinking = engine("d", D, ready=False)
    # p serves alone meanwhile, so it decodes
    assert steps((1, 1), [engine("p", D), blinking, draining("x")]) == []
    overdue = draining("x", since_s=defaults.DRAIN_TIMEOUT_S)
    assert steps((1, 1), [engine("p", D), blinking, overdue]) == [
        Remove("x", defaults.DRAIN_TIMEOUT_S, timed_out=True)
    ]


def test_a_victim_is_held_back_while_a_new_revision_rolls_out() -> None:
    fleet = [engine("p", P), engine("d", D), engine("n", D, revision="r2"), draining("x")]
    assert steps((1, 1), fleet, replicas=3) == []


def test_a_drain_whose_start_is_not_written_down_begins_again() -> None:
    lost = engine("x", state=State.DRAINING, drain_started_s=None)
    assert steps((1, 1), [*PAIR, lost]) == [StartDrain("x")]


def test_a_removal_that_was_cut_off_before_the_replicas_fell_is_done_again() -> None:
    assert steps((1, 1), [*PAIR, draining("x", removing=True)]) == [Remove("x", 10.0, timed_out=False)]


def test_a_removal_whose_replicas_have_fallen_is_only_waited_for() -> None:
    assert steps((1, 1), [*PAIR, draining("x", removing=True)], replicas=2) == []


def test_a_victim_that_its_replica_set_spared_comes_back() -> None:
    spared = draining("x", removing=True)
    assert steps((1, 1), [engine("d", D), spared], replicas=2) == [CancelDrain("x")]


def test_dedicated_pools_grow_and_drain_each_for_itself_and_never_flip() -> None:
    fleet = [dedicated("p1", P), dedicated("p2", P), dedicated("d1", D)]
    made = next_steps(PerRole(1, 2), fleet, {"prefill": 2, "decode": 1}, NOW_S)
    assert made == [StartDrain("p1"), ScaleTo({"decode": 2})]


def test_a_dedicated_engine_begins_to_serve_when_it_is_ready() -> None:
    fleet = [dedicated("p", P, state=State.WARMING), dedicated("d", D)]
    assert next_steps(PerRole(1, 1), fleet, {"prefill": 1, "decode": 1}, NOW_S) == [
        SetRole("p", P, flip=False)
    ]


def test_a_dedicated_pool_waits_for_gpus_that_a_drain_still_holds() -> None:
    leaving = engine("p2", P, pool=Pool.PREFILL, state=State.DRAINING, drain_started_s=NOW_S - 1)
    fleet = [dedicated("p1", P), leaving, dedicated("d1", D)]
    replicas = {"prefill": 2, "decode": 1}
    assert next_steps(PerRole(1, 2), fleet, replicas, NOW_S, limits(budget=3)) == []
    freed = next_steps(
        PerRole(1, 2), fleet[:1] + fleet[2:], {"prefill": 1, "decode": 1}, NOW_S, limits(budget=3)
    )
    assert freed == [ScaleTo({"decode": 2})]


def test_engines_of_pools_that_are_going_away_are_left_alone() -> None:
    fleet = [*PAIR, dedicated("old", P, state=State.WARMING)]
    assert next_steps(PerRole(1, 1), fleet, {"shared": 2}, NOW_S) == []
