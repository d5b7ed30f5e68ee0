"""So many engines as prefill and decode: the worse side lacks as little as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.values import PerRole
from pdoperator.planning.split import best_split, strain

NEEDS = st.builds(PerRole, st.floats(0, 60), st.floats(0, 60))


@given(engines=st.integers(2, 60), needed=NEEDS)
def test_the_best_split_strains_its_worse_side_least(engines: int, needed: PerRole[float]) -> None:
    least = min(strain(prefill, engines, needed) for prefill in range(1, engines))
    assert strain(best_split(engines, needed), engines, needed) == pytest.approx(least)
