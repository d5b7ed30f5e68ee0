"""The split clock: how many of the engines prefill."""

from __future__ import annotations

from pdoperator.api import defaults
from pdoperator.api.values import PerRole
from pdoperator.planning.split import best_split, strain


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
