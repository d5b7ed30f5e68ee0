"""A target without the changes that must not be made now."""

from __future__ import annotations

from collections.abc import Collection

from pdoperator.api.names import Role
from pdoperator.api.values import PerRole, total


def without_changes(
    asked: PerRole[int],
    current: PerRole[int],
    *,
    up: Collection[Role],
    down: Collection[Role],
    shared_pool: bool,
) -> PerRole[int]:
    """`asked`, with the roles in `up` no higher and those in `down` no lower than they are.

    In a shared pool the total stays between the current one and the one asked for: a flip needs both roles, so where
    one may not change the other does not either, rather than that engines are started or stopped in its place.
    """

    def held(role: Role) -> int:
        count, now = asked[role], current[role]
        return now if (role in up and count > now) or (role in down and count < now) else count

    target = PerRole.of(held)
    if not shared_pool or target == asked:
        return target
    least, most = sorted((total(asked), total(current)))
    beyond = max(0, total(target) - most) + min(0, total(target) - least)

    def evened(role: Role) -> int:
        change = target[role] - current[role]
        undone = min(max(change, 0), beyond) if beyond > 0 else max(min(change, 0), beyond)
        return target[role] - undone

    return PerRole.of(evened)
