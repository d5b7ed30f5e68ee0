"""Which engine is picked."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdoperator.api.names import Role, State
from pdoperator.scheduling.engines import Engine, Table, build_table
from pdoperator.scheduling.pick import Scheduler
from scheduling.world import B1, CONFIG, D1, D2, NOW_S, P1, P2, PROMPT, engine, table


def names_prefill(t: Table, scheduler: Scheduler | None = None) -> str | None:
    picked = (scheduler or Scheduler()).prefill(t, NOW_S, CONFIG, PROMPT)
    return picked.name if picked else None


@pytest.mark.parametrize(
    ("engines", "prefill", "aggregated"),
    [
        pytest.param([], None, None, id="nothing to serve with"),
        pytest.param([P1, D1], "p1", "d1", id="a pair"),
        pytest.param([P1], None, "p1", id="no decode: the prefill engine serves alone"),
        pytest.param([D1], None, "d1", id="no prefill: the decode engine serves alone"),
        pytest.param([B1], None, "b1", id="an engine without a role serves alone"),
        pytest.param([P1, B1], "p1", "b1", id="one without a role decodes where no decode engine is"),
        pytest.param([B1, D1], None, "d1", id="one without a role stands back where a decode engine is"),
        pytest.param([B1, engine("b2", Role.BOTH)], None, "b1", id="one without a role never prefills"),
        pytest.param([P1, engine("d", Role.DECODE, "r2")], None, "d", id="no pair across revisions"),
        pytest.param(
            [P1, D1, engine("d", Role.DECODE, "r0")], "p1", None, id="the complete revision is chosen"
        ),
        pytest.param([engine("p", Role.PREFILL, state=State.DRAINING), D1], None, "d1", id="draining"),
        pytest.param([engine("p", Role.PREFILL, ready=False), D1], None, "d1", id="not ready"),
        pytest.param([engine("p", Role.PREFILL, deleting=True), D1], None, "d1", id="deleting"),
        pytest.param([engine("p", Role.PREFILL, address=""), D1], None, "d1", id="without an address"),
        pytest.param([engine("p", Role.PREFILL, state=State.WARMING), D1], "p", "d1", id="warming but ready"),
        pytest.param([engine("p", Role.PREFILL, state=None), D1], "p", "d1", id="no state label yet"),
    ],
)
def test_who_may_serve(engines: list[Engine], prefill: str | None, aggregated: str | None) -> None:
    assert names_prefill(table(*engines)) == prefill
    picked = Scheduler().aggregated(table(*engines), NOW_S, CONFIG, PROMPT)
    if aggregated or not engines:
        assert (picked.name if picked else None) == aggregated


def test_the_least_busy_is_picked_whatever_it_is_busy_with() -> None:
    scheduler = Scheduler()
    left_over = scheduler.load.acquire("p1", Role.DECODE, 100, computed=True)  # from before its role changed
    assert names_prefill(table(P1, P2, D1), scheduler) == "p2"
    left_over.release()
    scheduler.load.acquire("p2", Role.PREFILL, 100)
    assert names_prefill(table(P1, P2, D1), scheduler) == "p1"


def test_equals_take_turns_even_when_each_request_is_done_before_the_next() -> None:
    scheduler, t = Scheduler(), table(P1, P2, engine("p3", Role.PREFILL), D1)
    order = []
    for _ in range(6):
        name = names_prefill(t, scheduler)
        assert name
        scheduler.load.acquire(name, Role.PREFILL, 100).release()
        order.append(name)
    assert order == ["p1", "p2", "p3"] * 2


def test_complete_revisions_share_the_load_by_their_engines() -> None:
    small = [engine("p", Role.PREFILL, "a"), engine("d", Role.DECODE, "a")]
    large = [engine(f"{r.value}{i}", r, "b") for r in (Role.PREFILL, Role.DECODE) for i in range(3)]
    scheduler, t = Scheduler(), table(*small, *large)
    picked = Counter(e.revision for _ in range(80) if (e := scheduler.prefill(t, NOW_S, CONFIG, PROMPT)))
    assert picked == {"a": 20, "b": 60}


def test_a_retry_stays_within_the_revision_and_off_what_failed() -> None:
    other = [engine("q", Role.PREFILL, "r2"), engine("e", Role.DECODE, "r2")]
    t = table(P1, P2, D1, *other)
    again = Scheduler().prefill(t, NOW_S, CONFIG, PROMPT, "r1", {"p1"})
    assert again is not None
    assert again.name == "p2"
    assert Scheduler().prefill(t, NOW_S, CONFIG, PROMPT, "r1", {"p1", "p2"}) is None


def test_what_failed_a_moment_ago_is_left_alone_although_it_looks_idle() -> None:
    scheduler, t = Scheduler(), table(P1, P2, D1, D2)
    scheduler.load.failed("p1", NOW_S, unreachable=True)
    scheduler.load.failed("d1", NOW_S, unreachable=True)
    for name in ("p2", "d2"):
        scheduler.load.acquire(name, Role.PREFILL, 100)
    assert names_prefill(t, scheduler) == "p2"
    decode = scheduler.decode(t, NOW_S, CONFIG, "r1", {"p2"})
    assert decode is not None
    assert decode.name == "d2"
    later = scheduler.prefill(t, NOW_S + 5, CONFIG, PROMPT)
    assert later is not None
    assert later.name == "p1"


def test_without_an_alternative_even_what_just_failed_is_asked() -> None:
    scheduler = Scheduler()
    scheduler.load.failed("d1", NOW_S, unreachable=True)
    assert scheduler.aggregated(table(D1), NOW_S, CONFIG, PROMPT) == D1
    assert scheduler.aggregated(table(D1, P1), NOW_S, CONFIG, PROMPT) == P1


def test_the_doubted_comes_after_its_equals_and_before_other_kinds() -> None:
    scheduler = Scheduler()
    assert scheduler.aggregated(table(D1, D2), NOW_S, CONFIG, PROMPT, doubted={"d1"}) == D2
    assert scheduler.aggregated(table(D1, P1), NOW_S, CONFIG, PROMPT, doubted={"d1"}) == D1


def test_an_account_is_forgotten_with_its_engine_but_not_before_its_requests_are() -> None:
    load = Scheduler().load
    load.acquire("gone", Role.DECODE, 100)
    load.acquire("done", Role.DECODE, 100).release()
    load.keep([])
    assert load.engines() == ["gone"]


ENGINES = st.lists(
    st.builds(
        Engine,
        name=st.sampled_from([f"e{n}" for n in range(8)]),
        address=st.sampled_from(["", "10.0.0.1:8000"]),
        role=st.sampled_from(Role),
        state=st.sampled_from([None, *State]),
        revision=st.sampled_from(["r1", "r2"]),
        ready=st.booleans(),
        deleting=st.booleans(),
    ),
    max_size=10,
)
LOADS = st.dictionaries(st.sampled_from([f"e{n}" for n in range(8)]), st.integers(0, 5))


@given(ENGINES, LOADS)
def test_whatever_the_fleet_a_pair_is_two_usable_engines_of_one_revision_each_the_least_busy(
    engines: list[Engine], loads: dict[str, int]
) -> None:
    t, scheduler = build_table(engines), Scheduler()
    for name, count in loads.items():
        for _ in range(count):
            scheduler.load.acquire(name, Role.DECODE, 100)
    prefill = scheduler.prefill(t, NOW_S, CONFIG, PROMPT)
    if prefill is None:
        assert not any(group.prefill and group.decode for group in t.groups.values())
        return
    decode = scheduler.decode(t, NOW_S, CONFIG, prefill.revision, {prefill.name})
    assert decode is not None
    assert decode.name != prefill.name
    assert decode.revision == prefill.revision
    assert prefill.usable
    assert decode.usable
    assert prefill.role is Role.PREFILL
    assert decode.role is not Role.PREFILL
    group = t.groups[prefill.revision]
    assert loads.get(prefill.name, 0) == min(loads.get(e.name, 0) for e in group.prefill)
    assert loads.get(decode.name, 0) == min(loads.get(e.name, 0) for e in group.decode)


@given(ENGINES)
def test_whenever_any_engine_is_usable_a_request_can_be_served_and_never_by_an_unusable_one(
    engines: list[Engine],
) -> None:
    t = build_table(engines)
    picked = Scheduler().aggregated(t, NOW_S, CONFIG, PROMPT)
    assert (picked is not None) == any(e.usable for e in t.engines) == t.usable
    assert picked is None or picked.usable
