"""What is seen and decided, to the status that people and tools read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pdoperator.api import defaults, names
from pdoperator.api.names import Role, State
from pdoperator.api.reasons import Condition, Reason
from pdoperator.api.status import (
    DecisionStatus,
    DemandStatus,
    ForecastStatus,
    RoleStatus,
    Status,
    StatusCondition,
)
from pdoperator.api.values import Missing, PerRole, Value, ratio_text
from pdoperator.controller.pods import PodProblem
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decision import Decision
from pdoperator.planning.observation import EngineView


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the newest spec was not put into effect; what ran before goes on."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a status is made of."""

    service: str
    generation: int
    target: PerRole[int]
    engines: Sequence[EngineView]
    routers_ready: int
    problems: Sequence[PodProblem]
    demand: Value[Demand | None] | Missing
    decision: Decision | None
    scaling_enabled: bool
    dry_run: bool
    obstacle: Obstacle | None


@dataclass(frozen=True, slots=True)
class _Fact:
    type: Condition
    status: bool
    reason: Reason
    message: str


def build_status(situation: Situation, previous: Status, now: str) -> Status:
    """The status at `now` (RFC 3339). A condition keeps its transition time while its status stays."""
    roles = PerRole.of(lambda role: _role_status(situation, role))
    decision = situation.decision
    return Status(
        observed_generation=situation.generation,
        conditions=[
            _condition(fact, situation.generation, previous, now) for fact in _facts(situation, roles)
        ],
        mode=_mode(situation.engines),
        replicas=sum(1 for engine in situation.engines if not engine.deleting),
        selector=names.selector_text(names.engine_selector(situation.service)),
        prefill=roles.prefill,
        decode=roles.decode,
        prefill_summary=f"{roles.prefill.ready}/{roles.prefill.desired}",
        decode_summary=f"{roles.decode.ready}/{roles.decode.desired}",
        ratio=f"{situation.target.prefill}:{situation.target.decode}",
        demand=_observed(situation.demand),
        forecast=_forecast(decision) if decision else previous.forecast,
        bottleneck=decision.bottleneck.value if decision else previous.bottleneck,
        last_reason=decision.reason.value if decision else previous.last_reason,
        decisions=_decisions(decision, previous, now),
    )


def desired(status: Status) -> PerRole[int] | None:
    """The target that a status tells of; None in the status of a service that was never decided on."""
    counts = PerRole(status.prefill.desired, status.decode.desired)
    return counts if counts.prefill and counts.decode else None


def _role_status(situation: Situation, role: Role) -> RoleStatus:
    mine = [engine for engine in situation.engines if engine.role is role and not engine.deleting]
    draining = [engine for engine in mine if engine.state is State.DRAINING]
    ready = [engine for engine in mine if engine.usable]
    want = situation.target[role]
    return RoleStatus(
        desired=want, ready=len(ready), starting=max(0, want - len(ready)), draining=len(draining)
    )


def _mode(engines: Sequence[EngineView]) -> str:
    """What the router can do now."""
    roles = {engine.role for engine in engines if engine.usable}
    if {Role.PREFILL, Role.DECODE} <= roles:
        return "Disaggregated"
    return "Aggregated" if roles else ""


def _facts(situation: Situation, roles: PerRole[RoleStatus]) -> list[_Fact]:
    return [
        _ready(situation),
        _role_ready(situation, Condition.PREFILL_READY, roles.prefill, Role.PREFILL),
        _role_ready(situation, Condition.DECODE_READY, roles.decode, Role.DECODE),
        _router_ready(situation),
        _able_to_scale(situation),
        _scaling_active(situation),
        _scaling_limited(situation),
        _metrics_fresh(situation),
    ]


def _ready(situation: Situation) -> _Fact:
    mode = _mode(situation.engines)
    if mode and situation.routers_ready:
        if mode == "Disaggregated":
            return _Fact(Condition.READY, True, Reason.ALL_SERVING, "router, prefill and decode serve")
        return _Fact(
            Condition.READY,
            True,
            Reason.NO_PREFILL_ENGINE,
            "requests are served aggregated: not both roles have a ready engine",
        )
    if situation.obstacle:
        return _Fact(Condition.READY, False, situation.obstacle.reason, situation.obstacle.message)
    if situation.problems:
        first = situation.problems[0]
        return _Fact(Condition.READY, False, first.reason, first.message)
    missing = "no engine is ready" if not mode else "no router is ready"
    reason = Reason.NO_ENGINE if not mode else Reason.ROUTER_MISSING
    return _Fact(Condition.READY, False, reason, missing)


