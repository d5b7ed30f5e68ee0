"""HPA's windows and rates: what they hold, let through, and give up for the other role."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.behavior import behavior, rated, remember, stabilized
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.decision import History, Recommendation
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import NOW_S, no_history, observation, settings

WIDE = {"minReplicas": 1, "maxReplicas": 100}


def rules(up: dict[str, Any] | None = None, down: dict[str, Any] | None = None, **more: Any) -> PlanSettings:
    scaling = {"behavior": {"scaleUp": up or {}, "scaleDown": down or {}}, **more.pop("autoscaling", {})}
    return settings(prefill=WIDE, decode=WIDE, autoscaling=scaling, **more)


def policy(kind: str, value: int, period_s: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period_s}


@pytest.mark.parametrize(
    ("up_s", "down_s", "current", "asked", "held"),
    [
        pytest.param(0, 300, 2, [(0, 2), (100, 4)], 4, id="up at once"),
        pytest.param(0, 300, 2, [(0, 2), (100, 1)], 2, id="down only after the window"),
        pytest.param(0, 300, 4, [(0, 4), (300, 1)], 1, id="down when nothing larger was asked for in it"),
        pytest.param(0, 300, 4, [(0, 4), (200, 3), (301, 1)], 3, id="down to the largest of the window"),
        pytest.param(60, 300, 1, [(0, 1), (30, 5)], 1, id="up only when asked for all through its window"),
        pytest.param(60, 300, 1, [(0, 3), (30, 5)], 3, id="up to the smallest of the window"),
        pytest.param(0, 0, 3, [(0, 3), (15, 1)], 1, id="no windows, no delay"),
    ],
)
def test_windows(up_s: int, down_s: int, current: int, asked: list[tuple[float, int]], held: int) -> None:
    *past, (now_s, newest) = asked
    assert stabilized(current, newest, past, now_s, up_s, down_s) == held


@pytest.mark.parametrize(
    ("up", "down", "changes", "current", "asked", "allowed"),
    [
        pytest.param({}, {}, [], 2, 50, 6, id="HPA's default: 4 more"),
        pytest.param({}, {}, [], 10, 50, 20, id="HPA's default: twice as many, where that is more"),
        pytest.param({}, {}, [], 50, 1, 1, id="HPA's default: all may go at once"),
        pytest.param({}, {}, [(-14, 4)], 6, 50, 6, id="what came within the period counts"),
        pytest.param({}, {}, [(-15, 4)], 6, 50, 12, id="what came before it does not"),
        pytest.param({}, {}, [(-5, -4)], 6, 50, 20, id="what went within it may come back, and twice"),
        pytest.param(
            {"policies": [policy("Pods", 4, 60), policy("Percent", 100, 60)], "selectPolicy": "Min"},
            {},
            [],
            10,
            50,
            14,
            id="Min: the policy that allows least",
        ),
        pytest.param(
            {"policies": [policy("Percent", 10, 60)]}, {}, [], 1, 9, 2, id="percents are rounded up"
        ),
        pytest.param({"policies": [policy("Percent", 10, 60)]}, {}, [], 10, 99, 11, id="10 % of 10 is 1"),
        pytest.param({"selectPolicy": "Disabled"}, {}, [], 4, 9, 4, id="Disabled: never up"),
        pytest.param({}, {"selectPolicy": "Disabled"}, [], 4, 1, 4, id="Disabled: never down"),
        pytest.param({}, {"policies": [policy("Pods", 2, 60)]}, [], 9, 1, 7, id="two may go"),
        pytest.param({}, {"policies": [policy("Pods", 2, 60)]}, [(-59, -2)], 7, 1, 7, id="two have gone"),
        pytest.param({}, {"policies": [policy("Pods", 2, 60)]}, [(-30, -1)], 8, 1, 7, id="one has gone"),
        pytest.param({}, {"policies": [policy("Percent", 10, 60)]}, [], 20, 1, 18, id="a tenth may go"),
        pytest.param(
            {},
            {"policies": [policy("Pods", 1, 60), policy("Percent", 50, 60)]},
            [],
            8,
            1,
            4,
            id="Max: the policy that lets most go",
        ),
        pytest.param(
            {},
            {"policies": [policy("Pods", 1, 60), policy("Percent", 50, 60)], "selectPolicy": "Min"},
            [],
            8,
            1,
            7,
            id="Min: the policy that lets least go",
        ),
        pytest.param(
            {"policies": [policy("Pods", 1, 60)]}, {}, [(-9, 3)], 4, 9, 4, id="never back because of rates"
        ),
    ],
)
def test_rates(
    up: dict[str, Any],
    down: dict[str, Any],
    changes: list[tuple[float, int]],
    current: int,
    asked: int,
    allowed: int,
) -> None:
    then = [(NOW_S + at_s, change) for at_s, change in changes]
    assert rated(current, asked, then, NOW_S, rules(up, down).behavior) == allowed


def through(
    plan: PlanSettings,
    current: tuple[int, int],
    wanted: tuple[int, int],
    past: History | None = None,
    **proposal: Any,
) -> Draft:
    """`wanted` through the behavior of `plan`."""
    context = Context(plan, observation(None), past or no_history(), PerRole(*current))
    return behavior(context, Draft.of(Proposal(PerRole(*wanted), Reason.FORECAST, "because", **proposal)))


def asked_for(*sizes: tuple[float, int, int]) -> History:
    return replace(
        no_history(), recommendations=tuple(Recommendation(NOW_S + at, PerRole(p, d)) for at, p, d in sizes)
    )


def test_a_change_of_split_in_a_shared_pool_waits_for_nothing() -> None:
    frozen = rules({"selectPolicy": "Disabled"}, {"selectPolicy": "Disabled"})
    assert through(frozen, (2, 6), (6, 2)).target == PerRole(6, 2)


def test_windows_and_rates_hold_for_all_engines_of_a_shared_pool_together() -> None:
    draft = through(rules({"policies": [policy("Pods", 2, 60)]}), (2, 2), (4, 6))
    assert draft.target == PerRole(2, 4)
    assert draft.limited is Reason.SCALE_UP_LIMIT
    assert draft.why == "because; behavior.scaleUp makes it 2P:4D"


def test_windows_and_rates_hold_for_each_role_of_dedicated_pools_by_itself() -> None:
    draft = through(rules({"policies": [policy("Pods", 2, 60)]}, shared_pool=False), (2, 2), (3, 6))
    assert draft.target == PerRole(3, 4)


def test_engines_that_only_the_window_keeps_keep_their_role_until_the_other_needs_them() -> None:
    plan = rules()
    assert through(plan, (3, 6), (2, 2)).target == PerRole(3, 6)
    assert through(plan, (3, 6), (5, 2)).target == PerRole(5, 4)


def test_what_the_window_holds_is_told_as_stabilized() -> None:
    draft = through(rules(), (3, 6), (2, 2))
    assert draft.reason is Reason.STABILIZED
    assert draft.why == "because; held at 3P:6D by the stabilisation window"


def test_in_dedicated_pools_the_window_never_keeps_the_other_role_from_what_it_needs() -> None:
    plan = rules(shared_pool=False, autoscaling={"gpuBudget": 4})
    assert through(plan, (1, 3), (3, 1)).target == PerRole(3, 1)


def test_but_a_rate_does() -> None:
    slow = rules(down={"policies": [policy("Pods", 1, 60)]}, shared_pool=False, autoscaling={"gpuBudget": 4})
    assert through(slow, (1, 3), (3, 1)).target == PerRole(3, 2)


def test_what_is_urgent_does_not_wait_for_the_scale_up_window() -> None:
    plan, past = rules({"stabilizationWindowSeconds": 60}), asked_for((-30, 1, 1))
    assert through(plan, (1, 1), (3, 1), past).target == PerRole(1, 1)
    assert through(plan, (1, 1), (3, 1), past, urgent=True).target == PerRole(3, 1)


def test_a_persons_size_is_neither_held_nor_remembered() -> None:
    draft = through(rules(), (9, 9), (2, 2), behavior=False)
    assert (draft.target, draft.asked) == (PerRole(2, 2), None)


def test_only_what_windows_and_rates_may_still_ask_for_is_remembered() -> None:
    plan = rules({"stabilizationWindowSeconds": 0}, {"stabilizationWindowSeconds": 60})
    history = asked_for((-70, 1, 1), (-20, 2, 2))
    for at_s in (0, 10, 20):
        context = Context(plan, observation(None, NOW_S + at_s), history, PerRole(2, 2))
        history = remember(
            context, replace(through(plan, (2, 2), (3, 3)), asked=PerRole(3, 3)), PerRole(3, 3)
        )
    assert [r.at_s - NOW_S for r in history.recommendations] == [-20, 0, 10, 20]
    assert [r.at_s - NOW_S for r in history.rescales] == [10, 20]


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(
    current=sizes,
    asked=st.lists(sizes, min_size=1, max_size=12),
    up=st.integers(0, 90),
    down=st.integers(0, 90),
    shared=st.booleans(),
)
def test_what_is_held_lies_between_the_current_size_and_what_was_asked_for(
    current: tuple[int, int], asked: list[tuple[int, int]], up: int, down: int, shared: bool
) -> None:
    plan = rules({"stabilizationWindowSeconds": up}, {"stabilizationWindowSeconds": down}, shared_pool=shared)
    past = asked_for(*((-15.0 * i, *size) for i, size in enumerate(asked)))
    target = through(plan, current, asked[0], past).target
    seen, found = [current, *asked], (target.prefill, target.decode)
    if shared:
        assert min(map(sum, seen)) <= sum(found) <= max(map(sum, seen))
    else:
        for role in (0, 1):
            assert min(size[role] for size in seen) <= found[role] <= max(size[role] for size in seen)
