"""Engines that never start are given up, and the plan is made with what can be had."""

from __future__ import annotations

import pytest

from pdoperator.api import defaults
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.constraints.bounds import apply_limits
from pdoperator.planning.observation import EngineView
from pdoperator.planning.starting import obtainable, overdue, start_deadline_s
from planning.fleet import NOW_S, engine, limits

P, D = Role.PREFILL, Role.DECODE


def starting(name: str, since_s: float, pool: Pool = Pool.SHARED, **changes: object) -> EngineView:
    role = Role.BOTH if pool is Pool.SHARED else Role(pool.value)
    new: dict[str, object] = {
        "state": State.WARMING,
        "ready": False,
        "created_s": NOW_S - since_s,
        "pool": pool,
    }
    return engine(name, role, **(new | changes))


@pytest.mark.parametrize(
    ("p90", "deadline_s"),
    [
        (Missing("none seen"), defaults.ENGINE_START_LIMIT_S),
        (Value(100.0), 300.0),
        (Value(5.0), defaults.START_DEADLINE_MIN_S),
        (Value(5000.0), defaults.ENGINE_START_LIMIT_S),
    ],
)
def test_the_deadline_follows_what_starting_takes(p90: Value[float] | Missing, deadline_s: float) -> None:
    assert start_deadline_s(p90) == deadline_s


def test_only_engines_that_do_not_start_are_overdue() -> None:
    fleet = [
        starting("late", 301),
        starting("young", 299),
        starting("going", 301, deleting=True),
        starting("ready", 301, ready=True),
    ]
    assert [e.name for e in overdue(fleet, NOW_S, 300.0)] == ["late"]


def test_one_that_served_and_crashes_again_and_again_has_its_time_since_it_was_last_ready() -> None:
    fleet = [
        starting("looping", 9999, state=State.SERVING, unready_s=NOW_S - 301),
        starting("restarts", 9999, state=State.SERVING, unready_s=NOW_S - 299),
        starting("since nobody knows when", 9999, state=State.SERVING),
        starting("draining", 9999, state=State.DRAINING, unready_s=NOW_S - 301),
        starting("new", 299, unready_s=NOW_S - 301),
    ]
    assert [e.name for e in overdue(fleet, NOW_S, 300.0)] == ["looping"]


def test_an_edit_of_the_spec_gives_an_engine_its_time_anew() -> None:
    """It may be of the template that was at fault, and the rollout is about to replace it."""
    stuck = starting("stuck", 1000)
    assert overdue([stuck], NOW_S, 300.0, since_s=NOW_S - 299) == []
    assert overdue([stuck], NOW_S, 300.0, since_s=NOW_S - 301) == [stuck]


def test_without_a_node_an_engine_is_given_up_sooner() -> None:
    placed, homeless = starting("placed", 400), starting("homeless", 400, scheduled=False)
    assert overdue([placed, homeless], NOW_S, 1800.0) == [homeless]


def test_a_pod_that_never_started_frees_the_plan_instead_of_freezing_it() -> None:
    """dynamo#14251: a Pending pod froze scaling for an hour."""
    late = starting("late", 9999)
    fleet = [engine("a", P), engine("b", D), engine("c", D), late]
    bounds = obtainable(limits(budget=8), fleet, [late])
    limited = apply_limits(PerRole(2, 4), bounds)
    assert limited.target.prefill + limited.target.decode == 3
    assert limited.reason is Reason.GPUS_UNAVAILABLE


def test_a_pool_whose_engines_do_not_start_is_bounded_and_the_other_is_not_taken_for_it() -> None:
    late = starting("late", 9999, Pool.PREFILL)
    fleet = [
        engine("p", P, pool=Pool.PREFILL),
        *(engine(f"d{n}", D, pool=Pool.DECODE) for n in range(3)),
        late,
    ]
    assert apply_limits(PerRole(2, 3), obtainable(limits(), fleet, [late])).target == PerRole(1, 3)


def test_what_a_role_gave_up_for_one_that_cannot_start_goes_back_to_it() -> None:
    """dynamo#12428: of a rebalance at full budget the second half failed, and the planner stayed stuck."""
    late = [starting(f"late{n}", 9999, Pool.PREFILL) for n in range(2)]
    fleet = [
        *(engine(f"p{n}", P, pool=Pool.PREFILL) for n in range(4)),
        *(engine(f"d{n}", D, pool=Pool.DECODE) for n in range(2)),
        *late,
    ]
    bounds = obtainable(limits(budget=8), fleet, late)
    assert apply_limits(PerRole(6, 2), bounds).target == PerRole(4, 2)
    assert apply_limits(PerRole(4, 4), bounds).target == PerRole(4, 4)
    both = obtainable(bounds, fleet, [starting("d9", 9999, Pool.DECODE)])
    assert apply_limits(PerRole(6, 6), both).target == PerRole(4, 2)


def test_where_no_engine_starts_at_all_only_the_minimum_is_asked_for() -> None:
    late = [starting(f"late{n}", 9999) for n in range(8)]
    for most in (None, 16):
        bounds = obtainable(limits(budget=most), late, late)
        limited = apply_limits(PerRole(4, 4), bounds)
        assert (limited.target, limited.reason) == (PerRole(1, 1), Reason.GPUS_UNAVAILABLE)


def test_minimum_replicas_stand_whatever_starts() -> None:
    late = starting("late", 9999)
    bounds = obtainable(limits(p=(2, 4, 1)), [engine("a", D), late], [late])
    assert apply_limits(PerRole(2, 1), bounds).target == PerRole(2, 1)
