"""The split clock: it flips for a gain and never for noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.planning.adaptive.split import split

NEEDS = st.builds(PerRole, st.floats(0, 60), st.floats(0, 60))


@given(engines=st.integers(2, 60), needed=NEEDS, current=st.integers(0, 70), may_flip=st.booleans())
def test_both_roles_keep_an_engine(
    engines: int, needed: PerRole[float], current: int, may_flip: bool
) -> None:
    assert 1 <= split(engines, needed, current, may_flip=may_flip) <= engines - 1


@pytest.mark.parametrize(
    ("why", "needed", "current", "expected"),
    [
        ("neither side is strained", PerRole(3.0, 3.0), 6, 6),
        ("prefill is strained and decode idle", PerRole(7.0, 1.5), 5, 8),
        ("decode is strained and prefill idle", PerRole(1.5, 7.0), 5, 2),
        ("both are strained alike", PerRole(6.0, 6.0), 5, 5),
        ("the gain is less than a flip is worth", PerRole(5.0, 4.6), 5, 5),
    ],
)
def test_ten_engines_flip_only_for_a_gain(
    why: str, needed: PerRole[float], current: int, expected: int
) -> None:
    assert split(10, needed, current, may_flip=True) == expected, why


def test_it_does_not_go_back_and_forth_on_a_load_that_wavers_around_its_split() -> None:
    current, flips = 6, 0
    for tick in range(200):
        noise = 0.55 if tick % 2 else -0.55
        after = split(10, PerRole(5.4 + noise, 3.6 - noise), current, may_flip=True)
        flips += after != current
        current = after
    assert flips <= 1


def test_nothing_flips_within_the_dwell_time() -> None:
    assert split(10, PerRole(9.0, 0.5), 3, may_flip=False) == 3
