"""Adaptive over ticks: readings in, sizes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.forecast.demand import Demand, Sample
from pdoperator.planning.adaptive.remembered import restore
from pdoperator.planning.adaptive.state import AdaptiveState
from pdoperator.planning.adaptive.strategy import adaptive
from pdoperator.planning.adaptive.tuning import Tuning
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import History
from pdoperator.planning.observation import EngineView, SloCounts
from pdoperator.planning.settings import PlanSettings
from pdoperator.planning.strategies.strategy import Context, Proposal
from planning import fleet

INTERVAL_S = 5.0
CHAT = Demand(60.0, 1200.0, 200.0)
COMPLETION = Demand(120.0, 1200.0, 60.0)


def service() -> PlanSettings:
    """One service with Llama 70B engines and a scale-down window of two minutes."""
    settings = fleet.settings(
        autoscaling={"behavior": {"scaleDown": {"stabilizationWindowSeconds": 120}}},
        prefill={"maxReplicas": 64},
        decode={"maxReplicas": 64},
        slo={"ttft": {"target": "2s", "percentile": 99}, "tpot": {"target": "80ms", "percentile": 99}},
    )
    return replace(settings, profile=BUILTIN["h100-llama-3.3-70b-fp8-tp4"], startup_s=120.0)


def run(
    settings: PlanSettings,
    demand: Callable[[float], Demand | Missing | None],
    ticks: int,
    first: PerRole[int],
    engines: Callable[[PerRole[int]], tuple[EngineView, ...]] = lambda target: fleet.fleet(
        target.prefill, target.decode
    ),
) -> list[PerRole[int]]:
    """Targets by tick of a service whose engines are there at once."""
    history = replace(fleet.no_history(), target=first)
    targets = []
    for tick in range(1, ticks + 1):
        at_s = tick * INTERVAL_S
        seen = fleet.observation(demand(at_s), at_s, engines(history.target or first))
        _, history = decide(settings, seen, history)
        assert history.target is not None
        targets.append(history.target)
    return targets


def once(
    state: AdaptiveState,
    engines: tuple[EngineView, ...],
    current: PerRole[int],
    demand: Demand = CHAT,
    settings: PlanSettings | None = None,
    tuning: Tuning | None = None,
) -> Proposal:
    """One tick of the strategy alone, on a history of a steady load."""
    at_s = 2000 * INTERVAL_S
    history = History(fleet.no_history().demand, current, state=state)
    seen = fleet.observation(demand, at_s, engines)
    return adaptive(tuning or Tuning())(Context(settings or service(), seen, history, current))


def steady(demand: Demand = CHAT) -> AdaptiveState:
    """What it remembers after hours of the same load."""
    samples = [Sample(tick * INTERVAL_S, demand) for tick in range(1, 2000)]
    return restore(service(), {}, samples)


def test_a_steady_load_gets_a_steady_fleet_with_little_to_spare() -> None:
    targets = run(service(), lambda _: CHAT, 400, PerRole(5, 4))
    assert len(set(targets[150:])) == 1
    busy = 60 * (1200 * 4.88e-5 + 200 * 1.9e-4)
    assert busy < targets[-1].prefill + targets[-1].decode < 2 * busy


def test_more_load_never_ends_in_a_smaller_fleet() -> None:
    def size(rate_rps: float) -> int:
        last = run(service(), lambda _: replace(CHAT, rate_rps=rate_rps), 200, PerRole(5, 4))[-1]
        return last.prefill + last.decode

    sizes = [size(rate_rps) for rate_rps in (20.0, 60.0, 120.0, 240.0)]
    assert sizes == sorted(sizes)


def test_the_split_follows_a_turn_of_the_load_within_two_intervals() -> None:
    decode_heavy, prefill_heavy = Demand(40.0, 400.0, 600.0), Demand(60.0, 2500.0, 20.0)
    turn_s = 200 * INTERVAL_S
    targets = run(service(), lambda t: decode_heavy if t <= turn_s else prefill_heavy, 203, PerRole(2, 6))
    before, after = targets[198], targets[202]
    assert before.decode > before.prefill
    assert after.prefill > before.prefill


def test_at_a_full_budget_the_split_follows_a_turn_as_soon() -> None:
    """Of a fleet beyond the budget it counted flips that never happened, and none was left for the turn."""
    settings, first = service(), PerRole(2, 4)
    limits = replace(settings.limits, budget=settings.limits.cost(first))
    decode_heavy, prefill_heavy = Demand(60.0, 400.0, 600.0), Demand(60.0, 2500.0, 20.0)

    def turns(at_s: float) -> Demand:
        return replace(decode_heavy if at_s <= 1000 else prefill_heavy, rate_rps=60.0 + at_s % 20)

    targets = run(replace(settings, limits=limits), turns, 203, first)
    assert targets[202].prefill > targets[198].prefill


def test_unknown_demand_holds_the_fleet_and_is_never_taken_for_none() -> None:
    targets = run(service(), lambda t: CHAT if t <= 500 else Missing("metrics are away"), 160, PerRole(5, 4))
    assert set(targets[100:]) == {targets[99]}


def test_without_any_request_all_is_held_at_first_and_then_given_back() -> None:
    """However long a service was idle before: under strategy Static, or without an operator."""
    settings, history, wanted = service(), replace(fleet.no_history(), target=PerRole(6, 4)), []
    decisions = round(defaults.LEARN_S / settings.interval_s)
    for tick in range(decisions + 1):
        at_s = 5000.0 + tick * settings.interval_s
        seen = fleet.observation(None, at_s, fleet.fleet(6, 4), idle_for_s=at_s)
        proposal = adaptive(Tuning())(Context(settings, seen, history, PerRole(6, 4)))
        history = replace(history, state=proposal.state)
        wanted.append(proposal.wanted)
    assert set(wanted[: decisions - 1]) == {PerRole(6, 4)}
    assert wanted[-1] == PerRole(1, 1)


def test_a_young_history_gives_nothing_away() -> None:
    ticks = int(defaults.LEARN_S / INTERVAL_S) - 1
    targets = run(service(), lambda _: replace(CHAT, rate_rps=1.0), ticks, PerRole(8, 6))
    assert all(target.prefill + target.decode >= 14 for target in targets)


def test_prompts_that_wait_call_for_prefill_engines() -> None:
    calm = once(steady(COMPLETION), fleet.fleet(7, 3), PerRole(7, 3), COMPLETION)
    queue = once(steady(COMPLETION), fleet.fleet(7, 3, prefill_waiting=40.0), PerRole(7, 3), COMPLETION)
    assert queue.wanted.prefill > calm.wanted.prefill
    assert queue.reason is Reason.EMERGENCY
    assert "; prompts that wait are" in queue.why
    assert ";" not in calm.why


def test_what_prompts_that_wait_bring_decode_is_left_to_it() -> None:
    """Engines that came over for the queue would be missed as soon as it has been prefilled."""
    calm = once(steady(), fleet.fleet(5, 4), PerRole(5, 4))
    queue = once(steady(), fleet.fleet(5, 4, prefill_waiting=40.0), PerRole(5, 4))
    assert queue.wanted.decode >= calm.wanted.decode


def test_a_burst_of_short_answers_that_fills_the_one_decode_engine_does_not_turn_the_fleet_over_to_decode() -> (
    None
):
    """Hundreds of prompts wait for prefill; that decode is full for a moment makes them no work of decode's."""
    burst = fleet.fleet(
        9, 1, prefill_waiting=100.0, prefill_exporting=5.0, decode_kv_use=0.99, decode_running=90.0
    )
    proposal = once(steady(COMPLETION), burst, PerRole(9, 1), COMPLETION)
    assert proposal.wanted.prefill > 4 * proposal.wanted.decode


