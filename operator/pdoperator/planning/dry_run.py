"""Dry run: decisions go on as if each were carried out, and are scored against what was needed and what there was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace

from pdoperator.api import defaults
from pdoperator.api.names import Role
from pdoperator.api.values import PerRole
from pdoperator.planning.decision import DryRun, DryRunScore, Recommendation
from pdoperator.planning.horizon import lead_time_s
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import Limits, PlanSettings


def begun(target: PerRole[int], at_s: float) -> DryRun:
    """A dry run that starts from the fleet in force."""
    return DryRun(target, (Recommendation(at_s, target),), DryRunScore(at_s, at_s))


def scored(
    run: DryRun, settings: PlanSettings, observation: Observation, target: PerRole[int], needed: PerRole[int]
) -> DryRun:
    """With the time since the last decision on its account, and a new decision.

    `needed` is what the load of now asks for. An engine would have served once it had been asked for as long as one
    takes to start. Time that nobody watched is on no account.
    """
    now_s, limits, score = observation.at_s, settings.limits, run.score
    passed_s = now_s - score.until_s
    if passed_s > defaults.DRY_RUN_GAP_S:
        passed_s = 0.0
    startup_s = lead_time_s(settings, observation) - settings.interval_s
    targets = _since(run.targets, now_s - startup_s)
    would_be_short = _lacking((r.target for r in targets), needed, settings)
    was_short = _lacking((_serving(observation),), needed, settings)
    score = replace(
        score,
        until_s=now_s,
        gpu_s=score.gpu_s + passed_s * limits.cost(run.target),
        actual_gpu_s=score.actual_gpu_s + passed_s * _held(observation, limits),
        short_s=score.short_s + passed_s * would_be_short,
        actual_short_s=score.actual_short_s + passed_s * was_short,
    )
    return DryRun(target, (*targets, Recommendation(now_s, target)), score)


def told(score: DryRunScore) -> str:
    """The score in words."""
    hours = (score.until_s - score.since_s) / 3600
    return (
        f"in {hours:.1f} h decisions would have held {score.gpu_s / 3600:.1f} GPU-h (there were"
        f" {score.actual_gpu_s / 3600:.1f}) and lacked engines for {score.short_s / 60:.1f} min (as it was:"
        f" {score.actual_short_s / 60:.1f})"
    )


def to_text(run: DryRun) -> str:
    """Its target and its score as JSON."""
    return json.dumps({"target": [run.target.prefill, run.target.decode], "score": asdict(run.score)})


def from_text(text: str) -> DryRun | None:
    """What `to_text` wrote, its engines taken as started; nothing from anything else, as of another version."""
    try:
        body = json.loads(text)
        target, score = PerRole(*map(int, body["target"])), DryRunScore(**body["score"])
        return replace(begun(target, score.until_s), score=score)
    except (ValueError, TypeError, KeyError):
        return None


def _since(targets: tuple[Recommendation, ...], at_s: float) -> tuple[Recommendation, ...]:
    """The targets after a moment, and the one that was in force then."""
    before = [r for r in targets if r.at_s <= at_s][-1:]
    return (*before, *(r for r in targets if r.at_s > at_s))


def _lacking(sizes: Iterable[PerRole[int]], needed: PerRole[int], settings: PlanSettings) -> bool:
    """Whether any of `sizes` has too few engines; those of a shared pool count together, as a flip takes seconds."""
    if settings.shared_pool:
        return any(s.prefill + s.decode < needed.prefill + needed.decode for s in sizes)
    return any(size[role] < count for size in sizes for role, count in needed.items())


def _serving(observation: Observation) -> PerRole[int]:
    return PerRole.of(lambda role: sum(1 for e in observation.engines if e.usable and e.role is role))


def _held(observation: Observation, limits: Limits) -> int:
    """GPUs of all engines that are there. One without a role is of a shared pool, where both roles cost the same."""
    roles = (Role.DECODE if e.role is Role.BOTH else e.role for e in observation.engines)
    return sum(limits.roles[role].cost for role in roles)
