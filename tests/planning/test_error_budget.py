"""The error budget: what is burnt, and the quantile that is planned for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api import defaults
from pdoperator.api.values import Missing, Value
from pdoperator.planning.error_budget import ErrorBudget, quantile
from pdoperator.planning.observation import SloCounts


@pytest.mark.parametrize(
    ("ended", "missed", "allowed", "hopeless", "burn"),
    [
        pytest.param(1000, 0, 0.1, 0.0, 0.0, id="nothing missed"),
        pytest.param(1000, 100, 0.1, 0.0, 1.0, id="exactly what may miss"),
        pytest.param(1000, 100, 0.01, 0.0, 10.0, id="ten times as much at the 99th percentile"),
        pytest.param(1000, 100, 0.1, 0.05, 0.5, id="half of the misses could not be helped"),
        pytest.param(1000, 20, 0.1, 0.05, 0.0, id="fewer than could not be helped"),
        pytest.param(49, 49, 0.1, 0.0, 0.0, id="too few to tell"),
    ],
)
def test_burn_rate(ended: float, missed: float, allowed: float, hopeless: float, burn: float) -> None:
    assert ErrorBudget(ended, missed).burn(allowed, hopeless) == pytest.approx(burn)


@pytest.mark.parametrize(
    ("burn", "expected"),
    [(0.0, 0.8), (0.5, 0.8), (0.75, 0.89), (1.0, 0.98), (7.0, 0.98)],
)
def test_the_quantile_rises_with_the_second_half_of_the_budget(burn: float, expected: float) -> None:
    assert quantile(0.8, burn) == pytest.approx(expected)


@given(least=st.floats(0.5, 0.999), burn=st.floats(0, 20), more=st.floats(0, 20))
def test_more_burnt_never_plans_for_less(least: float, burn: float, more: float) -> None:
    assert least <= quantile(least, burn) <= quantile(least, burn + more) <= max(least, defaults.QUANTILE_MAX)


def test_misses_are_forgotten_with_time_and_what_is_not_read_changes_nothing() -> None:
    spent = ErrorBudget().after(Value(SloCounts(100, 50)), 15.0)
    assert spent == spent.after(Missing("no router was read"), 15.0)
    later = spent
    for _ in range(int(2 * defaults.BURN_WINDOW_S / 15)):
        later = later.after(Value(SloCounts(10, 0)), 15.0)
    assert later.burn(0.1) < 0.1 < spent.burn(0.1)


def test_it_survives_a_restart() -> None:
    budget = ErrorBudget(120.5, 7.25)
    assert ErrorBudget.from_text(budget.to_text()) == ErrorBudget(120.5, 7.2)


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"a": 1}', '{"ended": "many"}'])
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert ErrorBudget.from_text(text) == ErrorBudget()
