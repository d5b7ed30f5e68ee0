"""The status that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pdoperator.api.names import Component, Pool, Role, State
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.status import Size, Status
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.controller.pods import PodProblem
from pdoperator.controller.situation import Obstacle, Situation, StartTimes
from pdoperator.controller.status import build_status, desired, figures_apart
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decision import Candidate, Decision
from pdoperator.planning.observation import EngineView, Observation, Transfers

NOW, LATER = "2026-11-22T10:00:00Z", "2026-11-22T10:05:00Z"


def engine(name: str, role: Role, *, ready: bool = True, state: State = State.SERVING) -> EngineView:
    no_router, idle = Missing("no router"), Value(0.0)
    return EngineView(name, Pool.SHARED, role, state, ready, False, "r1", 0.0, no_router, running=idle)


def decision(prefill: int, decode: int, reason: Reason = Reason.FORECAST) -> Decision:
    target = PerRole(prefill, decode)
    return Decision(0.0, target, target, reason, "because", bottleneck=Bottleneck.DECODE)


SEEN = Observation(
    at_s=0.0,
    engines=(engine("a", Role.PREFILL), engine("b", Role.DECODE), engine("c", Role.DECODE, ready=False)),
    demand=Value(Demand(2.0, 512, 64)),
    tpot_s=Missing("none finished"),
)
SERVING = Situation(
    service="tiny",
    generation=3,
    target=PerRole(1, 2),
    observation=SEEN,
    decided_on=SEEN,
    routers_ready=1,
    problems=(),
    decision=decision(1, 2),
    scaling_enabled=True,
    dry_run=False,
    obstacle=None,
    decides="Adaptive decides every 5 s",
)


def conditions(situation: Situation, previous: Status | None = None) -> dict[str, tuple[str, str, str]]:
    status = build_status(situation, previous or Status(), NOW)
    return {each.type: (each.status, each.reason, each.message) for each in status.conditions}


def test_the_columns_of_kubectl_get() -> None:
    status = build_status(SERVING, Status(), NOW)
    assert (status.mode, status.prefill_summary, status.decode_summary) == ("Disaggregated", "1/1", "1/2")
    assert (status.ratio, status.bottleneck, status.last_reason) == ("1:2", "Decode", "Forecast")
    assert status.replicas == 3
    assert status.selector == "pdoperator.io/service=tiny,pdoperator.io/component=engine"


def test_a_service_with_both_roles_and_a_router_is_ready() -> None:
    assert conditions(SERVING)["Ready"][:2] == ("True", "AllServing")


def test_without_prefill_the_service_is_ready_and_says_that_it_is_aggregated() -> None:
    only_decode = replace(SERVING, observation=replace(SEEN, engines=(engine("b", Role.DECODE),)))
    assert conditions(only_decode)["Ready"][:2] == ("True", "NoPrefillEngine")
    assert build_status(only_decode, Status(), NOW).mode == "Aggregated"


def test_a_service_that_is_to_be_aggregated_lacks_nothing() -> None:
    only_decode = replace(SEEN, engines=(engine("b", Role.DECODE),))
    wanted = replace(SERVING, target=PerRole(0, 1), observation=only_decode)
    assert conditions(wanted)["Ready"][:2] == ("True", "AllServing")
    assert conditions(wanted)["PrefillReady"] == (
        "True",
        "EnoughEngines",
        "no prefill engine is wanted: the service is aggregated",
    )
    status = build_status(wanted, Status(), NOW)
    assert (status.mode, status.ratio, status.prefill_summary) == ("Aggregated", "0:1", "0/0")
    assert desired(status) == PerRole(0, 1)


def test_an_engine_that_fails_is_named_where_nothing_serves() -> None:
    problem = PodProblem(
        Component.ENGINE, Reason.ENGINE_FAILED, "crash", "a: CrashLoopBackOff: no such model"
    )
    nothing = replace(SEEN, engines=(engine("a", Role.BOTH, ready=False),))
    down = replace(SERVING, observation=nothing, problems=(problem,))
    assert conditions(down)["Ready"] == ("False", "EngineFailed", "a: CrashLoopBackOff: no such model")
    assert "no such model" in conditions(down)["PrefillReady"][2]


def test_a_refused_edit_does_not_make_a_serving_service_unready() -> None:
    refused = replace(SERVING, obstacle=Obstacle(Reason.CANNOT_PAIR, "prefill and decode cannot exchange KV"))
    assert conditions(refused)["Ready"][0] == "True"
    assert conditions(refused)["AbleToScale"] == (
        "False",
        "CannotPair",
        "prefill and decode cannot exchange KV",
    )


def blind(**changes: Any) -> Situation:
    return replace(SERVING, decided_on=replace(SEEN, **changes))


def test_metrics_that_are_gone_stop_scaling_visibly() -> None:
    away = "router x: timed out"
    seen = conditions(blind(demand=Missing(away), unread=away))
    assert seen["MetricsFresh"] == ("False", "FailedGetMetrics", away)
    assert seen["ScalingActive"][:2] == ("False", "FailedGetMetrics")


def test_engines_of_a_role_that_cannot_be_read_are_no_fresh_metrics() -> None:
    """aibrix PR#2592: sizes were decided on readings that were not there, and nothing told."""
    away = tuple(replace(e, running=Missing("timed out")) for e in SEEN.engines)
    assert conditions(blind(engines=away))["MetricsFresh"] == (
        "False",
        "FailedGetMetrics",
        "1 of 1 prefill engines have no fresh reading, so nothing shrinks",
    )
    assert conditions(SERVING)["MetricsFresh"][:2] == ("True", "ValidMetrics")