def test_prefill_is_not_added_when_decode_holds_the_kv() -> None:
    full = fleet.fleet(
        5, 4, prefill_waiting=40.0, prefill_exporting=30.0, decode_kv_use=0.99, decode_running=346.0
    )
    proposal = once(steady(), full, PerRole(5, 4))
    assert proposal.wanted.decode > 4
    assert proposal.wanted.prefill <= 5
    assert "; requests under way fill" in proposal.why


def test_a_burst_that_queues_even_out_costs_fewer_engines_than_one_that_lasts() -> None:
    def wanted(lasting_s: float) -> int:
        """After hours in which the load trebled for so long every two minutes."""
        times_s = (tick * INTERVAL_S for tick in range(1, 2000))
        samples = [Sample(t, replace(CHAT, rate_rps=180.0 if t % 120 < lasting_s else 60.0)) for t in times_s]
        fleet_now = once(restore(service(), {}, samples), fleet.fleet(5, 4), PerRole(5, 4)).wanted
        return fleet_now.prefill + fleet_now.decode

    assert 1.5 * wanted(lasting_s=10.0) < wanted(lasting_s=30.0)


def test_a_load_that_ends_after_bursts_leaves_a_small_fleet() -> None:
    def bursts(at_s: float) -> Demand | None:
        rate_rps = 97.3 * ((at_s * 0.37) % 1) ** 3
        return replace(CHAT, rate_rps=rate_rps) if at_s < 1500 else None

    targets = run(service(), bursts, 900, PerRole(5, 4))
    assert targets[-1].prefill + targets[-1].decode < targets[290].prefill + targets[290].decode


