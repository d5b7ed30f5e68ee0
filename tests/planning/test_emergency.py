"""Overload that is already there is acted on within one tick."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole
from pdoperator.planning.observation import EngineView
from pdoperator.planning.strategies.dopd import dopd
from pdoperator.planning.strategies.emergency import with_emergency
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning.fleet import engine, fleet, no_history, observation, settings, unread


def proposed(engines: tuple[EngineView, ...], wanted: tuple[int, int] = (4, 2)) -> Proposal:
    """What a strategy that wants `wanted` asks for when it knows of emergencies."""
    context = Context(settings(), observation(None, engines=engines), no_history(), PerRole(4, 2))
    return with_emergency(lambda _: Proposal(PerRole(*wanted), Reason.FORECAST, "because"))(context)


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        pytest.param({}, (4, 2), id="calm"),
        pytest.param({"prefill_waiting": 5.0}, (4, 2), id="a queue at its limit"),
        pytest.param({"prefill_waiting": 7.5}, (6, 2), id="beyond it: HPA's arithmetic"),
        pytest.param({"prefill_waiting": 99}, (8, 2), id="at most twice those that serve"),
        pytest.param({"decode_waiting": 6}, (4, 3), id="decode's queue"),
        pytest.param({"decode_kv_use": 0.91}, (4, 3), id="decode's KV"),
        pytest.param({"prefill_kv_use": 1.0}, (4, 2), id="prefill's KV is passed on, and means nothing"),
        pytest.param(
            {"prefill_waiting": 99, "decode_kv_use": 0.95}, (4, 3), id="no prefill while decode holds the KV"
        ),
    ],
)
def test_what_an_overload_calls_for(readings: dict[str, Any], wanted: tuple[int, int]) -> None:
    proposal = proposed(fleet(4, 2, **readings))
    assert proposal.wanted == PerRole(*wanted)
    assert proposal.urgent is (wanted != (4, 2))


def test_a_strategy_that_asks_for_more_already_is_left_alone() -> None:
    """aibrix#1418: forecast and reaction belong into one decision, not into two controllers."""
    assert proposed(fleet(4, 2, prefill_waiting=7.5), (9, 9)).reason is Reason.FORECAST


def test_engines_that_are_starting_are_not_asked_for_again_and_again() -> None:
    starting = tuple(engine(f"new-{i}", ready=False) for i in range(2))
    assert proposed((*fleet(4, 2, prefill_waiting=7.5), *starting)).wanted == PerRole(6, 2)


def test_no_reading_is_no_emergency() -> None:
    assert proposed(unread(Role.PREFILL, 2)).reason is Reason.FORECAST


def test_it_is_told_with_its_figures() -> None:
    proposal = proposed(fleet(4, 2, prefill_waiting=7.5))
    assert proposal.reason is Reason.EMERGENCY
    assert proposal.why == "because; emergency: prefill 6 (7.5 wait, KV 0% per engine)"


def test_it_needs_no_forecast() -> None:
    blind = observation(Missing("router r-1 did not answer"), engines=fleet(4, 2, prefill_waiting=7.5))
    proposal = dopd(Context(settings(), blind, no_history(), PerRole(4, 2)))
    assert (proposal.wanted, proposal.reason) == (PerRole(6, 2), Reason.EMERGENCY)
