"""Roles in a shared pool: the right number, the fewest changes, the least disturbed engine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.observation import EngineView
from pdoperator.planning.roles import assign_roles, prefill_share
from planning.fleet import engine

P, D, BOTH = Role.PREFILL, Role.DECODE, Role.BOTH


@pytest.mark.parametrize(
    ("target", "engines", "prefill"),
    [
        ((3, 1), 4, 3),
        ((3, 1), 3, 2),
        ((3, 1), 2, 1),
        ((3, 1), 1, 0),
        ((1, 9), 4, 1),
        ((9, 1), 4, 3),
        ((1, 1), 3, 1),
        ((17, 2), 13, 11),  # 12:1 is nearer, and has half of the decode that 17:2 has
        ((2, 17), 13, 2),
    ],
)
def test_prefill_gets_its_proportion_of_what_is_ready(
    target: tuple[int, int], engines: int, prefill: int
) -> None:
    assert prefill_share(PerRole(*target), engines) == prefill


def test_new_engines_take_the_role_that_lacks_and_nobody_flips() -> None:
    fleet = [engine("a", P), engine("b", D), engine("c", BOTH)]
    assert assign_roles(PerRole(2, 1), fleet) == {"a": P, "b": D, "c": P}


def test_the_engine_with_the_least_outstanding_work_flips() -> None:
    fleet = [
        engine("a", D, outstanding=Value(PerRole(0, 9))),
        engine("b", D, outstanding=Value(PerRole(0, 2))),
        engine("c", D, outstanding=Value(PerRole(0, 5))),
        engine("d", P),
    ]
    assert assign_roles(PerRole(2, 2), fleet) == {"a": D, "b": P, "c": D, "d": P}


def test_an_engine_whose_work_is_not_known_flips_last() -> None:
    fleet = [
        engine("a", P, outstanding=Missing("router away")),
        engine("b", P, outstanding=Value(PerRole(40, 0))),
        engine("c", D),
    ]
    assert assign_roles(PerRole(1, 2), fleet) == {"a": P, "b": D, "c": D}


def test_each_revision_can_serve_by_itself_while_a_new_one_rolls_out() -> None:
    """kserve PR#6218, llm-d-modelservice#252: prefill and decode of different revisions were paired."""
    fleet = [engine("a", P), engine("b", P), engine("c", D), engine("x", BOTH, revision="r2")]
    assert assign_roles(PerRole(2, 1), fleet) == {"a": P, "b": P, "c": D, "x": D}
    fleet = [*fleet, engine("y", BOTH, revision="r2")]
    assert Counter(assign_roles(PerRole(2, 1), fleet)[name] for name in "xy") == {P: 1, D: 1}


@pytest.mark.parametrize("change", [{"ready": False}, {"deleting": True}, {"state": State.DRAINING}])
def test_engines_that_cannot_serve_have_no_role_to_get(change: dict[str, Any]) -> None:
    assert assign_roles(PerRole(1, 1), [engine("a"), engine("b", **change)]) == {"a": D}


fleets = st.lists(
    st.builds(
        lambda i, role, p, d, revision: engine(
            f"e{i}", role, outstanding=Value(PerRole(p, d)), revision=revision
        ),
        st.integers(0, 10**6),
        st.sampled_from([P, D, BOTH]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from(["r1", "r2"]),
    ),
    unique_by=lambda e: e.name,
    max_size=12,
)
targets = st.builds(PerRole, st.integers(1, 8), st.integers(1, 8))


@given(fleet=fleets, target=targets)
def test_roles_are_stable_once_given_and_each_revision_of_two_or_more_has_both(
    fleet: list[EngineView], target: PerRole[int]
) -> None:
    roles = assign_roles(target, fleet)
    for revision in {e.revision for e in fleet}:
        group = [roles[e.name] for e in fleet if e.revision == revision]
        assert group == [D] if len(group) == 1 else {P, D} == set(group)
    settled = [engine(e.name, roles[e.name], outstanding=e.outstanding, revision=e.revision) for e in fleet]
    assert assign_roles(target, settled) == roles


@given(fleet=fleets, target=targets)
def test_no_assignment_needs_fewer_flips(fleet: list[EngineView], target: PerRole[int]) -> None:
    roles = assign_roles(target, fleet)
    for revision in {e.revision for e in fleet}:
        group = [e for e in fleet if e.revision == revision]
        flips = sum(1 for e in group if e.role is not BOTH and roles[e.name] is not e.role)
        wanted = sum(1 for e in group if roles[e.name] is P)
        have_p, have_d = (sum(1 for e in group if e.role is r) for r in (P, D))
        assert flips == max(0, have_p - wanted) + max(0, have_d - (len(group) - wanted))