def test_it_says_what_it_would_ask_for_without_a_forecast() -> None:
    proposal = once(steady(), fleet.fleet(5, 4), PerRole(5, 4))
    assert proposal.without_forecast is not None
    assert proposal.forecast is not None
    assert proposal.forecast.horizon_s == 125.0
    assert any("prefill" in line for line in proposal.evidence)


@pytest.mark.parametrize(
    ("given_s", "startup_s", "tuning", "horizon_s"),
    [
        pytest.param(None, 120.0, Tuning(), 125.0, id="the lead time"),
        pytest.param(None, 10.0, Tuning(), defaults.FLEET_HORIZON_MIN_S, id="engines start within seconds"),
        pytest.param(30.0, 10.0, Tuning(), 30.0, id="the spec's"),
        pytest.param(None, 10.0, Tuning(lead_time=False), INTERVAL_S, id="without lead time"),
    ],
)
def test_the_fleet_is_planned_for_the_lead_time_and_long_enough_for_a_burst(
    given_s: float | None, startup_s: float, tuning: Tuning, horizon_s: float
) -> None:
    settings = replace(service(), startup_s=startup_s, horizon_s=given_s)
    proposal = once(steady(), fleet.fleet(5, 4), PerRole(5, 4), settings=settings, tuning=tuning)
    assert proposal.forecast is not None
    assert proposal.forecast.horizon_s == horizon_s


def test_its_state_survives_a_restart() -> None:
    state = steady()
    again = restore(service(), state.to_texts(), ())
    horizon = (125.0, 0.8, 10.0)
    assert again.shape == state.shape
    assert abs(again.total.peak(*horizon).value / state.total.peak(*horizon).value - 1) < 0.1


def test_a_shape_of_an_older_version_is_read_with_lengths_that_are_independent() -> None:
    texts = steady().to_texts()
    older = json.loads(texts["shape"])
    del older["covariance"]
    assert restore(service(), {**texts, "shape": json.dumps(older)}, ()).shape == CHAT


def test_texts_that_cannot_be_read_count_as_none() -> None:
    assert restore(service(), {"shape": "{", "total": "x"}, ()).shape is None


def test_misses_that_use_up_the_error_budget_make_the_fleet_larger_and_are_told() -> None:
    """The load steps up and down every minute, so that quantiles of its peak lie apart; the same history both times."""
    settings = replace(service(), ttft_percentile=90, tpot_percentile=90)
    history = replace(fleet.no_history(), target=PerRole(8, 8))
    for tick in range(1, 400):
        rate = 60.0 + 50.0 * ((tick // 12 * 7919) % 31 / 30) ** 3
        seen = fleet.observation(replace(CHAT, rate_rps=rate), tick * INTERVAL_S, fleet.fleet(8, 8))
        _, history = decide(settings, seen, replace(history, target=PerRole(8, 8)))

    def decided(missed: int) -> tuple[int, str]:
        seen = fleet.observation(
            CHAT, 400 * INTERVAL_S, fleet.fleet(8, 8), slo=Value(SloCounts(1000, missed))
        )
        decision, _ = decide(settings, seen, history)
        return decision.wanted.prefill + decision.wanted.decode, decision.evidence[3]

    calm, told = decided(10)
    spent, why = decided(100)
    assert spent > calm
    assert told == "misses of late are 10% of what targets allow: planned for quantile 0.80"
    assert why == "misses of late are 100% of what targets allow: planned for quantile 0.98"
