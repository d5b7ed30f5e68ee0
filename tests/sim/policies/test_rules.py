"""The arithmetic of each policy, against the rules of its source."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole, Value
from pdoperator.capacity.profile import Fit, Profile
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.sim.policies.arrow import Arrow
from pdoperator.sim.policies.dopd_release import DopdRelease
from pdoperator.sim.policies.dyn_load import DynLoad
from pdoperator.sim.policies.dyn_sla import DynSla
from pdoperator.sim.policies.heteroscale import HeteroScale
from pdoperator.sim.policies.tokenscale import TokenScale
from pdoperator.sim.policies.wva import Wva
from planning.fleet import engine, observation

# A prompt of 1000 tokens takes 0.1 s, a token 10 ms plus 0.1 ms a sequence, whatever the context.
PROFILE = Profile(Fit(0.0, 1e-4), Fit(0.01, 1e-4), kv_tokens=100_000, max_batch=500)
FLEET = PerRole(3, 4)


def seen(at_s: float, demand: Demand | None = None, **more: Any) -> Observation:
    """3P:4D with these readings on every engine of the role: p_waiting, d_waiting, d_kv."""
    p_waiting, d_waiting, kv = (more.pop(key, 0.0) for key in ("p_waiting", "d_waiting", "d_kv"))
    engines: list[EngineView] = [
        *(engine(f"p{i}", Role.PREFILL, waiting=Value(float(p_waiting))) for i in range(FLEET.prefill)),
        *(engine(f"d{i}", waiting=Value(float(d_waiting)), kv_use=Value(float(kv))) for i in range(4)),
    ]
    return observation(demand, at_s, tuple(engines), **more)


@pytest.mark.parametrize(
    ("queues", "kv", "target"),
    [
        ([6.0, 6.0, 6.0], 0.7, PerRole(4, 4)),  # above 5 and not falling
        ([9.0, 6.0, 4.0], 0.7, PerRole(3, 4)),  # above 5 on average, but falling
        ([0.1, 0.1, 0.1], 0.7, PerRole(2, 4)),  # below 0.2
        ([1.0, 1.0, 1.0], 0.95, PerRole(3, 5)),  # KV above 0.9
        ([1.0, 1.0, 1.0], 0.4, PerRole(3, 3)),  # KV below 0.5
    ],
)
def test_dyn_load_moves_one_engine_at_its_thresholds(
    queues: list[float], kv: float, target: PerRole[int]
) -> None:
    policy = DynLoad("", 10.0, FLEET, adjust_s=20.0)
    decided = [policy.decide(seen(10.0 * i, p_waiting=q, d_kv=kv)) for i, q in enumerate(queues)]
    assert decided == [FLEET, FLEET, target]


def test_dyn_load_keeps_a_new_decode_engine_for_three_intervals() -> None:
    policy = DynLoad("", 10.0, FLEET, adjust_s=10.0)
    policy.decide(seen(0.0, p_waiting=1, d_kv=0.95))
    sizes = [policy.decide(seen(10.0 + 10.0 * i, p_waiting=1, d_kv=kv)).decode for i, kv in
             enumerate([0.95, 0.1, 0.1, 0.1, 0.1])]  # fmt: skip
    assert sizes == [5, 5, 5, 4, 3]


def test_dyn_sla_divides_the_forecast_by_the_profile() -> None:
    """22 req/s of 1000 tokens at 10,000 tok/s is 2.2 P; 4400 tok/s at 86 sequences every 18.6 ms, by KV, is 0.95 D."""
    policy = DynSla("", 180.0, FLEET, profile=PROFILE, tpot_s=0.02)
    assert policy.decide(seen(180.0, Demand(22.0, 1000.0, 200.0))) == PerRole(3, 1)
    assert policy.decide(seen(360.0, None)) == PerRole(3, 1)


def test_dyn_sla_shrinks_both_roles_to_its_budget() -> None:
    policy = DynSla("", 180.0, FLEET, profile=PROFILE, tpot_s=0.02, budget=6)
    assert policy.decide(seen(180.0, Demand(100.0, 1000.0, 100.0))) == PerRole(5, 1)


def test_dopd_release_takes_requests_of_an_interval_for_concurrency() -> None:
    """C = 781 // 9 = 86; 1800 requests of an interval over it are 21 D, while R = 86 x 0.1 / (200 x 18.6 ms) is 3 P."""
    policy = DopdRelease("", 180.0, FLEET, profile=PROFILE)
    assert policy.decide(seen(180.0, Demand(10.0, 1000.0, 200.0))) == PerRole(3, 21)


def test_dopd_release_goes_back_to_one_engine_each_after_50_s_without_a_request() -> None:
    policy = DopdRelease("", 10.0, FLEET, profile=PROFILE)
    assert policy.decide(seen(0.0, None, idle_for_s=50.0)) == FLEET
    assert policy.decide(seen(10.0, None, idle_for_s=51.0)) == PerRole(1, 1)


