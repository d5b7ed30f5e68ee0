"""Strategy Reactive: what the engines' own readings ask for."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.decide import decide
from pdoperator.planning.observation import EngineView
from pdoperator.planning.strategies.reactive import reactive
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import engine, fleet, no_history, observation, settings, unread

AT_TARGET = {"prefill_running": 10, "decode_running": 10}


def proposed(engines: tuple[EngineView, ...], current: tuple[int, int] = (2, 2)) -> Proposal:
    context = Context(settings(), observation(None, engines=engines), no_history(), PerRole(*current))
    return reactive(context)


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        pytest.param({}, (2, 2), id="all at their targets"),
        pytest.param({"prefill_waiting": 10}, (4, 2), id="twice the queue"),
        pytest.param({"decode_running": 15}, (2, 3), id="more in the batch"),
        pytest.param(
            {"decode_kv_use": 0.89, "decode_running": 1}, (2, 3), id="the metric that asks for most"
        ),
        pytest.param({"prefill_running": 1}, (1, 2), id="fewer where every metric allows it"),
        pytest.param({"prefill_kv_use": 1.0}, (2, 2), id="prefill's KV waits for decode"),
        pytest.param(
            {"prefill_waiting": 10, "decode_kv_use": 0.95}, (2, 3), id="no prefill while decode holds the KV"
        ),
    ],
)
def test_the_most_that_any_metric_asks_for(readings: dict[str, Any], wanted: tuple[int, int]) -> None:
    assert proposed(fleet(2, 2, **(AT_TARGET | readings))).wanted == PerRole(*wanted)


def test_it_tells_the_metric_that_decided() -> None:
    proposal = proposed(fleet(2, 2, **(AT_TARGET | {"prefill_waiting": 10})))
    assert proposal.reason is Reason.METRICS
    assert proposal.why == (
        "prefill 4 (waiting 10 per engine, target 5), decode 2 (running 10 per engine, target 10)"
    )


def test_a_metric_that_cannot_be_read_keeps_a_role_from_shrinking_but_not_from_growing() -> None:
    no_kv = tuple(engine(f"d{i}", Role.DECODE, kv_use=unread(Role.DECODE, 1)[0].kv_use) for i in range(2))
    assert proposed((*fleet(2, 0, **AT_TARGET), *no_kv)).wanted == PerRole(2, 2)
    busy = tuple(engine(e.name, Role.DECODE, kv_use=e.kv_use, waiting=_reading(10)) for e in no_kv)
    assert proposed((*fleet(2, 0, **AT_TARGET), *busy)).wanted == PerRole(2, 4)


def test_where_nothing_can_be_read_the_size_is_held_and_says_so() -> None:
    proposal = proposed((*unread(Role.PREFILL, 2), *unread(Role.DECODE, 2)))
    assert (proposal.wanted, proposal.reason) == (PerRole(2, 2), Reason.HOLD_METRICS_MISSING)


def test_engines_that_are_starting_count_as_idle_before_more_are_asked_for() -> None:
    assert proposed(fleet(2, 2, prefill_waiting=8, decode_running=10), (4, 2)).wanted == PerRole(4, 2)


def test_it_needs_neither_demand_nor_forecast() -> None:
    plan = settings(
        prefill={"maxReplicas": 9}, decode={"maxReplicas": 9}, autoscaling={"strategy": "Reactive"}
    )
    seen = observation(None, engines=fleet(2, 2, prefill_waiting=10, decode_running=10))
    decision, _ = decide(plan, seen, no_history())
    assert decision.target.prefill == 4


def _reading(x: float) -> Any:
    return fleet(1, 0, prefill_waiting=x)[0].waiting
