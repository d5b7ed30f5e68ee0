"""HPA's windows: what they hold, and what they give up for the other role."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.planning.decision import Recommendation
from pdoperator.planning.stabilize import give_up_surplus, remember, stabilize
from planning.fleet import limits, settings


def behavior(up_s: int, down_s: int) -> dict[str, object]:
    return {
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": up_s},
            "scaleDown": {"stabilizationWindowSeconds": down_s},
        }
    }


def asked(*sizes: tuple[float, int, int]) -> tuple[Recommendation, ...]:
    return tuple(Recommendation(at, PerRole(p, d)) for at, p, d in sizes)


@pytest.mark.parametrize(
    ("up_s", "down_s", "current", "sizes", "held"),
    [
        pytest.param(
            0, 300, (2, 2), [(0, 2, 2), (100, 4, 1)], (4, 2), id="up at once, down only after the window"
        ),
        pytest.param(
            0,
            300,
            (4, 4),
            [(0, 4, 4), (301, 1, 1)],
            (1, 1),
            id="down when nothing larger was asked for in the window",
        ),
        pytest.param(
            0,
            300,
            (4, 4),
            [(0, 4, 4), (200, 3, 2), (301, 1, 1)],
            (3, 2),
            id="down to the largest of the window",
        ),
        pytest.param(
            60,
            300,
            (1, 1),
            [(0, 1, 1), (30, 5, 5)],
            (1, 1),
            id="up only when asked for all through its window",
        ),
        pytest.param(60, 300, (1, 1), [(0, 3, 1), (30, 5, 1)], (3, 1), id="up to the smallest of the window"),
        pytest.param(0, 0, (3, 3), [(0, 3, 3), (15, 1, 5)], (1, 5), id="no windows, no delay"),
    ],
)
def test_windows(
    up_s: int,
    down_s: int,
    current: tuple[int, int],
    sizes: list[tuple[float, int, int]],
    held: tuple[int, int],
) -> None:
    plan = settings(autoscaling=behavior(up_s, down_s))
    assert stabilize(plan, PerRole(*current), asked(*sizes), now_s=sizes[-1][0]) == PerRole(*held)


def test_only_what_a_window_may_still_ask_for_is_remembered() -> None:
    plan = settings(autoscaling=behavior(0, 60))
    kept = remember(plan, asked((0, 1, 1), (50, 2, 2)), Recommendation(70, PerRole(3, 3)))
    assert [r.at_s for r in kept] == [50, 70]


def test_engines_that_only_a_window_keeps_give_way_to_those_that_the_other_role_needs() -> None:
    assert give_up_surplus(PerRole(3, 3), PerRole(3, 1), limits(budget=4)) == PerRole(3, 1)


def test_a_window_keeps_what_the_budget_has_room_for() -> None:
    assert give_up_surplus(PerRole(3, 3), PerRole(3, 1), limits(budget=5)) == PerRole(3, 2)
    assert give_up_surplus(PerRole(3, 3), PerRole(3, 1), limits()) == PerRole(3, 3)


size = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(
    current=size,
    sizes=st.lists(size, min_size=1, max_size=12),
    up_s=st.integers(0, 90),
    down_s=st.integers(0, 90),
)
def test_a_held_size_lies_between_the_current_one_and_what_was_asked_for(
    current: tuple[int, int], sizes: list[tuple[int, int]], up_s: int, down_s: int
) -> None:
    plan = settings(autoscaling=behavior(up_s, down_s))
    past = asked(*((15.0 * i, *s) for i, s in enumerate(sizes)))
    held = stabilize(plan, PerRole(*current), past, now_s=past[-1].at_s)
    for role, count in held.items():
        seen = [r.target[role] for r in past] + [PerRole(*current)[role]]
        assert min(seen) <= count <= max(seen)
