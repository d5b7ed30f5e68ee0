"""All bounds on a target together: replicas per role, GPU budget, prefill:decode ratio."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.constraints.budget import fits_budget, within_budget
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.constraints.ratio import ratio_holds, within_ratio
from pdoperator.planning.constraints.replicas import within_replicas
from pdoperator.planning.settings import Limits
from pdoperator.planning.strategies.strategy import Context

_FIELDS = {
    Reason.TOO_FEW_REPLICAS: "minReplicas",
    Reason.TOO_MANY_REPLICAS: "maxReplicas",
    Reason.GPU_BUDGET: "gpuBudget",
    Reason.RATIO_BOUND: "ratio",
    Reason.GPUS_UNAVAILABLE: "what can be had",
}

_REPLICAS = (Reason.TOO_FEW_REPLICAS, Reason.TOO_MANY_REPLICAS)


@dataclass(frozen=True, slots=True)
class Limited:
    """A target within all bounds, and the last bound that changed it."""

    target: PerRole[int]
    reason: Reason


def apply_limits(wanted: PerRole[int], limits: Limits) -> Limited:
    """The target nearest to `wanted` that the bounds allow.

    Where the bounds contradict each other (admission refuses that) minReplicas go before the budget, the budget before
    the ratio.
    """
    target, reason = within_replicas(wanted, limits)
    fitted = within_budget(target, wanted, limits)
    if fitted != target:
        target, reason = fitted, Reason.GPU_BUDGET
    if limits.short and reason in (Reason.GPU_BUDGET, Reason.TOO_MANY_REPLICAS):
        reason = Reason.GPUS_UNAVAILABLE
    bounded = within_ratio(target, limits)
    if bounded != target:
        target, reason = bounded, Reason.RATIO_BOUND
    return Limited(target, reason)


def bounds(context: Context, draft: Draft) -> Draft:
    """What was asked for, within all bounds."""
    limits = context.settings.limits
    limited = apply_limits(draft.target, limits)
    return draft.limited_to(limited.target, limited.reason, _field(limited.reason, limits))


def settled(context: Context, draft: Draft) -> Draft:
    """Within all bounds still, after windows, rates and pauses held one role back and not the other.

    The change is then cut short: of the sizes between the current and the target the one nearest to the target that the
    bounds allow. Where there is none (the spec was edited) the bounds alone decide.
    """
    limits = context.settings.limits
    target, _ = within_replicas(draft.target, limits)
    if not _allowed(target, limits):
        start, _ = within_replicas(context.current, limits)
        between = [pair for pair in _box(start, target) if _allowed(pair, limits)]
        target = min(
            between, key=lambda pair: _far(pair, target), default=apply_limits(target, limits).target
        )
    reason = Reason.RATIO_BOUND if fits_budget(draft.target, limits) else Reason.GPU_BUDGET
    return draft.limited_to(target, reason, _FIELDS[reason])


def _field(reason: Reason, limits: Limits) -> str:
    field = _FIELDS.get(reason, "")
    return f"{field} of a schedule" if limits.scheduled and reason in _REPLICAS else field


def _allowed(target: PerRole[int], limits: Limits) -> bool:
    return fits_budget(target, limits) and ratio_holds(target, limits)


def _box(a: PerRole[int], b: PerRole[int]) -> list[PerRole[int]]:
    def steps(x: int, y: int) -> range:
        return range(min(x, y), max(x, y) + 1)

    return [PerRole(p, d) for p, d in product(steps(a.prefill, b.prefill), steps(a.decode, b.decode))]


def _far(pair: PerRole[int], target: PerRole[int]) -> tuple[int, int]:
    return abs(pair.prefill - target.prefill) + abs(pair.decode - target.decode), pair.prefill
