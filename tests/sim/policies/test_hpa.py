"""HPA and KEDA by HPA v2's own arithmetic; the calculator itself has its tests in planning."""

from __future__ import annotations

import pytest

from pdoperator.api.names import Role
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.hpa import Hpa, Keda
from planning.fleet import engine, observation

FLEET = PerRole(2, 4)


def seen(at_s: float, waiting: float = 0.0, kv: float = 0.0, running: float = 0.0) -> Observation:
    """2P:4D; the readings are of the decode engines."""
    decode = tuple(
        engine(f"d{i}", waiting=Value(waiting), kv_use=Value(kv), running=Value(running)) for i in range(4)
    )
    return observation(None, at_s, (engine("p0", Role.PREFILL), engine("p1", Role.PREFILL), *decode))


@pytest.mark.parametrize(
    ("waiting", "kv", "running", "decode"),
    [
        (7.0, 0.1, 1.0, 6),  # ceil(4 x 7 / 5)
        (0.0, 0.95, 1.0, 5),  # ceil(4 x 0.95 / 0.8)
        (0.0, 0.1, 19.0, 8),  # ceil(4 x 19 / 10), and no more than twice as many in one sync
        (7.0, 0.95, 19.0, 8),  # the most of them
        (5.4, 0.8, 10.5, 4),  # within 10 %
        (90.0, 0.1, 1.0, 8),
    ],
)
def test_hpa_takes_the_most_that_a_metric_asks_for(
    waiting: float, kv: float, running: float, decode: int
) -> None:
    policy = Hpa("", 15.0, FLEET, most=64)
    assert policy.decide(seen(0.0, waiting, kv, running)).decode == decode


def test_hpa_shrinks_after_five_minutes_and_not_below_its_minimum() -> None:
    policy = Hpa("", 15.0, FLEET, most=64, least=2)
    sizes = {at_s: policy.decide(seen(float(at_s), running=1.0)).decode for at_s in range(0, 330, 15)}
    assert {at_s for at_s, size in sizes.items() if size == 4} == set(range(0, 300, 15))
    assert sizes[315] == 2


def test_a_target_of_zero_is_not_looked_at() -> None:
    policy = Hpa("", 15.0, FLEET, most=64, running=0)
    assert policy.decide(seen(0.0, running=100.0, kv=0.8, waiting=5.0)).decode == 4


def test_a_metric_that_is_not_known_allows_no_shrinking() -> None:
    silent = observation(None, 0.0, tuple(engine(f"d{i}", waiting=Missing("gone")) for i in range(4)))
    policy = Hpa("", 15.0, PerRole(0, 4), most=64, aggregated=True)
    assert [policy.decide(silent), policy.decide(silent)][-1] == PerRole(0, 4)


def test_aggregated_engines_are_all_decode() -> None:
    policy = Hpa("", 15.0, PerRole(0, 4), most=64, aggregated=True)
    assert policy.decide(seen(0.0, waiting=7.0)) == PerRole(0, 6)


@pytest.mark.parametrize(("waiting", "decode"), [(7.0, 6), (5.4, 4), (1.0, 4), (100.0, 8)])
def test_keda_wants_an_engine_for_each_five_that_wait(waiting: float, decode: int) -> None:
    policy = Keda("", 15.0, FLEET, most=64, kv=0, running=0)
    assert policy.decide(seen(0.0, waiting)).decode == decode
