"""minReplicas and maxReplicas of each role."""

from __future__ import annotations

from pdoperator.api.names import Role
from pdoperator.api.reasons import Reason
from pdoperator.api.values import PerRole
from pdoperator.planning.settings import Limits


def within_replicas(wanted: PerRole[int], limits: Limits) -> tuple[PerRole[int], Reason]:
    """Each role between its minReplicas and maxReplicas."""

    def clamp(role: Role) -> int:
        return min(limits.roles[role].most, max(limits.roles[role].least, wanted[role]))

    target = PerRole.of(clamp)
    if any(count < wanted[role] for role, count in target.items()):
        return target, Reason.TOO_MANY_REPLICAS
    return target, Reason.WITHIN_LIMITS if target == wanted else Reason.TOO_FEW_REPLICAS
