"""HorizontalPodAutoscaler's replica calculator for one metric, as Kubernetes has it in replica_calculator.go."""

from __future__ import annotations

import math

from pdoperator.planning.readings import Readings


def desired_replicas(
    current: int, seen: Readings, unready: int, target: float, tolerance_up: float, tolerance_down: float
) -> int | None:
    """Replicas that bring the mean reading to its target; None: none was read, so the metric says nothing.

    Ready pods without a reading count as at the target when that keeps replicas, and as idle when it adds some; those
    that are not ready count as idle when replicas would be added. Where that turns the direction nothing changes.
    """
    if seen.mean is None:
        return None
    ratio, pods = seen.mean / target, len(seen.values)
    starting = unready if ratio > 1 else 0
    if not starting and not seen.missing:
        small = -tolerance_down <= ratio - 1 <= tolerance_up
        return current if small else _ceil(ratio * pods)
    assumed = seen.missing * target if ratio <= 1 else 0.0
    counted = pods + seen.missing + starting
    corrected = (sum(seen.values) + assumed) / counted / target
    turned = (ratio - 1) * (corrected - 1) < 0
    if turned or -tolerance_down <= corrected - 1 <= tolerance_up:
        return current
    replicas = _ceil(corrected * counted)
    if (corrected < 1 and replicas > current) or (corrected > 1 and replicas < current):
        return current
    return replicas


def _ceil(replicas: float) -> int:
    """Rounded up, save that what is whole but for rounding errors is whole."""
    return math.ceil(replicas - 1e-9)
