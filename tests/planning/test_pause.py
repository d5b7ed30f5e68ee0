"""What a pause keeps from changing, and what not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.reasons import Reason
from pdoperator.api.units import timestamp
from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.constraints.pause import paused
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import NOW_S, no_history, observation, settings

UP, DOWN = {"direction": "Up"}, {"direction": "Down"}
PREFILL, DECODE = {"role": "Prefill"}, {"role": "Decode"}


def through(
    pauses: list[dict[str, Any]], current: tuple[int, int], wanted: tuple[int, int], *, shared_pool: bool
) -> Draft:
    plan = settings(shared_pool=shared_pool, autoscaling={"pause": pauses})
    context = Context(plan, observation(None), no_history(), PerRole(*current))
    return paused(context, Draft.of(Proposal(PerRole(*wanted), Reason.FORECAST, "because")))


@pytest.mark.parametrize(
    ("pauses", "current", "wanted", "target"),
    [
        pytest.param([], (2, 6), (5, 3), (5, 3), id="nothing is paused"),
        pytest.param([{}], (2, 6), (5, 3), (2, 6), id="everything"),
        pytest.param([UP], (2, 6), (5, 3), (2, 3), id="no more engines"),
        pytest.param([DOWN], (2, 6), (5, 3), (5, 6), id="no fewer engines"),
        pytest.param([PREFILL], (2, 6), (5, 3), (2, 3), id="one role"),
        pytest.param([DECODE | DOWN], (2, 6), (1, 3), (1, 6), id="one role in one direction"),
        pytest.param([DECODE | DOWN], (2, 6), (1, 9), (1, 9), id="and not in the other"),
        pytest.param([PREFILL | UP, DECODE | DOWN], (2, 6), (5, 3), (2, 6), id="several"),
        pytest.param([{"until": timestamp(NOW_S + 1)}], (2, 6), (5, 3), (2, 6), id="one that lasts"),
        pytest.param([{"until": timestamp(NOW_S)}], (2, 6), (5, 3), (5, 3), id="one that is over"),
    ],
)
def test_pauses_of_dedicated_pools(
    pauses: list[dict[str, Any]], current: tuple[int, int], wanted: tuple[int, int], target: tuple[int, int]
) -> None:
    assert through(pauses, current, wanted, shared_pool=False).target == PerRole(*target)


@pytest.mark.parametrize(
    ("pauses", "current", "wanted", "target"),
    [
        pytest.param(
            [DECODE | DOWN], (2, 6), (4, 4), (2, 6), id="a flip is not half done: no engine is added"
        ),
        pytest.param([PREFILL | UP], (2, 6), (4, 4), (2, 6), id="and none is taken away"),
        pytest.param([DECODE | DOWN], (2, 6), (4, 5), (3, 6), id="what was to be added anyway is"),
        pytest.param([PREFILL | UP], (2, 6), (4, 3), (2, 5), id="what was to be taken away anyway is"),
    ],
)
def test_in_a_shared_pool_half_a_flip_is_no_flip(
    pauses: list[dict[str, Any]], current: tuple[int, int], wanted: tuple[int, int], target: tuple[int, int]
) -> None:
    assert through(pauses, current, wanted, shared_pool=True).target == PerRole(*target)


def test_a_pause_tells_until_when() -> None:
    draft = through([DOWN | {"until": timestamp(NOW_S + 60)}], (2, 6), (1, 1), shared_pool=True)
    assert draft.reason is Reason.PAUSED
    assert draft.why == "because; held at 2P:6D by a pause until 1970-01-12T13:47:40.000Z"


counts = st.tuples(st.integers(1, 20), st.integers(1, 20))
ROLES, DIRECTIONS = st.sampled_from(["Prefill", "Decode"]), st.sampled_from(["Up", "Down"])
pauses = st.lists(st.fixed_dictionaries({}, optional={"role": ROLES, "direction": DIRECTIONS}), max_size=3)


@given(current=counts, wanted=counts, pauses=pauses, shared=st.booleans())
def test_no_count_goes_where_a_pause_forbids_nor_beyond_what_was_asked_for(
    current: tuple[int, int], wanted: tuple[int, int], pauses: list[dict[str, Any]], shared: bool
) -> None:
    target = through(pauses, current, wanted, shared_pool=shared).target
    for i, (role, count) in enumerate(target.items()):
        assert min(current[i], wanted[i]) <= count <= max(current[i], wanted[i])
        mine = [p for p in pauses if p.get("role", role.value.title()) == role.value.title()]
        if any(p.get("direction") != "Down" for p in mine):
            assert count <= current[i]
        if any(p.get("direction") != "Up" for p in mine):
            assert count >= current[i]
    if shared:
        total = target.prefill + target.decode
        assert min(sum(current), sum(wanted)) <= total <= max(sum(current), sum(wanted))
