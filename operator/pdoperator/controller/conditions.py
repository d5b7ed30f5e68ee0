"""What is seen and decided, to conditions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pdoperator.api.names import Component, Role
from pdoperator.api.reasons import Condition, Reason
from pdoperator.api.spec import Mode
from pdoperator.api.status import RoleStatus
from pdoperator.api.values import Missing, PerRole, Value, ratio_text
from pdoperator.controller.situation import Situation
from pdoperator.forecast.demand import Demand
from pdoperator.planning.dry_run import told
from pdoperator.planning.observation import EngineView
from pdoperator.planning.readings import unread_engines


@dataclass(frozen=True, slots=True)
class Fact:
    """One condition; a status of None is Unknown."""

    type: Condition
    status: bool | None
    reason: Reason
    message: str


def mode(engines: Sequence[EngineView]) -> Mode | None:
    """What the router can do now; None: nothing."""
    roles = {engine.role for engine in engines if engine.usable}
    if {Role.PREFILL, Role.DECODE} <= roles:
        return Mode.DISAGGREGATED
    return Mode.AGGREGATED if roles else None


def facts(situation: Situation, roles: PerRole[RoleStatus]) -> list[Fact]:
    """All conditions, in the order in which people read them."""
    return [
        _ready(situation),
        _role_ready(situation, Condition.PREFILL_READY, roles.prefill, Role.PREFILL),
        _role_ready(situation, Condition.DECODE_READY, roles.decode, Role.DECODE),
        _router_ready(situation),
        _able_to_scale(situation),
        _scaling_active(situation),
        _scaling_limited(situation),
        _metrics_fresh(situation),
        _forecast_trusted(situation),
        _paused(situation),
        _conflict(situation),
    ]


def _ready(situation: Situation) -> Fact:
    serves = mode(situation.observation.engines)
    if serves and situation.routers_ready:
        if serves is Mode.DISAGGREGATED:
            return Fact(Condition.READY, True, Reason.ALL_SERVING, "router, prefill and decode serve")
        if not situation.target.prefill:
            return Fact(
                Condition.READY, True, Reason.ALL_SERVING, "router and engines serve, aggregated as wanted"
            )
        return Fact(
            Condition.READY,
            True,
            Reason.NO_PREFILL_ENGINE,
            "requests are served aggregated: not both roles have a ready engine",
        )
    if situation.obstacle:
        return Fact(Condition.READY, False, situation.obstacle.reason, situation.obstacle.message)
    if situation.problems:
        first = situation.problems[0]
        return Fact(Condition.READY, False, first.reason, first.message)
    if not serves:
        return Fact(Condition.READY, False, Reason.NO_ENGINE, "no engine is ready")
    return Fact(Condition.READY, False, Reason.ROUTER_MISSING, "no router is ready")


def _role_ready(situation: Situation, kind: Condition, status: RoleStatus, role: Role) -> Fact:
    text = f"{status.ready} of {status.desired} {role.value} engines are ready"
    if not status.desired:
        text = f"no {role.value} engine is wanted: the service is aggregated"
    if status.ready >= status.desired:
        return Fact(kind, True, Reason.ENOUGH_ENGINES, text)
    for problem in situation.problems:
        if problem.component is Component.ENGINE:
            return Fact(kind, False, problem.reason, f"{text}; {problem.message}")
    return Fact(kind, False, Reason.STARTING, text)


def _router_ready(situation: Situation) -> Fact:
    if situation.routers_ready:
        return Fact(
            Condition.ROUTER_READY,
            True,
            Reason.ROUTER_SERVING,
            f"{situation.routers_ready} routers are ready",
        )
    for problem in situation.problems:
        if problem.component is Component.ROUTER:
            return Fact(Condition.ROUTER_READY, False, problem.reason, problem.message)
    return Fact(Condition.ROUTER_READY, False, Reason.ROUTER_MISSING, "no router is ready")


def _able_to_scale(situation: Situation) -> Fact:
    if situation.obstacle:
        return Fact(Condition.ABLE_TO_SCALE, False, situation.obstacle.reason, situation.obstacle.message)
    return Fact(Condition.ABLE_TO_SCALE, True, Reason.READY_FOR_NEW_SCALE, "the last spec is in effect")


def _scaling_active(situation: Situation) -> Fact:
    if not situation.scaling_enabled:
        return Fact(Condition.SCALING_ACTIVE, False, Reason.SCALING_DISABLED, "the spec's replicas hold")
    if situation.dry_run:
        score = situation.decision.dry_run if situation.decision else None
        text = "decisions are reported and not carried out"
        text = text if score is None else f"{text}; {told(score)}"
        return Fact(Condition.SCALING_ACTIVE, False, Reason.DRY_RUN, text)
    if situation.yielded:
        return Fact(Condition.SCALING_ACTIVE, False, Reason.CONFLICT, situation.yielded)
    unread, demand = _reading(situation)
    if isinstance(demand, Missing):
        reason = Reason.FAILED_GET_METRICS if unread else Reason.TOO_FEW_METRICS
        return Fact(Condition.SCALING_ACTIVE, False, reason, demand.why)
    return Fact(Condition.SCALING_ACTIVE, True, Reason.VALID_METRICS, situation.decides)


def _scaling_limited(situation: Situation) -> Fact:
    decision = situation.decision
    if decision is None or decision.limited is Reason.WITHIN_LIMITS:
        return Fact(
            Condition.SCALING_LIMITED, False, Reason.WITHIN_LIMITS, "the wanted size is within all bounds"
        )
    text = f"wanted {ratio_text(decision.wanted)}, allowed {ratio_text(decision.target)}"
    return Fact(Condition.SCALING_LIMITED, True, decision.limited, text)


def _metrics_fresh(situation: Situation) -> Fact:
    """Whether all is read that decisions need; that no request has finished yet is no failure to read."""
    unread, demand = _reading(situation)
    if unread:
        return Fact(Condition.METRICS_FRESH, False, Reason.FAILED_GET_METRICS, unread)
    if situation.source_problems:
        return Fact(
            Condition.METRICS_FRESH, False, Reason.FAILED_GET_METRICS, "; ".join(situation.source_problems)
        )
    blind = unread_engines(situation.decided_on.engines) if situation.decided_on else ""
    if blind:
        return Fact(Condition.METRICS_FRESH, False, Reason.FAILED_GET_METRICS, f"{blind}, so nothing shrinks")
    if isinstance(demand, Missing):
        return Fact(Condition.METRICS_FRESH, True, Reason.TOO_FEW_METRICS, demand.why)
    return Fact(Condition.METRICS_FRESH, True, Reason.VALID_METRICS, "routers and engines were read")


def _reading(situation: Situation) -> tuple[str, Value[Demand | None] | Missing]:
    """Why a router could not be read at the last decision, and the demand that was read."""
    if situation.decided_on is None:
        return "", Missing("no decision has been taken yet")
    return situation.decided_on.unread, situation.decided_on.demand


def _forecast_trusted(situation: Situation) -> Fact:
    ahead = situation.decision.forecast if situation.decision else None
    if ahead is None or ahead.trusted is None:
        note = f": {ahead.note}" if ahead and ahead.note else ""
        text = f"no forecast has been tested against others yet{note}"
        return Fact(Condition.FORECAST_TRUSTED, None, Reason.FORECAST_UNTESTED, text)
    skill = "" if ahead.skill is None else f"; skill {ahead.skill:.2f}"
    if ahead.trusted:
        text = f"{ahead.model} beats last value and seasonal naive{skill}"
        return Fact(Condition.FORECAST_TRUSTED, True, Reason.FORECAST_SKILFUL, text)
    text = f"no forecast beats last value and seasonal naive: {ahead.model} is followed{skill}"
    return Fact(
        Condition.FORECAST_TRUSTED, False, Reason.FORECAST_LOSES, f"{text}; {ahead.note}".rstrip("; ")
    )


def _paused(situation: Situation) -> Fact:
    if situation.paused:
        return Fact(Condition.PAUSED, True, Reason.PAUSED, f"paused: {situation.paused}")
    return Fact(Condition.PAUSED, False, Reason.NOT_PAUSED, "nothing is paused")


def _conflict(situation: Situation) -> Fact:
    if situation.conflict:
        return Fact(Condition.CONFLICT, True, Reason.CONFLICT, situation.conflict)
    return Fact(
        Condition.CONFLICT, False, Reason.NO_CONFLICT, "nobody else changes what belongs to the service"
    )
