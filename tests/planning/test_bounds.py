"""Bounds on a target: what they cut, and in what they never fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.bounds import apply_limits, settled
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.settings import Limits, RoleLimits
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import limits, no_history, observation, settings


@pytest.mark.parametrize(
    ("wanted", "bounds", "target", "reason"),
    [
        pytest.param((3, 5), limits(), (3, 5), Reason.WITHIN_LIMITS, id="within all bounds nothing changes"),
        pytest.param((0, 0), limits(), (1, 1), Reason.TOO_FEW_REPLICAS, id="minReplicas"),
        pytest.param((9, 9), limits((1, 4, 1)), (4, 9), Reason.TOO_MANY_REPLICAS, id="maxReplicas"),
        pytest.param(
            (8, 2),
            limits((1, 100, 1), (1, 100, 2), budget=8),
            (5, 1),
            Reason.GPU_BUDGET,
            id="DOPD's vector: 12 GPUs to 7",
        ),
        pytest.param(
            (60, 1), limits(budget=4), (3, 1), Reason.GPU_BUDGET, id="proportional, but one decode stays"
        ),
        pytest.param(
            (1, 60), limits(budget=4), (1, 3), Reason.GPU_BUDGET, id="proportional, but one prefill stays"
        ),
        pytest.param(
            (3, 2),
            limits(budget=3),
            (2, 1),
            Reason.GPU_BUDGET,
            id="who needs more keeps more when few are left",
        ),
        pytest.param((2, 2), limits(budget=3), (1, 2), Reason.GPU_BUDGET, id="decode gets the odd half"),
        pytest.param(
            (5, 3),
            limits((1, 2, 1), (1, 2, 1), budget=3),
            (2, 1),
            Reason.GPU_BUDGET,
            id="in proportion of what is needed, not of what maxReplicas left of it",
        ),
        pytest.param(
            (2, 8),
            limits((1, 9, 1), (1, 3, 1), budget=4),
            (1, 3),
            Reason.GPU_BUDGET,
            id="within replicas and budget",
        ),
        pytest.param(
            (4, 12),
            limits((1, 9, 1), (1, 3, 1), budget=6),
            (3, 3),
            Reason.GPU_BUDGET,
            id="what maxReplicas keeps from decode goes to prefill",
        ),
        pytest.param(
            (8, 8), limits(budget=1), (1, 1), Reason.GPU_BUDGET, id="a budget below the minimums: they stand"
        ),
        pytest.param(
            (5, 5),
            limits((1, 9, 0), (1, 9, 0), budget=1),
            (5, 5),
            Reason.WITHIN_LIMITS,
            id="engines without GPUs",
        ),
        pytest.param(
            (8, 1),
            limits((1, 100, 2), (1, 100, 1), budget=16),
            (7, 1),
            Reason.GPU_BUDGET,
            id="a cut never adds engines",
        ),
        pytest.param(
            (1, 8), limits(ratio_min=(1, 4)), (2, 8), Reason.RATIO_BOUND, id="ratio adds before it takes away"
        ),
        pytest.param((9, 1), limits(ratio_max=(4, 1)), (9, 3), Reason.RATIO_BOUND, id="ratio adds decode"),
        pytest.param(
            (1, 8),
            limits(budget=9, ratio_min=(1, 4)),
            (2, 7),
            Reason.RATIO_BOUND,
            id="ratio swaps where the budget is full",
        ),
        pytest.param(
            (2, 8),
            limits((1, 1, 1), ratio_min=(1, 4)),
            (1, 4),
            Reason.RATIO_BOUND,
            id="ratio takes away at maxReplicas",
        ),
        pytest.param(
            (1, 8),
            limits((1, 1, 1), (8, 9, 1), ratio_min=(1, 4)),
            (1, 8),
            Reason.WITHIN_LIMITS,
            id="a ratio that cannot be met yields",
        ),
    ],
)
def test_limits(wanted: tuple[int, int], bounds: Limits, target: tuple[int, int], reason: Reason) -> None:
    limited = apply_limits(PerRole(*wanted), bounds)
    assert (limited.target, limited.reason) == (PerRole(*target), reason)


@st.composite
def bounded(draw: st.DrawFn) -> Limits:
    def role() -> RoleLimits:
        least = draw(st.integers(1, 5))
        return RoleLimits(least, draw(st.integers(least, 30)), least, draw(st.integers(0, 8)))

    roles = PerRole(role(), role())
    minimums = roles.prefill.least * roles.prefill.cost + roles.decode.least * roles.decode.cost
    parts = st.tuples(st.integers(1, 6), st.integers(1, 6))
    return Limits(
        roles=roles,
        budget=draw(st.none() | st.integers(max(1, minimums), minimums + 60)),
        ratio_min=draw(st.none() | parts),
        ratio_max=draw(st.none() | parts),
    )


counts = st.builds(PerRole, st.integers(0, 60), st.integers(0, 60))


@given(wanted=counts, bounds=bounded())
def test_the_budget_is_never_exceeded_and_replicas_stay_within_their_bounds(
    wanted: PerRole[int], bounds: Limits
) -> None:
    target = apply_limits(wanted, bounds).target
    assert bounds.budget is None or bounds.cost(target) <= bounds.budget
    for role, count in target.items():
        assert bounds.roles[role].least <= count <= bounds.roles[role].most


@given(wanted=counts, bounds=bounded())
def test_a_target_within_limits_stays_as_it_is(wanted: PerRole[int], bounds: Limits) -> None:
    target = apply_limits(wanted, bounds).target
    assert apply_limits(target, bounds).target == target


@given(wanted=counts, bounds=bounded())
def test_the_ratio_holds_wherever_any_target_meets_it(wanted: PerRole[int], bounds: Limits) -> None:
    def holds(p: int, d: int) -> bool:
        low, high = bounds.ratio_min, bounds.ratio_max
        return (low is None or p * low[1] >= d * low[0]) and (high is None or p * high[1] <= d * high[0])

    target = apply_limits(wanted, bounds).target
    p_role, d_role = bounds.roles.prefill, bounds.roles.decode
    possible = any(
        holds(p, d) and (bounds.budget is None or bounds.cost(PerRole(p, d)) <= bounds.budget)
        for p in range(p_role.least, p_role.most + 1)
        for d in range(d_role.least, d_role.most + 1)
    )
    assert holds(target.prefill, target.decode) or not possible


@given(wanted=counts, more=st.integers(0, 20), bounds=bounded())
def test_without_budget_and_ratio_more_wanted_is_never_fewer(
    wanted: PerRole[int], more: int, bounds: Limits
) -> None:
    free = Limits(bounds.roles)
    less = apply_limits(wanted, free).target
    greater = apply_limits(PerRole(wanted.prefill + more, wanted.decode + more), free).target
    assert greater.prefill >= less.prefill
    assert greater.decode >= less.decode


def after_a_hold(current: PerRole[int], target: PerRole[int], bounds: Limits) -> Draft:
    """`target`, which a window or a pause has left, within `bounds` again."""
    context = Context(replace(settings(), limits=bounds), observation(None), no_history(), current)
    return settled(context, Draft.of(Proposal(target, Reason.FORECAST, "because")))


@pytest.mark.parametrize(
    ("current", "target", "bounds", "settled", "reason"),
    [
        pytest.param((2, 4), (3, 4), limits(budget=7), (3, 4), Reason.WITHIN_LIMITS, id="what fits stays"),
        pytest.param(
            (2, 6),
            (4, 6),
            limits(budget=8),
            (2, 6),
            Reason.GPU_BUDGET,
            id="growth gives way to what was held",
        ),
        pytest.param(
            (2, 6),
            (4, 6),
            limits(budget=9),
            (3, 6),
            Reason.GPU_BUDGET,
            id="and grows as far as there is room",
        ),
        pytest.param(
            (4, 4),
            (4, 8),
            limits(ratio_min=(1, 1)),
            (4, 4),
            Reason.RATIO_BOUND,
            id="the ratio cuts growth too",
        ),
        pytest.param(
            (1, 8),
            (1, 8),
            limits(ratio_min=(1, 4)),
            (2, 8),
            Reason.RATIO_BOUND,
            id="where even the current size is out of bounds they alone decide",
        ),
    ],
)
def test_a_change_that_was_held_in_part_is_cut_until_it_is_within_bounds(
    current: tuple[int, int],
    target: tuple[int, int],
    bounds: Limits,
    settled: tuple[int, int],
    reason: Reason,
) -> None:
    draft = after_a_hold(PerRole(*current), PerRole(*target), bounds)
    assert (draft.target, draft.limited) == (PerRole(*settled), reason)


@given(current=counts, target=counts, bounds=bounded())
def test_after_any_hold_the_budget_still_holds(
    current: PerRole[int], target: PerRole[int], bounds: Limits
) -> None:
    after = after_a_hold(current, target, bounds).target
    assert bounds.budget is None or bounds.cost(after) <= bounds.budget
    for role, count in after.items():
        assert bounds.roles[role].least <= count <= bounds.roles[role].most
