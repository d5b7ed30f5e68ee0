"""What is seen and decided, to the status that people and tools read. Pure."""

from __future__ import annotations

from pdoperator.api import defaults, names
from pdoperator.api.names import Role, State
from pdoperator.api.status import (
    CandidateStatus,
    DecisionStatus,
    DemandStatus,
    ForecastStatus,
    RoleStatus,
    Size,
    Status,
    StatusCondition,
)
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.controller.conditions import Fact, facts, mode
from pdoperator.controller.signals_told import signals
from pdoperator.controller.situation import Situation
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decision import Decision
from pdoperator.planning.observation import Observation


def build_status(situation: Situation, previous: Status, now: str) -> Status:
    """The status at `now` (RFC 3339). A condition keeps its transition time while its status stays."""
    roles = role_statuses(situation)
    decision, seen, engines = situation.decision, situation.decided_on, situation.observation.engines
    return Status(
        observed_generation=situation.generation,
        conditions=[
            _condition(fact, situation.generation, previous, now) for fact in facts(situation, roles)
        ],
        mode=mode(engines) or "",
        replicas=sum(1 for engine in engines if not engine.deleting),
        selector=names.selector_text(names.engine_selector(situation.service)),
        prefill=roles.prefill,
        decode=roles.decode,
        prefill_summary=f"{roles.prefill.ready}/{roles.prefill.desired}",
        decode_summary=f"{roles.decode.ready}/{roles.decode.desired}",
        ratio=f"{situation.target.prefill}:{situation.target.decode}",
        demand=_observed(seen.demand) if seen else None,
        forecast=_forecast(decision) if decision else previous.forecast,
        bottleneck=decision.bottleneck.value if decision else previous.bottleneck,
        bottleneck_evidence=_evidence(decision) if decision else previous.bottleneck_evidence,
        signals=signals(seen) if seen else previous.signals,
        last_reason=decision.reason.value if decision else previous.last_reason,
        decisions=_decisions(decision, seen, previous, now),
    )


def role_statuses(situation: Situation) -> PerRole[RoleStatus]:
    """Counts of each role."""
    return PerRole.of(lambda role: _role_status(situation, role))


def figures_apart(status: Status, of: Status) -> Status:
    """`status` with the figures of another: what is left to differ is what people wait for."""
    drifting = ("demand", "forecast", "bottleneck_evidence", "signals")
    same = {name: getattr(of, name) for name in drifting}
    told = {condition.type: condition for condition in of.conditions}

    def still(condition: StatusCondition) -> StatusCondition:
        old = told.get(condition.type)
        unchanged = old is not None and (old.status, old.reason) == (condition.status, condition.reason)
        return condition.model_copy(update={"message": old.message}) if old and unchanged else condition

    return status.model_copy(update=same | {"conditions": [still(each) for each in status.conditions]})


def desired(status: Status) -> PerRole[int] | None:
    """The target that a status tells of; None in the status of a service that was never decided on."""
    counts = PerRole(status.prefill.desired, status.decode.desired)
    return counts if counts.decode else None  # without prefill engines it was aggregated


def _role_status(situation: Situation, role: Role) -> RoleStatus:
    engines = situation.observation.engines
    mine = [engine for engine in engines if engine.role is role and not engine.deleting]
    draining = [engine for engine in mine if engine.state is State.DRAINING]
    ready = [engine for engine in mine if engine.usable]
    want = situation.target[role]
    return RoleStatus(
        desired=want,
        ready=len(ready),
        starting=max(0, want - len(ready)),
        draining=len(draining),
        startup_p50_seconds=situation.startups[role].p50_s,
        startup_p90_seconds=situation.startups[role].p90_s,
    )


def _condition(fact: Fact, generation: int, previous: Status, now: str) -> StatusCondition:
    status = "Unknown" if fact.status is None else str(fact.status)
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
        input_tokens_cv=round(demand.isl_cv, 2),
        output_tokens_cv=round(demand.osl_cv, 2),
        prefix_hit=round(demand.prefix_hit, 2),
    )


def _observed(demand: Value[Demand | None] | Missing) -> DemandStatus | None:
    return _demand(demand.x) if isinstance(demand, Value) and demand.x is not None else None


def _forecast(decision: Decision) -> ForecastStatus | None:
    ahead = decision.forecast
    if ahead is None:
        return None
    return ForecastStatus(
        model=ahead.model,
        horizon_seconds=ahead.horizon_s,
        demand=_demand(ahead.demand),
        skill=None if ahead.skill is None else round(ahead.skill, 3),
        note=ahead.note,
    )


def _evidence(decision: Decision) -> list[str]:
    return list(decision.evidence[: defaults.EXPLAINED_AT_MOST])


def _size(counts: PerRole[int] | None) -> Size | None:
    return None if counts is None else Size(prefill=counts.prefill, decode=counts.decode)


def _decisions(
    decision: Decision | None, seen: Observation | None, previous: Status, now: str
) -> list[DecisionStatus]:
    """The newest first. A decision that repeats size and reason is not told again."""
    if decision is None:
        return previous.decisions
    newest = DecisionStatus(
        time=now,
        prefill=decision.target.prefill,
        decode=decision.target.decode,
        reason=decision.reason.value,
        message=decision.message,
        wanted=_size(decision.wanted),
        limited=decision.limited.value,
        demand=_observed(seen.demand) if seen else None,
        forecast=_forecast(decision),
        bottleneck=decision.bottleneck.value,
        evidence=_evidence(decision),
        candidates=[
            CandidateStatus(prefill=c.target.prefill, decode=c.target.decode, rejected=c.rejected)
            for c in decision.candidates[: defaults.EXPLAINED_AT_MOST]
        ],
        without_forecast=_size(decision.without_forecast),
    )
    if previous.decisions:
        last = previous.decisions[0]
        if (last.prefill, last.decode, last.reason) == (newest.prefill, newest.decode, newest.reason):
            return previous.decisions
    return [newest, *previous.decisions][: defaults.DECISIONS_KEPT]
