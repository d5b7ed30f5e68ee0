"""Strategy Static, and any service whose autoscaling is off: what the spec says."""

from __future__ import annotations

from pdoperator.api.values import PerRole
from pdoperator.planning.settings import PlanSettings


def static(settings: PlanSettings) -> PerRole[int]:
    """The spec's replicas, minReplicas where it gives none."""
    return settings.first