def _role_ready(situation: Situation, kind: Condition, status: RoleStatus, role: Role) -> _Fact:
    text = f"{status.ready} of {status.desired} {role.value} engines are ready"
    if status.ready >= status.desired:
        return _Fact(kind, True, Reason.ENOUGH_ENGINES, text)
    if situation.problems:
        first = situation.problems[0]
        return _Fact(kind, False, first.reason, f"{text}; {first.message}")
    return _Fact(kind, False, Reason.STARTING, text)


def _router_ready(situation: Situation) -> _Fact:
    if situation.routers_ready:
        return _Fact(
            Condition.ROUTER_READY,
            True,
            Reason.ROUTER_SERVING,
            f"{situation.routers_ready} routers are ready",
        )
    return _Fact(Condition.ROUTER_READY, False, Reason.ROUTER_MISSING, "no router is ready")


def _able_to_scale(situation: Situation) -> _Fact:
    if situation.obstacle:
        return _Fact(Condition.ABLE_TO_SCALE, False, situation.obstacle.reason, situation.obstacle.message)
    return _Fact(Condition.ABLE_TO_SCALE, True, Reason.READY_FOR_NEW_SCALE, "the last spec is in effect")


def _scaling_active(situation: Situation) -> _Fact:
    if not situation.scaling_enabled:
        return _Fact(Condition.SCALING_ACTIVE, False, Reason.SCALING_DISABLED, "the spec's replicas hold")
    if situation.dry_run:
        return _Fact(
            Condition.SCALING_ACTIVE, False, Reason.DRY_RUN, "decisions are reported and not carried out"
        )
    if isinstance(situation.demand, Missing):
        return _Fact(Condition.SCALING_ACTIVE, False, Reason.FAILED_GET_METRICS, situation.demand.why)
    return _Fact(Condition.SCALING_ACTIVE, True, Reason.VALID_METRICS, "the fleet follows the load")


def _scaling_limited(situation: Situation) -> _Fact:
    decision = situation.decision
    if decision is None or decision.limited is Reason.WITHIN_LIMITS:
        return _Fact(
            Condition.SCALING_LIMITED, False, Reason.WITHIN_LIMITS, "the wanted size is within all bounds"
        )
    text = f"wanted {ratio_text(decision.wanted)}, allowed {ratio_text(decision.target)}"
    return _Fact(Condition.SCALING_LIMITED, True, decision.limited, text)


def _metrics_fresh(situation: Situation) -> _Fact:
    if isinstance(situation.demand, Missing):
        return _Fact(Condition.METRICS_FRESH, False, Reason.FAILED_GET_METRICS, situation.demand.why)
    return _Fact(Condition.METRICS_FRESH, True, Reason.VALID_METRICS, "the routers were read")


def _condition(fact: _Fact, generation: int, previous: Status, now: str) -> StatusCondition:
    status = str(fact.status)
    since = now
    for old in previous.conditions:
        if old.type == fact.type and old.status == status:
            since = old.last_transition_time
    return StatusCondition(
        type=fact.type.value,
        status=status,
        reason=fact.reason.value,
        message=fact.message,
        last_transition_time=since,
        observed_generation=generation,
    )


def _demand(demand: Demand) -> DemandStatus:
    return DemandStatus(
        requests_per_second=round(demand.rate_rps, 2),
        input_tokens=round(demand.isl_tokens),
        output_tokens=round(demand.osl_tokens),
    )


def _observed(demand: Value[Demand | None] | Missing) -> DemandStatus | None:
    return _demand(demand.x) if isinstance(demand, Value) and demand.x is not None else None


def _forecast(decision: Decision) -> ForecastStatus | None:
    ahead = decision.forecast
    if ahead is None:
        return None
    return ForecastStatus(model=ahead.model, horizon_seconds=ahead.horizon_s, demand=_demand(ahead.demand))


def _decisions(decision: Decision | None, previous: Status, now: str) -> list[DecisionStatus]:
    """The newest first. A decision that repeats size and reason is not told again."""
    if decision is None:
        return previous.decisions
    newest = DecisionStatus(
        time=now,
        prefill=decision.target.prefill,
        decode=decision.target.decode,
        reason=decision.reason.value,
        message=decision.message,
    )
    if previous.decisions:
        last = previous.decisions[0]
        if (last.prefill, last.decode, last.reason) == (newest.prefill, newest.decode, newest.reason):
            return previous.decisions
    return [newest, *previous.decisions][: defaults.DECISIONS_KEPT]
