"""A fleet shrinks only on fresh readings from every role: what is not known is no reason to do with less."""

from __future__ import annotations

from pdoperator.api.reasons import Reason
from pdoperator.api.values import SERVING_ROLES
from pdoperator.planning.constraints.draft import Draft
from pdoperator.planning.constraints.hold import without_changes
from pdoperator.planning.readings import unread_engines
from pdoperator.planning.strategies.strategy import Context


def fresh_readings(context: Context, draft: Draft) -> Draft:
    """The target, with no fewer engines than there are while a role could not be read. A person's size stands."""
    if not draft.proposal.behavior or not _shrinks(context, draft):
        return draft
    blind = unread_engines(context.observation.engines)
    if not blind:
        return draft
    target = without_changes(
        draft.target, context.current, up=(), down=SERVING_ROLES, shared_pool=context.settings.shared_pool
    )
    return draft.held_at(target, Reason.HOLD_METRICS_MISSING, f"because {blind}")


def _shrinks(context: Context, draft: Draft) -> bool:
    """Fewer engines: of either role in dedicated pools, of both together in a shared one, where the rest are flips."""
    target, current = draft.target, context.current
    if context.settings.shared_pool:
        return target.prefill + target.decode < current.prefill + current.decode
    return any(count < current[role] for role, count in target.items())
