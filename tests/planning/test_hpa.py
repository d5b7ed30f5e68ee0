"""HPA's replica calculator: the cases that Kubernetes' own tests guard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.planning.readings import Readings
from pdoperator.planning.strategies.hpa import desired_replicas


@pytest.mark.parametrize(
    ("current", "values", "missing", "unready", "target", "replicas"),
    [
        pytest.param(3, [20, 10, 30], 0, 0, 15, 4, id="scale up"),
        pytest.param(5, [10, 10, 10, 10, 10], 0, 0, 20, 3, id="scale down"),
        pytest.param(3, [10.4, 10.4, 10.4], 0, 0, 10, 3, id="a little above the target"),
        pytest.param(3, [9.1, 9.1, 9.1], 0, 0, 10, 3, id="a little below the target"),
        pytest.param(3, [0, 0, 0], 0, 0, 10, 0, id="idle: the bounds decide"),
        pytest.param(3, [50, 10], 0, 1, 20, 3, id="one is not ready: it counts as idle on the way up"),
        pytest.param(3, [50, 70], 0, 1, 20, 6, id="one is not ready, and more are needed all the same"),
        pytest.param(3, [12, 12], 0, 1, 10, 3, id="one is not ready and would turn the direction: no change"),
        pytest.param(3, [5, 5], 0, 1, 10, 1, id="one is not ready: it does not count on the way down"),
        pytest.param(3, [30, 30], 1, 0, 20, 3, id="one has no reading: it counts as idle on the way up"),
        pytest.param(3, [60, 60], 1, 0, 20, 6, id="one has no reading, and more are needed all the same"),
        pytest.param(
            3, [10, 10], 1, 0, 20, 2, id="one has no reading: it counts as at the target on the way down"
        ),
        pytest.param(4, [10, 10], 2, 0, 12, 4, id="readings too few to go down by"),
        pytest.param(3, [], 3, 0, 20, None, id="none has a reading: the metric says nothing"),
    ],
)
def test_replicas(
    current: int, values: list[float], missing: int, unready: int, target: float, replicas: int | None
) -> None:
    assert desired_replicas(current, Readings(tuple(values), missing), unready, target, 0.1, 0.1) == replicas


@pytest.mark.parametrize(("reading", "replicas"), [(12.0, 4), (13.0, 6), (7.5, 4), (6.9, 3)])
def test_each_direction_has_its_own_tolerance(reading: float, replicas: int) -> None:
    assert desired_replicas(4, Readings((reading,) * 4, 0), 0, 10, 0.2, 0.3) == replicas


@given(
    current=st.integers(1, 20),
    values=st.lists(st.floats(0, 100), min_size=1, max_size=20),
    missing=st.integers(1, 20),
    unready=st.integers(0, 20),
)
def test_what_is_not_known_never_makes_it_shrink_further_or_grow_further(
    current: int, values: list[float], missing: int, unready: int
) -> None:
    known = desired_replicas(len(values), Readings(tuple(values), 0), 0, 10, 0.1, 0.1)
    partly = desired_replicas(current, Readings(tuple(values), missing), unready, 10, 0.1, 0.1)
    assert known is not None
    assert partly is not None
    if known > len(values):
        assert partly <= max(current, known)
    elif partly < current:
        assert partly >= min(known + missing, current - 1) or partly >= known