def test_who_decides_and_how_often_is_told_where_scaling_is_active() -> None:
    assert conditions(SERVING)["ScalingActive"] == ("True", "ValidMetrics", "Adaptive decides every 5 s")


def test_that_no_request_has_finished_yet_is_no_failure_to_read_metrics() -> None:
    seen = conditions(blind(demand=Missing("requests came but none has finished yet")))
    assert seen["MetricsFresh"][:2] == ("True", "TooFewMetrics")
    assert seen["ScalingActive"][:2] == ("False", "TooFewMetrics")


def test_a_router_that_fails_is_not_called_an_engine() -> None:
    problem = PodProblem(Component.ROUTER, Reason.ROUTER_FAILED, "crash", "router-1: exit code 1")
    seen = conditions(replace(SERVING, routers_ready=0, problems=(problem,)))
    assert seen["RouterReady"] == ("False", "RouterFailed", "router-1: exit code 1")
    assert seen["DecodeReady"][:2] == ("False", "Starting")


def test_a_forecast_is_trusted_by_its_skill_and_unknown_without_a_test() -> None:
    young = Forecasted(Demand(3.0, 512, 64), "MSTL", 120.0, note="too little history to judge")
    assert conditions(replace(SERVING, decision=replace(decision(1, 2), forecast=young)))[
        "ForecastTrusted"
    ] == (
        "Unknown",
        "ForecastUntested",
        "no forecast has been tested against others yet: too little history to judge",
    )
    for trusted, expected in ((True, ("True", "ForecastSkilful")), (False, ("False", "ForecastLoses"))):
        ahead = Forecasted(Demand(3.0, 512, 64), "MSTL", 120.0, skill=0.2, trusted=trusted)
        tested = replace(SERVING, decision=replace(decision(1, 2), forecast=ahead))
        assert conditions(tested)["ForecastTrusted"][:2] == expected


def test_who_else_changes_the_service_is_named() -> None:
    who = "Deployment tiny-engine: spec.replicas by kube-controller-manager through /scale; left to them"
    seen = conditions(replace(SERVING, conflict=who, yielded=who))
    assert seen["Conflict"] == ("True", "Conflict", who)
    assert seen["ScalingActive"] == ("False", "Conflict", who)
    assert conditions(SERVING)["Conflict"][:2] == ("False", "NoConflict")


def signal(situation: Situation, name: str) -> tuple[str, str, str]:
    status = build_status(situation, Status(), NOW)
    [told] = [each for each in status.signals if each.name == name]
    return told.state, told.used_as, told.message


