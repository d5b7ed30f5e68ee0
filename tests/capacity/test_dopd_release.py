"""Item D5: what DOPD's released planner does with what it computed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.capacity.dopd_release import Interval, Limits, next_counts, steps, within_budget

LIMITS = Limits(least=PerRole(1, 1), gpus=PerRole(1, 2), budget=8)
CALM = Interval(PerRole(2, 1), PerRole(2, 1), idle_s=0.0)


def test_d5_eight_and_two_become_five_and_one_within_eight_gpus() -> None:
    assert within_budget(PerRole(8, 2), LIMITS) == PerRole(5, 1)


@pytest.mark.parametrize(
    ("computed", "counts"),
    [((2, 3), (2, 3)), ((0, 0), (1, 1)), ((8, 0), (6, 1)), ((1, 9), (1, 3)), ((100, 100), (2, 3))],
)
def test_d5_counts_are_raised_to_the_minimum_and_cut_to_the_budget(
    computed: tuple[int, int], counts: tuple[int, int]
) -> None:
    assert next_counts(PerRole(*computed), CALM, LIMITS) == PerRole(*counts)


def test_d5_an_adjustment_is_skipped_when_the_counts_have_changed_meanwhile() -> None:
    changed = Interval(PerRole(2, 1), PerRole(3, 1), idle_s=0.0)
    assert next_counts(PerRole(5, 1), changed, LIMITS) == PerRole(3, 1)


@pytest.mark.parametrize(("idle_s", "counts"), [(50.0, (4, 2)), (50.1, (1, 1))])
def test_d5_after_more_than_50_s_without_requests_both_roles_go_to_their_minimum(
    idle_s: float, counts: tuple[int, int]
) -> None:
    assert next_counts(PerRole(4, 2), Interval(CALM.counts_now, CALM.counts_now, idle_s), LIMITS) == PerRole(
        *counts
    )


def test_d5_prefill_changes_before_decode_one_at_a_time() -> None:
    assert list(steps(PerRole(1, 3), PerRole(3, 2))) == [
        (Role.PREFILL, 1),
        (Role.PREFILL, 1),
        (Role.DECODE, -1),
    ]
    assert list(steps(PerRole(2, 2), PerRole(2, 2))) == []


def test_d5_a_budget_below_the_minimum_is_refused_where_the_release_searches_for_ever() -> None:
    with pytest.raises(ValueError, match="2 GPUs does not hold the minimum, which needs 3"):
        Limits(least=PerRole(1, 1), gpus=PerRole(1, 2), budget=2)


@settings(deadline=None)
@given(
    computed=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    least=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    gpus=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    spare=st.integers(0, 400),
)
def test_d5_the_budget_loop_ends_within_every_budget(
    computed: tuple[int, int], least: tuple[int, int], gpus: tuple[int, int], spare: int
) -> None:
    budget = least[0] * gpus[0] + least[1] * gpus[1] + spare
    counts = within_budget(PerRole(*computed), Limits(PerRole(*least), PerRole(*gpus), budget))
    assert counts.prefill * gpus[0] + counts.decode * gpus[1] <= budget
    assert counts.prefill >= least[0]
    assert counts.decode >= least[1]
