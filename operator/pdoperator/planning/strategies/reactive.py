"""Strategy Reactive: HPA's arithmetic on the engines' own readings, for each role by itself. It forecasts nothing.

Metrics and targets are those that llm-d's guide gives an HPA on a GH200: requests that wait, KV use, requests that run.
Prefill's KV is left out: it fills with what decode has yet to fetch, and more prefill would only hold more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.bottleneck import decode_holds_kv
from pdoperator.planning.readings import Read, kv_use, readings, running, waiting
from pdoperator.planning.strategies.hpa import desired_replicas
from pdoperator.planning.strategies.strategy import Context, Proposal

_WAITING: tuple[str, Read, float] = ("waiting", waiting, defaults.WAITING_TARGET)
_RUNNING: tuple[str, Read, float] = ("running", running, defaults.RUNNING_TARGET)
_KV: tuple[str, Read, float] = ("KV use", kv_use, defaults.KV_USE_TARGET)
_METRICS = {Role.PREFILL: (_WAITING, _RUNNING), Role.DECODE: (_WAITING, _KV, _RUNNING)}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one role's metrics ask for. `unread`: a metric that could not be read, which keeps it from shrinking."""

    count: int
    why: str
    unread: str = ""


def reactive(context: Context) -> Proposal:
    """The most that any metric asks for, per role."""
    answers = PerRole.of(lambda role: _answer(context, role))
    wanted = PerRole.of(lambda role: answers[role].count)
    full = decode_holds_kv(context.observation)
    if full and wanted.prefill > context.current.prefill:
        wanted = PerRole(context.current.prefill, wanted.decode)
        answers = PerRole(_Answer(wanted.prefill, f"held: {full}"), answers.decode)
    unread = [answers[role].unread for role, _ in wanted.items() if answers[role].unread]
    reason = Reason.HOLD_METRICS_MISSING if unread and wanted == context.current else Reason.METRICS
    parts = (f"{role.value} {count} ({answers[role].why})" for role, count in wanted.items())
    return Proposal(wanted, reason, ", ".join(parts))


def _answer(context: Context, role: Role) -> _Answer:
    current, engines = context.current[role], context.observation.engines
    serving = sum(1 for engine in engines if engine.role is role and engine.usable)
    rules = context.settings.behavior
    best, unread = _Answer(0, "idle"), ""
    for name, read, target in _METRICS[role]:
        seen = readings(engines, role, read)
        count = desired_replicas(
            current, seen, max(0, current - serving), target, rules.up.tolerance, rules.down.tolerance
        )
        if count is None:
            unread = name
        elif count > best.count:
            best = _Answer(count, f"{name} {seen.mean:.3g} per engine, target {target:g}")
    if unread and best.count < current:
        return _Answer(current, f"held: {unread} of no engine is known", unread)
    return best
