"""Strategy Static, and any service whose autoscaling is off: what the spec says."""

from __future__ import annotations

from pdoperator.api.reasons import Reason
from pdoperator.planning.strategies.strategy import Context, Proposal


def static(context: Context) -> Proposal:
    """The spec's replicas, minReplicas where it gives none."""
    first = context.settings.first
    return Proposal(first, Reason.STATIC, "strategy Static: the spec's replicas", behavior=False)


def disabled(context: Context) -> Proposal:
    """The same, because autoscaling.enabled is false."""
    first = context.settings.first
    return Proposal(first, Reason.SCALING_DISABLED, "autoscaling is off: the spec's replicas", behavior=False)
