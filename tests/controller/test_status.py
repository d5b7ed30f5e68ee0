"""The status that people read."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.reasons import Bottleneck, Reason
from pdoperator.api.status import Status
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.controller.pods import PodProblem
from pdoperator.controller.status import Obstacle, Situation, build_status, desired
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decision import Decision
from pdoperator.planning.observation import EngineView

NOW, LATER = "2026-11-22T10:00:00Z", "2026-11-22T10:05:00Z"


def engine(name: str, role: Role, *, ready: bool = True, state: State = State.SERVING) -> EngineView:
    return EngineView(name, Pool.SHARED, role, state, ready, False, "r1", 0.0, Missing("no router"))


def decision(prefill: int, decode: int, reason: Reason = Reason.FORECAST) -> Decision:
    target = PerRole(prefill, decode)
    return Decision(0.0, target, target, reason, "because", bottleneck=Bottleneck.DECODE)


SERVING = Situation(
    service="tiny",
    generation=3,
    target=PerRole(1, 2),
    engines=(engine("a", Role.PREFILL), engine("b", Role.DECODE), engine("c", Role.DECODE, ready=False)),
    routers_ready=1,
    problems=(),
    demand=Value(Demand(2.0, 512, 64)),
    decision=decision(1, 2),
    scaling_enabled=True,
    dry_run=False,
    obstacle=None,
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
    only_decode = replace(SERVING, engines=(engine("b", Role.DECODE),))
    assert conditions(only_decode)["Ready"][:2] == ("True", "NoPrefillEngine")
    assert build_status(only_decode, Status(), NOW).mode == "Aggregated"


def test_an_engine_that_fails_is_named_where_nothing_serves() -> None:
    problem = PodProblem("a", Reason.ENGINE_FAILED, "a: CrashLoopBackOff: no such model")
    down = replace(SERVING, engines=(engine("a", Role.BOTH, ready=False),), problems=(problem,))
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


def test_metrics_that_are_gone_stop_scaling_visibly() -> None:
    blind = replace(SERVING, demand=Missing("router x: timed out"))
    assert conditions(blind)["MetricsFresh"] == ("False", "FailedGetMetrics", "router x: timed out")
    assert conditions(blind)["ScalingActive"][0] == "False"


def test_a_bound_that_cut_the_decision_is_named() -> None:
    cut = replace(decision(1, 2), wanted=PerRole(6, 2), limited=Reason.GPU_BUDGET)
    assert conditions(replace(SERVING, decision=cut))["ScalingLimited"] == (
        "True", "GPUBudget", "wanted 6P:2D, allowed 1P:2D",
    )  # fmt: skip


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = build_status(SERVING, Status(), NOW)
    second = build_status(replace(SERVING, demand=Missing("gone")), first, LATER)
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