@pytest.mark.parametrize(
    ("rate_rps", "tpot_s", "target"),
    [
        (44.0, 0.05, PerRole(3, 4)),  # 4.4 D: within 10 %
        (45.0, 0.05, PerRole(4, 5)),
        (35.0, 0.05, PerRole(3, 4)),  # 3.5 D is below 0.9 of 4, and rounds up to what there is
        (25.0, 0.05, PerRole(2, 3)),
        (40.0, 0.10, PerRole(4, 5)),  # TPOT over 1.2 times its target: 20 % more
    ],
)
def test_heteroscale_moves_both_pools_by_decode_tokens(
    rate_rps: float, tpot_s: float, target: PerRole[int]
) -> None:
    policy = HeteroScale("", 30.0, FLEET, tokens_per_s=1000.0, prefill_per_decode=0.75, tpot_s=0.08)
    load = Demand(rate_rps, 1000.0, 100.0)
    assert policy.decide(seen(0.0, load, tpot_s=Value(tpot_s))) == target


def test_heteroscale_rests_between_changes() -> None:
    policy = HeteroScale("", 30.0, FLEET, tokens_per_s=1000.0, prefill_per_decode=0.75, tpot_s=0.08)
    assert policy.decide(seen(0.0, Demand(60.0, 1000.0, 100.0))).decode == 6
    assert policy.decide(seen(150.0, Demand(90.0, 1000.0, 100.0))).decode == 6
    assert policy.decide(seen(180.0, Demand(90.0, 1000.0, 100.0))).decode == 9
    assert policy.decide(seen(700.0, Demand(10.0, 1000.0, 100.0))).decode == 9
    assert policy.decide(seen(780.0, Demand(10.0, 1000.0, 100.0))).decode == 1


def test_tokenscale_holds_the_most_of_the_last_minute() -> None:
    policy = TokenScale("", 5.0, FLEET, profile=PROFILE, tpot_s=0.02)
    assert policy.decide(seen(0.0, Demand(45.0, 1000.0, 100.0))).prefill == 5
    assert policy.decide(seen(30.0, Demand(5.0, 1000.0, 100.0))).prefill == 5
    assert policy.decide(seen(61.0, Demand(5.0, 1000.0, 100.0))).prefill == 1


def arrow() -> Arrow:
    return Arrow("", 5.0, FLEET, shared_pool=True, profile=PROFILE, ttft_s=1.0, tpot_s=0.0201)


LOAD = Demand(10.0, 1000.0, 100.0)


@pytest.mark.parametrize(
    ("waiting", "tpot_s", "target"),
    [
        (0, 0.021, PerRole(2, 5)),  # decode load above 1
        (4, 0.0161, PerRole(2, 5)),  # decode above 0.5 and prefill 0.4
        (6, 0.0161, PerRole(3, 4)),  # both above 0.5
        (11, 0.0111, PerRole(4, 3)),  # prefill load 1.1
        (6, 0.0111, PerRole(4, 3)),  # prefill 0.6, decode below 0.5
        (1, 0.0111, PerRole(3, 4)),  # neither
    ],
)
def test_arrow_flips_one_engine_after_three_passes(waiting: int, tpot_s: float, target: PerRole[int]) -> None:
    policy = arrow()
    decided = [
        policy.decide(seen(100.0 + 5.0 * i, LOAD, p_waiting=waiting, tpot_s=Value(tpot_s))) for i in range(3)
    ]
    assert decided == [FLEET, FLEET, target]


def test_arrow_never_empties_a_pool_and_never_changes_the_total() -> None:
    policy = arrow()
    for i in range(100):
        target = policy.decide(seen(15.0 * i, LOAD, p_waiting=50, tpot_s=Value(0.0111)))
        assert target.prefill + target.decode == 7
    assert target == PerRole(6, 1)


@pytest.mark.parametrize(
    ("kv", "waiting", "decode"),
    [
        (0.7, 0, 5),  # 4 x 70,000 / 0.85 = 329,411 of 4 x 80,000
        (0.6, 0, 4),  # 282,352, and at 0.70 342,857: neither too much nor too little
        (0.3, 0, 3),  # at 0.70 171,428: of 148,571 to spare one engine of 80,000 goes
        (0.6, 40, 9),  # 4 x (60,000 + 40 x 1,100) / 0.85 = 489,411, and engines that are full hold 60,000
    ],
)
def test_wva_compares_tokens_with_what_is_there_and_coming(kv: float, waiting: int, decode: int) -> None:
    policy = Wva("", 15.0, FLEET, profile=PROFILE)
    assert policy.decide(seen(0.0, LOAD, d_kv=kv, d_waiting=waiting)).decode == decode


def test_wva_shrinks_only_to_the_most_of_five_minutes() -> None:
    policy = Wva("", 15.0, FLEET, profile=PROFILE)
    assert policy.decide(seen(0.0, LOAD, d_kv=0.7)).decode == 5
    assert policy.decide(seen(150.0, LOAD, d_kv=0.1)).decode == 5
    assert policy.decide(seen(301.0, LOAD, d_kv=0.1)).decode < 5


def test_wva_holds_a_role_whose_engines_do_not_tell() -> None:
    silent = observation(LOAD, 0.0, (engine("d0"), engine("p0", Role.PREFILL)))
    blind = tuple(
        engine(e.name, e.role, kv_use=e.kv_use, waiting=observation(None).tpot_s) for e in silent.engines
    )
    assert Wva("", 15.0, FLEET, profile=PROFILE).decide(observation(LOAD, 0.0, blind)) == FLEET