def test_every_signal_says_what_is_done_without_it() -> None:
    assert signal(SERVING, "demand") == ("Fresh", "AsRead", "2.00 req/s, ISL 512, OSL 64")
    assert signal(SERVING, "tpot") == ("Missing", "Profile", "none finished")
    assert signal(SERVING, "prefixHit")[1] == "ColdCache"
    assert signal(SERVING, "startup")[1] == "Default"
    old = blind(demand=Value(None, age_s=30), transfers=Value(Transfers(3, 1), age_s=300))
    assert signal(old, "demand") == ("Old", "LastGood", "no request")
    assert signal(old, "transfers") == ("Old", "LastGood", "3 done, 1 failed, 0 expired, 0 late")
    assert signal(blind(demand=Value(None, age_s=300)), "demand")[1] == "Hold"


def test_a_signal_of_engines_tells_how_many_could_not_be_read() -> None:
    known = replace(engine("a", Role.PREFILL), waiting=Value(3.0))
    seen = blind(engines=(known, engine("b", Role.DECODE)))
    assert signal(seen, "queues")[2] == "3 requests wait at 1 engines; 1 engines could not be read"
    assert signal(SERVING, "queues") == ("Missing", "LeftOut", "not scraped")


def test_a_decision_is_explained_by_what_it_saw_and_weighed() -> None:
    ahead = Forecasted(Demand(3.0, 512, 64), "MSTL", 120.0, skill=0.2, trusted=True)
    made = replace(
        decision(3, 5),
        wanted=PerRole(4, 5),
        limited=Reason.GPU_BUDGET,
        forecast=ahead,
        evidence=("prefill queue 12",),
        candidates=(Candidate(PerRole(3, 5)), Candidate(PerRole(2, 5), "TTFT p90 2.4 s over 2 s")),
        without_forecast=PerRole(2, 3),
    )
    told = build_status(replace(SERVING, decision=made), Status(), NOW).decisions[0]
    assert (told.wanted, told.without_forecast) == (Size(prefill=4, decode=5), Size(prefill=2, decode=3))
    assert told.demand is not None
    assert told.demand.requests_per_second == 2.0
    assert told.forecast is not None
    assert (told.forecast.model, told.forecast.skill) == ("MSTL", 0.2)
    assert [(c.prefill, c.rejected) for c in told.candidates] == [(3, ""), (2, "TTFT p90 2.4 s over 2 s")]
    assert (told.evidence, told.limited) == (["prefill queue 12"], "GPUBudget")


def test_start_up_times_stand_with_their_role() -> None:
    slow = replace(SERVING, startups=PerRole(StartTimes(40.0, 90.0), StartTimes()))
    status = build_status(slow, Status(), NOW)
    assert (status.prefill.startup_p50_seconds, status.prefill.startup_p90_seconds) == (40.0, 90.0)
    assert status.decode.startup_p90_seconds is None


def test_figures_that_drift_are_told_apart_from_what_people_wait_for() -> None:
    first = build_status(SERVING, Status(), NOW)
    drifted = build_status(blind(demand=Value(Demand(2.5, 512, 64))), first, LATER)
    assert drifted != first
    assert figures_apart(drifted, first) == first
    grown = build_status(replace(SERVING, target=PerRole(2, 2)), first, LATER)
    assert figures_apart(grown, first) != first


def test_a_bound_that_cut_the_decision_is_named() -> None:
    cut = replace(decision(1, 2), wanted=PerRole(6, 2), limited=Reason.GPU_BUDGET)
    assert conditions(replace(SERVING, decision=cut))["ScalingLimited"] == (
        "True", "GPUBudget", "wanted 6P:2D, allowed 1P:2D",
    )  # fmt: skip


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = build_status(SERVING, Status(), NOW)
    second = build_status(blind(demand=Missing("gone"), unread="gone"), first, LATER)
    times = {each.type: each.last_transition_time for each in second.conditions}
    assert times["Ready"] == NOW
    assert times["MetricsFresh"] == LATER


def test_decisions_are_told_once_newest_first_and_twenty_at_most() -> None:
    status = Status()
    for turn in range(25):
        for _ in range(2):
            status = build_status(replace(SERVING, decision=decision(1 + turn, 2)), status, NOW)
    assert len(status.decisions) == 20
    assert [each.prefill for each in status.decisions[:2]] == [25, 24]


def test_the_target_survives_in_the_status() -> None:
    status = build_status(SERVING, Status(), NOW)
    assert desired(Status.model_validate(status.model_dump(by_alias=True, mode="json"))) == PerRole(1, 2)
    assert desired(Status()) is None
