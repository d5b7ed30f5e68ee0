"""The split clock: how many of the engines prefill."""

from __future__ import annotations

from pdoperator.api import defaults
from pdoperator.api.values import PerRole


def strain(prefill: int, engines: int, needed: PerRole[float]) -> float:
    """How strained the worse side of a split is: engines needed over engines there."""
    return max(needed.prefill / prefill, needed.decode / (engines - prefill))


def best_split(engines: int, needed: PerRole[float]) -> int:
    """Prefill engines of the split of at least two engines that strains its worse side least."""
    total = needed.prefill + needed.decode
    near = round(engines * needed.prefill / total) if total > 0 else engines // 2
    around = range(max(1, near - 1), min(engines - 1, near + 1) + 1)
    return min(around, key=lambda prefill: strain(prefill, engines, needed))


def split(engines: int, needed: PerRole[float], current: int, *, may_flip: bool) -> int:
    """Prefill engines out of at least two when `current` of them prefill now.

    A flip has to gain: it comes only where the present split is strained and the best one clearly less so.
    """
    kept = min(max(1, current), engines - 1)
    if not may_flip:
        return kept
    best = best_split(engines, needed)
    now, then = strain(kept, engines, needed), strain(best, engines, needed)
    return best if now >= defaults.FLIP_STRAIN and now - then >= defaults.FLIP_GAIN else kept
